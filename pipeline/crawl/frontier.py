"""Which pages a crawl asks for: every page once, in one order, within all limits.

Nothing here depends on when answers come. What the limits leave out is counted by reason.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from typing import NamedTuple

from pipeline.crawl.crawl_options import CrawlOptions
from pipeline.crawl.links import names_image
from pipeline.fetch.options import FetchOptions
from pipeline.fetch.outcome import Refusal
from pipeline.fetch.sites import site_of
from pipeline.fetch.target import Target, parse_target

_REMEMBERED = 2_000  # URLs as pages write them
_DOTS = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)
_OTHER_KINDS = re.compile(
    r"\.(?:zip|gz|tgz|bz2|xz|zst|7z|rar|tar|jar|war|iso|img|dmg|pkg|deb|rpm|apk|exe|msi|bin|whl"
    r"|pdf|ps|eps|djvu|epub|mobi|docx?|xlsx?|pptx?|od[tspg]|rtf|csv|tsv|parquet|sqlite"
    r"|mp[234]|m4[av]|aac|ogg|og[av]|opus|flac|wav|mid|wma|wmv|avi|mkv|mov|mpe?g|webm|flv|3gp|ts"
    r"|m3u8?|srt|vtt|svgz?|ico|psd|ai|css|js|mjs|json|rss|atom|woff2?|ttf|otf|eot|swf|torrent|asc"
    r"|sig|md5|sha\d{1,3})$",
    re.IGNORECASE,
)


class Wish(NamedTuple):
    """A page to ask for, and the page that names it; a start URL has none."""

    url: str
    found_on: str | None


def canonical(url: str, options: FetchOptions) -> Target:
    """A URL as a crawl knows it: no fragment, no default port, host in small letters, no dot
    segments; the query stays as it is. Raises Refusal for what is not fetched whatever happens."""
    target = parse_target(url, options)
    path, mark, query = target.path.partition("?")
    return target.at(_without_dots(path) + mark + query) if _DOTS.search(path) else target


def _without_dots(path: str) -> str:
    """As browsers do it, for which `%2e` is a dot too."""
    kept: list[str] = []
    plain = ""
    for segment in path.split("/")[1:]:
        plain = segment.lower().replace("%2e", ".")
        if plain == "..":
            del kept[-1:]
        elif plain != ".":
            kept.append(segment)
    return "/".join(["", *kept, *([""] if plain in (".", "..") else [])])


def _is_other_kind(target: Target) -> bool:
    """By the name alone; `File:a.svg` is a wiki's page about one."""
    name = target.path.partition("?")[0].rpartition("/")[2]
    return names_image(name) or (_OTHER_KINDS.search(name) is not None and ":" not in name)


class Frontier:
    """What is known and what is wanted; a class, because it remembers.

    Memory is that of the URLs asked for and of their redirects. `cut` counts links, each once for
    a page, by the limit that left them out; `asked` counts pages.
    """

    def __init__(self, options: CrawlOptions) -> None:
        self._options, self._web = options, options.for_pages
        # Menus are the same on every page.
        self._read = lru_cache(_REMEMBERED)(partial(canonical, options=self._web))
        self._known: set[str] = set()
        self._inside: set[str] = set()
        self.pages: Counter[str] = Counter()  # by host
        self.cut: Counter[str] = Counter()
        self.asked = 0

    def start(self) -> list[Wish]:
        """The pages of depth 0."""
        targets = [canonical(url, self._web) for url in self._options.start]
        self._inside.update(map(self._place, targets))
        return [wish for target in targets for wish in self._taken(target, None)]

    def follow(self, links: Iterable[str], page: str, depth: int) -> Iterator[Wish]:
        """Those of a page's links that are to be asked for, at this depth, in their order."""
        for link in links:
            if link in self._known:
                continue
            try:
                target = self._read(link)
            except Refusal as refusal:
                self.cut[refusal.reason] += 1
                continue
            if target.url in self._known:
                continue
            why = "other_kind" if _is_other_kind(target) else self._unwanted(target)
            if why is None and depth > self._options.depth:
                why = "depth"
            if why is not None:
                self.cut[why] += 1
                continue
            yield from self._taken(target, page)

    def _taken(self, target: Target, page: str | None) -> list[Wish]:
        """The page, unless it is known or the limits are reached."""
        host, limit = target.host, self._options.max_pages_per_host
        if target.url in self._known:
            return []
        if self.asked >= self._options.max_pages:
            self.cut["max_pages"] += 1
        elif limit is not None and self.pages[host] >= limit:
            self.cut["max_pages_per_host"] += 1
        elif not self._has_room(host):
            self.cut["max_hosts"] += 1
        else:
            self._known.add(target.url)
            self.pages[host] += 1
            self.asked += 1
            return [Wish(target.url, page)]
        return []

    def _has_room(self, host: str) -> bool:
        return host in self.pages or len(self.pages) < self._options.max_hosts

    def _place(self, target: Target) -> str:
        return target.host if self._options.stay == "host" else site_of(target.host)

    def _unwanted(self, target: Target) -> str | None:
        """Why a page is none of this crawl's."""
        if self._options.stay != "any" and self._place(target) not in self._inside:
            return "stay"
        if self._web.contact is None and not target.allowed:
            return "no_contact"
        return self._options.unwanted(target.url)

    def arrived(self, wish: Wish, target: Target) -> str | None:
        """Why the page that an asked URL led to is none of this crawl's; None when it is.

        A start URL may lead to another host of its site, whose pages are wanted from then on, and
        need not fit the patterns.
        """
        if target.url == wish.url:
            return None
        if wish.found_on is not None:
            why = self._unwanted(target)
        elif self._options.stay == "any" or self._is_of_same_site(wish, target):
            self._inside.add(self._place(target))
            why = None
        else:
            why = "stay"
        if why is None and not self._has_room(target.host):
            why = "max_hosts"
        if why is None:
            self.pages[target.host] += 0  # a host like the others, of which nothing was asked
        return why

    def _is_of_same_site(self, wish: Wish, target: Target) -> bool:
        return site_of(canonical(wish.url, self._web).host) == site_of(target.host)

    def know(self, urls: Iterable[str]) -> None:
        """These were on the way to a page: nobody need ask for them again."""
        for url in urls:
            try:
                self._known.add(canonical(url, self._web).url)
            except Refusal:
                continue
