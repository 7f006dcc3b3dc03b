"""Tables of URLs with captions, in any format and with any names of columns."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

from pipeline.fetch.options import FetchOptions
from pipeline.sources.base import Incoming, Unit, captions_of
from pipeline.sources.fetching import FetchLimits, fetched, refusal
from pipeline.sources.tables import broken, check_columns, plain, read_rows, table_units, text_of


@dataclass(frozen=True)
class UrlTable:
    """Rows of Parquet, CSV, TSV or JSON lines; `url` names the column of URLs.

    `captions` are columns in order of preference; each may hold a text or a list of texts.
    `key` is the column of the table's own ids; without it a row is named by file and number.
    `md5` and `sha256` are columns of hashes that the bytes must have, hexadecimal or as bytes.
    Other columns become the row's meta. A row without a URL failed with `no_url`, one whose URL is
    no Unicode with `bad_url`. Without `web`, img2dataset fetches, with the parameters behind it;
    then a row whose URL is not fetched whatever happens says why.
    """

    name: str
    pattern: str
    url: str
    captions: tuple[str, ...] = ()
    key: str | None = None
    md5: str | None = None
    sha256: str | None = None
    web: FetchOptions | None = None
    threads: int = 32
    timeout_s: float = 10.0
    retries: int = 1
    allow_hosts: tuple[str, ...] = ()
    fetches: ClassVar[bool] = True

    def units(self) -> list[Unit]:
        found = table_units(self.pattern, self.name)
        named = dict.fromkeys(
            [self.url, *self.captions, *filter(None, (self.key, self.md5, self.sha256))]
        )
        for path in dict.fromkeys(unit.path for unit in found):
            check_columns(path, list(named), self.name)
        return found

    def read(self, unit: Unit) -> Iterator[Incoming]:
        file = unit.path.rpartition("/")[2]
        for number, fields in enumerate(read_rows(unit), start=unit.start):
            position = f"{file}:{number}"
            yield broken(fields, position) or self._row(fields, position)

    @cached_property
    def _used(self) -> frozenset[str | None]:
        return frozenset({self.url, self.key, self.md5, self.sha256, *self.captions})

    def _row(self, fields: dict[str, Any], position: str) -> Incoming:
        row = Incoming(source_key=position)
        if self.key is not None:
            row.source_key = text_of(fields.get(self.key))
        given = fields.get(self.url)
        row.url = text_of(given) or None
        for name in self.captions:
            row.captions += captions_of(fields.get(name), name)
        row.meta = plain({name: value for name, value in fields.items() if name not in self._used})
        if row.url is None:
            row.failed, row.detail, row.retriable = "no_url", f"column {self.url!r} is empty", False
            return row
        wrong = _no_address(given, row.url)
        if wrong is not None:
            row.failed, row.detail, row.retriable = "bad_url", wrong, False
            return row
        self._note_hashes(row, fields)
        refused = None if self.web is not None else refusal(row.url, self.allow_hosts)
        if refused is not None:
            row.failed, row.detail, row.retriable = refused.failed, refused.detail, False
        return row

    def _note_hashes(self, row: Incoming, fields: dict[str, Any]) -> None:
        """What the table knows of the bytes; a row whose hash is none has failed."""
        for kind, name, digits in (("md5", self.md5, 32), ("sha256", self.sha256, 64)):
            given = fields.get(name) if name is not None else None
            if isinstance(given, bytes) and 2 * len(given) == digits:
                given = given.hex()
            text = text_of(given)
            if not text:
                continue
            row.hashes[kind] = text.strip().lower()
            if not re.fullmatch(f"[0-9a-f]{{{digits}}}", row.hashes[kind]):
                row.failed, row.detail = "bad_row", f"{name}: {text[:80]!r} is no {kind}"
                row.retriable = False

    def fetch(self, rows: Iterable[Incoming]) -> Iterator[Incoming]:
        """The rows with what their URLs gave, by img2dataset; a URL of several rows is fetched
        once. What our own fetcher fetches comes back as it is."""
        if self.web is not None:
            yield from rows
            return
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


def _no_address(given: Any, url: str) -> str | None:
    """Why a cell holds no URL that could be asked for as it is; None when it may."""
    if isinstance(given, list | dict):
        return "holds a list or an object, not one URL"
    if isinstance(given, bytes):
        given = given.decode("utf-8", "surrogateescape")
    is_replaced = isinstance(given, str) and given != url  # and would be asked for so
    return "holds what is no Unicode" if is_replaced else None
