"""What a scorer may say of single rows, and where it may keep what it has paid for."""

import os
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from pipeline.contract import interface
from pipeline.errors import ShardsFailed
from pipeline.places import requests_folder
from pipeline.plan import estimate
from pipeline.score import score_shard
from pipeline.score_job import ScoreJob
from tests.conftest import built, tree
from tests.pipeline.user_scorers import Area, Length, column, recipe


@dataclass(frozen=True)
class Doubtful(Length):
    """Has a reason instead of a value for two captions, and a value beside it that must go."""

    writes: ClassVar[pa.Schema] = pa.schema(  # type: ignore[assignment]
        [("length", pa.int32()), ("doubt", pa.float32())]
    )
    calls: ClassVar[list[int]] = []

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        texts = batch["caption"]
        self.calls.append(len(texts))
        reasons = {"picture number 3 größe": TimeoutError("60 s"), "a": ValueError("x" * 900)}
        lengths = [reasons.get(text, len(text)) for text in texts]
        return {"length": lengths, "doubt": [0.5] * len(texts)}


@dataclass(frozen=True)
class Refusing(Area):
    """Refuses every picture."""

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"area": [PermissionError("no") for _ in batch["image"]]}


@dataclass(frozen=True)
class Misplaced(Doubtful):
    """Puts its exception where a value of the second column belongs."""

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        doubts = [ValueError("?") if "number 3" in text else 0.5 for text in batch["caption"]]
        return {"length": [1] * len(doubts), "doubt": doubts}


@dataclass(frozen=True)
class Keeping(Length):
    """Notes what it is told, in order."""

    seen: ClassVar[list[str]] = []

    def keep_in(self, folder: str) -> None:
        assert os.path.isdir(folder)
        self.seen.append(folder)

    def prepare(self) -> None:
        self.seen.append("prepared")


def scored(make_build: Any, kind: type[Any], rest: str = "") -> Any:
    line = f"  mine: {{scorer: '{__name__}:{kind.__name__}'{rest}}}\n"
    build = make_build(recipe(line), after="ingest")
    build.score()
    return build


def test_an_exception_in_place_of_a_value_is_the_reason_of_its_row_alone(make_build):
    Doubtful.calls.clear()
    build = scored(make_build, Doubtful, ", columns: {length: n}")
    errors = {key: error for key, error in column(build, "mine_error").items() if error}
    assert errors == {"03.jpg": "TimeoutError: 60 s"}
    assert (column(build, "n")["03.jpg"], column(build, "doubt")["03.jpg"]) == (None, None)
    assert (column(build, "n")["04.jpg"], column(build, "doubt")["04.jpg"]) == (22, 0.5)
    assert len(Doubtful.calls) == 1  # nothing was halved
    record = build.record("score-mine", "00000")
    assert record["stats"]["scorers"]["mine"]["failed"] == {"TimeoutError": 1}


def test_rows_of_equal_images_share_the_reason(make_build):
    errors = column(scored(make_build, Refusing), "mine_error")
    assert errors["02.jpg"] == errors["24_same_image.jpg"] == "PermissionError: no"


def test_an_exception_anywhere_else_is_a_bad_value(make_build):
    build = scored(make_build, Misplaced)
    assert column(build, "mine_error")["03.jpg"].startswith("bad value: doubt: ")
    assert column(build, "length")["03.jpg"] is None


@dataclass(frozen=True)
class Missing(Length):
    """Has no weights."""

    def prepare(self) -> None:
        raise ValueError("no such weights")


def test_a_scorer_that_can_t_prepare_is_named(make_build):
    with pytest.raises(ShardsFailed, match="scorer 'mine': ValueError: no such weights"):
        scored(make_build, Missing)


@dataclass(frozen=True)
class Served(Keeping):
    """Asks a server if it has one."""

    server: str | None = None


def test_a_plan_asks_nobody_who_is_paid(photos, tmp_path):
    def planned(line: str) -> str:
        path = photos.parent / "plan.yaml"
        path.write_text(recipe(f"  mine: {{scorer: '{__name__}:{line}}}\n"))
        return estimate(str(path), str(tmp_path / "none"))

    for line in ("Keeping'", "Served', server: there"):
        Keeping.seen.clear()
        assert "rows, not tried, as it asks a server" in planned(line)
        assert Keeping.seen == []
    assert "about" in planned("Served'").partition("score ")[2]


def test_a_scorer_is_told_where_it_may_keep_answers_before_it_prepares(make_build, tmp_path):
    Keeping.seen.clear()
    scored(make_build, Keeping)
    assert Keeping.seen == [str(tmp_path / "out" / "requests"), "prepared"]


def test_without_work_it_is_told_nothing_and_nothing_is_kept(make_build, tmp_path):
    Keeping.seen.clear()
    build = scored(make_build, Keeping, ", only: \"caption = 'nobody'\"")
    assert Keeping.seen == []
    assert [*tree(build.out, "requests/*")] == ["requests/run"]
    before = (tmp_path / "out" / "requests" / "run").read_bytes()
    build.score()
    assert (tmp_path / "out" / "requests" / "run").read_bytes() == before


def test_a_second_shard_of_a_process_is_told_the_same(make_build):
    build = make_build(
        recipe(f"  mine: {{scorer: '{__name__}:Keeping'}}\n").replace("50}", "5}"), after="ingest"
    )
    made = build.open_pool()
    job = ScoreJob(made.root, build.resolve(made)[0].instances)
    Keeping.seen.clear()
    for shard in made.shards:
        score_shard(shard, job)
    assert set(Keeping.seen[0::2]) == {requests_folder(build.root)}


def test_the_folder_of_an_object_store_is_in_the_cache_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, other = (requests_folder(f"memory://{name}/build") for name in ("one", "other"))
    assert one.startswith(str(tmp_path / "pairmill" / "requests"))
    assert one != other == requests_folder("memory://other/build")
    assert os.path.isdir(one)


@dataclass(frozen=True)
class Whole(Length):
    """Looks at a pool, so that it can't keep answers."""

    keep_in: Any = None

    def reduce(self, rows: pa.Table) -> pa.Table:
        return rows


def test_keep_in_is_a_method_of_a_scorer_of_samples():
    assert interface(Whole())
    assert interface(Keeping())
    with pytest.raises(ValueError, match="`keep_in` must be a method"):
        interface(Whole(keep_in=print))


class NobodyAnswers(Exception):
    retriable = True


@dataclass(frozen=True)
class Unreachable(Length):
    """Nobody answers for one caption, until `up` is set."""

    up: ClassVar[list[bool]] = []
    raises: bool = False

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        lengths: list[Any] = [len(text) for text in batch["caption"]]
        for place, text in enumerate(batch["caption"]):
            if "number 3" in text and not self.up:
                if self.raises:
                    raise NobodyAnswers("http://127.0.0.1:1")
                lengths[place] = NobodyAnswers("http://127.0.0.1:1")
        return {"length": lengths}


@pytest.mark.slow
@pytest.mark.parametrize("raises", [False, True])
def test_where_nobody_answers_the_shard_is_scored_another_time(make_build, raises):
    Unreachable.up.clear()
    line = f"  mine: {{scorer: '{__name__}:Unreachable', raises: {str(raises).lower()}}}\n"
    build = make_build(recipe(line).replace("rows_per_shard: 50", "rows_per_shard: 5"))
    build.ingest()
    with pytest.raises(ShardsFailed, match=r"NobodyAnswers: http://127\.0\.0\.1:1"):
        build.score()
    before = tree(build.out, "columns/mine/*/*.parquet")
    shards = len(build.open_pool().shards)
    assert len(before) == shards - 1
    Unreachable.up.append(True)
    build.score()
    after = tree(build.out, "columns/mine/*/*.parquet")
    assert len(after) == shards
    assert all(after[name] == data for name, data in before.items())
    assert column(build, "length")["03.jpg"] == len("picture number 3 größe")


def test_a_scorer_that_says_nothing_is_warned_about(make_build, caplog):
    recipe = "sources:\n  photos: {folder: photos/}\nscore:\n"
    recipe += "  mute: {scorer: 'tests.pipeline.test_reasons:Mute'}\n"
    built(make_build(recipe), "score")
    assert "scorer 'mute' has no value for any row: ValueError " in caplog.text


@dataclass(frozen=True)
class Mute:
    """Has a reason for every row, and a value for none."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption",)
    writes: ClassVar[pa.Schema] = pa.schema([("nothing", pa.string())])

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"nothing": [ValueError("no") for _ in batch["caption"]]}
