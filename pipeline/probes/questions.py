"""A question to a score: several pairs of picture and text, of which one must score highest.

Strict: a true pair that another one equals is not found, so a score that says the same of
everything gets nothing. What has no value is counted apart, never as a wrong answer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.keys import draw_bits

Item = TypeVar("Item")


class Picture(Protocol):
    """A picture that can be asked about; those of one name are one."""

    @property
    def name(self) -> str: ...

    def read(self) -> bytes:
        """Its file. Raises OSError when there is none any more."""
        ...


Pair = tuple[Picture, str]


@dataclass(frozen=True)
class Question:
    """Pairs of which the one at `right` is true.

    `kind` is what it is counted under; questions of one `item` belong together. `side` tells
    them apart there. `other` is the place of a pair whose choice would be a telling mistake.
    """

    pairs: tuple[Pair, ...]
    right: int = 0
    kind: str = ""
    item: str = ""
    side: str = ""
    other: int | None = None


@dataclass(frozen=True)
class Answer:
    """The scores of a question's pairs, None where there is no value."""

    scores: tuple[float | None, ...]

    @property
    def known(self) -> tuple[float, ...] | None:
        """The scores when all of them are there."""
        found = tuple(score for score in self.scores if score is not None)
        return found if len(found) == len(self.scores) else None

    @property
    def top(self) -> tuple[int, ...]:
        """The places with the highest score; none when a score is missing."""
        known = self.known
        if known is None:
            return ()
        return tuple(n for n, score in enumerate(known) if score == max(known))

    @property
    def choice(self) -> int | None:
        """The one place with the highest score, if there is one."""
        return self.top[0] if len(self.top) == 1 else None


Asked = tuple[Question, Answer]


@dataclass(frozen=True)
class Grid:
    """A classification: every picture beside the same options, each said in one way or several.

    `right` holds the place of the true option for every picture, or -1 where it is none of them:
    such pictures are left out. `common` are the options that are compared across grids.
    """

    name: str
    pictures: tuple[Picture, ...]
    options: tuple[tuple[str, ...], ...]
    right: tuple[int, ...]
    common: tuple[int, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(text for ways in self.options for text in ways)


Scores = npt.NDArray[np.float64]


def option_scores(grid: Grid, scores: Scores) -> Scores:
    """Scores [pictures, texts] as [pictures, options]: the mean over the ways to say an option."""
    ends = np.cumsum([len(ways) for ways in grid.options])
    parts = np.split(scores, ends[:-1], axis=1)
    return np.stack([part.mean(axis=1) for part in parts], axis=1)


def choices(scores: Scores, right: npt.NDArray[np.int64]) -> "Counts":
    """How many rows of [pictures, options] are highest at `right`, and nowhere else."""
    answered = np.isfinite(scores).all(axis=1)
    seen, true = scores[answered], right[answered]
    best = seen.max(axis=1, initial=-np.inf)
    at_true = seen[np.arange(len(seen)), true]
    highest = (seen == best[:, None]).sum(axis=1)
    is_top = at_true == best
    return Counts(
        right=int((is_top & (highest == 1)).sum()),
        ties=int((is_top & (highest > 1)).sum()),
        n=len(seen),
        unanswered=int((~answered).sum()),
    )


@dataclass(frozen=True)
class Counts:
    """Answers by what became of them. A tie at the top is wrong; `n` are all answered ones."""

    right: int
    ties: int
    n: int
    unanswered: int


def count(asked: Iterable[Asked]) -> Counts:
    """The answers to questions, one by one."""
    right = ties = n = unanswered = 0
    for question, answer in asked:
        top = answer.top
        unanswered += not top
        n += bool(top)
        right += top == (question.right,)
        ties += len(top) > 1 and question.right in top
    return Counts(right, ties, n, unanswered)


def few(items: Sequence[Item], limit: int | None) -> list[Item]:
    """So many of the items at most, drawn by their place and then in their order."""
    if limit is None or len(items) <= limit:
        return list(items)
    drawn = sorted(range(len(items)), key=lambda n: (draw_bits(str(n).encode(), 0, "probe"), n))
    return [items[n] for n in sorted(drawn[:limit])]
