"""Published metadata without images, in DataComp's layout: selections can be tried without them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from pipeline.sources.base import Incoming, Unit, captions_of
from pipeline.sources.tables import (
    broken,
    check_columns,
    plain,
    read_rows,
    table_units,
    text_of,
)


@dataclass(frozen=True)
class DataCompMetadata:
    """Parquet files with `uid`, `url`, `text` and measured columns; the uid is the source key."""

    name: str
    pattern: str
    fetches: ClassVar[bool] = False
    web: ClassVar[None] = None

    def units(self) -> list[Unit]:
        found = table_units(self.pattern, self.name)
        for path in dict.fromkeys(unit.path for unit in found):
            check_columns(path, ["uid", "url", "text"], self.name)
        return found

    def read(self, unit: Unit) -> Iterator[Incoming]:
        file = unit.path.rpartition("/")[2]
        for number, fields in enumerate(read_rows(unit), start=unit.start):
            yield broken(fields, f"{file}:{number}") or _row(fields)

    def fetch(self, rows: Iterable[Incoming]) -> Iterator[Incoming]:
        return iter(rows)


def _row(fields: dict[str, Any]) -> Incoming:
    uid = text_of(fields.pop("uid"))
    return Incoming(
        source_key=uid,
        uid=uid,
        url=text_of(fields.pop("url")) or None,
        captions=captions_of(fields.pop("text"), "text"),
        meta=plain(fields),
        metadata_only=True,
    )
