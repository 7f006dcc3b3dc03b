"""Verdicts on disk: one row per row of the pool, in pool order, and an index written last.

A file holds the rows of many shards; the index says of which. No index, no selection.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.errors import DamagedFile
from pipeline.pool import Pool

SCHEMA = pa.schema(
    [
        pa.field("shard", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("key", pa.binary(16), nullable=False),
        pa.field("verdict", pa.string(), nullable=False),  # "kept", "failed", or a step's name
        pa.field("times", pa.int32(), nullable=False),  # copies; 0 unless kept
    ]
)
KEPT, FAILED = "kept", "failed"
ROWS_PER_FILE = 1_000_000
_OURS = re.compile(r"\d{5,}\.parquet")


@dataclass(frozen=True, slots=True)
class Part:
    """Where the verdicts of one pool shard are: what a worker needs to read them itself."""

    path: str
    start: int
    rows: int

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The verdicts, in the order of the shard's base rows. Raises DamagedFile."""
        part = _read(self.path, columns).slice(self.start, self.rows)
        if len(part) != self.rows:
            raise DamagedFile(f"{self.path}: {len(part)} verdicts for {self.rows} rows")
        return part

    def times(self) -> npt.NDArray[np.int32]:
        """How often each row is to be written; the rest of the verdicts is not read."""
        times: npt.NDArray[np.int32] = self.read(["times"])["times"].to_numpy()
        return times


@dataclass(frozen=True)
class Verdicts:
    """A finished selection in `folder`; `summary` is what the selection said of itself."""

    folder: str
    digest: str
    shards: tuple[str, ...]
    rows: tuple[int, ...]
    files: tuple[int, ...]  # first shard of each file
    summary: Mapping[str, Any]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.shards)}

    @cached_property
    def _starts(self) -> list[int]:
        """The rows before each shard, and all of them."""
        return list(accumulate(self.rows, initial=0))

    def part(self, name: str) -> Part:
        """Where the verdicts of a pool shard are. Raises DamagedFile when there are none."""
        number = self._numbers.get(name)
        if number is None:
            raise DamagedFile(f"{self.folder}: says nothing of shard {name}; select again")
        file = bisect_right(self.files, number) - 1
        start = self._starts[number] - self._starts[self.files[file]]
        return Part(self._path(file), start, self.rows[number])

    def of_shard(self, name: str) -> pa.Table:
        """The verdicts of one pool shard, in the order of its base rows."""
        return self.part(name).read()

    def times(self) -> Iterator[tuple[int, int, npt.NDArray[np.int32]]]:
        """How often each row is to be written, a file at a time: of shards first to beyond."""
        for file, (first, end) in enumerate(self._spans()):
            rows = self._starts[end] - self._starts[first]
            yield first, end, Part(self._path(file), 0, rows).times()

    def _spans(self) -> Iterator[tuple[int, int]]:
        """The first shard of each file, and the first beyond it."""
        return zip(self.files, [*self.files[1:], len(self.shards)], strict=True)

    def is_whole(self) -> bool:
        """Whether every file is there with its rows; what is in them is checked when it is read."""
        for file, (first, end) in enumerate(self._spans()):
            rows = self._starts[end] - self._starts[first]
            try:
                with storage.open_input(self._path(file)) as stream:
                    if pq.read_metadata(stream).num_rows != rows:
                        return False
            except (pa.ArrowException, OSError):
                return False
        return True

    def _path(self, file: int) -> str:
        return storage.join(self.folder, f"{file:05d}.parquet")

    def tables(self) -> Iterator[pa.Table]:
        """All verdicts in pool order, a file at a time."""
        for file in range(len(self.files)):
            yield _read(self._path(file))


def _read(path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a file; those read last are kept, as long as the file stays as it is."""
    try:
        wanted = None if columns is None else tuple(columns)
        return _read_once(path, storage.stamp(path), wanted)
    except (pa.ArrowException, OSError) as error:
        what = storage.first_line(error)
        message = f"{path}: can't be read, remove it and select again: {what}"
        raise DamagedFile(message) from error


@lru_cache(maxsize=2)
def _read_once(path: str, _stamp: int, columns: tuple[str, ...] | None) -> pa.Table:
    wanted = None if columns is None else list(columns)
    with storage.open_input(path) as stream:
        return pq.read_table(stream, columns=wanted, page_checksum_verification=True)


def open_verdicts(folder: str, digest: str | None = None) -> Verdicts | None:
    """The selection in `folder`; None when there is none, or no whole one that `digest` names.

    Raises DamagedFile when the index is damaged and any selection would do.
    """
    path = storage.join(folder, "index.json")
    if not storage.exists(path):
        return None
    try:
        value = storage.read_fields(path, "digest", "shards", "rows", "files", "summary")
    except DamagedFile:
        if digest is None:
            raise
        return None
    found = Verdicts(
        folder=folder,
        digest=value["digest"],
        shards=tuple(value["shards"]),
        rows=tuple(value["rows"]),
        files=tuple(value["files"]),
        summary=value["summary"],
    )
    is_wanted = digest is None or (found.digest == digest and found.is_whole())
    return found if is_wanted else None


def clear(folder: str) -> None:
    """Take back a selection before another is written: first the index, then the rest."""
    storage.remove(storage.join(folder, "index.json"))
    for name in storage.files_below(folder):
        if _OURS.fullmatch(name):  # a folder of this name may hold what others put there
            storage.remove(storage.join(folder, name))


class VerdictWriter:
    """Cuts a stream of verdicts in pool order into files; a class because it holds what is open.

    Files end where a shard ends, at about ROWS_PER_FILE rows.
    """

    def __init__(self, folder: str, pool: Pool) -> None:
        self._folder, self._pool = folder, pool
        self._pending: list[pa.Table] = []
        self._held = 0
        self._files: list[int] = []
        self._cuts = list(_cuts([shard.rows for shard in pool.shards]))

    def write(self, table: pa.Table) -> None:
        """Append verdicts; they must come in pool order."""
        self._pending.append(table.cast(SCHEMA))
        self._held += len(table)
        while len(self._files) < len(self._cuts) and self._held >= self._cuts[len(self._files)][1]:
            self._flush()

    def _flush(self) -> None:
        first, rows = self._cuts[len(self._files)]
        held = pa.concat_tables(self._pending)
        path = storage.join(self._folder, f"{len(self._files):05d}.parquet")
        with storage.writing(path) as temporary:
            table = held.slice(0, rows)
            pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
        self._files.append(first)
        self._pending, self._held = [held.slice(rows)], self._held - rows

    def finish(self, digest: str, summary: Mapping[str, Any]) -> Verdicts:
        """Write the index. Raises DamagedFile when rows are missing or left over."""
        if self._held or len(self._files) != len(self._cuts):
            raise DamagedFile(
                f"{self._folder}: wrote {len(self._files)} of {len(self._cuts)} verdict files,"
                f" {self._held} rows left over"
            )
        value = {
            "format": 1,
            "digest": digest,
            "shards": [shard.name for shard in self._pool.shards],
            "rows": [shard.rows for shard in self._pool.shards],
            "files": self._files,
            "summary": summary,
        }
        storage.write_json(storage.join(self._folder, "index.json"), value)
        found = open_verdicts(self._folder, digest)
        assert found is not None
        return found


def _cuts(rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first shard, rows) of every file."""
    first = held = 0
    for number, count in enumerate(rows):
        held += count
        if held >= ROWS_PER_FILE:
            yield first, held
            first, held = number + 1, 0
    if first < len(rows):
        yield first, held
