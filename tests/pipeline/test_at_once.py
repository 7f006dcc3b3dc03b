"""Scorers that wait for others: calls under way at once, and shards that overlap at the ends."""

import shutil
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from pipeline import procs, score
from pipeline.contract import interface
from pipeline.errors import ShardsFailed
from pipeline.run import Engine
from pipeline.score_job import ScoreJob
from pipeline.stage import Ending, Stage, Turns
from tests.conftest import SCORED, built

HERE = "tests.pipeline.test_at_once"


@dataclass(frozen=True)
class Waiting:
    """The length of a caption, after a while; what it is told of goes through class variables."""

    at_once: int = 2
    batch_size: int = 2
    bad: str = ""
    gone: bool = False
    most: int = 99
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption",)
    writes: ClassVar[pa.Schema] = pa.schema([("waited", pa.int32())])
    lock: ClassVar[Any] = threading.Lock()
    now: ClassVar[list[int]] = [0, 0]  # under way, and the most there were
    asked: ClassVar[Counter[str]] = Counter()

    @property
    def identity(self) -> dict[str, Any]:
        return {"bad": self.bad, "gone": self.gone}

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        with self.lock:
            self.asked.update(batch["caption"])
            self.now[0] += 1
            self.now[1] = max(self.now)
        time.sleep(0.05)
        with self.lock:
            self.now[0] -= 1
        if len(batch["caption"]) > self.most:
            raise MemoryError
        if self.bad and any(self.bad in text for text in batch["caption"]):
            if self.gone:
                error = ValueError("nobody answers")
                error.retriable = True  # type: ignore[attr-defined]
                raise error
            raise ValueError("spoilt")
        return {"waited": [len(text) for text in batch["caption"]]}


@dataclass(frozen=True)
class After:
    """Reads what `Waiting` writes."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("waited",)
    writes: ClassVar[pa.Schema] = pa.schema([("after", pa.int32())])

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"after": batch["waited"]}


@pytest.fixture(autouse=True)
def _fresh():
    Waiting.now[:] = [0, 0]
    Waiting.asked.clear()


def recipe(**parameters: Any) -> str:
    told = "".join(f", {name}: {value}" for name, value in parameters.items())
    return f"{SCORED}  waits: {{scorer: '{HERE}:Waiting'{told}}}\ningest: {{rows_per_shard: 5}}\n"


def tables(build: Any, name: str = "waits") -> list[dict[str, list[Any]]]:
    made = build.open_pool()
    instances = build.resolve(made)[0].instances
    columns = next(i.columns for i in instances if i.name == name)
    return [columns.read(shard).to_pydict() for shard in made.shards]


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"bad": "'number 7'"}])
def test_values_and_reasons_are_those_of_one_call_at_a_time(make_build, more):
    alone = tables(built(make_build(recipe(at_once=1, **more)), "score"))
    assert Waiting.now[1] == 1
    Waiting.now[:] = [0, 0]
    build = make_build(recipe(at_once=3, **more))
    shutil.rmtree(f"{build.root}/columns/waits")
    assert tables(built(build, "score")) == alone
    assert Waiting.now[1] > 1
    errors = [error for table in alone for error in table["waits_error"] if error]
    assert set(errors) == ({"ValueError: spoilt"} if more else set())


@pytest.mark.slow
@pytest.mark.parametrize("most", [1, 2])
def test_calls_that_run_out_of_memory_together_make_batches_smaller_once(make_build, most):
    whole = recipe(at_once=1).replace(": 5", ": 20")
    alone = tables(built(make_build(whole), "score"))
    build = make_build(recipe(at_once=4, batch_size=4, most=most).replace(": 5", ": 20"))
    shutil.rmtree(f"{build.root}/columns/waits")
    assert tables(built(build, "score")) == alone
    stats = build.record("score-waits", "00000")["stats"]["scorers"]["waits"]
    assert stats["smallest_batch"] == most


def test_no_more_calls_are_under_way_than_it_says(make_build):
    build = built(make_build(recipe(at_once=2, batch_size=1)), "ingest")
    made = build.open_pool()
    job = ScoreJob(
        made.root, tuple(i for i in build.resolve(made)[0].instances if i.name == "waits")
    )
    assert job.waits
    score.score_shard(made.shards[0], job)
    assert Waiting.now == [0, 2]


def test_a_shard_that_fails_leaves_nothing_under_way_and_a_rerun_asks_for_the_rest(make_build):
    build = built(
        make_build(recipe(at_once=3, batch_size=1, bad="'number 8'", gone="true")), "ingest"
    )
    with pytest.raises(ShardsFailed, match="nobody answers"):
        build.score()
    assert Waiting.now[0] == 0
    assert set(Waiting.asked.values()) <= {1, 2}


def test_its_readers_come_after_it_and_it_shares_no_pass_with_others(make_build):
    lines = f"  after: {{scorer: '{HERE}:After'}}\n"
    build = built(make_build(recipe(at_once=2).replace("ingest:", f"{lines}ingest:")), "ingest")
    resolved = build.resolve(build.open_pool())[0]
    passes = [{instance.name for instance in part} for part in resolved.passes()]
    assert passes[0] == {"image", "caption"}
    assert passes[1:] == [{"waits"}, {"after"}]
    assert replace(resolved.instances[0], scorer=Waiting()).lane == "cpu, others"


def test_the_end_of_a_task_is_beside_the_next_one(tmp_path):
    said: list[str] = []
    released = threading.Event()

    def work(name: str) -> Any:
        said.append(f"{name} begins")

        def end() -> dict[str, Any]:
            if name == "a":
                assert released.wait(10)
            said.append(f"{name} ends")
            return {}

        if name == "b":
            released.set()
        return Ending(end)

    turns = Turns(Stage("s", work, str(tmp_path)), "run", lambda name: said.append(f"{name} ended"))
    for name in ("a", "b"):
        turns.do((name, name))
    turns.settle()
    assert said[:2] == ["a begins", "b begins"]
    assert said.index("a ended") < said.index("b ended")
    assert said[-1] == "b ended"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"]


@pytest.mark.parametrize("beside", [1, 2, 3])
def test_so_many_endings_go_on_beside_the_next_task(tmp_path, beside):
    open_, most = set[str](), 0
    begun = {name: threading.Event() for name in "abcdef"}

    def work(name: str) -> Ending:
        nonlocal most
        open_.add(name)
        most = max(most, len(open_))
        begun[name].set()

        def end() -> dict[str, Any]:
            behind = chr(ord(name) + beside)
            if behind in begun:
                assert begun[behind].wait(10)
            open_.remove(name)
            return {}

        return Ending(end, beside)

    turns = Turns(Stage("s", work, str(tmp_path)), "run", lambda _: None)
    for name in begun:
        turns.do((name, name))
    turns.settle()
    assert most == beside + 1
    assert not open_


def test_a_record_that_cannot_be_written_is_told_at_the_end(tmp_path):
    ledger = tmp_path / "ledger"
    ended: list[str] = []
    turns = Turns(Stage("s", lambda _: Ending(dict), str(ledger)), "run", ended.append)
    ledger.write_text("no folder")
    turns.do(("a", None))
    with pytest.raises(Exception, match="record"):
        turns.settle()
    assert ended == ["a"]


@pytest.mark.slow
def test_engines_give_the_same_columns(make_build):
    found = []
    for engine in (Engine(), Engine("procs", workers=1), Engine("procs", workers=2)):
        build = make_build(recipe(at_once=2))
        build.engine = engine
        shutil.rmtree(f"{build.root}/columns", ignore_errors=True)
        found.append(tables(built(build, "score")))
    assert found[0] == found[1] == found[2]
    assert not procs._LINES


@pytest.mark.parametrize("wrong", [0, "2", None])
def test_a_wrong_number_is_refused(wrong):
    with pytest.raises(ValueError, match="at_once"):
        interface(replace(Waiting(), at_once=wrong))
