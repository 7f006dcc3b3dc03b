"""Accuracy and AUC of heads beside the cosine, by kind; intervals by drawing images again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.reward.evaluate import scores_of
from pipeline.reward.heads import Head
from pipeline.reward.table import Table

REPLICATES = 1000
Array = npt.NDArray[np.float64]
Sides = tuple[Array, Array]


@dataclass(frozen=True)
class Scores:
    """Scores of the better and of the worse sides of comparisons, for each kind."""

    sides: dict[str, Sides]
    groups: dict[str, npt.NDArray[np.int64]]

    def accuracy(self, kinds: Sequence[str], counts: npt.NDArray[np.int64] | None = None) -> float:
        """The mean over kinds; an image counts as often as it was drawn, by default once."""
        found = []
        for kind in kinds:
            better, worse = self.sides[kind]
            weight = np.ones(len(better)) if counts is None else counts[self.groups[kind]]
            wins = (better > worse) + 0.5 * (better == worse)
            found.append(wins @ weight / max(weight.sum(), 1))
        return float(np.mean(found))

    def pooled(self, kinds: Sequence[str], counts: npt.NDArray[np.int64] | None = None) -> float:
        """Accuracy over the comparisons of all kinds, each counted once."""
        better, worse = (np.concatenate([self.sides[k][n] for k in kinds]) for n in (0, 1))
        groups = np.concatenate([self.groups[k] for k in kinds])
        weight = np.ones(len(better)) if counts is None else counts[groups]
        wins = (better > worse) + 0.5 * (better == worse)
        return float(wins @ weight / max(weight.sum(), 1))

    def auc(self, kinds: Sequence[str], counts: npt.NDArray[np.int64] | None = None) -> float:
        """How often a right caption of any image scores above a wrong one of any."""
        better, worse = (np.concatenate([self.sides[k][n] for k in kinds]) for n in (0, 1))
        if counts is not None:
            weight = counts[np.concatenate([self.groups[k] for k in kinds])]
            better, worse = np.repeat(better, weight), np.repeat(worse, weight)
        ordered = np.sort(worse)
        below = np.searchsorted(ordered, better, "left") + np.searchsorted(ordered, better, "right")
        return float(below.mean() / 2 / len(worse))


def of_kind(table: Table, kind: str) -> Table:
    """The comparisons of one kind."""
    return table.rows(np.array([table.kinds[n] == kind for n in table.kind]))


def scored(heads: Mapping[str, Head], table: Table) -> Scores:
    """What the head of each kind says of it."""
    parts = {kind: of_kind(table, kind) for kind in heads}
    sides = {kind: _of_head(head, parts[kind]) for kind, head in heads.items()}
    return Scores(sides, {kind: part.group for kind, part in parts.items()})


def _of_head(head: Head, table: Table) -> Sides:
    better, worse = (side[:, 0].astype(np.float64) for side in scores_of(head, table))
    return better, worse


def cosines(kinds: Sequence[str], table: Table) -> Scores:
    """What the cosine says of each kind."""
    parts = {kind: of_kind(table, kind) for kind in kinds}
    both = {kind: part.cosines() for kind, part in parts.items()}
    sides = {k: (a.astype(np.float64), b.astype(np.float64)) for k, (a, b) in both.items()}
    return Scores(sides, {kind: part.group for kind, part in parts.items()})


def gain(
    one: Scores, other: Scores, kinds: Sequence[str], what: str = "accuracy"
) -> tuple[float, float, float]:
    """By how much the first is better, and 95 % of what it is when images are drawn again."""
    own, its = getattr(one, what), getattr(other, what)
    images = 1 + max(int(group.max()) for group in one.groups.values())
    dice = np.random.default_rng(0)
    found = []
    for _ in range(REPLICATES):
        counts = np.bincount(dice.integers(0, images, images), minlength=images)
        found.append(own(kinds, counts) - its(kinds, counts))
    low, high = np.quantile(found, [0.025, 0.975])
    return own(kinds) - its(kinds), float(low), float(high)
