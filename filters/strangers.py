"""Pairs put together on purpose, known to be wrong: images with captions of other pairs.

Some at random, others those of similar images, because real faults are often nearly right. Never
the caption of a pair with the same image or the same text.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from filters import vectors
from filters.vectors import Halves, Names, Places

ROUNDS = 3  # of strangers at random, for each image
_CANDIDATES = 1024  # among which similar images are sought
_NEAREST = 8  # of them, of which an image gets one


def rounds(
    images: Halves, texts: Halves, groups: Places, near: float
) -> Iterator[tuple[Places, Places, float]]:
    """Places of images and of the captions to pair them with, and the weight of all these pairs.

    Images and captions are of one group; rows come in random order. `near` is the weight of
    captions of similar images. An image for which there is no other caption is left out.
    """
    names = vectors.names(images), vectors.names(texts)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    for shift in range(1, ROUNDS + 1) if near < 1 else ():
        rows = np.concatenate(members)
        others = np.concatenate([np.roll(own, shift) for own in members])
        is_other = ~_is_same(names, rows, others)
        yield rows[is_other], others[is_other], (1 - near) / ROUNDS
    if near > 0:
        found = [_similar(images, names, own) for own in members]
        yield np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found]), near


def _similar(images: Halves, names: tuple[Names, Names], own: Places) -> tuple[Places, Places]:
    """Rows, and one of the nearest other images for each, in turn the first, the second, ..."""
    candidates = own[:_CANDIDATES]
    around = vectors.unit(images[candidates])

    def work(rows: Places, turns: Places) -> Places:
        cosines = vectors.unit(images[rows]) @ around.T
        cosines[_is_same(names, rows[:, None], candidates)] = -np.inf
        nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :_NEAREST]
        left = np.isfinite(np.take_along_axis(cosines, nearest, axis=1)).sum(axis=1)
        places = nearest[np.arange(len(rows)), turns % np.maximum(left, 1)]
        return np.where(left > 0, candidates[places], -1)

    others = vectors.in_blocks(work, own, np.arange(len(own)))
    return own[others >= 0], others[others >= 0]


def _is_same(names: tuple[Names, Names], rows: Places, others: Places) -> npt.NDArray[np.bool_]:
    """Whether image or text are the same."""
    found: npt.NDArray[np.bool_] = names[0][rows] == names[0][others]
    found |= names[1][rows] == names[1][others]
    return found
