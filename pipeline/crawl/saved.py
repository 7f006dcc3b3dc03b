"""A folder of saved pages: what a browser's "save page as" leaves, or a mirror of a site.

Links of scripts and styles are nobody's concern; hidden files and links out of the folder are
left out, as everywhere.
"""

import re
from collections.abc import Iterator
from urllib.parse import quote, unquote

from pipeline import storage
from pipeline.crawl.page import Limits, Page, parse

_ENDINGS = (".html", ".htm", ".xhtml", ".shtml")
_SAVED_FROM = re.compile(
    rb"<!--\s{0,20}saved from url=\(\d{1,6}\)(https?://[^\s<>]{1,4000}?)\s{0,20}-->", re.IGNORECASE
)
_HEAD_BYTES = 4096


def names(folder: str) -> list[str]:
    """The pages below a folder, relative to it and sorted."""
    found = storage.files_below(folder)
    pages = (name for name in found if name.lower().endswith(_ENDINGS))
    return [name for name in pages if not storage.leads_out(folder, name)]


def pages(folder: str, site: str | None = None, limits: Limits | None = None) -> Iterator[Page]:
    """Every page of the folder in order of names; see `page_of`."""
    for name in names(folder):
        yield page_of(folder, name, site, limits)


def page_of(folder: str, name: str, site: str | None, limits: Limits | None = None) -> Page:
    """One page; its address is what the file says it was saved from, else `site` and its name.

    Without either it has a `file:` address, and only images with addresses of their own are found.
    """
    limits = limits or Limits()
    with storage.open_input(storage.join(folder, name)) as stream:
        html = stream.read(limits.max_bytes + 1)
    found = _SAVED_FROM.search(html[:_HEAD_BYTES])
    path = quote(name.encode("utf-8", "surrogateescape"))
    url = f"{site.rstrip('/')}/{path}" if site else f"file:///{path}"
    return parse(html, found[1].decode("ascii", "replace") if found else url, limits=limits)


def file_of(url: str, page: Page, name: str, files: frozenset[str]) -> str | None:
    """Which file of the folder an image's address stands for; None when it is not there.

    `files` are those of the folder (`storage.files_below`), so that nothing outside it is named.
    Browsers save images beside the page and link to them from there; a mirror keeps its paths, and
    may have the query in the name.
    """
    folder, _, last = name.rpartition("/")
    beside = page.url.partition("?")[0].rpartition("/")[0] + "/"
    tries = [(beside, f"{folder}/" if folder else "")]
    path = quote(name.encode("utf-8", "surrogateescape"))
    if last and page.url.endswith(f"/{path}"):
        tries.append((page.url.removesuffix(path), ""))
    for written in dict.fromkeys((url, url.partition("?")[0])):
        for prefix, below in tries:
            if written.startswith(prefix):
                found = below + unquote(written[len(prefix) :], errors="surrogateescape")
                if found in files:
                    return found
    return None
