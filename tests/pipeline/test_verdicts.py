"""Verdicts on disk: each shard's are found in the file that holds them, and read alone."""

import pickle

import numpy as np
import pyarrow as pa
import pytest

from pipeline import verdicts
from pipeline.errors import DamagedFile
from pipeline.pool import Pool, Shard
from pipeline.verdicts import SCHEMA, VerdictWriter, open_verdicts

ROWS = [3, 0, 4, 5, 1, 2, 0]


@pytest.fixture
def found(tmp_path, monkeypatch):
    """Verdicts of shards of these rows in files of at least four."""
    monkeypatch.setattr(verdicts, "ROWS_PER_FILE", 4)
    shards = [Shard(f"{n:05d}", "s", rows, 0, 0, "", "") for n, rows in enumerate(ROWS)]
    writer = VerdictWriter(str(tmp_path), Pool("", "", tuple(shards)))
    for number, rows in enumerate(ROWS):
        times = [10 * number + row for row in range(rows)]
        columns = [[number] * rows, list(range(rows)), [bytes(16)] * rows, ["kept"] * rows, times]
        writer.write(
            pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], SCHEMA)
        )
    writer.finish("digest", {"kept": 15})
    return open_verdicts(str(tmp_path), "digest")


def test_every_shard_has_its_own(found):
    assert len(found.files) == 3
    for number, rows in enumerate(ROWS):
        name = f"{number:05d}"
        table = found.of_shard(name)
        assert table["shard"].to_pylist() == [number] * rows
        part = pickle.loads(pickle.dumps(found.part(name)))
        assert part.times().tolist() == table["times"].to_pylist()
        assert part.times().tolist() == [10 * number + row for row in range(rows)]


def test_a_file_at_a_time_they_are_all_of_them(found):
    parts = list(found.times())
    assert [(first, end) for first, end, _ in parts] == [(0, 3), (3, 4), (4, 7)]
    every = np.concatenate([times for _, _, times in parts])
    assert every.tolist() == [n for table in found.tables() for n in table["times"].to_pylist()]


def test_what_is_not_there_is_named(found, tmp_path):
    with pytest.raises(DamagedFile, match="says nothing of shard 00007; select again"):
        found.of_shard("00007")
    (tmp_path / "00001.parquet").write_bytes((tmp_path / "00002.parquet").read_bytes())
    with pytest.raises(DamagedFile, match=r"00001\.parquet: 3 verdicts for 5 rows"):
        found.part("00003").times()
    assert open_verdicts(str(tmp_path), "digest") is None
