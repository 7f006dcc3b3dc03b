"""A scorer of text over a column of captions: a list per row, with a value for each caption.

A scorer whose `text` is a column of captions is asked for each of them; every column it writes
becomes a list that is as long as that of the captions. What else it reads of the row, as its
image, it is given again with each caption. A caption without text has NULL, and so has one that
fails, of which the row has the reason.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from pipeline.contract import Partly, is_retriable
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
    version: ClassVar[int] = 2  # a row has the reason of a caption that fails beside others

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

    @property
    def estimate_of(self) -> Callable[[Mapping[str, list[Any]]], Any]:
        """What a batch would cost, all its captions counted, if `inner` knows what so many do."""
        by_rule = self.inner.estimate
        return lambda batch: by_rule(
            sum(caption is not None for row in batch[self.column] for caption in row)
        )

    @property
    def estimate_within(self) -> Callable[[Mapping[str, tuple[int, int]], int], Any]:
        """The same of captions that are not there yet; see `pipeline.plan_cost`."""
        by_rule = self.inner.estimate

        def within(given: Mapping[str, tuple[int, int]], sentence: int) -> Any:
            return by_rule(given[self.column][0]) if self.column in given else None

        return within

    def with_batch_size(self, size: int) -> "EachCaption":
        """For the case that memory runs out; see `pipeline.score_memory`."""
        return dataclasses.replace(self, inner=with_batch_size(self.inner, size))

    @property
    def recall(self) -> Callable[[dict[str, list[Any]]], dict[str, list[Any]]]:
        """What `inner` knows of a row by its image's name, if that is all; see `contract`."""
        by_name = self.inner.recall  # AttributeError: it has none

        def known(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
            found, unknown = self._of_each(by_name, batch)
            for row in unknown:
                found[self.inner.writes.names[0]][row] = None
            return found

        return known

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return self._of_each(self.inner, batch)[0]

    def _of_each(
        self, ask: Callable[..., Mapping[str, Sequence[Any]]], batch: dict[str, list[Any]]
    ) -> tuple[dict[str, list[Any]], set[int]]:
        """Lists of values, and the rows with a caption that has none and no reason."""
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
        reasons: dict[int, tuple[int, Exception]] = {}
        unknown: set[int] = set()
        open_ = Counter(row for row, _ in places)  # captions that no reason stands for
        most = max(1, self._most or len(places))
        for start in range(0, len(places), most):
            part = places[start : start + most]
            values = ask(self._flat(batch, part))
            first = values[names[0]]
            unknown |= {row for (row, _), one in zip(part, first, strict=True) if one is None}
            for place, (row, number) in enumerate(part):
                own = {name: values[name][place] for name in names}
                if isinstance(first[place], Exception):
                    reasons[row] = _worse(reasons.get(row), (number, first[place]))
                    own = getattr(first[place], "kept", {})
                    open_[row] -= not own
                for name, value in own.items():
                    found[name][row][number] = value
        for row, (number, error) in reasons.items():
            if open_[row] and not is_retriable(error):
                kept = {name: found[name][row] for name in names}
                error = Partly(_told(error, number), kept)
            found[names[0]][row] = error
        return found, unknown

    @property
    def _most(self) -> int | None:
        """How many captions `inner` is given at a time; None where it makes batches by itself."""
        makes_batches = getattr(self.inner, "makes_batches", False)
        return None if makes_batches else getattr(self.inner, "batch_size", None)

    def _flat(
        self, batch: Mapping[str, Sequence[Any]], places: Sequence[tuple[int, int]]
    ) -> dict[str, list[Any]]:
        flat = {name: [column[row] for row, _ in places] for name, column in batch.items()}
        flat[self.column] = [batch[self.column][row][number]["text"] for row, number in places]
        return flat


def _told(error: Exception, number: int) -> str:
    """The reason with the caption it is about; one with `kept` begins with its type already."""
    kind, text = type(error).__name__, str(error)
    if hasattr(error, "kept"):
        kind, _, text = text.partition(": ")
    return f"{kind}: caption {number + 1}: {text}"


def _worse(
    known: tuple[int, Exception] | None, other: tuple[int, Exception]
) -> tuple[int, Exception]:
    """Of two captions that failed, one whose error may be gone another time, else the first."""
    return known if known is not None and not is_retriable(other[1]) else other
