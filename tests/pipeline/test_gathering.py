"""Rows that meet in buckets get what they would if all had met; whatever stops on the way."""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filters.frequency import Frequency
from pipeline import gathering, storage
from pipeline.build import Build, Part
from pipeline.columns import ColumnSet
from pipeline.errors import CurationError, DamagedFile, ShardsFailed
from pipeline.gathering import GatherJob
from pipeline.global_score import GlobalJob, score_pool
from pipeline.instances import Instance
from pipeline.pool import Pool, base_table, write_base
from pipeline.recipe import parse_recipe
from pipeline.run import Engine
from tests.conftest import tree, write_pair
from tests.pictures import jpeg

ME = "tests.pipeline.test_gathering"


@dataclass(frozen=True)
class Meeting:
    """For each row the rows with its caption's first letter: their places by key, and texts."""

    broken: str = ""
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption", "captions")
    writes: ClassVar[pa.Schema] = pa.schema(
        [("met", pa.list_(pa.string())), ("share", pa.float32()), ("first", pa.binary(16))]
    )

    def gather_key(self, rows: pa.Table) -> Any:
        texts = rows["caption"].to_pylist()
        if self.broken == "hash":
            return np.frombuffer(os.urandom(8 * len(texts)), np.uint64)
        if self.broken == "count":
            return pa.array([1], pa.uint64())
        if self.broken == "kind":
            return [1] * len(texts)
        numbers = [None if text is None else ord(text[:1] or "\0") for text in texts]
        return pa.array(numbers, pa.uint64())

    def reduce(self, rows: pa.Table) -> pa.Table:
        if self.broken == "reduce":
            raise ValueError("not today")
        assert rows.schema.field("caption").type == pa.large_string()
        keys, texts = rows["key"].to_pylist(), rows["caption"].to_pylist()
        assert keys == sorted(keys)
        met: dict[str, list[tuple[bytes, str]]] = {}
        for key, text in zip(keys, texts, strict=True):
            if text is not None:
                met.setdefault(text[:1], []).append((key, text))
        groups = [None if text is None else met[text[:1]] for text in texts]
        columns = [
            [group and [text for _, text in group] for group in groups],
            [group and 1 / len(group) for group in groups],
            [group and group[0][0] for group in groups],
        ]
        return pa.table(columns, schema=self.writes)


Make = Callable[..., Build]
Row = tuple[str | None, bool]  # caption, failed


def make_pool(root: Path, rows: list[Row], sizes: list[int]) -> Pool:
    shards, start = [], 0
    while start < len(rows) or not shards:
        size = sizes[len(shards) % len(sizes)]
        table = base_table([base_row(start + n, *row) for n, row in enumerate(rows[start:][:size])])
        name = f"{len(shards):05d}"
        shards.append(write_base(str(root), name, table, 0, "plan"))
        start += size
    return Pool(str(root), "sources", tuple(shards))


def base_row(number: int, caption: str | None, failed: bool) -> dict[str, Any]:
    captions = None if caption is None else [{"text": caption, "box": [0.5]}]
    return {
        "key": (number * 0x9E3779B97F4A7C15 % (1 << 64)).to_bytes(8, "big") * 2,
        "source": "made",
        "caption": caption,
        "captions": captions,
        "image_sha256": None if number % 7 == 0 else bytes([number % 5]) * 32,
        "failed": "decode" if failed else None,
    }


def instance(root: Path, scorer: Any) -> Instance:
    return Instance("mine", scorer, ColumnSet(str(root), "mine", "0123", scorer.writes))


def in_buckets(made: Pool, of: Instance, cut: gathering.Plan) -> None:
    work = storage.join(made.root, "work")
    job = GatherJob(made.root, of, work, len(cut.groups), cut.buckets)
    for task in enumerate(cut.groups):
        gathering.gather_group(task, job)
    for bucket in range(cut.buckets):
        gathering.reduce_bucket(bucket, job)
    for task in enumerate(cut.groups):
        gathering.write_group(task, job)


def groups_of(made: Pool, each: int) -> tuple[tuple[Any, ...], ...]:
    return tuple(made.shards[n : n + each] for n in range(0, len(made.shards), each))


CAPTIONS = st.one_of(st.none(), st.text("aAbß猫 \0", max_size=3))
SCORERS = [Meeting(), Frequency(), Frequency("image"), Frequency("caption", fold=False)]


@given(
    rows=st.lists(st.tuples(CAPTIONS, st.booleans()), max_size=40),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    buckets=st.integers(1, 9),
    each=st.integers(1, 4),
    scorer=st.sampled_from(SCORERS),
)
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_number_of_buckets_gives_the_bytes_of_one_reduce(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[Row],
    sizes: list[int],
    buckets: int,
    each: int,
    scorer: Any,
) -> None:
    root = tmp_path_factory.mktemp("pool")
    made = make_pool(root, rows, sizes)
    score_pool("pool", GlobalJob(made, instance(root, scorer)))
    expected = tree(root, "columns/**/*")
    assert len(expected) == len(made.shards)
    storage.remove(str(root / "columns"))
    in_buckets(made, instance(root, scorer), gathering.Plan(groups_of(made, each), buckets))
    assert tree(root, "columns/**/*") == expected


def test_golden_of_a_meeting(tmp_path: Path) -> None:
    made = make_pool(tmp_path, [("b", False), ("a", False), (None, False), ("a", True)], [3])
    of = instance(tmp_path, Meeting())
    in_buckets(made, of, gathering.Plan(groups_of(made, 1), 2))
    tables = [of.columns.read(shard) for shard in made.shards]
    assert [row["met"] for table in tables for row in table.to_pylist()] == [
        ["b"],
        ["a"],
        None,
        None,
    ]
    assert tables[0].schema.field("met").type == pa.list_(pa.string())


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets and groups of some rows; the plan is made here, so workers need not know."""
    monkeypatch.setattr(gathering, "SMALL_ROWS", 0)
    monkeypatch.setattr(gathering, "ROWS_AT_ONCE", 5)


def test_the_plan_depends_on_rows_and_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_pool(tmp_path, [("a", False)] * 30, [4])
    job = GlobalJob(made, instance(tmp_path, Frequency()))
    assert gathering.plan(job) is None
    monkeypatch.setattr(gathering, "SMALL_ROWS", 29)
    assert gathering.plan(job) is None
    monkeypatch.setattr(gathering, "ROWS_AT_ONCE", 8)
    cut = gathering.plan(job)
    assert cut is not None
    assert (cut.buckets, [len(group) for group in cut.groups]) == (4, [2, 2, 2, 2])
    monkeypatch.setattr(gathering, "BYTES_AT_ONCE", 4 * 57)  # key 16, digest 32, caption 9
    cut = gathering.plan(job)
    assert cut is not None
    assert (cut.buckets, len(cut.groups)) == (8, 8)
    monkeypatch.setattr(gathering, "BYTES_AT_ONCE", 1)
    monkeypatch.setattr(gathering, "_MOST_TASKS", 2)
    cut = gathering.plan(job)
    assert cut is not None
    assert (cut.buckets, len(cut.groups)) == (2, 3)
    without = GlobalJob(made, instance(tmp_path, AllMeet()))
    assert gathering.plan(without) is None


@dataclass(frozen=True)
class AllMeet:
    """Needs all rows at once, though its class knows how to gather some."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption",)
    writes: ClassVar[pa.Schema] = pa.schema([("n", pa.int32())])
    gather_key: ClassVar[None] = None

    def reduce(self, rows: pa.Table) -> pa.Table:
        return pa.table([[len(rows)] * len(rows)], schema=self.writes)


# Whole builds

RECIPE = """\
sources: {photos: {folder: photos/}}
score:
  mine: {scorer: "tests.pipeline.test_gathering:Meeting", columns: {met: friends}}
ingest: {rows_per_shard: 3}
"""
WORK = "work/gather"
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A build whose columns come from one reduce."""
    folder = tmp_path_factory.mktemp("ready")
    for number in range(12):
        image = b"<html></html>" if number == 5 else jpeg(number % 7, (32, 24))
        caption = None if number == 8 else f"{'abc'[number % 3]} number {number}"
        write_pair(folder / "photos", f"{number:02d}", image, caption)
    build = Build(parse_recipe(RECIPE, str(folder / "recipe.yaml")), str(folder / "out"))
    build.ingest()
    build.score()
    return build


@pytest.fixture
def expected(ready: Build) -> Files:
    return tree(ready.out, "columns/**/*")


@pytest.fixture
def make(tmp_path: Path, ready: Build) -> Callable[..., Build]:
    """Builds over one copy of the pool."""
    shutil.copytree(Path(ready.out, "pool"), tmp_path / "out" / "pool")

    def made(recipe: str = RECIPE, **options: Any) -> Build:
        parsed = parse_recipe(recipe, str(tmp_path / "recipe.yaml"))
        return Build(parsed, str(tmp_path / "out"), **options)

    return made


def scored(build: Build) -> Files:
    build.score()
    assert not tree(Path(build.out) / WORK)
    return tree(build.out, "columns/**/*")


def stages(build: Build) -> set[str]:
    return {name.name for name in (Path(build.out) / "ledger").iterdir()}


def test_a_small_pool_is_one_task(ready: Build) -> None:
    assert stages(ready) == {"survey", "ingest", "score-mine"}


def test_a_build_in_buckets(make: Make, expected: Files, small: None) -> None:
    build = make()
    assert scored(build) == expected
    assert {"score-mine-gather", "score-mine-reduce", "score-mine-write"} <= stages(build)
    assert len(list((Path(build.out) / "ledger" / "score-mine-reduce").iterdir())) == 3
    before = {p: p.stat().st_mtime_ns for p in Path(build.out).rglob("*") if p.is_file()}
    assert scored(make()) == expected
    assert before == {p: p.stat().st_mtime_ns for p in Path(build.out).rglob("*") if p.is_file()}


@pytest.mark.slow
def test_a_build_in_buckets_by_processes(make: Make, expected: Files, small: None) -> None:
    assert scored(make(engine=Engine("procs", 2))) == expected


def stop_at(monkeypatch: pytest.MonkeyPatch, build: Build, work: str, task: int) -> None:
    """End a build where a kill may: Beam gives up, and no record is left of the task."""
    whole = getattr(gathering, work)

    def stop(descriptor: Any, job: GatherJob) -> Any:
        number = descriptor if isinstance(descriptor, int) else descriptor[0]
        if number == task:
            raise KeyboardInterrupt
        return whole(descriptor, job)

    with monkeypatch.context() as patch:
        patch.setattr(gathering, work, stop)
        with pytest.raises(CurationError, match="KeyboardInterrupt"):
            build.score()


@pytest.mark.parametrize(
    "work",
    [
        pytest.param("gather_group", marks=pytest.mark.slow),
        "reduce_bucket",
        pytest.param("write_group", marks=pytest.mark.slow),
    ],
)
def test_a_build_that_is_stopped_goes_on_where_it_was(
    make: Make, expected: Files, small: None, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    build = make()
    stop_at(monkeypatch, build, work, 1)
    files = Path(build.out, WORK).rglob("*.arrow")
    before = {path.name: path.stat().st_mtime_ns for path in files}
    assert before
    stop_at(monkeypatch, make(), "write_group", 1)
    after = {p.name: p.stat().st_mtime_ns for p in Path(build.out, WORK).rglob("*.arrow")}
    assert {name: after[name] for name in before} == before
    assert scored(make()) == expected


def test_what_a_kill_behind_the_last_column_left_is_removed(
    make: Make, expected: Files, small: None
) -> None:
    build = make()
    assert scored(build) == expected
    left = Path(build.out, WORK, "mine", "0123", "v1-2-2", "gathered-00000.arrow")
    left.parent.mkdir(parents=True)
    left.touch()
    assert scored(make()) == expected


@pytest.mark.slow
def test_a_lost_column_is_made_again(make: Make, expected: Files, small: None) -> None:
    assert scored(make()) == expected
    sorted(Path(make().out).glob("columns/mine/*/*"))[2].unlink()
    assert scored(make()) == expected


def test_parts_wait_for_one_another(make: Make, expected: Files, small: None) -> None:
    parts = [Part(index, 5, wait_s=60, poll_s=0.02) for index in range(5)]
    with ThreadPoolExecutor(5) as pool:
        assert len(list(pool.map(lambda part: make(part=part).score(), parts))) == 5
    assert scored(make()) == expected


@pytest.mark.slow
def test_a_part_may_find_that_all_is_done_and_removed(
    make: Make, expected: Files, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last part finishes, and removes the work, while this one is about to read it."""
    build = make(part=Part(1, 2, wait_s=0))
    whole = gathering.reduce_bucket

    def removed(bucket: int, job: GatherJob) -> Any:
        monkeypatch.setattr(gathering, "reduce_bucket", whole)
        make().score()
        return whole(bucket, job)

    for index in (1, 0):  # both gather, and each gives up on the other
        with pytest.raises(CurationError, match="tasks of other parts"):
            make(part=Part(index, 2, wait_s=0)).score()
    monkeypatch.setattr(gathering, "reduce_bucket", removed)
    build.score()
    assert tree(build.out, "columns/**/*") == expected


def test_a_work_file_that_is_damaged_is_named(
    make: Make, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = make()
    stop_at(monkeypatch, build, "reduce_bucket", 0)
    path = next(Path(build.out, WORK).rglob("gathered-00001.arrow"))
    whole = path.read_bytes()
    for data in (b"", whole[:-40], whole[100:]):
        path.write_bytes(data)
        with pytest.raises(ShardsFailed, match=r"gathered-00001.arrow: can't be read; remove it"):
            make().score()
    path.write_bytes(whole)
    with pytest.raises(DamagedFile, match="no work file of this build"):
        gathering._read_slice(str(path), 0, 17)


BROKEN = {
    "count": r"`gather_key` returned 1 uint64 for \d rows",
    "kind": r"`gather_key` returned list for \d rows, expected as many uint64",
    "hash": r"`gather_key` gives other numbers for the same rows",
    "reduce": "ValueError: not today",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_scorer_that_breaks_its_promise(make: Make, small: None, broken: str) -> None:
    recipe = RECIPE.replace("columns:", f"broken: {broken}, columns:")
    build = make(recipe)
    with pytest.raises(ShardsFailed, match=BROKEN[broken]):
        build.score()
    assert not tree(build.out, "columns/mine/**/*")


def test_only_some_rows_meet(make: Make) -> None:
    scorer = '{scorer: "tests.pipeline.test_gathering:AllMeet", only: "caption like \'a %\'"}'
    head, tail = RECIPE.split("score:")[0], RECIPE[RECIPE.index("ingest:") :]
    build = make(f"{head}score: {{mine: {scorer}}}\n{tail}")
    columns = build.score().instances[0].columns
    made = build.open_pool()
    found = [value for s in made.shards for value in columns.read(s)["n"].to_pylist()]
    assert sorted(found, key=str) == [4] * 4 + [None] * (made.rows - 4)


def test_a_pool_too_large_for_the_machine_is_refused_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import global_score, memory

    made = make_pool(tmp_path, [("a", False)] * 30, [10])
    of = instance(tmp_path, Frequency())
    monkeypatch.setattr(memory, "available_bytes", lambda: 5 * 57 * 30 - 1)
    score_pool("pool", GlobalJob(made, of))
    monkeypatch.setattr(global_score, "SMALL_ROWS", 29)
    storage.remove(of.columns.folder)
    with pytest.raises(CurationError, match=r"scorer 'mine' over 30 rows needs about 0\.0 GB"):
        score_pool("pool", GlobalJob(made, of))
    monkeypatch.setattr(memory, "available_bytes", lambda: 5 * 57 * 30)
    score_pool("pool", GlobalJob(made, of))
    monkeypatch.setattr(memory, "available_bytes", lambda: 100)
    with pytest.raises(CurationError, match="bucket 0 of scorer 'mine', of 30 rows"):
        in_buckets(made, of, gathering.Plan(groups_of(made, 2), 1))


def test_a_bucket_with_a_popular_key_is_larger_than_others(tmp_path: Path) -> None:
    made = make_pool(tmp_path, [("a", False)] * 30, [10])
    scorer = Frequency()
    in_buckets(made, instance(tmp_path, scorer), gathering.Plan(groups_of(made, 1), 5))
    table = instance(tmp_path, scorer).columns.read(made.shards[1])
    assert table["caption_count"].to_pylist() == [30] * 10


def test_small_numbers_as_keys_spread_over_all_buckets() -> None:
    mixed = gathering._mixed(np.arange(4000, dtype=np.uint64)) % np.uint64(8)
    assert np.bincount(mixed.astype(int)).min() > 400
