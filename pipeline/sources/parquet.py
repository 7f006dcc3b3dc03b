"""Parquet with image bytes in a column, as the Hugging Face layout has it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from pipeline.errors import RecipeError
from pipeline.sources.base import Incoming, Unit, captions_of
from pipeline.sources.tables import (
    broken,
    check_columns,
    parquet_file,
    plain,
    read_rows,
    table_format,
    table_units,
    text_of,
)

_BATCH = 32  # images are large, and a batch of rows is in memory as a whole


@dataclass(frozen=True)
class ParquetImages:
    """Rows of Parquet files; `image` holds bytes, or a struct of `bytes` and `path`.

    `captions` are columns in order of preference; each may hold a text or a list of texts.
    """

    name: str
    pattern: str
    image: str = "image"
    captions: tuple[str, ...] = ("caption",)
    url: str | None = None
    key: str | None = None
    fetches: ClassVar[bool] = False
    web: ClassVar[None] = None

    def units(self) -> list[Unit]:
        found = table_units(self.pattern, self.name)
        named = [self.image, *self.captions, *(n for n in (self.url, self.key) if n is not None)]
        for path in dict.fromkeys(unit.path for unit in found):
            if table_format(path) != "parquet":
                raise RecipeError(f"source {self.name!r}: {path} is no Parquet file")
            check_columns(path, named, self.name)
            self._check_types(path)
        return found

    def _check_types(self, path: str) -> None:
        schema = parquet_file(path).schema_arrow
        for name in (self.image, *self.captions):
            is_right = _holds_image if name == self.image else _holds_text
            kind = schema.field(name).type
            if not is_right(kind):
                wanted = "bytes, or a struct with `bytes`" if name == self.image else "texts"
                raise RecipeError(
                    f"source {self.name!r}: column {name!r} of {path} holds {kind}, not {wanted}"
                )

    def read(self, unit: Unit) -> Iterator[Incoming]:
        file = unit.path.rpartition("/")[2]
        for number, fields in enumerate(read_rows(unit, _BATCH), start=unit.start):
            position = f"{file}:{number}"
            yield broken(fields, position) or self._row(fields, position)

    def _row(self, fields: dict[str, Any], position: str) -> Incoming:
        row = Incoming(source_key=position)
        row.image, path = _image(fields.pop(self.image))
        if self.key is not None:
            row.source_key = text_of(fields.pop(self.key, None))
        elif path is not None:
            row.source_key = path
        if self.url is not None:
            row.url = text_of(fields.pop(self.url, None)) or None
        for name in self.captions:
            row.captions += captions_of(fields.pop(name, None), name)
        row.meta = plain(fields)
        if row.image is None:
            row.failed, row.retriable = "no_image", False
            row.detail = f"column {self.image!r} holds no bytes" + (f", only {path}" * bool(path))
        return row

    def fetch(self, rows: Iterable[Incoming]) -> Iterator[Incoming]:
        return iter(rows)


def _image(value: Any) -> tuple[bytes | None, str | None]:
    if isinstance(value, dict):
        path = text_of(value.get("path")) or None
        return value.get("bytes"), path
    return value, None


def _holds_image(kind: pa.DataType) -> bool:
    if pa.types.is_null(kind):
        return True
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    checks = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return any(check(kind) for check in (*checks, pa.types.is_null))


def _holds_text(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    numbers = (pa.types.is_integer, pa.types.is_floating)
    return _is_binary(kind) or any(check(kind) for check in (*checks, *numbers))
