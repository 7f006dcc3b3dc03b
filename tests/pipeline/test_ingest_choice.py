"""Which of rows with equal keys is kept, by surveys alone, whatever the keys look like."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import ingest
from pipeline.ingest import IngestJob


def write_surveys(root, lists):
    """Surveys of rows that are four numbers each: the halves of a key, and those of a rank."""
    os.makedirs(os.path.dirname(ingest.survey_path(str(root), 0)), exist_ok=True)
    for number, rows in enumerate(lists):
        words = np.array(rows, ">u8").reshape(-1, 4)
        columns = [ingest._binary16(words[:, part].tobytes()) for part in ([0, 1], [2, 3])]
        table = pa.table(columns, schema=ingest._SURVEY)
        pq.write_table(table, ingest.survey_path(str(root), number))


def chosen_slowly(lists):
    """Per list the places of rows behind another of the same key, ranks and places compared."""
    places = [(unit, place) for unit, rows in enumerate(lists) for place in range(len(rows))]
    best = {}
    for unit, place in places:
        row = lists[unit][place]
        best[row[:2]] = min(best.get(row[:2], (row[2:], unit, place)), (row[2:], unit, place))
    kept = {found[1:] for found in best.values()}
    return [
        [place for place in range(len(rows)) if (unit, place) not in kept]
        for unit, rows in enumerate(lists)
    ]


HALVES = st.sampled_from([0, 1, 7, (1 << 64) - 1])
ROWS = st.tuples(HALVES, HALVES, st.integers(0, 2), st.integers(0, 2))


@pytest.mark.slow
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.lists(ROWS, max_size=12), max_size=4), st.sampled_from([1, 4, 1000]))
def test_keys_that_share_a_half_are_told_apart(tmp_path, monkeypatch, lists, at_once):
    monkeypatch.setattr(ingest, "_ROWS_AT_ONCE", at_once)
    write_surveys(tmp_path, lists)
    job = IngestJob(str(tmp_path), "plan", {})
    found = ingest._losers(job, [len(rows) for rows in lists])
    assert [part.tolist() for part in found] == chosen_slowly(lists)


@pytest.mark.parametrize("lists", [[], [[]], [[], [(1, 1, 0, 0)]]])
def test_nothing_stands_for_nothing(tmp_path, lists):
    write_surveys(tmp_path, lists)
    found = ingest._losers(IngestJob(str(tmp_path), "plan", {}), [len(rows) for rows in lists])
    assert [part.tolist() for part in found] == [[] for _ in lists]
