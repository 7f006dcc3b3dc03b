"""The probability that a loss is a wrong pair's, by counting: no group has to have a shape.

It is the share of wrong pairs times how much more often strangers, pairs put together on purpose,
have such a loss than all pairs have. It never falls as the loss rises, and is never 0 or 1.
"""

import math
from typing import NamedTuple

import numpy as np

from filters.vectors import Doubles, Places

_LEVELS = np.arange(6, 19) / 20  # of the strangers, above which pairs are counted
_APART = 2.0  # standard deviations between two shares that are not the same


class Counted(NamedTuple):
    """Probabilities [k] at losses [k], both rising; between them lines, beyond them the last."""

    losses: Doubles
    odds: Doubles
    share: float

    def probability(self, losses: Doubles) -> Doubles:
        """The probability that each loss is a wrong pair's; NaN for NaN."""
        found: Doubles = np.interp(losses, self.losses, self.odds)
        found[np.isnan(losses)] = np.nan  # of one point, it is that for NaN, too
        return found


def fitted(losses: Doubles, strangers: Doubles, weights: Doubles) -> Counted:
    """The probabilities that fit losses [n] of all pairs and [m] of strangers, which have weights.

    About sqrt(n) bins of as many pairs each; in a bin, the strangers' part of the share against
    the pairs there, and one pair more of which nothing is known but the share. Bins that would
    make the probability fall are joined (PAVA), as for the likeliest of all ratios that never
    fall. Raises ValueError for no losses or no strangers.
    """
    if not len(losses) or not len(strangers):
        raise ValueError("no losses to tell apart")
    ordered = np.sort(losses)
    share = share_of_wrong(ordered, strangers, weights)
    edges = ordered[np.arange(len(ordered)) % _bin_size(len(ordered)) == 0]
    edges = np.unique(edges[edges > ordered[0]])
    pairs = _counts(edges, ordered, np.ones(len(ordered)))
    wrong = share * len(ordered) * _counts(edges, strangers, weights) / weights.sum()
    odds, joined = pooled((wrong + share) / (pairs + 1), pairs + 1)
    sizes = np.add.reduceat(pairs, np.cumsum(joined) - joined).astype(np.int64)
    odds = np.maximum.accumulate(np.minimum(odds, _highest(sizes, share)))
    return Counted(*_lines(ordered, odds, sizes, share), share)


def share_of_wrong(losses: Doubles, strangers: Doubles, weights: Doubles) -> float:
    """The share of wrong pairs, above 0 and below 1: of the pairs beyond a level of the
    strangers, all are taken to be wrong.

    As in Storey (2002) for p-values: the higher the level, the fewer right pairs are beyond it,
    and the fewer pairs altogether. The level is the first whose share is not above that of a
    higher one by more than chance (Lepski 1991). The variance of such a difference is that of the
    higher level less that of the lower, as the pairs beyond the one are among those of the other.
    """
    order = np.argsort(strangers, kind="stable")
    passed = np.cumsum(weights[order]) / weights.sum()
    places = np.minimum(np.searchsorted(passed, _LEVELS), len(order) - 1)
    beyond = strangers[order][places]
    known = np.array([weights[strangers >= loss].sum() for loss in beyond]) / weights.sum()
    part = np.array([(losses >= loss).sum() for loss in beyond]) + 0.5
    part /= len(losses) + 1
    shares = part / known
    variances = part * (1 - part) / len(losses) / known**2
    spread = _APART * np.sqrt(np.maximum(variances - variances[:, None], 0))
    is_above = np.triu(shares[:, None] - shares > spread, 1).any(axis=1)
    most = (len(losses) + 0.5) / (len(losses) + 1)
    return min(most, float(shares[is_above.argmin()]))


def pooled(values: Doubles, weights: Doubles) -> tuple[Doubles, Places]:
    """The rising levels that are nearest to the values, and how many values are on each.

    By the squares of the differences, weighted; pool adjacent violators, PAVA (Ayer et al. 1955).
    """
    levels: list[tuple[float, float, int]] = []  # of value, weight and count
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        level = (value, weight, 1)
        while levels and levels[-1][0] >= level[0]:
            before = levels.pop()
            total = before[1] + level[1]
            mean = (before[0] * before[1] + level[0] * level[1]) / total
            level = (mean, total, before[2] + level[2])
        levels.append(level)
    means, _, counts = zip(*levels, strict=True)
    return np.array(means), np.array(counts)


def _bin_size(count: int) -> int:
    return max(1, round(math.sqrt(count)))


def _counts(edges: Doubles, losses: Doubles, weights: Doubles) -> Doubles:
    """The weight of the losses in each bin; one at an edge is above it."""
    places = np.searchsorted(edges, losses, "right")
    found: Doubles = np.bincount(places, weights, minlength=len(edges) + 1).astype(np.float64)
    return found


def _highest(sizes: Places, share: float) -> Doubles:
    """The probability where all pairs of a level are wrong, and one more perhaps."""
    total = sizes.sum()
    found: Doubles = np.minimum((sizes + share) / (sizes + 1), (total + 0.5) / (total + 1))
    return found


def _lines(ordered: Doubles, odds: Doubles, sizes: Places, share: float) -> tuple[Doubles, Doubles]:
    """Points through the middles of the levels; through the outer ones the line goes on."""
    stops = np.cumsum(sizes)
    middles = ordered[stops - sizes + sizes // 2]
    if len(odds) == 1:
        return middles, odds
    turns = (ordered[stops[:-1] - 1] + ordered[stops[:-1]]) / 2
    between = np.interp(turns, middles, odds)
    least = share / (sizes[0] + 1)  # where none of a level is wrong
    low = min(odds[0], max(least, 2 * odds[0] - between[0]))
    high = max(odds[-1], min(_highest(sizes, share)[-1], 2 * odds[-1] - between[-1]))
    is_inner = np.array([False, *[True] * len(odds), False])
    losses = np.concatenate([ordered[:1], middles, ordered[-1:]])
    is_new = np.isin(losses, middles, invert=True)  # an end may be among equal losses
    kept = is_inner | is_new
    return losses[kept], np.concatenate([[low], odds, [high]])[kept]
