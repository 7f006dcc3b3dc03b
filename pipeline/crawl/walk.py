"""One walk over a parsed page in document order: its text as one string, and what lies where.

Everything is a span of that string, so that the text of a heading, a link or a figure, and the
words around an image, cost a slice. Nothing here decides which image or text is of use.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import Any

from selectolax.lexbor import LexborNode


def _named(words: str) -> frozenset[str]:
    return frozenset(words.split())


HEADINGS = {f"h{level}": level for level in range(1, 7)}
_OTHER_BLANK = re.compile(r"[^\S ]")
_SILENT = frozenset(
    {"script", "style", "textarea", "title", "iframe", "noembed", "noframes", "xmp"}
)
_BLOCKS = _named(
    "address article aside blockquote br caption center dd details dialog div dl dt fieldset"
    " figcaption figure footer form header hr legend li main nav ol option p pre section summary"
    " table tbody td tfoot th thead tr ul"
)
_PARTING = _BLOCKS | HEADINGS.keys()  # what ends one word and begins another
_CLASSED = frozenset({"div", "p", "li", "td", "th", "span", "table", "dl"})
# Markup older than `figure`, or beside it: MediaWiki, WordPress, DocBook.
_FIGURE_CLASSES = _named(
    "thumb thumbinner gallerybox infobox-image wp-caption figure informalfigure mediaobject"
)
_CAPTION_CLASSES = _named("thumbcaption gallerytext infobox-caption wp-caption-text caption")
_CLASS_WORDS = ("caption", "figure", "mediaobject", "gallery", "infobox", "thumb")


@dataclass(slots=True, eq=False)
class Span:
    """A stretch of the page's text; `end` is None until its element is left."""

    start: int
    end: int | None = None
    level: int = 0  # of a heading
    href: str | None = None  # of a link


@dataclass(slots=True, eq=False)
class Figure:
    """What holds an image and its caption; a figure within a figure has its own."""

    parent: "Figure | None"
    caption: Span | None = None
    title: Span | None = None
    licences: list[str] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Seen:
    """An image element, and what stood open around it."""

    node: LexborNode
    at: int
    heading: int  # how many headings began before it
    link: Span | None
    figure: Figure | None
    picture: LexborNode | None
    is_fallback: bool  # within noscript
    in_infobox: bool


@dataclass(slots=True)
class Walked:
    """A page's text, white space as spaces; its images and headings as spans of it."""

    text: str
    images: list[Seen]
    headings: list[Span]
    left_out: int  # images beyond the limit

    def words(self, span: Span | None, limit: int) -> str | None:
        """The text of a span with white space as one space; None when there is none."""
        if span is None or span.start == span.end:
            return None
        end = len(self.text) if span.end is None else span.end
        found = single(self.text[span.start : min(end, span.start + 4 * limit)])
        return found[:limit] or None


class _Walker:
    """Holds what is open while nodes pass by; selectolax says when an element begins, not ends.

    So the first node behind an element is found when it begins: a climb that ends at the
    innermost open one, whose own end is known.
    """

    def __init__(self, max_images: int, is_classed: bool, has_licences: bool) -> None:
        self.max_images, self.is_classed, self.has_licences = max_images, is_classed, has_licences
        self.parts: list[str] = []
        self.images: list[Seen] = []
        self.headings: list[Span] = []
        self.left_out = 0
        self.is_silent = False
        self.fallbacks = self.infoboxes = 0
        self.link: Span | None = None
        self.figure: Figure | None = None
        self.picture: LexborNode | None = None
        self.open: list[tuple[int, int, Callable[[Any], None], Any]] = []  # end, own id, what to do
        self.handlers: dict[str, Callable[[LexborNode], None]] = {
            **dict.fromkeys(_SILENT, self._silent),
            **dict.fromkeys(_BLOCKS, self._block),
            **dict.fromkeys(_CLASSED if is_classed else (), self._classed),
            **dict.fromkeys(HEADINGS, self._heading),
            "a": self._link,
            "img": self._image,
            "amp-img": self._image,
            "picture": self._picture,
            "noscript": self._noscript,
            "figure": self._figure,
            "figcaption": self._caption,
        }

    def run(self, root: LexborNode) -> Walked:
        handlers, parts, opened = self.handlers, self.parts, self.open
        for node in root.traverse(include_text=True):
            while opened and node.mem_id == opened[-1][0]:
                _, _, leave, value = opened.pop()
                leave(value)
            tag = node.tag
            if tag == "-text":
                self._text(node)
            elif tag is not None and (handler := handlers.get(tag)) is not None:
                handler(node)
        while opened:
            _, _, leave, value = opened.pop()
            leave(value)
        handlers.clear()  # a cycle, which would keep the tree until the collector comes
        return self._in_characters("".join(parts))

    def _text(self, node: LexborNode) -> None:
        if self.is_silent:
            self.is_silent = False
            return
        text = node.text_content
        if not text or self.fallbacks:
            return
        is_joined = not text[0].isspace() and self.parts and not self.parts[-1][-1:].isspace()
        if is_joined and _is_behind_block(node):
            self.parts.append("\n")
        self.parts.append(text)

    def _enter(self, node: LexborNode, leave: Callable[[Any], None], value: Any) -> None:
        """Have `leave` called with `value` at the first node behind this element."""
        end, at = 0, node
        behind = at.next
        if behind is None and self.open:
            inner_end, inner_id, _, _ = self.open[-1]
        else:
            inner_end, inner_id = 0, 0
        while behind is None:
            above = at.parent
            if above is None or above.mem_id == inner_id:
                end = inner_end
                break
            at, behind = above, above.next
        else:
            end = behind.mem_id
        self.open.append((end, node.mem_id, leave, value))

    def _span(self, node: LexborNode, span: Span) -> Span:
        self._enter(node, self._leave_span, span)
        return span

    def _leave_span(self, span: Span) -> None:
        span.end = len(self.parts)

    def _silent(self, node: LexborNode) -> None:
        self.is_silent = node.first_child is not None

    def _block(self, node: LexborNode) -> None:
        self.parts.append("\n")

    def _heading(self, node: LexborNode) -> None:
        self.parts.append("\n")
        span = Span(len(self.parts), level=HEADINGS[node.tag or ""])
        self.headings.append(self._span(node, span))

    def _link(self, node: LexborNode) -> None:
        href = node.attrs.get("href")
        if not href:
            return
        if self.has_licences and self.figure is not None:
            rel = (node.attrs.get("rel") or "").lower().split()
            if "license" in rel or "creativecommons.org/" in href:
                self.figure.licences.append(href)
        self._enter(node, self._leave_link, self.link)
        self.link = Span(len(self.parts), href=href)

    def _leave_link(self, before: Span | None) -> None:
        if self.link is not None:
            self.link.end = len(self.parts)
        self.link = before

    def _image(self, node: LexborNode) -> None:
        if len(self.images) >= self.max_images:
            self.left_out += 1
            return
        self.images.append(
            Seen(
                node,
                len(self.parts),
                len(self.headings),
                self.link,
                self.figure,
                self.picture,
                self.fallbacks > 0,
                self.infoboxes > 0,
            )
        )

    def _picture(self, node: LexborNode) -> None:
        self._enter(node, self._leave_picture, self.picture)
        self.picture = node

    def _leave_picture(self, before: LexborNode | None) -> None:
        self.picture = before

    def _noscript(self, node: LexborNode) -> None:
        self.fallbacks += 1
        self._enter(node, self._leave_noscript, None)

    def _leave_noscript(self, _: None) -> None:
        self.fallbacks -= 1

    def _figure(self, node: LexborNode) -> None:
        self.parts.append("\n")
        self._enter(node, self._leave_figure, self.figure)
        self.figure = Figure(self.figure)

    def _leave_figure(self, before: Figure | None) -> None:
        self.figure = before

    def _caption(self, node: LexborNode) -> None:
        self.parts.append("\n")
        if self.figure is not None and self.figure.caption is None:
            self.figure.caption = self._span(node, Span(len(self.parts)))

    def _classed(self, node: LexborNode) -> None:
        if node.tag in _BLOCKS:
            self.parts.append("\n")
        text = node.attrs.get("class")
        if not text:
            return
        kind = _kind(text)
        if kind == "figure":
            self._figure(node)
        elif kind == "caption":
            self._caption(node)
        elif kind == "title" and self.figure is not None and self.figure.title is None:
            self.figure.title = self._span(node, Span(len(self.parts)))
        elif kind == "infobox":
            self._infobox(node)

    def _infobox(self, node: LexborNode) -> None:
        self.infoboxes += 1
        self._enter(node, self._leave_infobox, None)

    def _leave_infobox(self, _: None) -> None:
        self.infoboxes -= 1

    def _in_characters(self, text: str) -> Walked:
        """Spans count parts while the walk lasts, and characters from here on."""
        starts = list(accumulate(map(len, self.parts), initial=0))
        done: set[int] = set()
        spans: list[Any] = [*self.headings]
        for seen in self.images:
            seen.at = starts[seen.at]
            spans.append(seen.link)
            figure = seen.figure
            while figure is not None and id(figure) not in done:
                done.add(id(figure))
                spans += (figure.caption, figure.title)
                figure = figure.parent
        for span in spans:
            if span is not None and id(span) not in done:
                done.add(id(span))
                span.start = starts[span.start]
                span.end = None if span.end is None else starts[span.end]
        return Walked(_blanks(text), self.images, self.headings, self.left_out)


def _is_behind_block(node: LexborNode) -> bool:
    """Whether a block ends between a text and the text before it, within whatever is inline."""
    at = node
    while (before := at.prev) is None:
        above = at.parent
        if above is None or above.tag in _PARTING:  # which has begun a word
            return False
        at = above
    while before is not None:
        if before.tag in _PARTING:
            return True
        before = before.last_child
    return False


def _blanks(text: str) -> str:
    """The same text, as long as it was, with a space for every sign of white space."""
    if text.isascii():
        return text.replace("\n", " ").replace("\t", " ").replace("\r", " ").replace("\f", " ")
    return _OTHER_BLANK.sub(" ", text)


def single(text: str) -> str:
    """A stretch of a page's text with single spaces."""
    while "  " in text:
        text = text.replace("  ", " ")
    return text.strip()


@lru_cache(4096)
def _kind(classes: str) -> str | None:
    words = classes[:1000].split()
    if not _FIGURE_CLASSES.isdisjoint(words):
        return "figure"
    if not _CAPTION_CLASSES.isdisjoint(words):
        return "caption"
    return next((kind for kind in ("title", "infobox") if kind in words), None)


def walk(root: LexborNode, html: str, max_images: int) -> Walked:
    """The text of a page and what lies where; `html` is its source, to skip work it can't need."""
    is_classed = any(word in html for word in _CLASS_WORDS)
    has_licences = "license" in html or "creativecommons" in html
    return _Walker(max_images, is_classed, has_licences).run(root)
