"""What an encoder finds: recall of the own partner, accuracy of classes, and what is left of it.

Ties count against the encoder, so that one which says the same of everything finds nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.reward.metrics import Figure

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
AT = (1, 5, 10)
REPLICATES = 1000
_BLOCK = 1024
_LEVEL = 0.95


@dataclass(frozen=True)
class Hits:
    """Whether each query of some was answered, one column for each figure; `names` has their names.

    A figure is the mean of its column over the queries that have it (the others are NaN). `group`
    numbers what is drawn again together.
    """

    names: tuple[str, ...]
    values: Doubles
    group: Places

    def means(self) -> dict[str, float]:
        return dict(zip(self.names, np.nanmean(self.values, axis=0).tolist(), strict=True))

    def mean(self) -> float:
        """The figure of all: the mean over the columns."""
        return float(np.mean([*self.means().values()]))


def retrieval(images: Floats, texts: Floats, own: Places) -> Hits:
    """Recall at 1, 5 and 10, of texts by image and of images by text.

    `images` [n, d] and `texts` [m, d] are distinct ones; `own` [k, 2] says which belong together.
    The rank is that of the best partner, behind all that is as near and is no partner. Recall
    among so many answers that none could be missed is left out.
    """
    sides = [
        ("text", texts, _ranks(images, texts, own)),
        ("image", images, _ranks(texts, images, own[:, ::-1])),
    ]
    names, columns = [], []
    for number, (name, answers, ranks) in enumerate(sides):
        for at in AT:
            if at == 1 or at < len(answers):
                column = np.full(len(images) + len(texts), np.nan)
                start = number * len(images)
                column[start : start + len(ranks)] = ranks < at
                names.append(f"{name} recall@{at}")
                columns.append(column)
    # A text is drawn again with the first of its images.
    first = np.full(len(texts), len(images), np.int64)
    np.minimum.at(first, own[:, 1], own[:, 0])
    group = np.concatenate([np.arange(len(images)), first])
    return Hits(tuple(names), np.stack(columns, axis=1), group)


def _ranks(queries: Floats, answers: Floats, own: Places) -> Places:
    """For each query how many answers that are no partner are at least as near as its best one."""
    order = np.argsort(own[:, 0], kind="stable")
    pairs = own[order]
    starts = np.searchsorted(pairs[:, 0], np.arange(len(queries) + 1))
    ranks = np.zeros(len(queries), np.int64)
    for start in range(0, len(queries), _BLOCK):
        cosines = queries[start : start + _BLOCK] @ answers.T
        for row, line in enumerate(cosines, start):
            mine = pairs[starts[row] : starts[row + 1], 1]
            best = line[mine].max()
            ranks[row] = int((line >= best).sum() - (line[mine] >= best).sum())
    return ranks


def zero_shot(images: Floats, classes: Floats, labels: Places) -> Hits:
    """Accuracy: whether the own class of each image is nearer than every other one."""
    own = np.stack([np.arange(len(images)), labels], axis=1)
    right = (_ranks(images, classes, own) == 0).astype(np.float64)
    return Hits(("accuracy",), right[:, None], np.arange(len(images)))


@dataclass(frozen=True)
class Retention:
    """How much of a figure is left, with the interval of drawing images again."""

    before: float
    after: float
    left: Figure


def retained(before: Hits, after: Hits) -> Retention:
    """What is left of the mean figure; both must be of the same queries. Infinite from nothing."""
    sums = [_sums(hits) for hits in (before, after)]

    def left(rows: Places | slice) -> float:
        one, other = (_mean(part[:, rows].sum(axis=1)) for part in sums)
        return other / one if one > 0 else float("inf")

    groups = sums[0].shape[1]
    dice = np.random.default_rng(0)
    draws = dice.integers(0, groups, (REPLICATES, groups))
    drawn = [left(rows) for rows in draws]
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], method="nearest")
    return Retention(
        before.mean(), after.mean(), Figure(left(slice(None)), float(low), float(high))
    )


def _sums(hits: Hits) -> Doubles:
    """Hits and queries [2, groups, columns] by group."""
    _, places = np.unique(hits.group, return_inverse=True)
    found = np.zeros((2, int(places.max()) + 1, len(hits.names)))
    known = ~np.isnan(hits.values)
    np.add.at(found[0], places, np.where(known, hits.values, 0.0))
    np.add.at(found[1], places, known.astype(np.float64))
    return found


def _mean(total: Doubles) -> float:
    hits, queries = total
    has = queries > 0
    return float((hits[has] / queries[has]).mean()) if has.any() else 0.0


def separation(right: Doubles, wrong: Doubles) -> float:
    """How often a pair scores above a mismatched one; equal scores are half."""
    ordered = np.sort(wrong)
    below = np.searchsorted(ordered, right, "left") + np.searchsorted(ordered, right, "right")
    return float(below.mean() / 2 / len(wrong))


def class_vectors(
    names: Sequence[str], templates: Sequence[str], encode: Callable[[list[str]], Floats]
) -> Floats:
    """A unit vector for each class: the mean of what the templates say of it (Radford 2021)."""
    parts = [encode([template.replace("{}", name) for name in names]) for template in templates]
    mean = np.mean(parts, axis=0)
    found: Floats = (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)
    return found
