"""What schema.org says of images in JSON-LD: licence, credit, caption; bounded, never raising."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from pipeline.crawl.links import Base

_MOST_BYTES, _MOST_OBJECTS = 500_000, 20_000
_URLS = ("contentUrl", "url", "thumbnailUrl", "@id")
_LICENCES = ("license", "acquireLicensePage")


@dataclass(frozen=True, slots=True)
class Described:
    """One ImageObject; or, with no URL, what the page says of itself."""

    urls: tuple[str, ...]
    licences: tuple[str, ...]
    credit: str | None
    caption: str | None


def read(tree: LexborHTMLParser, html: str, base: Base) -> list[Described]:
    """Every object of the page's JSON-LD that is an image or names a licence, in order."""
    if "ld+json" not in html:
        return []
    found, left = [], _MOST_BYTES
    for node in tree.css('script[type="application/ld+json" i]'):
        text = node.text(deep=True)
        left -= len(text)
        if left < 0:
            break
        try:
            value = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            continue
        found += [_described(item, base) for item in _objects(value) if _matters(item)]
    return found


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """The objects within a JSON value, outer ones first, without recursion."""
    waiting, count = [value], 0
    while waiting and count < _MOST_OBJECTS:
        item = waiting.pop()
        count += 1
        if isinstance(item, dict):
            yield item
            waiting += reversed(item.values())
        elif isinstance(item, list):
            waiting += reversed(item)


def _matters(item: Mapping[str, Any]) -> bool:
    return "ImageObject" in str(item.get("@type"))[:200] or any(name in item for name in _LICENCES)


def _described(item: Mapping[str, Any], base: Base) -> Described:
    is_image = "ImageObject" in str(item.get("@type"))[:200]
    urls = [base.resolve(_text(item.get(name))) for name in _URLS] if is_image else []
    marks = [base.resolve(_text(item.get(name))) for name in _LICENCES]
    credit = _text(item.get("creditText")) or _text(item.get("copyrightNotice"))
    return Described(
        tuple(dict.fromkeys(url for url in urls if url)),
        tuple(dict.fromkeys(url for url in marks if url)),
        credit or _text(item.get("creator")) or _text(item.get("author")),
        _text(item.get("caption")) or _text(item.get("description")) or _text(item.get("name")),
    )


def _text(value: Any) -> str | None:
    """The first text of a value, of a list of values, or of an object that has a name or URL."""
    for _ in range(4):
        if isinstance(value, list):
            value = value[0] if value else None
        elif isinstance(value, dict):
            value = value.get("name") or value.get("url") or value.get("@id")
    text = " ".join(value.split())[:2000] if isinstance(value, str) else ""
    return text.encode("utf-8", "replace").decode() or None
