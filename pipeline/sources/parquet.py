"""Parquet with image bytes in a column, as the Hugging Face layout has it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.sources.base import Incoming, Unit, caption
from pipeline.sources.tables import check_columns, plain, read_rows, table_units, text_of


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

    def units(self) -> list[Unit]:
        found = table_units(self.pattern, self.name)
        named = [self.image, *self.captions, *(n for n in (self.url, self.key) if n is not None)]
        for path in dict.fromkeys(unit.path for unit in found):
            check_columns(path, named, self.name)
        return found

    def read(self, unit: Unit) -> Iterator[Incoming]:
        file = unit.path.rpartition("/")[2]
        for number, fields in enumerate(read_rows(unit), start=unit.start):
            yield self._row(fields, f"{file}:{number}")

    def _row(self, fields: dict[str, Any], position: str) -> Incoming:
        row = Incoming(source_key=position)
        data, path = _image(fields.pop(self.image, None))
        if self.key is not None:
            row.source_key = text_of(fields.pop(self.key))
        elif path is not None:
            row.source_key = path
        if self.url is not None:
            row.url = text_of(fields.pop(self.url)) or None
        for name in self.captions:
            row.captions += captions_of(fields.pop(name, None), name)
        row.image = data
        row.meta = plain(fields)
        if data is None:
            row.failed, row.detail = "no_image", f"column {self.image!r} holds no bytes"
        return row

    def fetch(self, rows: Sequence[Incoming]) -> list[Incoming]:
        return list(rows)


def captions_of(value: Any, origin: str) -> list[dict[str, Any]]:
    """The captions of a cell: a text, or a list of texts."""
    texts = value if isinstance(value, list) else [value]
    found = (text if isinstance(text, bytes) else text_of(text) for text in texts)
    return [caption(text, origin) for text in found if text is not None]


def _image(value: Any) -> tuple[bytes | None, str | None]:
    if isinstance(value, dict):
        data, path = value.get("bytes"), value.get("path")
        return (data if isinstance(data, bytes) else None), (path or None)
    return (value if isinstance(value, bytes) else None), None
