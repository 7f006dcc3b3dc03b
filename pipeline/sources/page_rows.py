"""The rows of one page, and whether it may be used at all: what its signals and opt-outs forbid.

Signals are read as the fetcher reads those of an answer; what they say stays in the rows' meta.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from pipeline.crawl.archive import Tally
from pipeline.crawl.page import Page
from pipeline.crawl.rows import RowOptions, rows, wit_fields
from pipeline.fetch import signals
from pipeline.fetch.options import FetchOptions
from pipeline.fetch.outcome import Refusal
from pipeline.fetch.target import host_name, parse_target
from pipeline.sources.base import Incoming, readable

_LOGGER = logging.getLogger(__name__)
_METAS = frozenset({"robots", "tdm-reservation", "content-usage", "x-robots-tag"})
_HEADERS = {name.lower(): name for name in (*signals.HEADERS, "Link", "License")}
HEAD_BYTES = 1 << 18  # of a page, in which metas are looked for
_DETAIL = 300


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """What rows a page gives. With `wit`, their meta has the columns of WIT that the page fills.

    `fetch` says how images are fetched, and whose signals and opt-outs are heeded.
    """

    rows: RowOptions = field(default_factory=RowOptions)
    wit: bool = False
    fetch: FetchOptions = field(default_factory=FetchOptions)


def page_rows(page: Page, name: str, options: PageOptions) -> Iterator[Incoming]:
    """The rows of a page; all of them have failed when the page may not be used.

    They are named by `name` and the number of the image on the page.
    """
    why = None if page.failed is not None else refusal(page, options.fetch)
    for row in rows(page, options.rows, name):
        if options.wit and page.failed is None:
            number = (row.source_key or "").removeprefix(f"{name}#").partition(":")[0]
            found = wit_fields(page, page.candidates[int(number)])
            row.meta["wit"] = {
                column: value for column, value in found.items() if value is not None
            }
        yield row if why is None else refused(row, *why)


def refusal(page: Page, options: FetchOptions) -> tuple[str, str] | None:
    """Why nothing of a page may be used, with a detail; None when it may."""
    named = opted_out(page.url, options)
    if named is not None:
        return "opted_out", named
    forbidding = signals.forbidden(_stated(page, options), options)
    return None if forbidding is None else ("noai", forbidding[:_DETAIL])


def opted_out(url: str, options: FetchOptions) -> str | None:
    """What of the opt-out list names an address; None when nothing does."""
    try:
        host = host_name(urlsplit(url).hostname or "")
    except (ValueError, Refusal):
        host = ""
    return options.opt_out.names(url, host)


def askable(row: Incoming, options: FetchOptions) -> Incoming:
    """The row; failed when its host would not learn whom to turn to: pages link to any host."""
    if options.contact is None and row.failed is None and row.url is not None:
        try:
            target = parse_target(row.url, options)
        except Refusal:  # the fetcher says why
            return row
        if not target.allowed:
            detail = f"{target.host} is not in allow_hosts, and no contact is named"
            return refused(row, "no_contact", detail)
    return row


def refused(row: Incoming, reason: str, detail: str) -> Incoming:
    """The row, failed for good."""
    row.failed, row.detail, row.retriable = reason, detail, False
    return row


def _stated(page: Page, options: FetchOptions) -> signals.Signals:
    """The signals of a page by the names that the fetcher has for them; only those that count."""
    found: signals.Signals = {}
    metas = _METAS | signals.named(options)
    for key, text in page.signals.items():
        place, _, name = key.partition(":")
        if place == "header":
            found[_HEADERS.get(name, name)] = text
        elif name in metas:
            found[f"meta {name}"] = text
    return found


def heard(page: Page, html: bytes, options: FetchOptions) -> Page:
    """The page with what its metas say to the agents that count, whatever their names."""
    start = html[:HEAD_BYTES].lower()
    agents = [name for name in signals.named(options) if name.encode() in start]
    if not agents:
        return page
    said = signals.of_page(html[:HEAD_BYTES].decode("utf-8", "replace"), agents)
    found = {name.replace(" ", ":", 1): text for name, text in said.items()}
    return replace(page, signals={**found, **page.signals})


def unreadable(name: str, error: OSError) -> Incoming:
    """The row for a file that can't be read, or for the rest of one."""
    detail = readable(error.strerror or str(error))
    return Incoming(name, failed="unreadable_file", detail=detail, retriable=True)


def note_left_out(page: Page, tally: Tally) -> None:
    """Count the images of a page that are beyond the limit for one."""
    tally.skipped.update({n: count for n, count in page.notes.items() if n == "images_left_out"})


def tell(what: str, pages: int, tally: Tally, unread: str | None = None) -> None:
    """Log what was read of a file, and what else it held; at WARNING when there was no page, or
    something could not be read."""
    parts = [f"{pages} pages of {tally.records} records"]
    parts += [f"{reason} {count}" for reason, count in sorted(tally.skipped.items())]
    parts += [f"could not be read: {unread}"] if unread else []
    level = logging.INFO if pages and not unread else logging.WARNING
    _LOGGER.log(level, "%s: %s", what, ", ".join(parts))
