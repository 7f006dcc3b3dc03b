"""Heads learnt on two halves of a sample: no pair is judged by one that has seen its image.

A sample is parted by image. A head is trained on each half, and compares the rows of the other
one with some pairs of the sample. Refuses a sample that is too small to be parted.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from filters import negatives, noise_head, vectors
from filters.too_few import NotEnoughRows
from filters.vectors import Doubles, Fitted, Halves, Names

FEWEST = 32  # pairs to train a head on
_TOP_BIT = np.uint64(63)
Train = Callable[[Halves, Halves], Doubles]


def check_rows(name: str, count: int) -> None:
    """Raises ValueError for a sample that is too small to be parted, however large the pool is."""
    if count < 2 * FEWEST:
        raise ValueError(f"{name} must be at least {2 * FEWEST}, got {count}")


def sample(rows: pa.Table, names: Sequence[str], seed: int, salt: str) -> tuple[Halves, Halves]:
    """Vectors of images and of texts, [n, d] each, in an order that depends on seed and keys.

    Raises NotEnoughRows for fewer than FEWEST rows in a half, ValueError for different lengths.
    """
    order = vectors.draw_order(rows["key"].to_pylist(), seed, salt)
    images, texts = (vectors.column(rows, name)[order] for name in names)
    if images.shape != texts.shape:
        raise ValueError(f"vectors of {images.shape[1]} and of {texts.shape[1]} numbers")
    half = half_of(images) if len(images) else np.zeros(0, np.int64)
    fewest = min(int((half == side).sum()) for side in (0, 1))
    if fewest < FEWEST:
        found = f"{fewest} in one of them, of {len(images)}"
        raise NotEnoughRows(f"needs {FEWEST} rows in each half to train on, found {found}")
    return images, texts


def half_of(images: Halves) -> vectors.Places:
    """0 or 1 for each image."""
    return _half(vectors.names(images))


def fit(images: Halves, texts: Halves, count: int, train: Train) -> Fitted:
    """Two `heads` [2, 2, units, d], and the first `count` pairs as each of them sees them.

    Head s is trained on the half that is not s, so it is the one to judge half s.
    """
    half = half_of(images)
    heads = [train(images[half != side], texts[half != side]) for side in (0, 1)]
    learnt: Fitted = {"heads": np.stack(heads).astype(np.float32)}
    few = slice(0, count)
    learnt["image_name"], learnt["text_name"] = map(vectors.names, (images[few], texts[few]))
    for place, name in enumerate(("image", "text")):
        side = (images, texts)[place][few]
        learnt[name] = np.stack([noise_head.projected(side, head[place]) for head in heads])
    return learnt


def log_means(
    images: Halves, texts: Halves, fitted: Fitted, temperatures: Sequence[float]
) -> tuple[Doubles, Doubles]:
    """As `negatives.log_means`, of what the head sees of each pair that has not seen its image."""
    width = fitted["heads"].shape[-1]
    if images.shape[1] != width or texts.shape[1] != width:
        raise ValueError(f"vectors of {images.shape[1]} numbers, fitted on {width}")
    names = vectors.names(images), vectors.names(texts)
    half = _half(names[0])
    found = np.empty((len(images), 1 + 2 * len(temperatures)))
    for side in (0, 1):
        here = np.flatnonzero(half == side)
        if len(here):
            parts = (images[here], texts[here], names[0][here], names[1][here])
            work = _Head(fitted, side, temperatures)
            found[here] = vectors.in_blocks(work.compared, *parts)
    return found[:, 0], found[:, 1:].reshape(len(images), len(temperatures), 2)


class _Head:
    """One of the two heads with its negatives; a class because a block is worked on with both."""

    def __init__(self, fitted: Fitted, side: int, temperatures: Sequence[float]) -> None:
        self._maps = fitted["heads"][side].astype(np.float64)
        self._temperatures = temperatures
        self._fitted: Fitted = {
            **{name: fitted[name][side] for name in ("image", "text")},
            **{name: fitted[name] for name in ("image_name", "text_name")},
            "starts": np.array([0, len(fitted["image_name"])]),
        }

    def compared(
        self, images: Halves, texts: Halves, image_names: Names, text_names: Names
    ) -> Doubles:
        """The cosine of each pair, then its log means."""
        seen = noise_head.projected(images, self._maps[0])
        read = noise_head.projected(texts, self._maps[1])
        own = np.einsum("ij,ij->i", seen, read)[:, None]
        others = negatives.block_log_means(
            seen, read, (image_names, text_names), self._fitted, self._temperatures
        )
        return np.concatenate([own, others.reshape(len(seen), -1)], axis=1)


def _half(image_names: Names) -> vectors.Places:
    return (image_names >> _TOP_BIT).astype(np.int64)
