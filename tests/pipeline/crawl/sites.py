"""Small sites for tests to crawl, and what a crawl of them left."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.crawl.archive import Tally
from pipeline.crawl.crawl_options import CrawlOptions
from pipeline.crawl.crawl_record import CrawlStats
from pipeline.crawl.crawler import crawl
from pipeline.crawl.warc import Response, responses
from tests.fetch.asking import loopback, quick
from tests.fetch.server import WELL_KNOWN, Server, Wire, http

Row = dict[str, Any]


def html(*links: str, more: str = "") -> str:
    return more + "".join(f'<a href="{link}">x</a>' for link in links)


def page(*links: str, more: str = "", headers: tuple[str, ...] = ()) -> bytes:
    """An answer with a page that has these links."""
    body = html(*links, more=more).encode() or b"<p>"
    return http(200, body, "Content-Type: text/html; charset=utf-8", *headers)


class Made(dict[str, Wire]):
    """Answers that are made when they are asked for; those that are written down come first."""

    def __init__(self, make: Callable[[str], Wire | None]) -> None:
        super().__init__()
        self._make = make

    def get(self, key: str, default: Any = None) -> Any:
        known = super().get(key)
        if known is None and key.startswith("/") and key not in WELL_KNOWN:
            known = self._make(key)
        return default if known is None else known


def options(server: Server, *start: str, **changes: Any) -> CrawlOptions:
    """A crawl from paths of 127.0.0.1, or from URLs, by a quick fetcher."""
    urls = tuple(server.url(path) if path.startswith("/") else path for path in start or ("/",))
    hosts = changes.pop("hosts", ("127.0.0.1",))
    web = quick(*hosts, **changes.pop("web", {}))
    return CrawlOptions(start=urls, web=web, **changes)


def of_child(url: str) -> CrawlOptions:
    """A crawl that a process of its own can make."""
    return CrawlOptions(start=(url,), depth=9, max_pages=400, web=quick(read_s=5, request_s=5))


def crawled(folder: Path, wanted: CrawlOptions) -> CrawlStats:
    """Crawl; what every crawl promises is checked."""
    stats = crawl(str(folder), wanted, lookup=loopback)
    found = rows(folder)
    assert len(found) == stats.asked == stats.pages + sum(stats.failed.values())
    assert len({row["url"] for row in found}) == len(found), "asked for once"
    assert [row["file"] is None for row in found] == [row["failed"] is not None for row in found]
    assert [one.url for one in archived(folder)] == [
        row["final_url"] for row in found if row["failed"] is None
    ]
    return stats


def rows(folder: Path) -> list[Row]:
    return list(pq.read_table(folder / "pages.parquet").to_pylist())


def archived(folder: Path) -> list[Response]:
    """The pages of all files, read as any archive; their digests are right."""
    found = []
    for path in sorted(folder.glob("*.warc.gz")):
        tally = Tally()
        found += list(responses(str(path), tally, verify=True))
        assert not tally.skipped
        assert not tally.damaged
    return found


def paths(found: list[Row]) -> list[str]:
    """The paths that were asked for, in order."""
    return ["/" + row["url"].split("/", 3)[3] for row in found]


def asked(server: Server) -> list[str]:
    """The pages that the server was asked for."""
    return [path for path in server.paths() if path not in WELL_KNOWN]
