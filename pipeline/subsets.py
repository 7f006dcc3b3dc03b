"""DataComp's subset files: which uids a training set has, and how often.

A file is an npy array of dtype "u8,u8", the upper and lower 64 bits of uids of 32 hex digits,
sorted; a uid that stands there twice is written twice. (mlfoundations/datacomp, resharder.)
"""

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.errors import CurationError, DamagedFile

SUBSET_TYPE = np.dtype("u8,u8")
Subset = npt.NDArray[np.void]
Uids: TypeAlias = "pa.ChunkedArray[Any] | pa.Array[Any]"
_HEX = "[0-9a-fA-F]{32}"
_UID_BYTES = 16
_CHECKED = 1 << 20  # entries at a time
_PART = 1 << 16  # uids that are read from text at a time


def write_subset(path: str, uids: Iterable[str], times: Iterable[int] | None = None) -> int:
    """Write uids, each as often as `times` says (once without), and return how many there are.

    Raises CurationError for what is no uid.
    """
    listed = list(uids)
    copies = np.ones(len(listed), np.int64) if times is None else np.array([*times], np.int64)
    writer = SubsetWriter(path, int(copies.sum()))
    writer.add(pa.array(listed, pa.string()), copies)
    return writer.finish()


class SubsetWriter:
    """Collects uids and writes them sorted; a class because they come in parts.

    Needs the 16 bytes an entry that the file has, and what one part needs.
    """

    def __init__(self, path: str, entries: int) -> None:
        self._path, self._held = path, 0
        self._uids = np.zeros(entries, f"S{_UID_BYTES}")  # big-endian: sorted as bytes

    def add(self, uids: Uids, times: npt.NDArray[Any]) -> None:
        """Take uids, each so many times. Raises CurationError for what is no uid."""
        column = _column(uids)
        for start in range(0, len(column), _PART):
            part = slice(start, start + _PART)
            self._add(column[part], times[part])

    def _add(self, uids: "pa.Array[Any]", times: npt.NDArray[Any]) -> None:
        rows = np.flatnonzero(times)
        chosen = uids.take(pa.array(rows))
        is_uid = _are_uids(chosen)
        if not is_uid.all():
            found = chosen[int(np.argmin(is_uid))].as_py()
            raise CurationError(f"{self._path}: {found or ''!r} is no uid of 32 hex digits")
        packed = np.repeat(_bytes_of(chosen), times[rows])
        if self._held + len(packed) > len(self._uids):
            raise CurationError(f"{self._path}: more than {len(self._uids)} entries were chosen")
        self._uids[self._held : self._held + len(packed)] = packed
        self._held += len(packed)

    def finish(self) -> int:
        """Write the file and return its entries; what was held is given up."""
        if self._held != len(self._uids):
            raise CurationError(
                f"{self._path}: {len(self._uids)} entries were chosen, {self._held} are there"
            )
        self._uids.sort()
        self._uids.view("u8").byteswap(inplace=True)
        with storage.writing(self._path) as temporary, open(temporary, "wb") as stream:
            subset = self._uids.view(SUBSET_TYPE)
            np.lib.format.write_array(stream, subset, version=(1, 0), allow_pickle=False)
        return self._held


def read_subset(path: str) -> Subset:
    """The sorted uids of a subset file; DamagedFile when it is none."""
    try:
        with storage.open_input(path) as stream:
            subset = np.load(stream, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DamagedFile(f"{path}: not an npy file: {error}") from error
    if not isinstance(subset, np.ndarray) or subset.dtype != SUBSET_TYPE or subset.ndim != 1:
        found = getattr(subset, "dtype", type(subset).__name__)
        raise DamagedFile(f"{path}: holds {found}, expected a list of (u8, u8)")
    for start in range(0, len(subset), _CHECKED):
        part = subset[start : start + _CHECKED + 1]
        upper, lower = part["f0"], part["f1"]
        falls = (upper[1:] < upper[:-1]) | ((upper[1:] == upper[:-1]) & (lower[1:] < lower[:-1]))
        if falls.any():
            entry = start + int(np.argmax(falls)) + 1
            raise DamagedFile(f"{path}: not sorted, from entry {entry} on")
    return subset


def uids_of(subset: Subset) -> list[str]:
    """The uids of a subset as text, in order."""
    return [f"{upper:016x}{lower:016x}" for upper, lower in subset.tolist()]


def copies_in(subset: Subset, uids: Uids) -> npt.NDArray[np.int64]:
    """How often each uid is in a subset, by two binary searches; 0 for NULL or no uid."""
    column = _column(uids)
    rows = np.flatnonzero(_are_uids(column))
    wanted = _bytes_of(column.take(pa.array(rows))).view(">u8").astype("u8").view(SUBSET_TYPE)
    left = np.searchsorted(subset, wanted, side="left")
    inside = np.flatnonzero(left < len(subset))
    is_there = inside[subset[left[inside]] == wanted[inside]]
    found = np.zeros(len(column), np.int64)
    right = np.searchsorted(subset, wanted[is_there], side="right")
    found[rows[is_there]] = right - left[is_there]
    return found


def _column(uids: Uids) -> "pa.Array[Any]":
    """Uids as one column of texts; what is no text is none."""
    chunks = uids.chunks if isinstance(uids, pa.ChunkedArray) else [uids]
    whole: pa.Array[Any] = pa.concat_arrays(chunks or [pa.array([], pa.string())])
    return whole.cast(pa.large_string())


def _are_uids(column: "pa.Array[Any]") -> npt.NDArray[np.bool_]:
    matches: Any = pc.match_substring_regex(column, f"^{_HEX}$")
    found: npt.NDArray[np.bool_] = matches.fill_null(False).to_numpy(zero_copy_only=False)
    return found


def _bytes_of(uids: "pa.Array[Any]") -> npt.NDArray[np.bytes_]:
    """Uids as 16 bytes each; all of them must be uids."""
    data = uids.cast(pa.large_binary()).buffers()[2] if len(uids) else None
    text = b"" if data is None else data.to_pybytes()
    first = 32 * uids.offset
    packed = bytes.fromhex(text[first : first + 32 * len(uids)].decode("ascii"))
    return np.frombuffer(packed, f"S{_UID_BYTES}")
