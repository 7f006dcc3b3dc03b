"""Asks a scorer about pairs, through the harness that scores a pool: its reasons, its NULLs.

A dual encoder is asked for the vectors of each picture and each text once, and their cosine is
taken; only if that is the score it writes, and else it is asked about every pair.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.instances import Instance
from pipeline.probes import fitted
from pipeline.probes.asking import Asking
from pipeline.probes.drawing import Scene
from pipeline.probes.questions import Answer, Asked, Grid, Pair, Picture, Question, option_scores
from pipeline.probes.subject import Subject

_APART = 1e-3  # of the cosine of half-precision vectors from the score: 2^-11 by Cauchy-Schwarz
_GRID = 2.0**24
_TEXT = "a picture"  # beside pictures whose own vector is wanted
Vectors = npt.NDArray[np.float64]


class Judge:
    """Answers questions; remembers what was asked, and counts why there was no answer.

    A class with state because questions share their pictures, and answers are dear.
    """

    def __init__(self, subject: Subject, root: str, *, lowest: bool = False) -> None:
        self._subject, self._sign = subject, -1.0 if lowest else 1.0
        self._asking = Asking(root, subject.max_pixels)
        self._known: dict[tuple[str, str], float | None] = {}
        self._seen: dict[str, Vectors | None] = {}
        self._read: dict[str, Vectors | None] = {}
        self._encoder = subject.encoder
        self.fitted: dict[str, int] = {}
        """The scorers that were fitted on pairs, and on how many."""

    @property
    def way(self) -> str:
        """How pairs are scored: `pairs`, or `vectors` of a dual encoder."""
        return "pairs" if self._encoder is None else "vectors"

    @property
    def reasons(self) -> dict[str, int]:
        """Why values are missing, by the first word of the reason."""
        return dict(sorted(self._asking.reasons.items()))

    def clear(self) -> None:
        """Remove what was written to ask; paid answers stay."""
        self._asking.clear()

    def fit(self, pairs: Sequence[Pair]) -> None:
        """Have scorers that learn from a pool learn from some of these pairs."""
        if pairs:
            self.fitted = fitted.fit(self._asking, self._subject.chain, pairs)

    def learn(self, pictures: Iterable[Picture], texts: Iterable[str]) -> None:
        """Have the vectors of all that will be asked about, if there are any: each costs once."""
        if self._encoder is not None:
            self._encode(pictures, texts)

    def answer(self, questions: Sequence[Question]) -> list[Asked]:
        """The questions with their answers, in order."""
        self._learn([pair for question in questions for pair in question.pairs])
        return [
            (question, Answer(tuple(self._score(pair) for pair in question.pairs)))
            for question in questions
        ]

    def grid(self, grid: Grid) -> npt.NDArray[np.float64]:
        """Scores [pictures, options]; NaN where there is no value."""
        texts = grid.texts
        if self._encoder is not None:
            self._encode(grid.pictures, texts)
        if self._encoder is not None:
            seen = _stack([self._seen[picture.name] for picture in grid.pictures])
            read = _stack([self._read[text] for text in texts])
            scores: npt.NDArray[np.float64] = self._sign * (seen @ read.T)
        else:
            rows = [[(picture, text) for text in texts] for picture in grid.pictures]
            self._ask([pair for row in rows for pair in row])
            scores = np.array([[_number(self._score(pair)) for pair in row] for row in rows])
        return option_scores(grid, scores.reshape(len(grid.pictures), len(texts)))

    def _learn(self, pairs: Sequence[Pair]) -> None:
        if self._encoder is not None:
            self._encode([picture for picture, _ in pairs], [text for _, text in pairs])
        if self._encoder is None:
            self._ask(pairs)

    def _score(self, pair: Pair) -> float | None:
        picture, text = pair
        if self._encoder is None:
            found = self._known[picture.name, text]
        else:
            seen, read = self._seen[picture.name], self._read[text]
            found = None if seen is None or read is None else float(seen @ read)
        return None if found is None else self._sign * found

    def _ask(self, pairs: Sequence[Pair]) -> None:
        """Have the scorer's value of all pairs that are not known yet."""
        new = {(p.name, t): (p, t) for p, t in pairs if (p.name, t) not in self._known}
        column = self._subject.column
        for block in self._asking.blocks(list(new.values())):
            values = self._asking.values(self._subject.chain)[column]
            for (picture, text), value in zip(block, values, strict=True):
                self._known[picture.name, text] = None if value is None else float(value)

    def _encode(self, pictures: Iterable[Picture], texts: Iterable[str]) -> None:
        """Have the vectors of all pictures and texts that are not known yet, each made once."""
        seen = {p.name: p for p in pictures if p.name not in self._seen}
        read = [text for text in dict.fromkeys(texts) if text not in self._read]
        filler = Scene(())
        both = zip_longest(seen.values(), read)
        first = [(p or filler, _TEXT if t is None else t) for p, t in both]
        self._take(first, is_final=False)
        # A pair may have failed by one of the two alone.
        failed = [p for p in seen.values() if self._seen.get(p.name) is None]
        self._take([(picture, _TEXT) for picture in failed])
        unread = [text for text in read if self._read.get(text) is None]
        self._take([(filler, text) for text in unread])

    def _take(self, pairs: Sequence[Pair], *, is_final: bool = True) -> None:
        """Vectors of pairs; a scorer whose score is not their cosine is asked by pairs from now."""
        encoder = self._encoder
        if encoder is None:
            return
        for block in self._asking.blocks(pairs):
            values = self._asking.values([encoder], is_final=is_final)
            sides = [map(_unit, _side(encoder, ending, values)) for ending in ("image", "text")]
            scores = values[self._subject.column]
            for (picture, text), seen, read, score in zip(block, *sides, scores, strict=True):
                if not _agree(seen, read, score):
                    self._encoder = None
                    return
                self._keep(picture.name, text, (seen, read))

    def _keep(self, name: str, text: str, vectors: Sequence[Vectors | None]) -> None:
        for known, key, vector in ((self._seen, name, vectors[0]), (self._read, text, vectors[1])):
            if known.get(key) is None:
                known[key] = vector


def _side(encoder: Instance, ending: str, values: Mapping[str, list[Any]]) -> list[Any]:
    """The column of vectors of one side: `clip_image`, `clip_text`."""
    names = [f.name for f in encoder.columns.schema if pa.types.is_list(f.type)]
    return values[next(name for name in names if name.endswith(f"_{ending}"))]


def _unit(vector: Any) -> Vectors | None:
    """The same direction with numbers so round that their products add up exactly.

    So a score does not depend on the order in which a library adds, nor a tie on its mood.
    """
    if vector is None:
        return None
    wide = np.asarray(vector, np.float64)
    length = math.sqrt(float(wide @ wide))
    return np.rint(wide * (_GRID / length)) / _GRID if 0 < length < math.inf else None


def _agree(seen: Vectors | None, read: Vectors | None, score: float | None) -> bool:
    """Whether a score is the cosine of its vectors, as far as all three are there."""
    if seen is None or read is None or score is None:
        return True
    return len(seen) == len(read) and abs(float(seen @ read) - score) <= _APART


def _stack(vectors: Sequence[Vectors | None]) -> Vectors:
    """Vectors as rows, of those that are missing NaN."""
    size = next((len(vector) for vector in vectors if vector is not None), 0)
    blank = np.full(size, np.nan)
    rows = [blank if vector is None else vector for vector in vectors]
    return np.stack(rows) if rows else np.zeros((0, size))


def _number(value: float | None) -> float:
    return math.nan if value is None else value
