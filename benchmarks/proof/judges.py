"""The offline judges under the retrained heads: what they compare with and learn is of F alone.

Drawings and captions are those that the heads have learnt, the few numbers are learnt on the
judges' side as in `benchmarks.judges`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.embedded.heads import Lesson
from benchmarks.judges import bank, figures, fitting
from benchmarks.judges.bank import Heads
from benchmarks.judges.figures import COSINE, Score
from benchmarks.judges.questions import Questions
from benchmarks.reward.captions import LEARNT_FRAMES
from benchmarks.reward.drawings import Maker
from benchmarks.reward.material import few
from filters.reference import Reference

Array = np.ndarray[Any, Any]
NAMES = tuple(name for name in figures.scores_of(fitting.SHIPPED) if name != COSINE)


@dataclass(frozen=True)
class Judges:
    """Scores by name, and what they compare a pair with."""

    reference: Reference
    scores: dict[str, Score]

    def of(self, name: str, images: Array, captions: Sequence[str]) -> Array:
        """A score [n] of pictures with such vectors [n, d], and of their captions."""
        score, reference = self.scores[name], self.reference
        pairs = zip(images, captions, strict=True)
        found = [score(reference.seen(image), reference.said(text)) for image, text in pairs]
        return np.array(found, np.float64)


def learn(maker: Maker, encoder: list[Lesson], judged: list[Lesson], arrays: Heads) -> Judges:
    """`encoder` is what the heads have learnt; of `judged` they know nothing."""
    bench = maker.bench
    reference = bank.reference(bench, bank.rows_of(bench.pairs, encoder), arrays)
    rows = maker.rows(few(judged), LEARNT_FRAMES)
    learnt = fitting.learn(Questions.of(bench, rows, arrays, reference))
    return Judges(reference, figures.scores_of(learnt))
