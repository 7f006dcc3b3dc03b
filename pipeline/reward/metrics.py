"""How good scores are at comparisons: accuracy, Kendall's tau, calibration, with intervals.

Intervals are percentiles of a bootstrap over groups of images, since comparisons of one image
hang together. Everything is a function of sums by group, so a replicate costs a matrix product.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
REPLICATES = 1000
BINS = 10
_LEVEL = 0.95


@dataclass(frozen=True)
class Figure:
    """A figure with its interval of 95 %."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Scored:
    """Comparisons by the scores of their better and worse sides; `group` numbers the images."""

    better: Array
    worse: Array
    is_tie: npt.NDArray[np.bool_]
    group: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.better)

    def rows(self, chosen: npt.NDArray[np.bool_]) -> "Scored":
        return Scored(
            self.better[chosen], self.worse[chosen], self.is_tie[chosen], self.group[chosen]
        )


def pairwise_accuracy(scored: Scored) -> Figure | None:
    """Share of comparisons without a tie whose better side scores higher; equal scores are half."""
    decided = scored.rows(~scored.is_tie)
    right = np.where(decided.better == decided.worse, 0.5, decided.better > decided.worse)
    sums = _by_group(decided.group, [right, np.ones(len(right))])
    return _figure(sums, lambda total: total[..., 0] / total[..., 1])


def kendall_tau(scored: Scored) -> Figure | None:
    """The mean over groups of tau-b (Kendall 1945): concordant less discordant comparisons.

    Ties count as tau-b has them, in what is true and in the scores. Groups in which all is tied
    are left out.
    """
    sign = np.sign(scored.better - scored.worse)
    columns = [np.where(scored.is_tie, 0, sign), ~scored.is_tie, sign != 0]
    sums = _by_group(scored.group, [np.asarray(column, np.float64) for column in columns])
    norm = np.sqrt(sums[:, 1] * sums[:, 2])
    true = sums[:, 1] > 0
    taus = np.divide(sums[:, 0], norm, out=np.zeros(len(norm)), where=norm > 0)[true]
    return _figure(np.stack([taus, np.ones(len(taus))], axis=1), lambda t: t[..., 0] / t[..., 1])


@dataclass(frozen=True)
class Bin:
    """Comparisons of like confidence: how many, how sure the scores were, how often right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def reliability(scored: Scored) -> tuple[list[Bin], Figure | None]:
    """Bins of confidence from one half to one, and the expected calibration error.

    Confidence is the probability of the likelier side winning, given that one wins. The error is
    the mean over comparisons of |accuracy - confidence| of their bin (Guo et al. 2017).
    """
    decided = scored.rows(~scored.is_tie)
    difference = decided.better - decided.worse
    confidence = 1 / (1 + np.exp(-np.abs(difference)))
    right = np.where(difference == 0, 0.5, difference > 0)
    place = np.minimum(((confidence - 0.5) * 2 * BINS).astype(int), BINS - 1)
    columns = [
        np.where(place == number, part, 0.0)
        for number in range(BINS)
        for part in (np.ones(len(right)), confidence, right)
    ]
    sums = _by_group(decided.group, columns)
    whole = sums.sum(axis=0).reshape(BINS, 3)
    edges = np.linspace(0.5, 1, BINS + 1)
    bins = [
        Bin(float(edges[n]), float(edges[n + 1]), int(count), sure / count, hits / count)
        for n, (count, sure, hits) in enumerate(whole.tolist())
        if count
    ]
    return bins, _figure(sums, _calibration_error)


def _calibration_error(total: Array) -> Array:
    bins = total.reshape(*total.shape[:-1], BINS, 3)
    error: Array = np.abs(bins[..., 2] - bins[..., 1]).sum(axis=-1) / bins[..., 0].sum(axis=-1)
    return error


def _by_group(group: npt.NDArray[np.int64], columns: list[Array]) -> Array:
    """Sums [groups, columns]."""
    _, places = np.unique(group, return_inverse=True)
    size = int(places.max()) + 1 if len(places) else 0
    return np.stack([np.bincount(places, column, size) for column in columns], axis=1)


def _figure(sums: Array, figure: Callable[[Array], Array]) -> Figure | None:
    """A function of the sums over groups, with its interval over resampled groups."""
    if not len(sums):
        return None
    value = float(figure(sums.sum(axis=0)))
    dice = np.random.default_rng(0)
    drawn = [
        figure(np.bincount(dice.integers(0, len(sums), len(sums)), minlength=len(sums)) @ sums)
        for _ in range(REPLICATES)
    ]
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(np.array(drawn), [tail, 1 - tail])
    return Figure(value, float(low), float(high))
