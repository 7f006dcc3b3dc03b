"""Stored embeddings as matrices, for scorers that look at nothing else of a pair.

Their products are exact, so that a value never depends on the rows beside it, nor on the library
or the machine that adds them up. Refuses vectors of different lengths, of zeros, and those with
NaN or infinity.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Doubles = npt.NDArray[np.float64]
Halves = npt.NDArray[np.float16]
Names = npt.NDArray[np.uint64]
Fitted = dict[str, npt.NDArray[Any]]  # what a scorer has learnt, by name
Places = npt.NDArray[np.int64]

ROWS = 256  # of a product: more would only need memory
BATCH = 4 * ROWS  # that the harness hands over at once: its own work per batch is not free
_GRID = 2.0**24
_GOLDEN = 0x9E3779B97F4A7C15


def stacked(rows: Sequence[Any]) -> Halves:
    """Vectors as they are stored, [n, d] of half floats. Raises ValueError for unequal lengths."""
    try:
        found: Halves = np.stack([np.asarray(row, np.float16) for row in rows])
    except ValueError as error:
        lengths = sorted({len(row) for row in rows})
        raise ValueError(f"vectors of different lengths: {lengths}") from error
    return found


def column(rows: pa.Table, name: str) -> Halves:
    """A column of vectors without NULL as [n, d]. Raises ValueError for unequal lengths."""
    values = rows[name].combine_chunks()
    if isinstance(values, pa.ChunkedArray):  # of no rows
        return np.zeros((0, 0), np.float16)
    numbers = values.flatten().to_numpy(zero_copy_only=False)
    if len(values) == 0 or len(numbers) % len(values):
        return stacked(values.to_pylist()) if len(values) else np.zeros((0, 0), np.float16)
    lengths = np.diff(values.offsets.to_numpy())
    if (lengths != lengths[0]).any():
        raise ValueError(f"{name}: vectors of different lengths: {sorted(set(lengths.tolist()))}")
    found: Halves = numbers.reshape(len(values), -1).astype(np.float16)
    return found


def unit(vectors: npt.NDArray[Any]) -> Doubles:
    """The same directions, of length 1; raises ValueError where there is none.

    Every number is a multiple of 2^-24, so a product of two of them is one of 2^-48; by Cauchy
    and Schwarz no partial sum of a dot product exceeds 1, and a double holds it exactly. BLAS
    adds up in an order that depends on the place of a row (seen in OpenBLAS 0.3.31): here that
    does not matter.
    """
    rows = vectors.astype(np.float64)
    squares = np.einsum("ij,ij->i", rows, rows)
    if not (np.isfinite(squares) & (squares > 0)).all():
        raise ValueError("a vector of zeros, or with NaN or infinity")
    rows *= (_GRID / np.sqrt(squares))[:, None]
    return on_grid(rows, 1 / _GRID)


def on_grid(scaled: Doubles, step: float) -> Doubles:
    """Whole numbers of steps, in place: what `scaled` counts in steps, rounded."""
    np.rint(scaled, out=scaled)
    scaled *= step
    return scaled


def names(vectors: Halves) -> Names:
    """A number for each vector, equal for equal vectors and else almost surely another."""
    width = -(-vectors.shape[1] // 4) * 4
    wide = np.zeros((len(vectors), width), np.float16)
    wide[:, : vectors.shape[1]] = vectors
    words = wide.view(np.uint64)
    found: Names = words @ _multipliers(words.shape[1])
    return found


def _multipliers(count: int) -> Names:
    """Odd numbers without a pattern: SplitMix64 (Steele, Lea, Flood 2014) from 1 on."""
    with np.errstate(over="ignore"):
        mixed = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: Names = (mixed ^ (mixed >> np.uint64(31))) | np.uint64(1)
    return found


def in_blocks(work: Callable[..., npt.NDArray[Any]], *parts: npt.NDArray[Any]) -> Any:
    """`work` over ROWS rows of the parts at a time; its answers, a row per row, in order."""
    starts = range(0, max(1, len(parts[0])), ROWS)
    return np.concatenate([work(*(part[at : at + ROWS] for part in parts)) for at in starts])


def draw_order(keys: Sequence[bytes], seed: int, salt: str) -> Places:
    """The places of keys in an order that depends on them, the seed and the salt alone."""
    start = hashlib.blake2b(f"{salt} {seed} ".encode(), digest_size=8)
    drawn = []
    for place, key in enumerate(keys):
        state = start.copy()
        state.update(key)
        drawn.append((state.digest(), key, place))
    return np.array([place for _, _, place in sorted(drawn)], np.int64)
