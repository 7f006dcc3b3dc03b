"""How many rows have a value, and with how many different others they have it: plain counting.

For scorers that see a pool in parts: rows of equal number meet, and every count is that of a set.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Column = Any  # an array of Arrow, whole or in chunks: Arrow comes without types
Codes = NDArray[np.int64]  # equal numbers from 0 on for equal values, -1 for NULL
NUMBERS = pa.uint64()


def digest(text: str) -> bytes:
    """Eight bytes that are the same for the same text in every process."""
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def leading(data: bytes) -> bytes:
    """The first eight bytes of what is a digest already."""
    return data[:8]


def numbers(values: Column, key: Callable[[Any], bytes]) -> Column:
    """The eight bytes that `key` makes of each value, as a number; NULL of NULL."""
    known = values.is_valid().to_numpy(zero_copy_only=False)
    found = np.zeros(len(values), np.uint64)
    told = b"".join([key(value) for value in values.drop_null().to_pylist()])
    found[known] = np.frombuffer(told, ">u8")
    return pa.array(found, mask=~known)


def codes(values: Column) -> Codes:
    """Equal numbers for equal values of a column in chunks."""
    if pa.types.is_fixed_size_binary(values.type):  # of which Arrow can't encode more than 2 GB
        values = values.cast(pa.large_binary())
    chunks = values.dictionary_encode().chunks
    parts = [pc.fill_null(chunk.indices, -1).to_numpy().astype(np.int64) for chunk in chunks]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def rows_with(values: Codes) -> Column:
    """How many rows have the row's value, int32; NULL where it has none."""
    return _per_row(np.bincount(values[values >= 0]), values)


def partners(values: Codes, others: Codes) -> Column:
    """How many different `others` the rows with the row's value have, int32; NULL without one."""
    both = (values >= 0) & (others >= 0)
    span = int(others.max(initial=0)) + 1
    pairs = np.sort(values[both] * span + others[both])
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    return _per_row(np.bincount(pairs // span, minlength=int(values.max(initial=-1)) + 1), values)


def _per_row(counts: NDArray[np.int64], values: Codes) -> Column:
    known = values >= 0
    found = np.zeros(len(values), np.int32)
    found[known] = counts[values[known]]
    return pa.array(found, mask=~known)
