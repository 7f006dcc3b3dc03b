"""Embeddings on their way out: vectors of a row as bytes, and of a shard as arrays.

A row without a vector is zeros in the array and true in the array's mask. Nothing is converted.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.columns import ColumnSet
from pipeline.errors import CurationError
from pipeline.npz import MISSING
from pipeline.pool import Shard

Vector = npt.NDArray[Any]
RESERVED = ("key",)
_COUNT = struct.Struct("<i")
_NONE = -1
_TYPES = {pa.float16(): "<f2", pa.float32(): "<f4"}


@dataclass(frozen=True)
class Embedding:
    """A column of vectors, the array it becomes, and the type of its numbers."""

    array: str
    column: str
    dtype: str

    @property
    def item_bytes(self) -> int:
        return np.dtype(self.dtype).itemsize


def number_type(kind: pa.DataType) -> str | None:
    """The numpy type of the numbers of a column of vectors; None when it is none."""
    is_list = (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
    return _TYPES.get(kind.value_type) if is_list else None


def name_problem(name: str, names: Sequence[str]) -> str | None:
    """Why an array can't have this name beside the others, if it can't."""
    if name in RESERVED:
        return f"an array can't be called {name!r}: that one has the keys of the samples"
    if name.endswith(MISSING) and name.removesuffix(MISSING) in names:
        return f"an array can't be called {name!r}: that is the mask of another one"
    if "/" in name or "\\" in name or "\0" in name:
        return f"an array can't be called {name!r}"
    return None


def read_vectors(
    embeddings: Sequence[Embedding], columns: Mapping[str, ColumnSet], shard: Shard
) -> "list[pa.Array[Any]]":
    """The columns of vectors of a pool shard, in the order of `embeddings`."""
    found = []
    for embedding in embeddings:
        table = columns[embedding.column].read(shard, [embedding.column])
        chunks = table[embedding.column].chunks
        found.append(pa.concat_arrays(chunks) if chunks else pa.nulls(shard.rows))
    return found


def pack(columns: "Sequence[pa.Array[Any]]", row: int) -> bytes:
    """The vectors of a row: for each its numbers, after how many they are."""
    parts = []
    for column in columns:
        vector = column[row].values if column[row].is_valid else None
        if vector is None or vector.null_count:
            parts.append(_COUNT.pack(_NONE))
            continue
        parts += [_COUNT.pack(len(vector)), vector.to_numpy(zero_copy_only=False).tobytes()]
    return b"".join(parts)


def dims_of(packed: bytes, embeddings: Sequence[Embedding]) -> list[int]:
    """How many numbers each vector of a row has; -1 for one that is missing."""
    found, at = [], 0
    for embedding in embeddings:
        (count,) = _COUNT.unpack_from(packed, at)
        at += _COUNT.size + max(0, count) * embedding.item_bytes
        found.append(count)
    return found


def common_dims(
    embeddings: Sequence[Embedding], found: Sequence[Sequence[Sequence[int]]]
) -> dict[str, int]:
    """How many numbers the vectors of each array have, from what every run found.

    0 when there are none. Raises CurationError when they are not of one length.
    """
    dims = {}
    for number, embedding in enumerate(embeddings):
        lengths = sorted({length for run in found for length in run[number]})
        if len(lengths) > 1:
            listed = " and ".join(map(str, lengths))
            raise CurationError(
                f"column {embedding.column!r} holds vectors of {listed} numbers; the rows of an"
                " array have one length"
            )
        dims[embedding.array] = lengths[0] if lengths else 0
    return dims


def arrays_of(
    keys: Sequence[str],
    packed: Sequence[bytes],
    embeddings: Sequence[Embedding],
    dims: Mapping[str, int],
) -> dict[str, Vector]:
    """The arrays of a shard: its keys, and vectors and mask of every embedding, in order."""
    arrays: dict[str, Vector] = {"key": np.array(keys, "S32")}
    for embedding in embeddings:
        shape = (len(keys), dims[embedding.array])
        arrays[embedding.array] = np.zeros(shape, embedding.dtype)
        arrays[embedding.array + MISSING] = np.zeros(len(keys), bool)
    for row, data in enumerate(packed):
        at = 0
        for embedding in embeddings:
            (count,) = _COUNT.unpack_from(data, at)
            at += _COUNT.size
            if count == _NONE:
                arrays[embedding.array + MISSING][row] = True
                continue
            arrays[embedding.array][row] = np.frombuffer(data, embedding.dtype, count, at)
            at += count * embedding.item_bytes
    return arrays
