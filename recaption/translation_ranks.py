"""Numbers of translations compared within their direction: the worst of each, by one threshold.

A limit that is right from English to Spanish is wrong to Catalan, or for another engine. What is
low is learnt from the pool itself; nothing is said of a direction that it has too little of. What
numbers see, of planted faults and of what people wrote, is in `benchmarks/translation_quality.py`:
texts of something else, mostly, and hardly how good a machine's plain translation is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from filters import estimates
from filters.estimates import Given, Held
from filters.vectors import Doubles, Fitted
from recaption import captions
from recaption.captions import Row, flagged
from recaption.translation_quality import DIRECTION, LENGTH, SIMILARITY

LOW, RANK = "low_quality", "quality_rank"
_FEWEST = 20  # translations of a direction that are compared with
_POINTS = 1001  # of a distribution that are kept
_DIGITS = 9  # so that both ends are alike


@dataclass(frozen=True)
class TranslationRanks:
    """`captions`: those of `of`, the worst `share` of each direction flagged `low_quality`.

    `numbers` are columns of lists aligned with `of`, higher is better: those that
    `translation_quality` writes, a model's (`translation_model`), the image's score with the
    translation (`clip` with `text: es`), your own. A number's rank is the share of the direction's
    translations that are lower, ties halved; of `both_ends` it is low at both. `quality_rank` is
    the share whose mean rank is no higher, so that up to 0.05 are the worst 5 % of each direction,
    or fewer where many are alike. It is NULL where no number is known, and for directions of fewer
    than 20.

    `direction` is a column of lists aligned with `of`, as `translation_quality` writes it. It is
    learnt from `fit_rows` rows of the pool.
    """

    of: str
    numbers: tuple[str, ...] = (SIMILARITY, LENGTH)
    both_ends: tuple[str, ...] = (LENGTH,)
    direction: str = DIRECTION
    share: float = 0.05
    fit_rows: int = 32_768
    version: ClassVar[int] = 2  # a caption that is NULL stays so, and fails no row
    needs: ClassVar[dict[str, str]] = {
        "of": "captions",
        "numbers": "numbers",
        "direction": "texts",
    }
    aligned: ClassVar[dict[str, str]] = {"numbers": "ranked"}
    writes: ClassVar[pa.Schema] = pa.schema(
        [*captions.WRITES, pa.field(RANK, pa.list_(pa.float32()))]
    )

    def __post_init__(self) -> None:
        if isinstance(self.numbers, str) or not self.numbers:
            raise ValueError("numbers is a list of columns")
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be from 0 to 1, got {self.share}")
        if self.fit_rows < _FEWEST:
            raise ValueError(f"fit_rows must be at least {_FEWEST}, got {self.fit_rows}")
        strange = set(self.both_ends) - {*self.numbers, LENGTH}
        if strange:
            raise ValueError(f"both_ends: {min(strange)!r} is not among `numbers`")

    @property
    def ranked(self) -> tuple[str, ...]:
        """For each of `numbers` the captions that it must be about."""
        return (self.of,) * len(self.numbers)

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.of, self.direction, *self.numbers)))

    @property
    def fit_reads(self) -> tuple[str, ...]:
        """What is learnt from: a row without one of the numbers may have others."""
        return (self.direction, *self.numbers)

    @property
    def may_lack(self) -> tuple[str, ...]:
        """All but the captions: what has no rank is not flagged."""
        return tuple(name for name in self.reads if name != self.of)

    def fit(self, rows: pa.Table) -> Fitted:
        """Of each direction the distributions of its numbers and of the means of their ranks."""
        whole = rows.to_pydict()
        counts = [len(row) for row in whole[self.direction]]
        for name in self.numbers:
            _aligned(name, whole[name], counts)
        directions, values = _flat(whole, self.direction, self.numbers)
        learnt: Fitted = {}
        for name in sorted({one for one in directions if one is not None}):
            here = values[[one == name for one in directions]]
            if len(here) < _FEWEST:
                continue
            for column, number in enumerate(self.numbers):
                known = here[:, column][~np.isnan(here[:, column])]
                if len(known) >= _FEWEST:
                    learnt[f"{name} {number}"] = _points(known)
            means = self._means(here, name, learnt)
            if not np.isnan(means).all():
                learnt[name] = _points(means[~np.isnan(means)])
        return learnt

    def writes_at_most(self, rows: int, given: Given, sentence: int) -> Held | None:
        """As many captions as it is given."""
        return estimates.together(given, [self.of])

    def __call__(self, batch: dict[str, list[Any]], fitted: Fitted) -> dict[str, list[Any]]:
        counts = [len(row) for row in batch[self.of]]
        whole = {n: _aligned(n, batch[n], counts) for n in (self.direction, *self.numbers)}
        directions, values = _flat(whole, self.direction, self.numbers)
        ranks = iter(self._ranks(directions, values, fitted))
        found = [[next(ranks) for _ in range(count)] for count in counts]
        rows = zip(batch[self.of], found, strict=True)
        return {captions.COLUMN: [self._flagged(*row) for row in rows], RANK: found}

    def _flagged(
        self, row: Sequence[Row | None], ranks: Sequence[float | None]
    ) -> list[Row | None]:
        return [
            flagged(c, LOW) if c is not None and r is not None and r <= self.share else c
            for c, r in zip(row, ranks, strict=True)
        ]

    def _ranks(
        self, directions: Sequence[str | None], values: Doubles, fitted: Fitted
    ) -> list[float | None]:
        found: Doubles = np.full(len(directions), np.nan)
        for name in {one for one in directions if one in fitted}:
            here = np.array([one == name for one in directions])
            means = self._means(values[here], str(name), fitted)
            points = fitted[str(name)]
            upto = np.searchsorted(points, means, "right") / len(points)
            found[here] = np.where(np.isnan(means), np.nan, upto)
        return [None if np.isnan(rank) else float(rank) for rank in found]

    def _means(self, values: Doubles, direction: str, fitted: Mapping[str, Any]) -> Doubles:
        """The mean rank [n] of those numbers that are known; NaN where none is."""
        ranks = np.full(values.shape, np.nan)
        for column, number in enumerate(self.numbers):
            points = fitted.get(f"{direction} {number}")
            if points is not None:
                own = _rank(points, values[:, column])
                two_sided = np.round(2 * np.minimum(own, 1 - own), _DIGITS)
                ranks[:, column] = two_sided if number in self.both_ends else own
        known = (~np.isnan(ranks)).sum(axis=1)
        found: Doubles = np.where(known, np.nansum(ranks, axis=1) / np.maximum(known, 1), np.nan)
        return found


def _points(values: Doubles) -> Doubles:
    """The values in order, or so many of them at even places."""
    ordered = np.sort(values)
    if len(ordered) > _POINTS:
        ordered = ordered[np.rint(np.linspace(0, len(ordered) - 1, _POINTS)).astype(int)]
    found: Doubles = ordered.astype(np.float64)
    return found


def _rank(points: Doubles, values: Doubles) -> Doubles:
    """The share of points below each value, half of those that are equal; NaN of NaN."""
    below, upto = (np.searchsorted(points, values, side) for side in ("left", "right"))
    found: Doubles = np.where(np.isnan(values), np.nan, (below + upto) / (2 * len(points)))
    return found


def _flat(
    columns: Mapping[str, Sequence[Any]], direction: str, numbers: Sequence[str]
) -> tuple[list[str | None], Doubles]:
    """All captions of all rows: directions, and numbers [n, k] with NaN where they are lacking."""
    told = [one for row in columns[direction] for one in row]
    lists = [[one for row in columns[name] for one in row] for name in numbers]
    values = [[np.nan if one is None else one for one in column] for column in lists]
    return told, np.array(values, dtype=np.float64).reshape(len(numbers), len(told)).T


def _aligned(name: str, column: Sequence[Any], counts: Sequence[int]) -> list[Any]:
    """The lists, of NULLs where there is none. Raises ValueError for one of another length."""
    found = []
    for value, count in zip(column, counts, strict=True):
        if value is not None and len(value) != count:
            raise ValueError(f"{name}: {len(value)} values for {count} captions")
        found.append([None] * count if value is None else value)
    return found
