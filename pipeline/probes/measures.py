"""From answers to figures: one function for every way in which questions hang together.

The functions know nothing of scorers or files; each takes the questions of a probe with their
answers, in order.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from pipeline.probes.figures import ABOVE, Figure, difference, share
from pipeline.probes.questions import Asked, Counts, count

PAIR, GROUP = 1 / 4, 1 / 6  # of two pictures and two texts, all scores different: by counting
TEXT, IMAGE = "text", "image"


@dataclass(frozen=True)
class Measured:
    """The figures of a probe, the first of which stand for it, and tables of counts by name."""

    figures: tuple[Figure, ...]
    tables: Mapping[str, Any] = field(default_factory=dict)
    heads: int = 1


Measure = Callable[[Sequence[Asked]], Measured]


def chosen(asked: Sequence[Asked]) -> Measured:
    """The share of questions whose true pair is highest: of all, and of each kind."""
    kinds = _by_kind(asked)
    figures = [_chosen("all", asked)] if len(kinds) != 1 else []
    return Measured((*figures, *(_chosen(kind, own) for kind, own in kinds.items())))


def by_kind(asked: Sequence[Asked]) -> Measured:
    """The share for each kind, where all together would mean nothing."""
    figures = tuple(_chosen(kind, own) for kind, own in _by_kind(asked).items())
    return Measured(figures, heads=len(figures))


def _chosen(label: str, asked: Sequence[Asked]) -> Figure:
    """Chance is one out of the options, on average over the questions."""
    chances = [1 / len(question.pairs) for question, _ in asked]
    return share(label, count(asked), sum(chances) / len(chances) if chances else 0.0)


def _by_kind(asked: Iterable[Asked]) -> dict[str, list[Asked]]:
    kinds: dict[str, list[Asked]] = {}
    for question, answer in asked:
        kinds.setdefault(question.kind, []).append((question, answer))
    return kinds


def winoground(asked: Sequence[Asked]) -> Measured:
    """Text, image and group score of two pictures with two texts (Thrush et al. 2022).

    Every item has four questions: for each picture which text is its own (side `text`), for each
    text which picture (side `image`). An item of which one score is missing is unanswered.
    """
    figures = [*_three("", asked)]
    kinds = _by_kind(asked)
    if len(kinds) > 1:
        for kind, own in kinds.items():
            figures += _three(f"{kind}: ", own)
    return Measured(tuple(figures), heads=3)


def _three(prefix: str, asked: Sequence[Asked]) -> list[Figure]:
    items = [list(own) for _, own in groupby(asked, key=lambda one: one[0].item)]
    sides = (("text", (TEXT,), PAIR), ("image", (IMAGE,), PAIR), ("group", (TEXT, IMAGE), GROUP))
    return [
        share(f"{prefix}{name} score", _whole_items(items, only), chance)
        for name, only, chance in sides
    ]


def _whole_items(items: Iterable[Sequence[Asked]], sides: tuple[str, ...]) -> Counts:
    """Items of which all questions of these sides are right."""
    right = ties = n = unanswered = 0
    for item in items:
        own = count([one for one in item if one[0].side in sides])
        if own.unanswered:
            unanswered += 1
            continue
        n += 1
        right += own.right == own.n
        ties += own.right < own.n and own.right + own.ties == own.n
    return Counts(right, ties, n, unanswered)


def counting(asked: Sequence[Asked]) -> Measured:
    """How often the number is right, or off by one, and which number is said for which.

    The options of every question are the numbers from 1 on, in order. In the table a row is a
    true number, a column what was said; the last column counts ties.
    """
    most = max(len(question.pairs) for question, _ in asked)
    table = [[0] * (most + 1) for _ in range(most)]
    near = Counts(0, 0, 0, 0)
    for question, answer in asked:
        if answer.known is None:
            near = _add(near, unanswered=1)
            continue
        said = answer.choice
        table[question.right][most if said is None else said] += 1
        is_near = said is not None and abs(said - question.right) <= 1
        near = _add(near, right=is_near, ties=said is None, n=1)
    options = range(most)
    within = sum(abs(a - b) <= 1 for a in options for b in options) / most**2
    exact = share("the number", count(asked), 1 / most)
    return Measured((exact, share("the number or one off", near, within)), {"confusion": table})


def _add(counts: Counts, right: int = 0, ties: int = 0, n: int = 0, unanswered: int = 0) -> Counts:
    return Counts(
        counts.right + right, counts.ties + ties, counts.n + n, counts.unanswered + unanswered
    )


ONE, TWO = "one", "two"


def binding(asked: Sequence[Asked]) -> Measured:
    """Concept association bias: how often a thing gets the colour of the thing beside it.

    After Tang et al. 2023 (arXiv:2212.12043); the difference is our way to sum it up. Every item
    has a question about a picture of two things (side `two`) and the same about the picture
    without the other thing (side `one`); `other` is the colour of that other thing. A colour is
    chosen when nothing is higher: a score to which both colours are equal has not bound them.
    """
    single, double = (_side(asked, side) for side in (ONE, TWO))
    pairs, unanswered = [], 0
    for alone, beside in zip(single, double, strict=True):
        if alone[1].known is None or beside[1].known is None:
            unanswered += 1
        else:
            pairs.append((_is_other(beside), _is_other(alone)))
    drawn_over = Counts(sum(a for a, _ in pairs), 0, len(pairs), unanswered)
    options = max(len(question.pairs) for question, _ in asked)
    bias = difference("association bias", pairs, unanswered)
    plain = share("colour of a thing alone", count(single), 1 / options)
    if plain.verdict != ABOVE:
        bias = replace(bias, note="colours are not seen")
    return Measured(
        (
            bias,
            plain,
            share("colour of one of two things", count(double), 1 / options),
            share("colour of the other thing instead", drawn_over, 1 / options, is_fault=True),
        ),
        heads=3,
    )


def _side(asked: Iterable[Asked], side: str) -> list[Asked]:
    return [one for one in asked if one[0].side == side]


def _is_other(one: Asked) -> bool:
    question, answer = one
    return question.other in answer.top
