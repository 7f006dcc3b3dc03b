"""What a crawl is asked for: where it starts, how far it goes, and what it leaves alone."""

import hashlib
import json
import re
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

from pipeline.fetch.options import FetchOptions, OptOut
from pipeline.fetch.outcome import Refusal
from pipeline.fetch.target import parse_target

Stay = Literal["host", "site", "any"]
MAX_PAGE_BYTES = 5_000_000  # as many as are read of a page in an archive
_HELD_BYTES = 64_000_000
_VERSION = 1  # of what a crawl writes for the same answers
# What decides about pages; pace and deadlines may change between two runs of one crawl.
_OF_WEB = (
    *("agent", "agents", "refuse", "robots_ignored", "opt_out", "allow_hosts", "ports"),
    *("max_bytes", "max_redirects"),
)


@dataclass(frozen=True, kw_only=True)
class CrawlOptions:
    """All that a crawl depends on. Raises ValueError for what can't be meant.

    Pages of `start` have depth 0. `max_pages` counts the pages that are asked for, whatever
    becomes of them. `stay`: on the hosts of the start URLs, on their registered domains, or `any`.
    Patterns are regular expressions, searched in the whole URL without regard to case; the start
    URLs need not fit them. `web` holds for pages but for `kind`, `min_bytes`, a limit of 5 MB, and
    `give_up_after`, which counts pages in a row.
    """

    start: tuple[str, ...]
    depth: int = 3
    max_pages: int = 1000
    max_pages_per_host: int | None = None
    max_hosts: int = 10
    stay: Stay = "host"
    only: tuple[str, ...] = ()
    refuse: tuple[str, ...] = ()
    web: FetchOptions = field(default_factory=FetchOptions)
    _only: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)
    _refuse: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.start:
            raise ValueError("start is empty, must name a URL")
        for url in self.start:
            try:
                parse_target(url, self.web)
            except Refusal as refusal:
                raise ValueError(f"start names {url!r}: {refusal.detail}") from None
        if self.stay not in get_args(Stay):
            raise ValueError(f"stay is {self.stay!r}, must be one of {', '.join(get_args(Stay))}")
        if self.depth < 0:
            raise ValueError(f"depth is {self.depth}, must not be negative")
        for name in ("max_pages", "max_pages_per_host", "max_hosts"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, must be at least 1")
        object.__setattr__(self, "_only", tuple(map(_pattern, self.only)))
        object.__setattr__(self, "_refuse", tuple(map(_pattern, self.refuse)))

    def unwanted(self, url: str) -> str | None:
        """Which of the patterns keep a page out: `only`, `refuse`, or None when none does."""
        if self._only and not any(pattern.search(url) for pattern in self._only):
            return "only"
        return "refuse" if any(pattern.search(url) for pattern in self._refuse) else None

    @property
    def for_pages(self) -> FetchOptions:
        """`web` as pages are fetched with."""
        return replace(
            self.web,
            kind="page",
            min_bytes=0,
            max_bytes=min(self.web.max_bytes, MAX_PAGE_BYTES),
            held_bytes=min(self.web.held_bytes, _HELD_BYTES),
            # A host would else be given up for one page that is broken.
            give_up_after=self.web.give_up_after * (self.web.retries + 1),
        )

    @property
    def digest(self) -> str:
        """Of everything that decides which pages a crawl gives."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.init and f.name != "web"}
        web = {name: getattr(self.for_pages, name) for name in _OF_WEB}
        text = json.dumps([_VERSION, own, web], sort_keys=True, default=_plain)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(value: Any) -> Any:
    """What JSON has no word for."""
    if isinstance(value, OptOut):
        return [value.domains, value.patterns, value.sha256, value.urls]
    if isinstance(value, re.Pattern):
        return [value.pattern, value.flags]
    if isinstance(value, bytes):
        return value.hex()
    return sorted(value)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from error
