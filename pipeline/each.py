"""A scorer of text over a column of captions: a list per row, with a value for each caption.

A scorer whose `text` is a column of captions is asked for each of them; every column it writes
becomes a list that is as long as that of the captions. What else it reads of the row, as its
image, it is given again with each caption. A caption without text has NULL.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from pipeline.instances import parameters
from pipeline.pool import CAPTION
from pipeline.score_memory import with_batch_size

CAPTIONS = "captions"
"""What a captioner calls its column; a recipe sees it under the name of the instance."""


def is_captions(kind: pa.DataType) -> bool:
    """Whether a column of this type holds lists of captions."""
    return bool(pa.types.is_list(kind) and kind.value_type.equals(CAPTION))


@dataclass(frozen=True)
class EachCaption:
    """`inner`, asked for every caption in `column`; what it may have beside that is its own."""

    inner: Any
    column: str
    version: ClassVar[int] = 1

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(self.inner.reads)

    @property
    def writes(self) -> pa.Schema:
        return pa.schema([(f.name, pa.list_(f.type)) for f in self.inner.writes])

    @property
    def identity(self) -> Mapping[str, Any]:
        kind = type(self.inner)
        return {
            "scorer": f"{kind.__module__}:{kind.__qualname__}",
            "version": self.inner.version,
            "parameters": parameters(self.inner),
        }

    def with_batch_size(self, size: int) -> "EachCaption":
        """For the case that memory runs out; see `pipeline.score_memory`."""
        return dataclasses.replace(self, inner=with_batch_size(self.inner, size))

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        places = [
            (row, number)
            for row, captions in enumerate(batch[self.column])
            for number, caption in enumerate(captions)
            if caption is not None and caption["text"] is not None
        ]
        names = self.inner.writes.names
        found: dict[str, list[Any]] = {
            name: [[None] * len(captions) for captions in batch[self.column]] for name in names
        }
        reasons: dict[int, Exception] = {}
        most = max(1, getattr(self.inner, "batch_size", None) or len(places))
        for start in range(0, len(places), most):
            part = places[start : start + most]
            values = self.inner(self._flat(batch, part))
            first = values[names[0]]
            for place, (row, number) in enumerate(part):
                if isinstance(first[place], Exception):
                    reasons[row] = _worse(reasons.get(row), first[place])
                    continue
                for name in names:
                    found[name][row][number] = values[name][place]
        for row, error in reasons.items():
            is_lost = all(value is None for value in found[names[0]][row])
            if is_lost or getattr(error, "retriable", False):
                found[names[0]][row] = error
        return found

    def _flat(
        self, batch: Mapping[str, Sequence[Any]], places: Sequence[tuple[int, int]]
    ) -> dict[str, list[Any]]:
        flat = {name: [column[row] for row, _ in places] for name, column in batch.items()}
        flat[self.column] = [batch[self.column][row][number]["text"] for row, number in places]
        return flat


def _worse(known: Exception | None, error: Exception) -> Exception:
    """Of two reasons of a row, one that may be gone another time, else the first."""
    return known if known is not None and not getattr(error, "retriable", False) else error
