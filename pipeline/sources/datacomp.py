"""Published metadata without images, in DataComp's layout: selections can be tried without them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.sources.base import Incoming, Unit, caption
from pipeline.sources.tables import check_columns, plain, read_rows, table_units, text_of


@dataclass(frozen=True)
class DataCompMetadata:
    """Parquet files with `uid`, `url`, `text` and measured columns; the uid is the source key."""

    name: str
    pattern: str

    def units(self) -> list[Unit]:
        found = table_units(self.pattern, self.name)
        for path in dict.fromkeys(unit.path for unit in found):
            check_columns(path, ["uid", "url", "text"], self.name)
        return found

    def read(self, unit: Unit) -> Iterator[Incoming]:
        for fields in read_rows(unit):
            text, uid = text_of(fields.pop("text")), text_of(fields.pop("uid"))
            yield Incoming(
                source_key=uid,
                uid=uid,
                url=text_of(fields.pop("url")),
                captions=[] if text is None else [caption(text, "text")],
                meta=plain(fields),
                metadata_only=True,
            )

    def fetch(self, rows: Sequence[Incoming]) -> list[Incoming]:
        return list(rows)
