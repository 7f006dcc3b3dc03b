"""Numbers for translations, one for each caption: length, likeness, and what comes back.

Values, not verdicts: what is low differs by direction, so `translation_ranks` compares them within
each. None of them sees a text that was merely copied; that is a flag of `translate`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from filters import embedded
from recaption.chrf import chrf
from recaption.translation_flags import Pair, length_ratio
from recaption.translation_pairs import Columns, Made, made_of

LENGTH, SIMILARITY, ROUND_TRIP, DIRECTION = (
    "length_ratio",
    "similarity",
    "round_trip",
    "direction",
)
_LANGUAGES = "ar zh en fr de it ja ko nl pl pt es th tr ru"
SENTENCE_LANGUAGES = frozenset(_LANGUAGES.split())
"""Those that the embedded sentence encoder has learnt."""
Numbers = list[float | None]


@dataclass(frozen=True)
class TranslationQuality:
    """For each caption of `of`, which `translate` made of the column `source`, lists of numbers.

    `length_ratio`: how long it is beside its source (1: as long). `similarity`: the cosine of both
    to the embedded sentence encoder, NULL for a language that it has not learnt. `round_trip`: the
    chrF of the source and what came back; it is written where `back` names the column of another
    `translate`, `{of: es, to: en}` say. `direction` is `en>es`.

    `language` is that of captions of `source` that don't say theirs: a tag, or a column of tags.
    NULL where it is not known what a caption was made of: where one of its kind failed.
    """

    of: str
    source: str = "caption"
    language: str = "en"
    back: str | None = None
    version: ClassVar[int] = 2  # a caption that is NULL has NULL, and fails no row
    needs: ClassVar[dict[str, str]] = {
        "of": "captions",
        "source": "text",
        "language": "text",
        "back": "captions",
    }

    @property
    def reads(self) -> tuple[str, ...]:
        names = (*self._columns.names, *([] if self.back is None else [self.back]))
        return tuple(dict.fromkeys(names))

    @property
    def may_lack(self) -> tuple[str, ...]:
        """All but the translations: a number whose parts are missing is NULL."""
        return tuple(name for name in self.reads if name != self.of)

    @property
    def writes(self) -> pa.Schema:
        back = [] if self.back is None else [ROUND_TRIP]
        numbers = [(name, pa.list_(pa.float32())) for name in (LENGTH, SIMILARITY, *back)]
        return pa.schema([*numbers, (DIRECTION, pa.list_(pa.string()))])

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values."""
        return {
            "of": self.of,
            "source": self.source,
            "language": self.language,
            "back": self.back,
            "encoder": embedded.weights_digest(),
        }

    @property
    def _columns(self) -> Columns:
        return Columns(self.of, self.source, self.language)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        made = self._columns.pairs(batch)
        likes = iter(similarities([m.pair for row in made for m in row if m is not None]))
        found: dict[str, list[Any]] = {
            LENGTH: [[_of(m, length_ratio) for m in row] for row in made],
            SIMILARITY: [[None if m is None else next(likes) for m in row] for row in made],
            DIRECTION: [[None if m is None else m.direction for m in row] for row in made],
        }
        if self.back is not None:
            rows = zip(made, batch[self.of], batch[self.back], strict=True)
            found[ROUND_TRIP] = [_returns(*row) for row in rows]
        return found


def _of(made: Made | None, measure: Any) -> float | None:
    return None if made is None else float(measure(made.pair))


def similarities(pairs: Sequence[Pair]) -> Numbers:
    """The cosine of each pair; None for a language that the encoder has not learnt."""
    known = [
        n
        for n, p in enumerate(pairs)
        if {p.source_language.base, p.target_language.base} <= SENTENCE_LANGUAGES
    ]
    found: Numbers = [None] * len(pairs)
    if known:
        one = embedded.sentence_features([pairs[n].source for n in known])
        other = embedded.sentence_features([pairs[n].target for n in known])
        for n, value in zip(known, (one * other).sum(axis=1).tolist(), strict=True):
            found[n] = value
    return found


def _returns(made: Sequence[Made | None], translated: Any, back: Any) -> Numbers:
    """chrF of what came back and the source, for each translation."""
    texts = [n for n, row in enumerate(translated) if row is not None and row["text"] is not None]
    found: dict[tuple[int, str], str] = {}
    for one in made_of(back, translated, None):
        if one is not None:
            base = one.pair.target_language.base
            found[texts[one.place], base] = one.pair.target
    values: Numbers = []
    for number, one in enumerate(made):
        text = None if one is None else found.get((number, one.pair.source_language.base))
        values.append(None if one is None or text is None else chrf(text, one.pair.source))
    return values
