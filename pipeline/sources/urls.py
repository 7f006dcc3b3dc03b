"""Tables of URLs with captions, in any format and with any names of columns."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from pipeline.sources.base import Incoming, Unit, captions_of
from pipeline.sources.fetching import FetchLimits, fetched, refusal
from pipeline.sources.tables import broken, check_columns, plain, read_rows, table_units, text_of


@dataclass(frozen=True)
class UrlTable:
    """Rows of Parquet, CSV, TSV or JSON lines; `url` names the column of URLs.

    `captions` are columns in order of preference; each may hold a text or a list of texts.
    `key` is the column of the table's own ids; without it a row is named by file and number.
    Other columns become the row's meta. A row without a URL failed with `no_url`; one whose URL
    is not fetched whatever happens says why.
    """

    name: str
    pattern: str
    url: str
    captions: tuple[str, ...] = ()
    key: str | None = None
    threads: int = 32
    timeout_s: float = 10.0
    retries: int = 1
    allow_hosts: tuple[str, ...] = ()
    fetches: ClassVar[bool] = True

    def units(self) -> list[Unit]:
        found = table_units(self.pattern, self.name)
        named = dict.fromkeys([self.url, *self.captions, *([self.key] if self.key else [])])
        for path in dict.fromkeys(unit.path for unit in found):
            check_columns(path, list(named), self.name)
        return found

    def read(self, unit: Unit) -> Iterator[Incoming]:
        file = unit.path.rpartition("/")[2]
        for number, fields in enumerate(read_rows(unit), start=unit.start):
            position = f"{file}:{number}"
            yield broken(fields, position) or self._row(fields, position)

    def _row(self, fields: dict[str, Any], position: str) -> Incoming:
        row = Incoming(source_key=position)
        if self.key is not None:
            row.source_key = text_of(fields.get(self.key))
        row.url = text_of(fields.get(self.url)) or None
        for name in self.captions:
            row.captions += captions_of(fields.get(name), name)
        used = {self.url, self.key, *self.captions}
        row.meta = plain({name: value for name, value in fields.items() if name not in used})
        if row.url is None:
            row.failed, row.detail, row.retriable = "no_url", f"column {self.url!r} is empty", False
            return row
        refused = refusal(row.url, self.allow_hosts)
        if refused is not None:
            row.failed, row.detail, row.retriable = refused.failed, refused.detail, False
        return row

    def fetch(self, rows: Iterable[Incoming]) -> Iterator[Incoming]:
        """The rows with what their URLs gave; a URL that several rows have is fetched once."""
        held = list(rows)
        limits = FetchLimits(self.threads, self.timeout_s, self.retries, self.allow_hosts)
        due = [row.url for row in held if row.failed is None and row.url is not None]
        with fetched(due, limits) as outcome_of:
            for row in held:
                if row.failed is not None or row.url is None:
                    yield row
                    continue
                outcome = outcome_of(row.url)
                yield replace(
                    row,
                    image=outcome.data,
                    failed=outcome.failed,
                    detail=outcome.detail,
                    retriable=outcome.retriable,
                )
