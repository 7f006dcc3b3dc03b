"""What there is to fuse of one picture: its texts, what experts found, concepts, and scores."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from recaption import captions, choice, entities, object_words
from recaption.captions import TAGS, UNSURE, Row
from recaption.object_words import Phrase

OBJECTS = "objects"
"""What a detector's findings are called, in rules and in prompts."""


class Columns(NamedTuple):
    """Which columns hold what; `experts` are columns with what they are called."""

    raw: str
    synthetic: str
    kind: str | None
    experts: tuple[tuple[str, str], ...]
    objects: str | None
    concepts: str | None
    scores: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, each once."""
        more = [name for name in (self.objects, self.concepts) if name is not None]
        experts = [name for name, _ in self.experts]
        return tuple(dict.fromkeys([self.raw, self.synthetic, *experts, *more, *self.scores]))


class Parents(NamedTuple):
    """What there is to fuse: texts, for each expert what it found, and things with their counts."""

    raw: Row | None
    synthetic: Row | None
    found: dict[str, list[str]]
    things: list[Phrase]
    concepts: list[str]

    def text(self, name: str) -> str:
        row = getattr(self, name)
        return "" if row is None else str(row["text"])

    @property
    def listed(self) -> dict[str, list[str]]:
        """All that experts found, in words: of a detector how many of what."""
        things = [one.text for one in self.things]
        return ({OBJECTS: things} if things else {}) | self.found

    @property
    def lacking(self) -> dict[str, list[str]]:
        """The same, of a detector only what the synthetic text does not name."""
        things = object_words.lacking(self.text("synthetic"), self.things)
        return ({OBJECTS: things} if things else {}) | self.found

    @property
    def can_fuse(self) -> bool:
        """Whether there are two texts, or one that was given as both and something found."""
        if self.raw is None or self.synthetic is None:
            return False
        return bool(self.lacking) or self.raw["text"] != self.synthetic["text"]


def parents_of(batch: Mapping[str, Sequence[Any]], place: int, columns: Columns) -> Parents:
    """What the columns of a batch hold of one row."""
    found = {label: listed(batch[name][place]) for name, label in columns.experts}
    raw = next(iter(captions.texts(batch[columns.raw][place])), None)
    if raw is not None and not entities.without_noise(str(raw["text"])):
        raw = None
    told = captions.texts(batch[columns.synthetic][place])
    synthetic = next((one for one in told if _counts(one, columns.kind)), None)
    things = [] if columns.objects is None else batch[columns.objects][place]
    concepts = [] if columns.concepts is None else listed(batch[columns.concepts][place])
    kept = {label: entries for label, entries in found.items() if entries}
    return Parents(raw, synthetic, kept, object_words.phrases(things or ()), concepts)


def scores_of(
    batch: Mapping[str, Sequence[Any]], place: int, columns: Columns
) -> list[float | None]:
    """The scores of the raw text and of the synthetic one: of a list, the one of that text."""
    found: list[float | None] = []
    for name, scores in zip((columns.raw, columns.synthetic), columns.scores, strict=False):
        value, score = batch[name][place], batch[scores][place]
        if not isinstance(score, Sequence):
            found.append(score)
            continue
        told = choice.scored(value, score)
        if name == columns.synthetic:
            told = [one for one in told if _counts(one.caption, columns.kind)]
        found.append(told[0].score if told else None)
    return found


def is_above(first: float | None, second: float | None) -> bool:
    """Whether a score is higher than another; NULL is lower than any."""
    values = [float("-inf") if value is None else value for value in (first, second)]
    return values[0] > values[1]


def listed(value: Any) -> list[str]:
    """The words in a column's value: a text, a list of texts or of captions, which may be NULL."""
    if value is None:
        return []
    found = [value] if isinstance(value, str) else list(value)
    texts: list[str] = []
    for one in found:
        if not isinstance(one, Mapping):
            texts += (one or "").splitlines()
        elif UNSURE not in (one["flags"] or ()):
            text = one["text"] or ""
            texts += text.split(",") if one["kind"] == TAGS else text.splitlines()
    return [text.strip() for text in texts if text.strip()]


def _counts(caption: Row, kind: str | None) -> bool:
    return choice.counts(caption, kind, False) and bool(str(caption["text"]).strip())
