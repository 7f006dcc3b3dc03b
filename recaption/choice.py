"""Which of several captions a picture gets: the best by score, all of them in order, or one drawn.

Nothing is written anew: a caption that is chosen stays as it was, with its model and its flags.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import pyarrow as pa

from filters import estimates
from filters.estimates import Given, Held
from filters.sampling import seed_of
from recaption import captions
from recaption.captions import Row

BEST, ALL = "best", "all"
SCORES = "caption_scores"


class Scored(NamedTuple):
    """A caption and its score, which it may lack."""

    caption: Row
    score: float | None


@dataclass(frozen=True)
class BestCaption:
    """`captions`: of those in the columns `of` the one with the highest score, ties by order.

    `of` are columns of text or captions, `scores` a column of scores for each of them: a number
    for a text, a list for captions, as any scorer of text writes it. A caption without a score is
    never the best; a row without any has no caption. `keep: all` keeps all, the best first and
    those without a score last, and writes `caption_scores`, aligned with them. `kind` and
    `unflagged` limit which captions count. Scores of one scorer alone should be compared.
    """

    of: tuple[str, ...]
    scores: tuple[str, ...]
    keep: str = BEST
    kind: str | None = None
    unflagged: bool = False
    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"of": "text", "scores": "score"}
    aligned: ClassVar[dict[str, str]] = {"scores": "of"}

    def __post_init__(self) -> None:
        for name in ("of", "scores"):
            listed = getattr(self, name)
            if isinstance(listed, str) or not listed:
                raise ValueError(f"{name} is a list of columns")
        if len(self.of) != len(self.scores):
            counts = f"{len(self.of)} columns, {len(self.scores)} scores"
            raise ValueError(f"each column needs its column of scores; found {counts}")
        if self.keep not in (BEST, ALL):
            raise ValueError(f"keep {self.keep!r}: known are {BEST} and {ALL}")

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self.of, *self.scores]))

    @property
    def may_lack(self) -> tuple[str, ...]:
        """Columns that may be NULL: what is there is chosen from."""
        return self.reads

    @property
    def writes(self) -> pa.Schema:
        if self.keep == BEST:
            return captions.WRITES
        return pa.schema([*captions.WRITES, pa.field(SCORES, pa.list_(pa.float32()))])

    def writes_at_most(self, rows: int, given: Given, sentence: int) -> Held | None:
        """No other captions than it is given."""
        return estimates.together(given, self.of)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        count = len(batch[self.of[0]])
        rows = [self._ordered(batch, place) for place in range(count)]
        if self.keep == BEST:
            best = [[one.caption for one in row[:1] if one.score is not None] for row in rows]
            return {captions.COLUMN: best}
        return {
            captions.COLUMN: [[one.caption for one in row] for row in rows],
            SCORES: [[one.score for one in row] for row in rows],
        }

    def _ordered(self, batch: Mapping[str, Sequence[Any]], place: int) -> list[Scored]:
        found = [
            one
            for column, scores in zip(self.of, self.scores, strict=True)
            for one in scored(batch[column][place], batch[scores][place])
            if counts(one.caption, self.kind, self.unflagged)
        ]
        return sorted(found, key=lambda one: math.inf if one.score is None else -one.score)


def scored(value: Any, scores: Any) -> list[Scored]:
    """The captions of a column's value, each with its score. Raises ValueError for other counts."""
    if value is None:
        return []
    if isinstance(value, str):
        return [Scored(captions.texts(value)[0], _number(scores))]
    listed = [None] * len(value) if scores is None else scores
    if not isinstance(listed, Sequence) or len(listed) != len(value):
        raise ValueError(f"{len(value)} captions need as many scores, found {scores!r}")
    pairs = zip(value, listed, strict=True)
    return [Scored(one, _number(score)) for one, score in pairs if captions.texts([one])]


def _number(score: Any) -> float | None:
    if isinstance(score, Sequence):
        raise ValueError(f"a text needs one score, found {score!r}")
    return None if score is None or math.isnan(score) else float(score)


def counts(caption: Row, kind: str | None, unflagged: bool) -> bool:
    """Whether a caption is of a kind, and nothing is wrong with it if that is asked for."""
    return kind in (None, caption["kind"]) and not (unflagged and captions.flaws(caption))


@dataclass(frozen=True)
class Mixed:
    """`captions`: the raw text of a share `raw_rate` of pairs, and a synthetic one of the others.

    As Recap-DataComp-1B (Li et al. 2024, arXiv:2406.08478) mixes per step; here a pair has its
    side for good, drawn by its key and `seed`, so the share is kept on the average. `raw` and
    `synthetic` are columns of text or of captions; of several captions one is drawn, all alike.
    `kind` and `unflagged` limit the synthetic ones. A pair that lacks one side has the other.
    """

    synthetic: str
    raw: str = "caption"
    raw_rate: float = 0.5
    seed: int = 0
    kind: str | None = None
    unflagged: bool = False
    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"synthetic": "text", "raw": "text"}
    writes: ClassVar[pa.Schema] = captions.WRITES

    def __post_init__(self) -> None:
        if not 0 <= self.raw_rate <= 1:
            raise ValueError(f"raw_rate must be from 0 to 1, got {self.raw_rate}")

    @property
    def reads(self) -> tuple[str, ...]:
        return ("key", self.raw, self.synthetic)

    @property
    def may_lack(self) -> tuple[str, ...]:
        """Columns that may be NULL: the other side stands then."""
        return (self.raw, self.synthetic)

    def writes_at_most(self, rows: int, given: Given, sentence: int) -> Held | None:
        """No other captions than it is given."""
        return estimates.together(given, self.reads[1:])

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        columns = (batch[name] for name in self.reads)
        return {captions.COLUMN: [self._one(*row) for row in zip(*columns, strict=True)]}

    def _one(self, key: bytes, raw: Any, synthetic: Any) -> list[Row]:
        told = [one for one in captions.texts(raw) if str(one["text"]).strip()]
        seen = [
            one
            for one in captions.texts(synthetic)
            if counts(one, self.kind, self.unflagged) and str(one["text"]).strip()
        ]
        is_raw = _unit(key, self.seed, b"side") < self.raw_rate
        pool = (told if is_raw else seen) or seen or told
        return [pool[int(_unit(key, self.seed, b"caption") * len(pool))]] if pool else []


@dataclass(frozen=True)
class FirstText:
    """`first_text`, the text of the first caption in the columns `of`, NULL where there is none.

    For scorers that read one text a row, and for `top`, which wants one score a row: `clip` with
    `text: first_text`. `of` is a column of text or of captions, or several in order of preference;
    `kind`, `language` and `unflagged` limit which captions count.
    """

    of: str | tuple[str, ...]
    kind: str | None = None
    language: str | None = None
    unflagged: bool = False
    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"of": "text"}
    writes: ClassVar[pa.Schema] = pa.schema([("first_text", pa.string())])

    def __post_init__(self) -> None:
        if not self.reads:
            raise ValueError("of: name a column at least")

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.of,) if isinstance(self.of, str) else tuple(dict.fromkeys(self.of))

    @property
    def may_lack(self) -> tuple[str, ...]:
        """Columns that may be NULL: the next one is looked at."""
        return self.reads

    def writes_at_most(self, rows: int, given: Given, sentence: int) -> Held | None:
        """No other texts than it is given."""
        return estimates.together(given, self.reads)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = zip(*(batch[name] for name in self.reads), strict=True)
        return {"first_text": [self._first(row) for row in rows]}

    def _first(self, values: Sequence[Any]) -> str | None:
        for one in (caption for value in values for caption in captions.texts(value)):
            spoken = self.language in (None, one["language"])
            if spoken and counts(one, self.kind, self.unflagged) and str(one["text"]).strip():
                return one["text"]
        return None


def _unit(key: bytes, seed: int, salt: bytes) -> float:
    """A number in [0, 1) that depends on the key, the seed and what it is for, and nothing else."""
    return (seed_of(str(seed).encode(), salt, key) >> 11) / (1 << 53)
