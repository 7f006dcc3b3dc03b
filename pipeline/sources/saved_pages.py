"""Folders of saved pages as rows; their images are read from the folder when they lie in it.

Nothing outside of the folder is opened, whatever a page or a link says.
"""

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote

from pipeline import storage
from pipeline.crawl import saved
from pipeline.crawl.archive import Tally
from pipeline.crawl.page import Candidate, Page
from pipeline.errors import DamagedFile, RecipeError
from pipeline.fetch.options import FetchOptions
from pipeline.keys import digest
from pipeline.sources.base import Incoming, Unit, image_extension, readable
from pipeline.sources.page_rows import (
    HEAD_BYTES,
    PageOptions,
    askable,
    heard,
    note_left_out,
    opted_out,
    page_rows,
    refused,
    tell,
    unreadable,
)
from pipeline.sources.tables import files_of

_UNIT_PAGES = 300
_NOWHERE = "https://saved.invalid/"  # the site of pages that name none, while they are read


class _Listing(NamedTuple):
    """What a folder holds; `stamp` changes with the names, and the sizes where they are known."""

    pages: tuple[str, ...]
    files: frozenset[str]
    stamp: str


@dataclass(frozen=True)
class SavedPages:
    """Pages below a folder, a unit for some hundreds; `site` is the address that it mirrors.

    A row is named by its page's file and the number of the image: `en/a.html#0`. Images are read
    from the folder, or else fetched. Without a contact and allowed hosts nobody is asked: what is
    not in the folder failed with `no_file`, and of an image with several files one that is there
    is taken. Pages without an address have `file:///<source>/<name>`, as their images have.
    """

    name: str
    folder: str
    site: str | None = None
    options: PageOptions = field(default_factory=PageOptions)

    @property
    def fetches(self) -> bool:
        return self.web is not None

    @property
    def web(self) -> FetchOptions | None:
        fetch = self.options.fetch
        return None if fetch.contact is None and not fetch.allow_hosts else fetch

    def units(self) -> list[Unit]:
        files_of(self.folder, f"source {self.name!r}")
        found = _listing(self.folder)
        if not found.pages:
            known = "no pages (.html, .htm, .xhtml, .shtml)"
            raise RecipeError(f"source {self.name!r}: there are {known} below {self.folder}")
        starts = range(0, len(found.pages), _UNIT_PAGES)
        return [Unit(self.name, self.folder, start, stamp=found.stamp) for start in starts]

    def read(self, unit: Unit) -> Iterator[Incoming]:
        yield from self.counted(unit, Tally())

    def counted(self, unit: Unit, tally: Tally) -> Iterator[Incoming]:
        """The rows of some pages; what is left out of them is counted in the tally.

        Raises DamagedFile when the folder is no longer what it was.
        """
        found = _listing_as(self.folder, unit.stamp)
        names = found.pages[unit.start : unit.start + _UNIT_PAGES]
        read = 0
        for name in names:
            tally.records += 1
            try:
                page = self._page(name)
            except OSError as error:
                tally.skipped["unreadable_file"] += 1
                yield unreadable(readable(name), error)
                continue
            read += 1
            note_left_out(page, tally)
            page = self._at_hand(page, name, found.files)
            for row in page_rows(page, readable(name), self.options):
                yield self._placed(row, page, name, found.files)
        tell(f"{self.name}: {readable(names[0])} to {readable(names[-1])}", read, tally)

    def _page(self, name: str) -> Page:
        page = saved.page_of(self.folder, name, self.site or _NOWHERE)
        with storage.open_input(storage.join(self.folder, name)) as stream:
            page = heard(page, stream.read(HEAD_BYTES), self.options.fetch)
        return page if self.site else _as_files(page, f"file:///{self.name}/")

    def _at_hand(self, page: Page, name: str, files: frozenset[str]) -> Page:
        """The page whose images are files of the folder, where they can't be fetched."""

        def chosen(image: Candidate) -> Candidate:
            if self.web is not None and not image.url.startswith("file:"):
                return image
            urls = (image.url, *(variant.url for variant in image.variants))
            held = (url for url in urls if saved.file_of(url, page, name, files) is not None)
            return image._replace(url=next(held, image.url))

        return replace(page, candidates=tuple(map(chosen, page.candidates)))

    def _placed(self, row: Incoming, page: Page, name: str, files: frozenset[str]) -> Incoming:
        """The row with the file of its image; failed when there is none and nobody is asked."""
        if row.failed is not None or row.url is None:
            return row
        file = saved.file_of(row.url, page, name, files)
        if file is not None and storage.leads_out(self.folder, file):
            return refused(
                row, "link_outside", f"{readable(file)} is a link that leads out of the folder"
            )
        if file is not None:
            row.held = quote(file.encode("utf-8", "surrogateescape"))
            named = opted_out(row.url, self.options.fetch)
            return row if named is None else refused(row, "opted_out", named)
        if row.url.startswith("file:"):
            return refused(row, "no_file", "not in the folder")
        if self.web is None:
            return refused(row, "no_file", "not in the folder, and `fetch:` names no contact")
        return askable(row, self.web)

    def fetch(self, rows: Iterable[Incoming]) -> Iterator[Incoming]:
        for row in rows:
            if row.failed is None and row.held is not None and row.image is None:
                self._fill(row, unquote(row.held, errors="surrogateescape"))
            yield row

    def _fill(self, row: Incoming, file: str) -> None:
        """Give a row the image in a file of the folder."""
        options = self.options.fetch
        try:
            if not _is_below(file) or storage.leads_out(self.folder, file):
                refused(row, "link_outside", f"{readable(file)} is not below the folder")
                return
            path = storage.join(self.folder, file)
            size = storage.size(path)
            if size > options.max_bytes:
                refused(row, "too_large", f"{size} bytes, limit {options.max_bytes}")
                return
            row.give(storage.read_bytes(path))
        except OSError as error:
            failed = unreadable("", error)
            row.failed, row.detail, row.retriable = failed.failed, failed.detail, failed.retriable
            return
        sha256 = row.image_sha256
        if sha256 is not None and sha256 in options.opt_out.sha256:
            row.give(None)
            refused(row, "opted_out", f"sha256 {sha256.hex()}")


def _listing(folder: str) -> _Listing:
    """What is below a folder now; its stamp is that of pages and images alone, for a build may
    lie in there too."""
    pages, files = tuple(saved.names(folder)), storage.files_below(folder)
    stamped = sorted({*pages, *(name for name in files if _is_image(name))})
    here = storage.is_local(folder)
    sizes = (f"{name}\0{_size(folder, name) if here else None}" for name in stamped)
    stamp = digest(*(size.encode("utf-8", "surrogatepass") for size in sizes)).hex()
    return _Listing(pages, frozenset(files), stamp)


@lru_cache(maxsize=4)
def _listing_as(folder: str, stamp: str) -> _Listing:
    found = _listing(folder)
    if found.stamp != stamp:
        raise DamagedFile(f"{folder}: has changed since its pages were listed; ingest again")
    return found


def _size(folder: str, name: str) -> int | None:
    try:
        return storage.size(storage.join(folder, name))
    except OSError:  # a link to nowhere
        return None


def _is_image(name: str) -> bool:
    return image_extension(posixpath.splitext(name)[1].lstrip("."))


def _is_below(file: str) -> bool:
    """Whether a name leads nowhere but down."""
    return all(part not in ("", ".", "..") for part in file.split("/"))


def _as_files(page: Page, root: str) -> Page:
    """A page without an address: what was resolved against _NOWHERE is a file below `root`."""

    def moved(url: str) -> str:
        return root + url.removeprefix(_NOWHERE) if url.startswith(_NOWHERE) else url

    def image(held: Candidate) -> Candidate:
        return held._replace(
            url=moved(held.url),
            variants=tuple(one._replace(url=moved(one.url)) for one in held.variants),
            link=None if held.link is None else moved(held.link),
            licences=tuple(map(moved, held.licences)),
        )

    return replace(
        page,
        url=moved(page.url),
        base_url=moved(page.base_url),
        candidates=tuple(map(image, page.candidates)),
        licences=tuple(map(moved, page.licences)),
    )
