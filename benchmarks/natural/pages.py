"""Pictures and the text that lies nearest: what a page says of them, or what their file is called.

Texts stay as they are found, good or bad; only empty ones and those too long for a label sheet
are left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from PIL import Image

from benchmarks.natural.packages import PACKAGES, Package

Origin = Literal["page", "name"]
EXTENSIONS = frozenset((".gif", ".jpeg", ".jpg", ".png", ".webp"))
LEAST_SIDE = 64
LONGEST = 200
_SEPARATORS = re.compile(r"[\s_+.-]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_CAPTIONS = frozenset(("caption", "figcaption"))


@dataclass(frozen=True)
class Pair:
    """A picture by its path below the folder of packages, and its text."""

    origin: Origin
    package: str
    path: str
    text: str


def collect(deb: Path) -> list[Pair]:
    """All pairs of the unpacked packages, sorted; a picture has one pair of each origin at most."""
    found: dict[tuple[Origin, str], Pair] = {}
    sizes: dict[str, bool] = {}
    for name, package in PACKAGES.items():
        root = (deb / name).resolve()
        for pair in (*_on_pages(root, name, package), *_by_name(root, name, package)):
            place = pair.origin, pair.path
            if place in found or not _is_usable(pair.text):
                continue
            if pair.path not in sizes:
                sizes[pair.path] = _is_large(deb / pair.path)
            if sizes[pair.path]:
                found[place] = pair
    return [found[place] for place in sorted(found)]


def _is_usable(text: str) -> bool:
    return len(text) <= LONGEST and any(map(str.isalnum, text))


def _is_large(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            return min(picture.size) >= LEAST_SIDE
    except OSError:
        return False


def _on_pages(root: Path, name: str, package: Package) -> Iterator[Pair]:
    if not package.pages:
        return
    for page in sorted((root / package.pages).rglob("*.html")):
        for source, text in page_texts(page.read_text("utf-8", "replace")):
            path = (page.parent / unquote(source.partition("?")[0])).resolve()
            if path.suffix.lower() in EXTENSIONS and path.is_relative_to(root) and path.is_file():
                yield Pair("page", name, f"{name}/{path.relative_to(root)}", text)


def _by_name(root: Path, name: str, package: Package) -> Iterator[Pair]:
    for pattern in package.names:
        for path in sorted(root.glob(pattern)):
            if path.suffix.lower() not in EXTENSIONS or path.is_symlink() or not path.is_file():
                continue
            called = path.parents[2].name if package.by_folder else path.stem
            yield Pair("name", name, f"{name}/{path.relative_to(root)}", name_words(called))


def name_words(name: str) -> str:
    """A name of a file without its extension as words: "rainDrops_2" is "rain Drops 2"."""
    return " ".join(_SEPARATORS.sub(" ", _CAMEL.sub(" ", name)).split())


def page_texts(html: str) -> list[tuple[str, str]]:
    """The address and text of each picture of a page: its alt text, else its title, else a caption.

    A caption is the next element of the kind or class "caption" or "figcaption", as long as no
    other picture comes before it.
    """
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.found


class _Reader(HTMLParser):
    """Mutable, as the parser of the standard library hands over one tag at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._waiting: str | None = None
        self._inside: str | None = None
        self._words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        if tag == "img":
            source = told.get("src", "")
            text = _plain(told.get("alt", "")) or _plain(told.get("title", ""))
            self._waiting = None if text else source
            if text:
                self.found.append((source, text))
        elif self._waiting and _CAPTIONS & {tag, *told.get("class", "").split()}:
            self._inside, self._words = tag, []

    def handle_endtag(self, tag: str) -> None:
        if self._waiting and tag == self._inside:
            self.found.append((self._waiting, _plain("".join(self._words))))
            self._waiting = self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside:
            self._words.append(data)


def _plain(text: str) -> str:
    return " ".join(text.split())
