"""Fields of `meta`, what a source knew of a row beside its URL and captions, as columns.

A field that is missing or of another type is NULL; nothing is converted.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

_TYPES: dict[str, pa.DataType] = {
    "texts": pa.string(),
    "numbers": pa.float64(),
    "truths": pa.bool_(),
    "lists": pa.list_(pa.string()),
}


@dataclass(frozen=True)
class MetaFields:
    """Columns called as the fields of `meta` that they hold; `columns:` of a recipe renames them.

    `texts`, `numbers` and `truths` name fields with one value, `lists` those with a list of texts.
    A dot leads into an object: `wit.page_title`. Pages give, among others, the texts
    `page_url`, `page_language` and `page_title`, and the lists `licences` (of the image) and
    `page_licences`; tables give the columns that are neither URL nor caption.
    """

    texts: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    truths: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("meta",)
    batch_size: ClassVar[int] = 1024

    def __post_init__(self) -> None:
        names = [name for kind in _TYPES for name in self._named(kind)]
        if not names:  # as if an argument were missing: one of the four must be there
            raise TypeError(f"name the fields, as {', '.join(_TYPES)}: [page_language]")
        if not all(isinstance(name, str) and name for name in names):
            raise ValueError(f"names of fields are texts, got {names!r}")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}")

    @property
    def writes(self) -> pa.Schema:
        return pa.schema({n: _TYPES[kind] for kind in _TYPES for n in self._named(kind)})

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = [json.loads(meta) for meta in batch["meta"]]
        return {
            name: [_READ[kind](_value(row, name)) for row in rows]
            for kind in _TYPES
            for name in self._named(kind)
        }

    def _named(self, kind: str) -> tuple[str, ...]:
        names = getattr(self, kind)
        if isinstance(names, str):
            raise ValueError(f"{kind} is a list of fields, got {names!r}")
        return tuple(names)


def _value(fields: Any, name: str) -> Any:
    """The field of this name, or else what the dots in it lead to."""
    if isinstance(fields, dict) and name in fields:
        return fields[name]
    first, dot, rest = name.partition(".")
    return _value(fields.get(first), rest) if dot and isinstance(fields, dict) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _list(value: Any) -> list[str] | None:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else None


_READ: dict[str, Callable[[Any], Any]] = {
    "texts": _text,
    "numbers": _number,
    "truths": _truth,
    "lists": _list,
}
