"""Figures with intervals: of a score against planted faults, and of arms against each other."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.proof.faults import CLEAN, SHARES, Captions

Array = np.ndarray[Any, Any]
REPLICATES = 1000


@dataclass(frozen=True)
class Value:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    @property
    def signed(self) -> str:
        return f"{self.value:+.4f} ({self.low:+.4f} to {self.high:+.4f})"


def auc(scores: Array, is_clean: Array) -> float:
    """How often a clean row scores above a faulty one."""
    good, bad = scores[is_clean], np.sort(scores[~is_clean])
    below = np.searchsorted(bad, good, "left") + np.searchsorted(bad, good, "right")
    return float(below.mean() / 2 / len(bad))


def kept(scores: Array, rate: float) -> Array:
    """Which rows are kept: the highest scores, of equal ones the first."""
    chosen = np.zeros(len(scores), bool)
    chosen[np.argsort(-scores, kind="stable")[: round(rate * len(scores))]] = True
    return chosen


def by_drawing(measure: Any, count: int) -> Value:
    """A measure of chosen rows, over all and over rows drawn with repetition."""
    dice = np.random.default_rng(0)
    drawn = [measure(dice.integers(0, count, count)) for _ in range(REPLICATES // 5)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Value(float(measure(np.arange(count))), float(low), float(high))


def auc_gain(scores: Array, other: Array, is_clean: Array) -> Value:
    """By how much one score's AUC is above the other's, on the same rows."""

    def gain(rows: Array) -> float:
        return auc(scores[rows], is_clean[rows]) - auc(other[rows], is_clean[rows])

    return by_drawing(gain, len(scores))


def score_row(scores: Array, captions: Captions, rate: float) -> tuple[Value, Value, list[float]]:
    """AUC, share of clean rows among those kept at a rate, and the AUC of each kind of fault."""
    clean, kinds = captions.is_clean, np.array(captions.kinds)
    total = by_drawing(lambda rows: auc(scores[rows], clean[rows]), len(scores))
    exact = by_drawing(
        lambda rows: float(clean[rows][kept(scores[rows], rate)].mean()), len(scores)
    )
    each = []
    for kind in SHARES:
        own = (kinds == kind) | (kinds == CLEAN)
        each.append(auc(scores[own], clean[own]))
    return total, exact, each


def paired(own: Array, other: Array, concepts: Array) -> Value:
    """Mean difference of two arms [seeds, pictures]: concepts and seeds are drawn again, in pairs.

    Pictures of one concept are drawn together, as their captions are the same.
    """
    difference = own - other
    numbers = np.unique(concepts, return_inverse=True)[1]
    sums = np.stack([np.bincount(numbers, row) for row in difference])
    sizes = np.bincount(numbers)
    dice = np.random.default_rng(0)
    drawn = []
    for _ in range(REPLICATES):
        seeds = dice.integers(0, len(sums), len(sums))
        places = dice.integers(0, len(sizes), len(sizes))
        drawn.append(sums[seeds][:, places].sum() / (len(seeds) * sizes[places].sum()))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Value(float(difference.mean()), float(low), float(high))


def calibration(probability: Array, is_faulty: Array, bins: int = 10) -> tuple[float, list[Any]]:
    """Expected calibration error, and (rows, mean probability, share of faults) of each tenth."""
    order = np.argsort(probability, kind="stable")
    found = []
    for rows in np.array_split(order, bins):
        found.append((len(rows), float(probability[rows].mean()), float(is_faulty[rows].mean())))
    error = sum(n * abs(p - f) for n, p, f in found) / len(probability)
    return error, found
