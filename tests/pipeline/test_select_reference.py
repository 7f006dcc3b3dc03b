"""The selection against a slow reference, and against itself in other orders and less memory."""

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import step_sql
from pipeline.errors import CurationError
from pipeline.select import Resources, select
from pipeline.steps import Draw, OnePer, Step, Top, Where
from tests.pipeline.selecting import QUICK, ROWS, STEPS, Row, placed, reference, run, table_of

pytestmark = pytest.mark.slow


@pytest.fixture
def resources(tmp_path: Path) -> Resources:
    return Resources(tmp_path / "spill", memory_limit="200MB", threads=2)


def agrees(resources: Resources, rows: list[Row], chosen: list[Step], seed: int) -> None:
    steps = {f"step_{number}": step for number, step in enumerate(chosen)}
    given_rows = placed(rows, seed)
    takedown = {row["key"] for row in given_rows[:2]} if seed % 3 == 0 else set()
    expected = reference(given_rows, steps, takedown)
    found, summary = run(table_of(given_rows), steps, resources, takedown=takedown)
    assert found == expected
    left = dict(summary.attrition)
    for before, name in pairwise(left):
        assert left[before] - left[name] == sum(v == name for v, _ in expected.values())
    assert summary.copies == sum(times for _, times in expected.values())
    ordered = sorted(given_rows, key=lambda row: (row["shard"], row["row"]))
    again, same = run(table_of(ordered), steps, resources, takedown=takedown)
    assert (again, same) == (found, summary)


ANY_SELECTION = {
    "rows": st.lists(ROWS, min_size=1, max_size=40),
    "chosen": st.lists(STEPS, max_size=4),
    "seed": st.integers(0, 2**32),
}


@settings(QUICK, max_examples=15)
@given(**ANY_SELECTION)
def test_agrees_with_the_reference_in_any_order(
    resources: Resources, rows: list[Row], chosen: list[Step], seed: int
) -> None:
    agrees(resources, rows, chosen, seed)


@pytest.mark.slow
@settings(QUICK, max_examples=300)
@given(**ANY_SELECTION)
def test_agrees_with_the_reference_on_many_more(
    resources: Resources, rows: list[Row], chosen: list[Step], seed: int
) -> None:
    agrees(resources, rows, chosen, seed)


def big(count: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    rows = rng.permutation(count)
    columns = {
        "shard": pa.array((rows // 1000).astype(np.int32)),
        "row": pa.array((rows % 1000).astype(np.int32)),
        "key": pa.array([hashlib.md5(b"%d" % n).digest() for n in rows], pa.binary(16)),
        "failed": pa.array(["decode"] * count, mask=rows % 20 != 0),
        "score": pa.array((rows * 7919 % 1000 / 1000).astype(np.float32), mask=rows % 11 == 0),
        "weight": pa.array(rows % 13 / 4),
        "language": pa.array([("en", "de", "fr")[n % 3] for n in rows], mask=rows % 17 == 0),
        "source": pa.array([f"source-{n % 5}-with-a-long-name" for n in rows]),
        "dup_group": pa.array(rows % (count // 2)),
    }
    return pa.table(columns)


EVERYTHING: dict[str, Step] = {
    "words": Where("score > 0.1 or language = 'en'"),
    "aligned": Top("score", fraction=0.8, per=("language",)),
    "unique": OnePer("dup_group", "weight"),
    "chance": Draw("weight"),
    "most": Draw(0.9, per=("source",)),
    "copies": Draw("weight", count=50_000, repeat=True, per=("language",)),
}


@pytest.mark.slow
def test_chunks_threads_buckets_and_order_change_nothing(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = big(20_000, 0)
    expected = run(table, EVERYTHING, resources, report_by=("source",))
    monkeypatch.setattr("pipeline.select_input._CHUNK_ROWS", 1500)
    monkeypatch.setattr("pipeline.select._LEAST_ROWS", 2000)
    in_order = table.sort_by([("shard", "ascending"), ("row", "ascending")])
    single = Resources(resources.temp_dir, threads=1)
    assert run(in_order, EVERYTHING, single, report_by=("source",)) == expected
    monkeypatch.setattr(step_sql, "BUCKETS", 3)
    backwards = in_order.take(list(range(len(table)))[::-1])
    assert run(backwards, EVERYTHING, resources, report_by=("source",)) == expected


@pytest.mark.slow
def test_what_does_not_fit_spills_and_changes_nothing(resources: Resources) -> None:
    table = big(250_000, 1)
    expected = run(table, EVERYTHING, Resources(resources.temp_dir, "2GB", 1))
    spilled = Resources(resources.temp_dir, "32MB", 1)
    with select(table.to_batches(), EVERYTHING, spilled) as selection:
        files = [path for path in resources.temp_dir.rglob("*") if path.is_file()]
        assert files, "nothing was spilled"
        assert selection.summary == expected[1]
        found = pa.Table.from_batches(selection.verdicts()).to_pylist()
    assert [(v["verdict"], v["times"]) for v in found] == list(expected[0].values())


def test_too_little_memory_is_said(resources: Resources) -> None:
    with pytest.raises(CurationError, match="out of memory; raise the memory limit"):
        run(big(100_000, 2), EVERYTHING, Resources(resources.temp_dir, "4MB", 1))
    assert not list(resources.temp_dir.iterdir())
