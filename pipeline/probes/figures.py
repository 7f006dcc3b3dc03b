"""Figures with what is needed to believe them: how many answers, an interval, what chance gives.

Shares have Wilson's interval, differences of two shares of the same questions that of Bonett and
Price; both are of 95 %.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline.probes.questions import Counts

_Z = 1.959963984540054  # the normal quantile of 0.975
_DIGITS = 6
BELOW, AT, ABOVE, NONE = "below chance", "no better than chance", "above chance", "not measured"


@dataclass(frozen=True)
class Figure:
    """One measured share or difference; `value` is None when nothing was answered.

    `chance` is what guessing gives; `ties` are answers that are wrong because nothing was highest,
    `unanswered` had no value and are not in `n`. Of a fault (`is_fault`) less is better. A
    difference goes from -1 to 1. A `note` says why the figure means nothing here, if so.
    """

    label: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    chance: float
    right: int | None = None
    ties: int = 0
    unanswered: int = 0
    is_fault: bool = False
    is_difference: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        """How the figure stands to chance, by its interval."""
        if self.value is None or self.low is None or self.high is None:
            return NONE
        if self.low > self.chance:
            return ABOVE
        return BELOW if self.high < self.chance else AT

    def json(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict}


def share(label: str, counts: Counts, chance: float, *, is_fault: bool = False) -> Figure:
    """The share of right answers among those given; or of faults, which then count as `right`."""
    right, n = counts.right, counts.n
    found = Figure(
        *(label, None, None, None, n, _short(chance), right, counts.ties, counts.unanswered),
        is_fault=is_fault,
    )
    if not n:
        return found
    low, high = wilson(right, n)
    return replace(found, value=_short(right / n), low=_short(low), high=_short(high))


def wilson(right: int, n: int) -> tuple[float, float]:
    """The score interval of a share (E. B. Wilson 1927); `n` is 1 at least."""
    rate, square = right / n, _Z * _Z
    middle = (rate + square / (2 * n)) / (1 + square / n)
    half = _Z * math.sqrt(rate * (1 - rate) / n + square / (4 * n * n)) / (1 + square / n)
    low = 0.0 if right == 0 else middle - half
    return low, 1.0 if right == n else middle + half


def difference(label: str, pairs: Sequence[tuple[bool, bool]], unanswered: int) -> Figure:
    """By how much more often the first fault is there than the second, of the same things.

    The interval is the adjusted one of Bonett and Price 2012 (J. Educ. Behav. Stat. 37, 479):
    one is added to both kinds of discordant pairs. Without a bias the difference is 0.
    """
    n = len(pairs)
    found = Figure(
        *(label, None, None, None, n, 0.0),
        unanswered=unanswered,
        is_fault=True,
        is_difference=True,
    )
    if not n:
        return found
    gained = sum(a and not b for a, b in pairs)
    lost = sum(b and not a for a, b in pairs)
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = _Z * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    low, high = max(-1.0, up - down - half), min(1.0, up - down + half)
    value = _short((gained - lost) / n)
    return replace(found, value=value, low=_short(low), high=_short(high))


def _short(value: float) -> float:
    return round(value, _DIGITS)
