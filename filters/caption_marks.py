"""The four marks of MLM-Filter without a multimodal LLM: by the embedded encoder and by rules.

They stand in for its questions as far as such means reach: see the functions for how far that is.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from filters import hard_negatives, written
from filters.reference import Floats, Said, Seen


class Scale(NamedTuple):
    """Log odds: a slope and a start."""

    slope: float
    start: float

    def probability(self, value: float) -> float:
        return 1 / (1 + math.exp(-(self.slope * value + self.start)))


class Scales(NamedTuple):
    """That of a pair by its margin, and of a word by its cosine."""

    pair: Scale
    word: Scale


SHIPPED = Scales(Scale(10.04, 1.6), Scale(8.87, -1.09))
"""As `benchmarks.judges ship` prints them."""
_TAGS = 32
"""Words of the list that a picture is taken to show, the nearest ones."""
_NEAR = 0.1  # cosine of two words below which one doesn't name the other at all
_WELL_SEEN, _UNSEEN = 0.40, 0.25
"""Cosines of the drawings that show a word best: of "house" and "flower", of "because"."""
_NEAREST = 8
_MUCH = 4.0  # things that can't be seen for which most of the mark is given


def mark(name: str, seen: Seen, said: Said) -> int:
    """One of the four marks, 0 to 100, by its name among the questions of `mlm_filter`."""
    return round(100 * _MARKS[name](seen, said))


def matching(seen: Seen, said: Said, scales: Scales = SHIPPED) -> float:
    """The probability that the caption is the picture's own and no other one's, by its margin."""
    return scales.pair.probability(hard_negatives.margin(seen, said))


def detail(seen: Seen, said: Said, scales: Scales = SHIPPED) -> float:
    """The geometric mean of how far what is said is seen, and what is seen is said; 0 to 1.

    The first is the mean probability of the caption's words by their cosines. The second is how
    near a word comes to each of the 32 words of the list that are nearest to the picture, weighted
    by their probabilities. A caption that names more gains, up to a point also when it is wrong.
    """
    if not said.names:
        return 0.0
    is_seen = _probabilities(said.words @ seen.vector, scales.word).mean()
    tags = np.argsort(-seen.words, kind="stable")[:_TAGS]
    weights = _probabilities(seen.words[tags], scales.word)
    nearest = (said.reference.words[tags] @ said.words.T).max(axis=1).astype(np.float64)
    is_said = weights @ np.clip((nearest - _NEAR) / (1 - _NEAR), 0, 1) / weights.sum()
    return math.sqrt(float(is_seen * is_said))


def quality(_seen: Seen, said: Said) -> float:
    """See `written.quality`; the picture is not looked at."""
    return written.quality(said.text)


def understanding(seen: Seen, said: Said, scales: Scales = SHIPPED) -> float:
    """How much is told that no picture shows, times `matching`, because it should be true; 0 to 1.

    Names and years count 1 each, other words by how badly the drawings that show them best do so.
    Whether what is told is true of this picture nothing here can know.
    """
    if not written.is_text(said.text) or not said.names:
        return 0.0
    count, told = written.named(said.text)
    rest = np.array([name not in told for name in said.names])
    total = count + float(unseen(said)[rest].sum())
    return (1 - math.exp(-total / _MUCH)) * matching(seen, said, scales)


def unseen(said: Said) -> Floats:
    """For each word from 0, that drawings show it well, to 1, that none does."""
    cosines = said.words @ said.reference.pictures.T
    best = np.partition(cosines, -_NEAREST, axis=1)[:, -_NEAREST:].mean(axis=1)
    found: Floats = np.clip((_WELL_SEEN - best) / (_WELL_SEEN - _UNSEEN), 0, 1)
    return found


def _probabilities(cosines: Floats, scale: Scale) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    odds = scale.slope * cosines.astype(np.float64) + scale.start
    return 1 / (1 + np.exp(-odds))


_MARKS: dict[str, Callable[[Seen, Said], float]] = {
    "matching": matching,
    "detail": detail,
    "quality": quality,
    "understanding": understanding,
}
