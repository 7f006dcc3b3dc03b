"""What a page says of itself: title, language, licence marks, and opt-out signals as found."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser

from pipeline.crawl.links import Base
from pipeline.fetch import signals

_MOST = 2000  # meta elements read; more are noise
_MOST_LICENCES = 20
_MOST_SIGNALS = 32  # by name: they go with every image of the page, as those for all robots do
_FOR_ALL = frozenset({"robots", "x-robots-tag", "tdm-reservation", "tdm-policy", "content-usage"})
_LONGEST_LICENCE, _LONGEST_HEADER = 1000, 4000  # characters
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8}){0,4}$")
# Metas that say how a page may be used: robots in general, a robot by name, text and data mining,
# AI in so many words, and the vocabulary of Content-Usage.
_SIGNAL = re.compile(
    r"robots$|[\w.-]{1,40}bot(?:-[\w-]{1,20})?$|slurp$|teoma$|ccbot$|tdm-|noai$|noimageai$|noml$"
    r"|content-usage$|x-robots-tag$|ai-|pinterest$|rsl",
    re.IGNORECASE,
)
_SIGNAL_HEADERS = frozenset(
    {"x-robots-tag", "tdm-reservation", "tdm-policy", "content-usage", "link", "license"}
)


@dataclass(slots=True)
class Metas:
    """The meta elements of a page, each name in small letters with its first content."""

    first: dict[str, str] = field(default_factory=dict)
    images: list[dict[str, str]] = field(default_factory=list)  # Open Graph's, with alt and size
    signals: dict[str, str] = field(default_factory=dict)


def read_metas(tree: LexborHTMLParser) -> Metas:
    found = Metas()
    for node in tree.css("meta")[:_MOST]:
        attributes = node.attributes
        content = attributes.get("content")
        name = attributes.get("property") or attributes.get("name")
        http = attributes.get("http-equiv")
        name = name or http or attributes.get("itemprop")
        if name and content:
            note_meta(found, name, content, is_http=bool(http))
    return found


def note_meta(found: Metas, name: str, content: str, *, is_http: bool = False) -> None:
    """Add one meta element to those found."""
    name = name.strip().lower()[:100]
    key = f"meta:{name}"
    held = found.signals.get(key)
    has_room = held is not None or len(found.signals) < _MOST_SIGNALS or name in _FOR_ALL
    if has_room and _SIGNAL.match(name):
        found.signals[key] = content[:500] if held is None else f"{held}, {content}"[:2000]
    if name.startswith(("og:image", "twitter:image")):
        _note_image(found.images, name, content)
    found.first.setdefault(f"http:{name}" if is_http else name, content[:4000])


def _note_image(images: list[dict[str, str]], name: str, content: str) -> None:
    """Open Graph puts the alt text and the size of an image behind its address."""
    family, _, detail = name.partition(":image")
    if detail in ("", ":src", ":url"):
        if detail != ":url" or not images or images[-1]["url"] != content:
            images.append({"url": content, "family": family})
    elif images and images[-1]["family"] == family:
        if detail == ":secure_url":
            images[-1]["secure_url"] = content
        else:
            images[-1].setdefault(detail[1:], content)


def language(tree: LexborHTMLParser, metas: Metas, http: str | None) -> str | None:
    """As the page says it: html lang, content-language, og:locale, then the HTTP header."""
    root = tree.root
    attributes = {} if root is None else root.attributes
    said = (
        attributes.get("lang"),
        attributes.get("xml:lang"),
        metas.first.get("http:content-language"),
        metas.first.get("og:locale"),
        http,
    )
    for text in said:
        tag = (text or "").split(",")[0].strip()
        if _LANGUAGE.match(tag):
            return tag.replace("_", "-")
    return None


def licences(tree: LexborHTMLParser, html: str, metas: Metas, base: Base) -> tuple[str, ...]:
    """Addresses of licences: rel=license, Creative Commons links, microdata, metas."""
    found: list[str | None] = []
    selectors = []
    if "license" in html:
        selectors += ['[rel~="license" i]', '[itemprop~="license"]']
        selectors += ['[itemprop~="acquireLicensePage"]']
    if "creativecommons.org/" in html:
        selectors.append('a[href*="creativecommons.org/licenses/"]')
        selectors.append('a[href*="creativecommons.org/publicdomain/"]')
    for node in tree.css(", ".join(selectors))[: _MOST_LICENCES * 10] if selectors else ():
        attributes = node.attributes
        found.append(attributes.get("href") or attributes.get("content"))
    found += (metas.first.get(name) for name in ("dcterms.license", "dc.rights", "dcterms.rights"))
    return addresses(found, base)


def addresses(links: Iterable[str | None], base: Base) -> tuple[str, ...]:
    """Those of the links that are addresses of the web, each once, in order."""

    def resolved() -> Iterator[str]:
        for link in links:
            url = base.resolve(link)
            if url is not None and url[:4] == "http" and len(url) <= _LONGEST_LICENCE:
                yield url

    return tuple(dict.fromkeys(resolved()))[:_MOST_LICENCES]


def header_signals(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The opt-out signals among HTTP headers, raw; a repeated header is joined as the fetcher does,
    by commas or LINE."""
    found: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()
        if name in _SIGNAL_HEADERS and (name != "link" or "license" in value.lower()):
            between = signals.LINE if name == "x-robots-tag" else ", "
            key = f"header:{name}"
            joined = f"{found[key]}{between}{value}" if key in found else value
            found[key] = joined[:_LONGEST_HEADER]
    return found
