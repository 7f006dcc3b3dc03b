"""Where a page leads to: links that may be followed, in the order of the page.

Never raises for what a page holds, and is bounded by the size of a page and a number of links.
"""

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from pipeline.crawl import charset
from pipeline.crawl.crawl_options import MAX_PAGE_BYTES
from pipeline.crawl.links import Base
from pipeline.crawl.taming import tame

MOST_LINKS = 10_000  # of one page
_LEADING = (
    'a[href], area[href], link[rel~="next" i][href], iframe[src], frame[src],'
    ' meta[http-equiv="refresh" i][content]'
)
_REFRESH = re.compile(  # "seconds; url=address", as the standard of HTML reads it
    r"""\s*+[\d.]++(?:\s*+[;,]|\s)\s*+(?:url\s*+=\s*+)?+(?:"([^"]*)|'([^']*)|([^"'\s].*))""",
    re.IGNORECASE | re.DOTALL,
)


def outlinks(
    html: bytes, url: str, content_type: str | None = None, refresh: str | None = None
) -> list[str]:
    """The pages that a page leads to, as absolute http(s) URLs without fragment, each once.

    These are links but for `rel=nofollow`, areas, the next page, frames, and a refresh to another
    page, also as a header (`refresh`). `url` is that of the page after redirects.
    """
    text, _ = charset.decoded(html[:MAX_PAGE_BYTES], content_type)
    text, _ = tame(text)
    try:
        tree = LexborHTMLParser(text)
    except SelectolaxError:
        return []
    bases = (node.attributes.get("href") for node in tree.css("base")[:10])
    base = Base(url, next(filter(None, bases), None))
    written = [_refreshed(refresh), *map(_written, tree.css(_LEADING))]
    found = dict.fromkeys(map(base.resolve, filter(None, written)))
    return [link for link in found if link is not None and link[:4] == "http"][:MOST_LINKS]


def _written(node: LexborNode) -> str | None:
    attributes = node.attributes
    if node.tag == "meta":
        return _refreshed(attributes.get("content"))
    if "nofollow" in (attributes.get("rel") or "").lower().split():
        return None
    return attributes.get("src" if node.tag in ("iframe", "frame") else "href")


def _refreshed(text: str | None) -> str | None:
    """The address in `5; url=page.html`; None when it names none."""
    found = _REFRESH.match(text[:10_000]) if text else None
    return None if found is None else next(filter(None, found.groups()), None)
