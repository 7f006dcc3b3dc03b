"""Pages in archives as rows: WARC and WAT files, also those that a crawl of ours has written.

Every image of a page is a row, or says why it is none. What an archive holds beside pages is
counted and logged; what is damaged costs itself, and a row that says so.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pipeline import storage
from pipeline.crawl import warc, wat
from pipeline.crawl.archive import Tally
from pipeline.crawl.crawl_record import PAGES
from pipeline.crawl.page import Page
from pipeline.errors import RecipeError
from pipeline.fetch.options import FetchOptions
from pipeline.sources.base import Incoming, Unit, readable
from pipeline.sources.page_rows import (
    PageOptions,
    askable,
    heard,
    note_left_out,
    page_rows,
    tell,
    unreadable,
)
from pipeline.sources.tables import broken, named_files, read_rows

_ENDINGS = {"warc": (".warc.gz", ".warc", ".warc.zst"), "wat": (".wat.gz", ".wat", ".wat.zst")}
_Placed = tuple[str, str | None, Page]  # a page behind its place and date
_UNREAD = ("bad_record", "content_encoding", "cut", "damaged")  # records that may have been pages


@dataclass(frozen=True)
class ArchivedPages:
    """WARC or WAT files named by a glob or braces, or all below a folder; a unit is a file.

    A row is named by its file, the place of the page there and the number of the image:
    `a.warc.gz:4711#0`. The place is where the record begins; in a WAT file, its number. The date
    of a record in a WARC file is `page_date` in the meta: signals are of that day. `by_address`:
    by the page's address in place of file and place, and without a date, so that rows of pages
    that are asked for again are the same.
    """

    name: str
    pattern: str
    kind: Literal["warc", "wat"] = "warc"
    options: PageOptions = field(default_factory=PageOptions)
    by_address: bool = False
    fetches: ClassVar[bool] = True

    @property
    def web(self) -> FetchOptions:
        return self.options.fetch

    def units(self) -> list[Unit]:
        paths = named_files(self.pattern, f"source {self.name!r}", _ENDINGS[self.kind])
        return [Unit(self.name, path, stamp=str(storage.size(path))) for path in paths]

    def read(self, unit: Unit) -> Iterator[Incoming]:
        yield from self.counted(unit, Tally())

    def counted(self, unit: Unit, tally: Tally) -> Iterator[Incoming]:
        """The rows of a file; what else it holds is counted in the tally, by reason."""
        file, pages, unread = readable(unit.path.rpartition("/")[2]), 0, None
        found = _of_warc if self.kind == "warc" else _of_wat
        try:
            for place, date, page in found(unit.path, tally, self.web):
                pages += 1
                note_left_out(page, tally)
                named = page.url if self.by_address else f"{file}:{place}"
                for row in page_rows(page, named, self.options):
                    if date is not None and row.url is not None and not self.by_address:
                        row.meta["page_date"] = date
                    yield askable(row, self.web)
        except OSError as error:
            failed = unreadable(file, error)
            unread = failed.detail
            yield failed
        if unread is None and (unread := _unread(tally)):
            yield Incoming(file, failed="unread_records", detail=unread, retriable=False)
        tell(f"{self.name}: {file}", pages, tally, unread)

    def fetch(self, rows: Iterable[Incoming]) -> Iterator[Incoming]:
        return iter(rows)


@dataclass(frozen=True)
class CrawledPages:
    """What `pipeline.crawl.crawler` has left in a folder: pages in WARC files, and a table of all.

    Rows are named by their page's URL; a page that was asked for and is not in the archives is a
    row that failed.
    `folder` is None where nobody knows it, as before there is a pool.
    """

    name: str
    folder: str | None
    options: PageOptions = field(default_factory=PageOptions)
    fetches: ClassVar[bool] = True

    @property
    def web(self) -> FetchOptions:
        return self.options.fetch

    def units(self) -> list[Unit]:
        if self.folder is None or not storage.exists(storage.join(self.folder, PAGES)):
            raise RecipeError(f"source {self.name!r}: its pages are not crawled yet")
        endings = (*_ENDINGS["warc"], PAGES)
        names = [name for name in storage.files_below(self.folder) if name.endswith(endings)]
        paths = [storage.join(self.folder, name) for name in names]
        return [Unit(self.name, path, stamp=str(storage.size(path))) for path in paths]

    def read(self, unit: Unit) -> Iterator[Incoming]:
        yield from self.counted(unit, Tally())

    def counted(self, unit: Unit, tally: Tally) -> Iterator[Incoming]:
        """As of ArchivedPages."""
        if not unit.path.endswith(PAGES):
            archive = ArchivedPages(self.name, unit.path, "warc", self.options, by_address=True)
            yield from archive.counted(unit, tally)
            return
        for number, fields in enumerate(read_rows(unit)):
            row = broken(fields, f"{PAGES}:{number}")
            if row is not None or fields["failed"] is not None:
                yield row or _failed(fields)

    def fetch(self, rows: Iterable[Incoming]) -> Iterator[Incoming]:
        return iter(rows)


def _of_warc(path: str, tally: Tally, heed: FetchOptions) -> Iterator[_Placed]:
    """The pages of a WARC file.

    Records of a file that was packed as a whole may begin at one place; then they are numbered.
    """
    last, repeats = -1, 0
    for found in warc.responses(path, tally):
        repeats = repeats + 1 if found.offset == last else 0
        last = found.offset
        place = f"{last}+{repeats}" if repeats else str(last)
        yield place, found.date, heard(found.page(), found.html, heed)


def _of_wat(path: str, tally: Tally, _: FetchOptions) -> Iterator[_Placed]:
    for page in wat.pages(path, tally):
        yield str(tally.records - 1), None, page


def _unread(tally: Tally) -> str | None:
    """What of an archive could not be read; None when all was."""
    counts = {name: tally.skipped[name] for name in _UNREAD if tally.skipped[name]}
    parts = [f"{tally.damaged} damaged stretches"] if tally.damaged else []
    parts += [f"{count} records: {name}" for name, count in counts.items()]
    return ", ".join(parts) or None


def _failed(fields: Mapping[str, Any]) -> Incoming:
    """The row for a page that was asked for in vain."""
    names = ("found_on", "depth", "status", "final_url")
    meta = {name: fields[name] for name in names if fields[name] is not None}
    return Incoming(
        source_key=fields["url"],
        meta={"page_url": fields["url"], **meta},
        failed=fields["failed"],
        detail=fields["detail"],
        retriable=False,
    )
