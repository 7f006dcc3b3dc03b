"""Which files an image element offers, and which of them is the largest."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipeline.crawl.links import Base

_MOST = 64  # variants of one image; more are noise
_DESCRIPTOR = re.compile(r"(\d{1,6}|\d{0,6}\.\d{1,6})([wx])(?=\s|$)")
_SOURCE = re.compile(r"[\s,]*([^\s]+)([^,]*)")
_SIZE = re.compile(r"\s*(\d{1,6})(?:\.\d+)?\s*(?:px)?\s*$", re.IGNORECASE)

# In order of trust where no width is said: lazy loading leaves a placeholder in `src`.
FULL = ("data-orig-file", "data-large-file", "data-zoom-image", "data-full", "data-full-src")
LAZY = ("data-src", "data-original", "data-lazy-src", "data-lazy", "data-original-src")
LAZY_SETS = ("data-srcset", "data-lazy-srcset")
_FULL, _LAZY = frozenset({"link", *FULL}), frozenset({*LAZY, *LAZY_SETS})
_SPECIAL = frozenset({*FULL, *LAZY, *LAZY_SETS})


class Variant(NamedTuple):
    """One file of an image: where it was named, and how large it is said to be.

    `width` in pixels (a `w` descriptor, or the element's own), `density` an `x` descriptor.
    """

    url: str
    origin: str
    width: int | None = None
    density: float | None = None


def of_set(text: str | None, origin: str, base: Base) -> list[Variant]:
    """The entries of a `srcset` as HTML reads it; those that are no addresses are left out."""
    found: list[Variant] = []
    at = 0
    while text and len(found) < _MOST and (entry := _SOURCE.match(text, at)) is not None:
        link, rest = entry.groups()
        at = entry.end()
        if link[-1] == ",":
            link, rest, at = link.rstrip(","), "", entry.end(1)
        url = base.resolve(link)
        if url is None:
            continue
        described = _DESCRIPTOR.search(rest) if rest else None
        if described is None:
            found.append(Variant(url, origin))
        elif described[2] == "w":
            found.append(Variant(url, origin, int(float(described[1]))))
        else:
            found.append(Variant(url, origin, None, float(described[1])))
    return found


def of_element(attributes: Mapping[str, str | None], base: Base) -> list[Variant]:
    """Every file that an `img` names itself, full-size attributes first, its `src` last."""
    found: list[Variant] = []
    is_plain = _SPECIAL.isdisjoint(attributes)
    if not is_plain:
        _add(found, attributes, FULL, base)
        for name in LAZY_SETS:
            found += of_set(attributes.get(name), name, base)
    if "srcset" in attributes:
        found += of_set(attributes["srcset"], "srcset", base)
    if not is_plain:
        _add(found, attributes, LAZY, base)
    if (url := base.resolve(attributes.get("src"))) is not None:
        found.append(Variant(url, "src"))
    return found[:_MOST]


def _add(
    found: list[Variant], attributes: Mapping[str, str | None], names: tuple[str, ...], base: Base
) -> None:
    for name in names:
        if (url := base.resolve(attributes.get(name))) is not None:
            found.append(Variant(url, name))


def largest(variants: Sequence[Variant]) -> Variant | None:
    """The variant to take: full-size files, then the widest, the densest, a lazy one, `src`.

    An address of the web goes before a `data:` URL; ties fall to the first in the page.
    """
    if len(variants) == 1:
        return variants[0]
    return max(variants, key=_worth, default=None)


def _worth(variant: Variant) -> tuple[bool, bool, int, float, bool]:
    url, origin, width, density = variant
    return url[:5] != "data:", origin in _FULL, width or 0, density or 1.0, origin in _LAZY


def pixels(text: str | None) -> int | None:
    """A declared size: `640`, `640px`; percentages and zero are none."""
    found = _SIZE.match(text) if text else None
    return int(found[1]) or None if found else None
