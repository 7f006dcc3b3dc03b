"""Small tables of stored embeddings for tests of scorers that look at nothing else."""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Halves = npt.NDArray[np.float16]


def directions(count: int, width: int = 16, seed: int = 0) -> Halves:
    """Random unit vectors, as they are stored."""
    rows = np.random.default_rng(seed).normal(size=(count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def noisy_pairs(count: int, share: float = 0.3, width: int = 32) -> tuple[Halves, Halves, Any]:
    """Vectors of pairs, and which of them have the caption of another."""
    dice = np.random.default_rng(7)
    meaning = dice.normal(size=(count, width))
    seen, read = (meaning + 0.8 * dice.normal(size=meaning.shape) for _ in range(2))
    wrong = dice.random(count) < share
    places = np.flatnonzero(wrong)
    read[places] = read[np.roll(places, 1)]
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (seen, read)]
    return unit[0].astype(np.float16), unit[1].astype(np.float16), wrong


def key(number: int) -> bytes:
    return hashlib.blake2b(number.to_bytes(4, "big"), digest_size=16).digest()


def table(**columns: Any) -> pa.Table:
    """Rows as a scorer of the pool gets them: with keys, and sorted by them."""
    count = len(next(iter(columns.values())))
    arrays = {"key": pa.array([key(n) for n in range(count)], pa.binary(16))}
    for name, values in columns.items():
        is_matrix = isinstance(values, np.ndarray) and values.ndim == 2
        kind = pa.large_list(pa.float16()) if is_matrix else None
        arrays[name] = pa.array(list(values) if is_matrix else values, kind)
    return pa.table(arrays).sort_by("key")


def auc(scores: Any, good: Any) -> float:
    """The chance that a good row has a higher score than a bad one."""
    values, good = np.asarray(scores, float), np.asarray(good, bool)
    higher = values[good][:, None] - values[~good]
    return float((higher > 0).mean() + (higher == 0).mean() / 2)
