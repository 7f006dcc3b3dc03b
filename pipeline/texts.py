"""Which caption of a row becomes a text of its sample: the first, the best by score, or one drawn.

A column of text counts as one caption. What is NULL is no caption, nor what is empty where there
is a choice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.keys import draw

Caption = Mapping[str, Any]
NOTES = frozenset({"shortened"})
"""Flags of a caption that say what was done to it, not what is wrong with it."""


@dataclass(frozen=True)
class Choice:
    """How one text is chosen from columns of text and of captions.

    With `scores` (a column of scores for each of `columns`) the best is taken, with `weights` one
    is drawn: first the column among those that have a caption in the row, then one of its
    captions, all alike. With neither, the first. `kind`, `language`, `unflagged` and `whole` (of
    the whole picture, not of a box) limit the captions of a column that holds lists of them; of
    those left, the ones of a kind in `prefer` are taken if there are any.
    """

    columns: tuple[str, ...]
    scores: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    kind: str | None = None
    language: str | None = None
    unflagged: bool = False
    whole: bool = False
    prefer: tuple[str, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        """Every column that decides about the text."""
        return tuple(dict.fromkeys([*self.columns, *self.scores]))

    def text(self, row: Mapping[str, Any], key: bytes, seed: int, salt: str) -> str | None:
        """The text for a row; None when it has no such caption, or `scores` none of its scores."""
        if self.scores:
            return self._best(row)
        first = row[self.columns[0]]
        if not self.weights and isinstance(first, str):
            return first
        found = [[caption["text"] for _, caption in self._captions(row, c)] for c in self.columns]
        if not self.weights:
            return next((texts[0] for texts in found if texts), None)
        return self._drawn(found, key, seed, salt)

    def _best(self, row: Mapping[str, Any]) -> str | None:
        best: tuple[float, str] | None = None
        for column, scores in zip(self.columns, self.scores, strict=True):
            values = row[scores]
            if not isinstance(values, list):
                values = [values]
            for place, caption in self._captions(row, column):
                value = values[place] if place < len(values) else None
                if value is not None and (best is None or value > best[0]):
                    best = (value, caption["text"])
        return None if best is None else best[1]

    def _drawn(self, found: Sequence[list[str]], key: bytes, seed: int, salt: str) -> str | None:
        total = sum(w for w, texts in zip(self.weights, found, strict=True) if texts)
        at = draw(key, seed, f"caption-column-{salt}") * total
        chosen: list[str] = []
        for weight, texts in zip(self.weights, found, strict=True):
            if not texts:
                continue
            chosen, at = texts, at - weight
            if at < 0:
                break
        if not chosen:
            return None
        return chosen[int(draw(key, seed, f"caption-{salt}") * len(chosen))]

    def _captions(self, row: Mapping[str, Any], column: str) -> list[tuple[int, Caption]]:
        """The captions of a column that may be chosen, with their places in it."""
        value = row[column]
        if isinstance(value, str):
            return [(0, {"text": value})] if value else []
        found = [
            (place, caption)
            for place, caption in enumerate(value or [])
            if caption is not None
            and caption["text"]
            and (self.kind is None or caption["kind"] == self.kind)
            and (self.language is None or caption["language"] == self.language)
            and not (self.unflagged and {*(caption["flags"] or ())} - NOTES)
            and not (self.whole and caption["box"])
        ]
        return [one for one in found if one[1]["kind"] in self.prefer] or found


def told(
    row: Mapping[str, Any], columns: Sequence[str], scores: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The captions of some columns for the json of a sample, each with its column and scores.

    `scores` maps a column of scores to the column of captions that it is about.
    """
    found = []
    for column in columns:
        for place, caption in enumerate(row[column] or []):
            if caption is None:
                continue
            own = {name: value for name, value in caption.items() if value not in (None, [])}
            own["column"] = column
            values = {
                name: row[name][place]
                for name, about in scores.items()
                if about == column and row[name] and row[name][place] is not None
            }
            found.append(own | ({"scores": values} if values else {}))
    return found
