"""Agreement of two labellers, and intervals: of shares by Wilson, of all else by drawing again."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.proof.figures import Value

Array = np.ndarray[Any, Any]
REPLICATES = 1000
_Z = 1.959963984540054  # 97.5 % of a normal distribution lie below


def kappa(one: Array, other: Array, categories: int, weighted: bool = False) -> float:
    """Cohen's kappa of two lists of verdicts 0, 1, ...; NaN when chance leaves no disagreement.

    1 - observed / expected disagreement (Cohen 1960). With `weighted` a disagreement counts by
    how far apart the verdicts are (linear weights; Cohen 1968).
    """
    table = np.zeros((categories, categories))
    np.add.at(table, (one, other), 1)
    steps = np.arange(categories)
    weights = np.abs(steps[:, None] - steps).astype(float)
    if not weighted:
        weights = (weights > 0).astype(float)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    by_chance = float((weights * expected).sum())
    return 1 - float((weights * table).sum()) / by_chance if by_chance else math.nan


def wilson(successes: int, total: int) -> Value:
    """A share with its 95 % interval (Wilson 1927). Raises ValueError for a share of nothing."""
    if total < 1:
        raise ValueError("a share of nothing")
    share, square = successes / total, _Z * _Z
    middle = share + square / (2 * total)
    spread = _Z * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    scale = 1 + square / total
    return Value(share, (middle - spread) / scale, (middle + spread) / scale)


def drawn_again(measure: Callable[[Array], float], count: int) -> Value:
    """A measure of chosen rows, of all and with its interval over rows drawn with repetition.

    Draws for which the measure is NaN, as one kind of row is missing, do not count.
    """
    dice = np.random.default_rng(0)
    drawn = [measure(dice.integers(0, count, count)) for _ in range(REPLICATES)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Value(measure(np.arange(count)), float(low), float(high))


def auc(scores: Array, is_good: Array) -> float:
    """How often a good row scores above a bad one, ties for half; NaN without one of either."""
    good, bad = scores[is_good], np.sort(scores[~is_good])
    if not len(good) or not len(bad):
        return math.nan
    below = np.searchsorted(bad, good, "left") + np.searchsorted(bad, good, "right")
    return float(below.mean() / 2 / len(bad))
