"""Runs: rendered samples on disk in the order of the shuffle, and merges of slices of many runs.

A run has an index of one entry a sample, and its data behind it in the same order. Of a row that
is drawn more than once the data is stored once. What is read at a time is bounded, however large
a run or a slice is; pieces that exceed PIECE_BYTES go to the disk before a run is put together.
"""

import contextlib
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import storage
from pipeline.errors import DamagedFile

Index = npt.NDArray[np.void]
PIECE_BYTES = 128_000_000  # rendered samples that a task holds
MERGE_BYTES = 128_000_000  # data of all slices that a merge holds
_LEAST_READ = 1 << 16
INDEX = np.dtype(
    [
        ("place", "<u8"),
        ("key", "V16"),
        ("offset", "<i8"),
        ("length", "<i8"),
        ("vectors", "<i8"),  # bytes of embeddings at the end of the data
        ("is_copied", "?"),  # the data is in the file of rows that are there more than once
    ]
)


@dataclass(frozen=True)
class Rendered:
    """One row as it will be written, with place and key of every copy."""

    places: tuple[tuple[int, bytes], ...]
    data: bytes = field(repr=False)
    vectors: int = 0


@dataclass(frozen=True)
class Run:
    """The files of a run; the index is written last."""

    path: str

    @property
    def members(self) -> str:
        return f"{self.path}.members"

    @property
    def copied(self) -> str:
        return f"{self.path}.copied"

    @property
    def index(self) -> str:
        return f"{self.path}.npy"

    @property
    def files(self) -> tuple[str, str, str]:
        return self.members, self.copied, self.index

    def is_written(self) -> bool:
        return all(storage.exists(path) for path in self.files)

    def read_index(self, start: int = 0, stop: int | None = None) -> Index:
        """Some entries of the index, by default all; no others are read. Raises DamagedFile."""
        try:
            with storage.open_input(self.index) as stream:
                np.lib.format.read_magic(stream)
                shape, _, kind = np.lib.format.read_array_header_1_0(stream)
                beyond = shape[0] if stop is None else stop
                if kind != INDEX or beyond > shape[0]:
                    raise ValueError(f"it has {shape[0]} entries of {kind.itemsize} bytes")
                stream.seek(start * INDEX.itemsize, os.SEEK_CUR)
                data = stream.read((beyond - start) * INDEX.itemsize)
            if len(data) != (beyond - start) * INDEX.itemsize:
                raise ValueError(f"it ends after {len(data) // INDEX.itemsize} entries")
            return np.frombuffer(data, INDEX)
        except (ValueError, OSError, IndexError) as error:
            message = f"{self.index}: can't be read, remove it and export again: {error}"
            raise DamagedFile(message) from error


@dataclass(frozen=True, eq=False)
class Slice:
    """Neighbouring entries of a run."""

    run: Run
    index: Index


@dataclass(frozen=True, eq=False)
class Merged:
    """The entries of all slices in the order of the shuffle, and the slice of each."""

    slices: Sequence[Slice]
    index: Index
    origin: npt.NDArray[np.intp]

    def data(self, *, with_copied: bool = True) -> Iterator[bytes]:
        """The data of every entry in order; nothing of copied rows when they are not asked for."""
        own = [part.index[~part.index["is_copied"]] for part in self.slices]
        at_once = max(_LEAST_READ, MERGE_BYTES // max(1, len(own)))
        readers = [
            _Reader(part.run.members, entries, at_once)
            for part, entries in zip(self.slices, own, strict=True)
        ]
        rows = (self.index[name].tolist() for name in ("offset", "length", "is_copied"))
        for origin, offset, length, is_copied in zip(self.origin.tolist(), *rows, strict=True):
            if not is_copied:
                yield readers[origin].take(length)
            elif with_copied:
                yield _read(self.slices[origin].run.copied, offset, length)
            else:
                yield b""


def merge(slices: Sequence[Slice]) -> Merged:
    """The slices as one, in the order of the shuffle: by place, then by key."""
    index = np.concatenate([np.zeros(0, INDEX), *(part.index for part in slices)])
    origin = np.repeat(np.arange(len(slices)), [len(part.index) for part in slices])
    order = _order(index)
    return Merged(slices, index[order], origin[order])


def write_run(run: Run, rows: Iterable[Rendered]) -> int:
    """Sort rendered rows into a run and return its samples; holds PIECE_BYTES at most."""
    own = uuid.uuid4().hex  # two workers may write the same run at once
    piece, pieces = _Piece(), list[Run]()

    def flush() -> None:
        nonlocal piece
        # What a killed writer leaves goes with the folder of all runs.
        pieces.append(Run(f"{run.path}-{own}-{len(pieces)}"))
        piece.write(pieces[-1])
        piece = _Piece()

    try:
        with storage.writing(run.copied) as temporary, open(temporary, "wb") as copied:
            for row in rows:
                if len(row.places) == 1:
                    piece.add(row)
                else:
                    piece.refer(row, copied.tell())
                    copied.write(row.data)
                if piece.size_bytes > PIECE_BYTES:
                    flush()
        if not pieces:
            return piece.write(run)
        flush()
        return _write_merged(run, [Slice(part, part.read_index()) for part in pieces])
    finally:
        for part in pieces:
            for path in part.files:
                storage.remove(path)


def _write_merged(run: Run, pieces: Sequence[Slice]) -> int:
    merged = merge(pieces)
    with storage.writing(run.members) as temporary, open(temporary, "wb") as stream:
        stream.writelines(merged.data(with_copied=False))
    return _write_index(run, merged.index)


def _write_index(run: Run, index: Index) -> int:
    """The index of samples whose data lies in their order, but for copied ones."""
    lengths = np.where(index["is_copied"], 0, index["length"])
    starts = np.cumsum(lengths) - lengths
    index["offset"] = np.where(index["is_copied"], index["offset"], starts)
    with storage.writing(run.index) as temporary, open(temporary, "wb") as stream:
        np.lib.format.write_array(stream, index, version=(1, 0), allow_pickle=False)
    return len(index)


def _order(index: Index) -> npt.NDArray[np.intp]:
    keys = np.ascontiguousarray(index["key"]).view(">u8").reshape(-1, 2)
    return np.lexsort((keys[:, 1], keys[:, 0], index["place"]))


class _Piece:
    """What a task holds of a run before it is written; a class because it grows."""

    def __init__(self) -> None:
        self._data: list[bytes] = []
        self._entries: list[Index] = []
        self.size_bytes = 0

    def add(self, row: Rendered) -> None:
        """Hold the data of a row that is there once."""
        self._append(row, len(self._data), False)
        self._data.append(row.data)
        self.size_bytes += len(row.data)

    def refer(self, row: Rendered, offset: int) -> None:
        """Hold the entries of a row that is there more than once; its data lies elsewhere."""
        self._append(row, offset, True)

    def _append(self, row: Rendered, offset: int, is_copied: bool) -> None:
        rest = (offset, len(row.data), row.vectors, is_copied)
        entries = [(place, key, *rest) for place, key in row.places]
        self._entries.append(np.array(entries, INDEX))
        self.size_bytes += self._entries[-1].nbytes

    def write(self, run: Run) -> int:
        """Write what is held as a run; the index of an entry's data becomes its offset."""
        index = np.concatenate([np.zeros(0, INDEX), *self._entries])
        index = index[_order(index)]
        with storage.writing(run.members) as temporary, open(temporary, "wb") as stream:
            for entry in index[~index["is_copied"]]["offset"].tolist():
                stream.write(self._data[entry])
        return _write_index(run, index)


class _Reader:
    """Reads neighbouring data one after the other, `at_once` bytes at a time; holds them."""

    def __init__(self, path: str, entries: Index, at_once: int) -> None:
        self._path, self._at_once = path, at_once
        self._next = int(entries["offset"][0]) if len(entries) else 0
        self._stop = self._next + int(entries["length"].sum())
        self._held, self._at = b"", 0

    def take(self, length: int) -> bytes:
        missing = length - (len(self._held) - self._at)
        if missing > 0:
            size = min(max(missing, self._at_once), self._stop - self._next)
            self._held = self._held[self._at :] + _read(self._path, self._next, size)
            self._next, self._at = self._next + size, 0
        data = self._held[self._at : self._at + length]
        self._at += length
        return data


def _read(path: str, offset: int, length: int) -> bytes:
    with contextlib.ExitStack() as opened:
        try:
            stream = opened.enter_context(storage.open_input(path))
        except OSError as error:
            message = f"{path}: can't be read, remove it and export again: {error}"
            raise DamagedFile(message) from error
        stream.seek(offset, os.SEEK_SET)
        data = stream.read(length)
    if len(data) != length:
        raise DamagedFile(f"{path}: ends at byte {offset + len(data)}; remove it and export again")
    return data


def sample_places(run: Run, start: int = 0, stop: int | None = None) -> Any:
    """The places of some entries of a run, in order, and nothing else of them."""
    return np.ascontiguousarray(run.read_index(start, stop)["place"])
