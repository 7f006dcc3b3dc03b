"""Held-out figures: how well pictures find their own caption in a pool of captions."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Retrieval:
    """Image-to-text figures over one pool of distinct captions."""

    images: int
    captions: int
    at_1: float
    at_5: float
    auc: float


def retrieval(images: Floats, captions: list[str], vectors: dict[str, Floats]) -> Retrieval:
    """Rank of each picture's own caption among the distinct captions of the set, by cosine.

    AUC: how often a right pair scores above a wrong one, over all pairs of both kinds.
    """
    pool = sorted(set(captions))
    own = np.array([pool.index(c) for c in captions])
    cosines = images @ np.stack([vectors[c] for c in pool]).T
    right = cosines[np.arange(len(own)), own]
    ranks = (cosines > right[:, None]).sum(axis=1)
    wrong = np.delete(cosines.ravel(), np.arange(len(own)) * len(pool) + own)
    below = np.searchsorted(np.sort(wrong), right)
    return Retrieval(
        len(own),
        len(pool),
        float((ranks < 1).mean()),
        float((ranks < 5).mean()),
        float(below.mean() / len(wrong)),
    )


def pooled(
    images: Floats, captions: list[str], vectors: dict[str, Floats], size: int, draws: int = 20
) -> Retrieval:
    """The mean of `retrieval` over random pools of `size` captions; of all if there are fewer."""
    names = sorted(set(captions))
    if len(names) <= size:
        return retrieval(images, captions, vectors)
    found = []
    for seed in range(draws):
        chosen = set(np.random.default_rng(seed).choice(np.array(names, object), size, False))
        rows = [i for i, c in enumerate(captions) if c in chosen]
        found.append(retrieval(images[rows], [captions[i] for i in rows], vectors))
    return Retrieval(
        round(float(np.mean([f.images for f in found]))),
        size,
        float(np.mean([f.at_1 for f in found])),
        float(np.mean([f.at_5 for f in found])),
        float(np.mean([f.auc for f in found])),
    )
