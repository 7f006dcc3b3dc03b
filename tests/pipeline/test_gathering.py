"""Rows that meet in buckets get what they would if all had met; whatever stops on the way."""

import os
from collections.abc import Callable
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
from pipeline.build import Build
from pipeline.columns import ColumnSet
from pipeline.errors import CurationError
from pipeline.gathering import GatherJob
from pipeline.global_score import GlobalJob, score_pool
from pipeline.instances import Instance
from pipeline.pool import Pool, base_table, write_base
from tests.conftest import tree


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


POOLS = given(
    rows=st.lists(st.tuples(CAPTIONS, st.booleans()), max_size=40),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    buckets=st.integers(1, 9),
    each=st.integers(1, 4),
    scorer=st.sampled_from(SCORERS),
)
_SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@POOLS
@settings(_SETTINGS, max_examples=10)
def test_any_number_of_buckets_gives_the_bytes_of_one_reduce(
    tmp_path_factory: pytest.TempPathFactory, **cut: Any
) -> None:
    require_one_answer(tmp_path_factory.mktemp("pool"), **cut)


@pytest.mark.slow
@POOLS
@settings(_SETTINGS, max_examples=100)
def test_any_number_of_buckets_of_many_pools(
    tmp_path_factory: pytest.TempPathFactory, **cut: Any
) -> None:
    require_one_answer(tmp_path_factory.mktemp("pool"), **cut)


def require_one_answer(
    root: Path, rows: list[Row], sizes: list[int], buckets: int, each: int, scorer: Any
) -> None:
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


BROKEN = {
    "count": r"`gather_key` returned 1 uint64 for 10 rows",
    "kind": r"`gather_key` returned list for 10 rows, expected as many uint64",
    "hash": r"`gather_key` gives other numbers for the same rows",
    "reduce": "not today",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_scorer_that_breaks_its_promise(tmp_path: Path, broken: str) -> None:
    made = make_pool(tmp_path, [(letter, False) for letter in "abc" * 10], [10])
    of = instance(tmp_path, Meeting(broken))
    with pytest.raises((CurationError, ValueError), match=BROKEN[broken]):
        in_buckets(made, of, gathering.Plan(groups_of(made, 1), 5))
    assert not tree(tmp_path, "columns/**/*")


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
