"""The caption as an object: what every captioner and translator writes, and what they share.

A captioner is a scorer whose one column is called `captions`; a recipe sees it under the name of
the instance. The captions of a row are a list, in an order that means something (best first, or
sentence by sentence), never NULL where the row was captioned: a row of which nothing can be said
has an empty list.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypedDict

import pyarrow as pa

COLUMN = "captions"
CAPTION = pa.struct(
    [
        ("text", pa.string()),
        ("language", pa.string()),
        ("origin", pa.string()),
        ("kind", pa.string()),
        ("box", pa.list_(pa.float32())),
        ("model", pa.string()),
        ("prompt", pa.string()),
        ("tokens", pa.int32()),
        ("flags", pa.list_(pa.string())),
    ]
)
"""The type of a caption, the same as that of the captions a pool begins with."""
WRITES = pa.schema([(COLUMN, pa.list_(CAPTION))])

SYNTHETIC, TRANSLATED, FUSED, LABELLED = "synthetic", "translated", "fused", "labelled"
"""Origins of captions that are not the web's: by a model from pixels, from another caption, from
several, from boxes or classes."""


SHORTENED = "shortened"
"""The flag of a caption whose last, unfinished sentence was taken off."""
NOTES = frozenset({SHORTENED})
"""Flags that say what was done to a caption, not what is wrong with it."""
UNSURE = "unsure"
"""The flag of a caption that is a guess, and no finding."""
REGION = "region"
"""The kind of a caption that is the category of what its box holds."""
TAGS = "tags"
"""The kind of a caption that is a list of words, with commas between them."""


class Caption(NamedTuple):
    """One caption. `model` is a name with its revision, `NAME@REVISION`, `prompt` with its version.

    `language` is a BCP-47 tag; `kind` says what it is for: `short`, `long`, `sentence`, `region`
    (a category), `expression`, `tags`, `facet:NAME`; `box` is left, top, right, bottom as shares of
    the picture; `tokens` are those that the model wrote; `flags` are words for what is wrong with
    it, or was done to it (`NOTES`), sorted.
    """

    text: str
    language: str | None = None
    origin: str = SYNTHETIC
    kind: str = "short"
    box: tuple[float, float, float, float] | None = None
    model: str | None = None
    prompt: str | None = None
    tokens: int | None = None
    flags: tuple[str, ...] = ()

    @property
    def row(self) -> "Row":
        """As a column holds it."""
        return Row(
            text=self.text,
            language=self.language,
            origin=self.origin,
            kind=self.kind,
            box=None if self.box is None else list(self.box),
            model=self.model,
            prompt=self.prompt,
            tokens=self.tokens,
            flags=sorted(set(self.flags)),
        )


class Row(TypedDict):
    """A caption as it comes from a column and goes into one."""

    text: str | None
    language: str | None
    origin: str | None
    kind: str | None
    box: list[float] | None
    model: str | None
    prompt: str | None
    tokens: int | None
    flags: list[str] | None


def rows(captions: Iterable[Caption]) -> list[Row]:
    """What a captioner returns for one sample."""
    return [caption.row for caption in captions]


def texts(value: Any) -> list[Row]:
    """The captions of a column's value, be it text or a list of captions; those with a text."""
    if value is None:
        return []
    if isinstance(value, str):
        return [Caption(value, origin="raw", kind="raw").row]
    found: list[Row] = [c for c in value if c is not None and c["text"] is not None]
    return found


def flaws(caption: Row) -> set[str]:
    """What is wrong with a caption: its flags without those that are mere notes."""
    return {*(caption["flags"] or ())} - NOTES


def boxed(value: Sequence[Row]) -> list[tuple[str, list[float]]]:
    """Texts and boxes of regions; where no caption is of that kind, of all that have a box."""
    found = [row for row in value if row["text"] and row["box"] and len(row["box"]) == 4]
    regions = [row for row in found if row["kind"] == REGION] or found
    return [(row["text"] or "", row["box"] or []) for row in regions]


def flagged(caption: Row, *flags: str) -> Row:
    """The caption with these flags beside those it has."""
    return {**caption, "flags": sorted({*(caption["flags"] or ()), *flags})}
