"""The few numbers that the offline judges learn: logistic regressions on questions with answers."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.judges.questions import NEIGHBOUR, OTHER, SHARES, Questions
from filters import caption_marks, hard_negatives, logistic, yes_or_no
from filters.caption_marks import Scale, Scales
from filters.reference import Said, Seen

_COUNT = 12_000  # answers of each kind, yes and no, of which rare ones come several times
_PENALTY = 1e-3
Doubles = npt.NDArray[np.float64]
Measure = Callable[[Seen, Said], tuple[float, ...]]


class Learnt(NamedTuple):
    """What `yes_or_no` and `caption_marks` need."""

    yes: yes_or_no.Scale
    marks: Scales


SHIPPED = Learnt(yes_or_no.SHIPPED, caption_marks.SHIPPED)


def learn(questions: Questions) -> Learnt:
    """From questions about drawings that the encoder's heads have not learnt."""
    yes = _fitted(_answers(questions, yes_or_no.leads, SHARES))
    exchanged = ((0.5, (OTHER,)), (0.5, (NEIGHBOUR,)))
    pair = _fitted(_answers(questions, lambda *one: (hard_negatives.margin(*one),), exchanged))
    word = _fitted(_words(questions))
    return Learnt(
        yes_or_no.Scale(yes[1], yes[2], yes[0]),
        Scales(Scale(pair[1], pair[0]), Scale(word[1], word[0])),
    )


def _answers(
    questions: Questions, measure: Measure, shares: tuple[tuple[float, tuple[str, ...]], ...]
) -> tuple[Doubles, Doubles]:
    """Measures of right captions, and of wrong ones with their shares."""
    kinds = np.array(questions.kinds)
    right = questions.only(kinds == OTHER)
    wrong = []
    for share, own in shares:
        some = questions.only(np.isin(kinds, own))
        wrong.append(_taken(_measured(some, 1, measure), round(share * _COUNT)))
    return _taken(_measured(right, 0, measure), _COUNT), np.concatenate(wrong)


def _measured(questions: Questions, side: int, measure: Measure) -> Doubles:
    return np.array([measure(*pair) for pair in questions.pairs(side)])


def _taken(rows: Doubles, count: int) -> Doubles:
    """So many rows, each as often as any other, or once more."""
    return rows[np.arange(count) % len(rows)] if count > len(rows) else _spread(rows, count)


def _spread(rows: Doubles, count: int) -> Doubles:
    return rows[np.arange(count) * len(rows) // count]


def _words(questions: Questions) -> tuple[Doubles, Doubles]:
    """Cosines of the words of a picture's own caption, and of those of another's."""
    kinds = np.array(questions.kinds)
    some = questions.only(kinds == OTHER)
    found = []
    for side in (0, 1):
        cosines = [said.words @ seen.vector for seen, said in some.pairs(side)]
        found.append(np.concatenate(cosines).astype(np.float64)[:, None])
    return _taken(found[0], _COUNT), _taken(found[1], _COUNT)


def _fitted(answers: tuple[Doubles, Doubles]) -> list[float]:
    """Intercept and slopes."""
    yes, no = answers
    labels = np.arange(len(yes) + len(no)) < len(yes)
    found = logistic.fit(np.concatenate([yes, no]), labels, _PENALTY).coefficients
    return [round(float(value), 2) for value in found]
