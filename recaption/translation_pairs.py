"""Which caption each translation was made of: told by their order, as `translate` writes them.

Captions of a language stand in the order of what they were made of. Where some are missing, as one
failed, those of that kind and language are of nothing known, rather than of a wrong one.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from recaption import captions, languages
from recaption.captions import Row
from recaption.languages import Language, language
from recaption.translation_flags import Pair


class Made(NamedTuple):
    """A translation with its source; `place` is that of the source among those with a text."""

    pair: Pair
    place: int

    @property
    def direction(self) -> str:
        """`en>pt-BR`."""
        return f"{self.pair.source_language.tag}>{self.pair.target_language.tag}"


def made_of(translated: Any, source: Any, own: str | None) -> list[Made | None]:
    """For each caption of a column's value what it was made of; None where that is not known.

    `source` is the value of the column that was translated, text or captions, and `own` the
    language of those that do not say theirs. Regions of languages make no difference.
    """
    given = [(row, _language(row["language"] or own)) for row in captions.texts(source)]
    found: list[Made | None] = [None] * len(translated or ())
    for target, places in _by_group(translated or ()).items():
        spoken = _language(target[0])
        if spoken is None:
            continue
        sources = [
            place
            for place, (row, one) in enumerate(given)
            if one is not None and not languages.is_same(one, spoken) and _kind(row) == target[1:]
        ]
        if len(sources) != len(places):
            continue
        for place, number in zip(sources, places, strict=True):
            row, one = given[place]
            assert one is not None
            text = str(translated[number]["text"])
            found[number] = Made(Pair(str(row["text"]), text, one, spoken), place)
    return found


def _by_group(translated: Sequence[Row | None]) -> dict[tuple[Any, ...], list[int]]:
    """Places of captions by language, kind and box."""
    found: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for number, row in enumerate(translated):
        if row is not None and row["text"] is not None:
            found[row["language"], *_kind(row)].append(number)
    return found


def _kind(row: Row) -> tuple[Any, ...]:
    return row["kind"] or "raw", None if row["box"] is None else tuple(row["box"])


def _language(said: str | None) -> Language | None:
    try:
        return language(said or "")
    except ValueError:
        return None


class Columns(NamedTuple):
    """The columns that pairs are read from; `language` is a tag, or a column of tags."""

    of: str
    source: str
    language: str

    @property
    def names(self) -> tuple[str, ...]:
        told = () if languages.is_language(self.language) else (self.language,)
        return (self.of, self.source, *told)

    def pairs(self, batch: dict[str, list[Any]]) -> list[list[Made | None]]:
        """What each caption of each row was made of."""
        count = len(batch[self.of])
        is_tag = languages.is_language(self.language)
        spoken = [self.language] * count if is_tag else batch[self.language]
        rows = zip(batch[self.of], batch[self.source], spoken, strict=True)
        return [made_of(*row) for row in rows]
