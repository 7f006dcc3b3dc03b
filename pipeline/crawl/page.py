"""A page of HTML as image candidates, each with every text that may describe it.

Never raises for what a page holds, and is bounded by the limits whatever it is; what had to be
left out is counted. Decides nothing: which text is a caption, and what is an icon, are rules.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from pipeline.crawl import charset, head, structured
from pipeline.crawl.links import Base, names_image
from pipeline.crawl.taming import tame
from pipeline.crawl.variants import Variant, largest, of_element, of_set, pixels
from pipeline.crawl.walk import Figure, Seen, Span, Walked, single, walk

_DATA_SHOWN = 64  # characters kept of a data: URL
_MARGIN = 120  # white space that may stand between the words around an image
_MOST_VARIANTS = 10_000_000  # characters of all addresses but the best
_MOST_HEADING = 500  # characters
_MOST_FIGURES = 5  # within each other
_MOST_LABELS = 100  # elements named by aria-labelledby that are looked up


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a page is read, and how much text is kept of it."""

    max_bytes: int = 5_000_000
    max_images: int = 2000
    max_text: int = 2000  # characters of one text
    context: int = 200  # characters before and after an image


class Candidate(NamedTuple):
    """One image of a page. `url` is the variant to take, `variants` are all in order of trust.

    `found_in`: img, noscript, picture, or meta (Open Graph, Twitter, image_src). `is_data`: the
    image is written into the page; of its URL the beginning is kept. Texts have single spaces and
    are None where there is none. `headings` are those above it, from the outermost.
    """

    url: str
    variants: tuple[Variant, ...]
    found_in: str
    is_data: bool = False
    alt: str | None = None
    title: str | None = None
    figcaption: str | None = None
    figure_title: str | None = None
    aria_label: str | None = None
    heading: str | None = None
    text_before: str | None = None
    text_after: str | None = None
    link_text: str | None = None
    link: str | None = None
    headings: tuple[str, ...] = ()
    section_text: str | None = None
    attribution: str | None = None
    credit: str | None = None
    licences: tuple[str, ...] = ()
    width: int | None = None
    height: int | None = None
    is_main: bool | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """What a page holds. `failed` says why nothing could be read; `notes` what was left out."""

    url: str
    base_url: str
    candidates: tuple[Candidate, ...] = ()
    title: str | None = None
    description: str | None = None
    lead: str | None = None
    language: str | None = None
    licences: tuple[str, ...] = ()
    signals: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    notes: Mapping[str, int] = field(default_factory=dict)
    failed: str | None = None


def parse(
    html: bytes,
    url: str,
    content_type: str | None = None,
    *,
    headers: tuple[tuple[str, str], ...] = (),
    limits: Limits | None = None,
) -> Page:
    """The page of a final URL (after redirects); `headers` are those of its answer.

    An image element is one candidate; a `noscript` or the head that names the same file again
    adds none.
    """
    limits = limits or Limits()
    text, encoding = charset.decoded(html[: limits.max_bytes], content_type)
    notes = {"bytes_cut": len(html) - limits.max_bytes} if len(html) > limits.max_bytes else {}
    text, tamed = tame(text)
    notes.update(tamed)
    try:
        tree = LexborHTMLParser(text)
    except SelectolaxError:
        return Page(url, url, encoding=encoding, notes=notes, failed="not_html")
    root = tree.root
    if root is None:
        return Page(url, url, encoding=encoding, notes=notes, failed="not_html")
    return _Reader(tree, text, url, limits).page(root, headers, encoding, notes)


class _Reader:
    """Everything that candidates of one page share; lives as long as its tree."""

    def __init__(self, tree: LexborHTMLParser, html: str, url: str, limits: Limits) -> None:
        self.tree, self.html, self.url, self.limits = tree, html, url, limits
        links = (node.attrs.get("href") for node in tree.css("base")[:10])
        self.base = Base(url, next(filter(None, links), None))
        self.metas = head.read_metas(tree)
        self.walked = Walked("", [], [], 0)
        self.described: dict[str, structured.Described] = {}
        self.sets: dict[int, list[Variant]] = {}  # of picture elements
        self.figures: dict[int, tuple[str | None, str | None, tuple[str, ...]]] = {}
        self.heading_texts: list[str | None] = []
        self.paths: list[tuple[str, ...]] = []
        self.section_texts: dict[int, str | None] = {}
        self.labels: dict[str, str | None] | None = None
        self.is_main_known = False
        self.has_data = "data:" in html.lower()
        self.room, self.variants_left_out = _MOST_VARIANTS, 0

    def page(
        self,
        root: LexborNode,
        headers: tuple[tuple[str, str], ...],
        encoding: str,
        notes: dict[str, int],
    ) -> Page:
        said = {name.lower(): value for name, value in headers}
        objects = structured.read(self.tree, self.html, self.base)
        self.described = {url: item for item in reversed(objects) for url in item.urls}
        self.walked = walk(root, self.html, self.limits.max_images)
        self._outline()
        candidates = tuple(self._candidates())
        if self.walked.left_out:
            notes["images_left_out"] = self.walked.left_out
        if self.variants_left_out:
            notes["variants_left_out"] = self.variants_left_out
        marks = head.licences(self.tree, self.html, self.metas, self.base)
        marks += tuple(mark for item in objects if not item.urls for mark in item.licences)
        first = self.metas.first
        return Page(
            self.url,
            self.base.url,
            candidates,
            self._title(),
            _clean(first.get("description") or first.get("og:description"), self.limits.max_text),
            self._lead(),
            head.language(self.tree, self.metas, said.get("content-language")),
            tuple(dict.fromkeys(marks)),
            {**self.metas.signals, **head.header_signals(headers)},
            encoding,
            notes,
        )

    def _title(self) -> str | None:
        node = self.tree.css_first("title")
        text = node.text(deep=True) if node is not None else None
        return _clean(text or self.metas.first.get("og:title"), self.limits.max_text)

    def _outline(self) -> None:
        """Per heading its text, and the headings it stands under."""
        above: list[int] = []
        for number, span in enumerate(self.walked.headings):
            while above and self.walked.headings[above[-1]].level >= span.level:
                above.pop()
            above.append(number)
            self.heading_texts.append(self.walked.words(span, _MOST_HEADING))
            self.paths.append(tuple(words for i in above if (words := self.heading_texts[i])))

    def _lead(self) -> str | None:
        """The text between the first heading and the next, which WIT calls the page description."""
        heads = self.walked.headings
        return self._section(0) if heads else None

    def _section(self, number: int) -> str | None:
        if number not in self.section_texts:
            heads = self.walked.headings
            start = heads[number].end
            stop = heads[number + 1].start if number + 1 < len(heads) else len(self.walked.text)
            span = None if start is None else Span(start, stop)
            self.section_texts[number] = self.walked.words(span, self.limits.max_text)
        return self.section_texts[number]

    def _candidates(self) -> Iterator[Candidate]:
        seen_urls: set[str] = set()
        fallbacks: list[Candidate] = []
        main = {url for item in self.metas.images for url in self._meta_urls(item)}
        self.is_main_known = bool(main) or any(seen.in_infobox for seen in self.walked.images)
        for seen in self.walked.images:
            candidate = self._candidate(seen, main)
            if candidate is None:
                continue
            if seen.is_fallback:
                fallbacks.append(candidate)
                continue
            seen_urls.update(variant.url for variant in candidate.variants)
            yield candidate
        for candidate in fallbacks:
            if candidate.url not in seen_urls:
                seen_urls.add(candidate.url)
                yield candidate
        yield from self._of_metas(seen_urls)

    def _candidate(self, seen: Seen, main: set[str]) -> Candidate | None:
        attributes = seen.node.attributes
        found = of_element(attributes, self.base)
        found_in = "noscript" if seen.is_fallback else "img"
        if seen.picture is not None:
            found, found_in = self._of_picture(seen.picture) + found, "picture"
        link = self.base.resolve(seen.link.href) if seen.link is not None else None
        if link is not None and names_image(link):
            found.append(Variant(link, "link"))
        best = largest(found)
        if best is None:
            return None
        is_data = best.url[:5] == "data:"
        variants = self._within_room(
            best, tuple(map(_shown, found)) if self.has_data else tuple(found)
        )
        described = self._described(variants)
        is_main = seen.in_infobox
        if main and not is_main:
            is_main = not main.isdisjoint(variant.url for variant in variants)
        text, limit = self.walked.text, self.limits.max_text
        number = seen.heading - 1
        figcaption, figure_title, marks = None, None, described.licences if described else ()
        if seen.figure is not None:
            figcaption, figure_title, own = self._of_figure(seen.figure)
            marks = tuple(dict.fromkeys((*marks, *own)))
        return Candidate(
            best.url[:_DATA_SHOWN] if is_data else best.url,
            variants,
            found_in,
            is_data,
            _clean(attributes.get("alt"), limit),
            _clean(attributes.get("title"), limit),
            figcaption,
            figure_title,
            self._aria_label(attributes),
            self.heading_texts[number] if number >= 0 else None,
            _before(text, seen.at, self.limits.context),
            _after(text, seen.at, self.limits.context),
            self.walked.words(seen.link, limit),
            link if link is not None and link[:4] == "http" else None,
            self.paths[number] if number >= 0 else (),
            self._section(number) if number >= 0 else None,
            described.caption if described else None,
            described.credit if described else None,
            marks,
            pixels(attributes.get("width")),
            pixels(attributes.get("height")),
            is_main if self.is_main_known else None,
        )

    def _within_room(self, best: Variant, variants: tuple[Variant, ...]) -> tuple[Variant, ...]:
        """The variants, or the best alone when those of the page are too long already."""
        self.room -= sum(len(variant.url) for variant in variants)
        if self.room >= 0:
            return variants
        self.variants_left_out += len(variants) - 1
        return (_shown(best),)

    def _of_figure(self, figure: Figure) -> tuple[str | None, str | None, tuple[str, ...]]:
        """Caption, title and licences of a figure; what it lacks is that of the one around it."""
        known = self.figures.get(id(figure))
        if known is None:
            chain: list[Figure] = []
            at: Figure | None = figure
            while at is not None and len(chain) < _MOST_FIGURES:
                chain.append(at)
                at = at.parent
            limit = self.limits.max_text
            captions = (self.walked.words(one.caption, limit) for one in chain)
            titles = (self.walked.words(one.title, limit) for one in chain)
            marks = (link for one in chain for link in one.licences)
            known = (
                next(filter(None, captions), None),
                next(filter(None, titles), None),
                head.addresses(marks, self.base),
            )
            self.figures[id(figure)] = known
        return known

    def _of_picture(self, picture: LexborNode) -> list[Variant]:
        if picture.mem_id not in self.sets:
            found: list[Variant] = []
            for source in picture.css("source")[:32]:
                for name in ("srcset", "data-srcset", "data-lazy-srcset"):
                    text = source.attrs.get(name)
                    found += of_set(text, "source" if name == "srcset" else name, self.base)
            self.sets[picture.mem_id] = found
        return self.sets[picture.mem_id]

    def _described(self, variants: tuple[Variant, ...]) -> structured.Described | None:
        if not self.described:
            return None
        known = (self.described.get(variant.url) for variant in variants)
        return next((item for item in known if item is not None), None)

    def _aria_label(self, attributes: Mapping[str, str | None]) -> str | None:
        if "aria-labelledby" in attributes:
            names = (attributes["aria-labelledby"] or "").split()[:10]
            texts = (self._labels().get(name) for name in names)
            joined = " ".join(text for text in texts if text)
            if joined:
                return joined[: self.limits.max_text]
        return _clean(attributes.get("aria-label"), self.limits.max_text)

    def _labels(self) -> dict[str, str | None]:
        """The texts of elements that images are labelled by; the first element of an id counts."""
        if self.labels is None:
            named = self.tree.css("[aria-labelledby]")[: self.limits.max_images]
            wanted = {i for n in named for i in (n.attrs.get("aria-labelledby") or "").split()[:10]}
            self.labels = {}
            for node in self.tree.css("[id]"):
                name = node.attrs.get("id")
                if name in wanted and name not in self.labels:
                    self.labels[name] = _clean(node.text(deep=True), self.limits.max_text)
                    if len(self.labels) == _MOST_LABELS:
                        break
        return self.labels

    def _meta_urls(self, item: Mapping[str, str]) -> list[str]:
        links = (item.get("secure_url"), item["url"])
        return [url for link in links if (url := self.base.resolve(link)) and url[:4] == "http"]

    def _of_metas(self, seen: set[str]) -> Iterator[Candidate]:
        """Images that only the head names."""
        items = list(self.metas.images)
        if "image_src" in self.html:
            for node in self.tree.css("link[rel~=image_src][href]")[:5]:
                items.append({"url": node.attrs.get("href") or "", "family": "image_src"})
        for item in items[:20]:
            urls = self._meta_urls(item)
            if not urls or not seen.isdisjoint(urls):
                continue
            seen.update(urls)
            width, height = pixels(item.get("width")), pixels(item.get("height"))
            variants = tuple(Variant(url, item["family"], width) for url in dict.fromkeys(urls))
            described = self._described(variants)
            yield Candidate(
                urls[0],
                variants,
                "meta",
                alt=_clean(item.get("alt"), self.limits.max_text),
                attribution=described.caption if described else None,
                credit=described.credit if described else None,
                licences=described.licences if described else (),
                width=width,
                height=height,
                is_main=True,
            )


def _shown(variant: Variant) -> Variant:
    if variant.url[:5] != "data:":
        return variant
    return Variant(variant.url[:_DATA_SHOWN], variant.origin, variant.width, variant.density)


def _clean(text: str | None, limit: int) -> str | None:
    if not text:
        return None
    return " ".join(text[: 4 * limit].split())[:limit] or None


def _before(text: str, at: int, limit: int) -> str | None:
    """Whole words that end where an image stands."""
    start = max(0, at - limit - _MARGIN)
    words = single(text[start:at])
    if len(words) > limit:
        words = words[-limit:]
        cut = words.find(" ")
        words = words[cut + 1 :] if 0 <= cut < limit // 2 else words
    return words or None


def _after(text: str, at: int, limit: int) -> str | None:
    words = single(text[at : at + limit + _MARGIN])
    if len(words) > limit:
        words = words[:limit]
        cut = words.rfind(" ")
        words = words[:cut] if cut > limit // 2 else words
    return words or None
