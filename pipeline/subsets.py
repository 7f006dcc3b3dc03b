"""DataComp's subset files: which uids a training set has, and how often.

A file is an npy array of dtype "u8,u8", the upper and lower 64 bits of uids of 32 hex digits,
sorted; a uid that stands there twice is written twice. (mlfoundations/datacomp, resharder.)
"""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import storage
from pipeline.errors import CurationError, DamagedFile

SUBSET_TYPE = np.dtype("u8,u8")
Subset = npt.NDArray[np.void]
_UID = re.compile(r"[0-9a-fA-F]{32}")


def write_subset(path: str, uids: Iterable[str], times: Iterable[int] | None = None) -> int:
    """Write uids, each as often as `times` says (once without), and return how many there are.

    Raises CurationError for what is no uid.
    """
    listed = list(uids)
    for uid in listed:
        if not _UID.fullmatch(uid):
            raise CurationError(f"{path}: {uid!r} is no uid of 32 hex digits")
    subset = _packed(listed)
    if times is not None:
        subset = np.repeat(subset, np.fromiter(times, np.int64, len(listed)))
    subset.sort()
    with storage.writing(path) as temporary, open(temporary, "wb") as stream:
        np.save(stream, subset, allow_pickle=False)
    return len(subset)


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
    upper, lower = subset["f0"], subset["f1"]
    falls = (upper[1:] < upper[:-1]) | ((upper[1:] == upper[:-1]) & (lower[1:] < lower[:-1]))
    if falls.any():
        raise DamagedFile(f"{path}: not sorted, from entry {int(np.argmax(falls)) + 1} on")
    return subset


def uids_of(subset: Subset) -> list[str]:
    """The uids of a subset as text, in order."""
    return [f"{upper:016x}{lower:016x}" for upper, lower in subset.tolist()]


def copies_in(
    subset: Subset, uids: "pa.ChunkedArray[Any] | pa.Array[Any]"
) -> npt.NDArray[np.int64]:
    """How often each uid is in a subset, by two binary searches; 0 for NULL or no uid."""
    known = {
        row: uid
        for row, uid in enumerate(uids.to_pylist())
        if uid is not None and _UID.fullmatch(uid)
    }
    wanted = _packed(list(known.values()))
    right = np.searchsorted(subset, wanted, side="right")
    found = np.zeros(len(uids), np.int64)
    found[list(known)] = right - np.searchsorted(subset, wanted, side="left")
    return found


def _packed(uids: list[str]) -> Subset:
    words = np.frombuffer(bytes.fromhex("".join(uids)), ">u8").reshape(-1, 2)
    packed = np.empty(len(uids), SUBSET_TYPE)
    packed["f0"], packed["f1"] = words[:, 0], words[:, 1]
    return packed
