"""A page as rows: for each image its address and its texts, in the order a recipe prefers them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

from pipeline.crawl.page import Candidate, Page
from pipeline.crawl.rules import PageRules
from pipeline.sources.base import Incoming, caption

# Every text a pair may be made of, by the name that a recipe and `origin` call it.
TEXTS: dict[str, Callable[[Page, Candidate], str | None]] = {
    "alt": lambda page, image: image.alt,
    "figcaption": lambda page, image: image.figcaption,
    "figure_title": lambda page, image: image.figure_title,
    "title": lambda page, image: image.title,
    "aria_label": lambda page, image: image.aria_label,
    "heading": lambda page, image: image.heading,
    "text_before": lambda page, image: image.text_before,
    "text_after": lambda page, image: image.text_after,
    "link_text": lambda page, image: image.link_text,
    "section_text": lambda page, image: image.section_text,
    "attribution": lambda page, image: image.attribution,
    "page_title": lambda page, image: page.title,
    "page_description": lambda page, image: page.description,
    "page_lead": lambda page, image: page.lead,
}
_FACTS = ("found_in", "link", "credit", "width", "height", "is_main")


@dataclass(frozen=True)
class RowOptions:
    """Which texts are captions, best first, and how many pairs an image gives.

    `first`: one row, with all its captions in this order. `each`: a row for every caption, which
    has it alone. Raises ValueError for a text that is none.
    """

    texts: tuple[str, ...] = ("alt", "figcaption", "title", "aria_label")
    pairs: Literal["first", "each"] = "first"
    needs_text: bool = True
    rules: PageRules = field(default_factory=PageRules)

    def __post_init__(self) -> None:
        unknown = [name for name in self.texts if name not in TEXTS]
        if unknown or not self.texts:
            raise ValueError(f"texts {unknown or 'missing'}; choose from {', '.join(TEXTS)}")
        if self.pairs not in ("first", "each"):
            raise ValueError(f"pairs {self.pairs!r}; choose from first, each")


def rows(page: Page, options: RowOptions, name: str | None = None) -> Iterator[Incoming]:
    """A row for each image of a page, or for each of its captions; a refused one has its reason.

    `name` (by default the page's URL) and the number of the image are the `source_key`. What is no
    caption is meta. A page that could not be read is one row.
    """
    name = name or page.url
    if page.failed is not None:
        yield Incoming(source_key=name, failed=page.failed, retriable=False)
        return
    of_page = _page_meta(page)
    for number, image in enumerate(page.candidates):
        yield from _rows_of(page, image, f"{name}#{number}", options, of_page)


def _rows_of(
    page: Page, image: Candidate, key: str, options: RowOptions, of_page: dict[str, Any]
) -> Iterator[Incoming]:
    texts: dict[str, str] = {}
    for origin in options.texts:
        text = TEXTS[origin](page, image)
        if text is not None:
            texts.setdefault(text, origin)
    refused = options.rules.refusal(image)
    if refused is None and not texts and options.needs_text:
        refused = "no_text", f"none of {', '.join(options.texts)}"
    meta = {**of_page, **_image_meta(page, image, options.texts)}
    captions = [caption(text, origin) for text, origin in texts.items()]
    groups = [[item] for item in captions] if options.pairs == "each" and captions else [captions]
    for group in groups:
        origin = f":{group[0]['origin']}" if options.pairs == "each" and group else ""
        row = Incoming(f"{key}{origin}", image.url, group, meta=dict(meta))
        if refused is not None:
            row.failed, row.detail, row.retriable = *refused, False
        yield row


def _page_meta(page: Page) -> dict[str, Any]:
    found = {
        "page_url": page.url,
        "page_language": page.language,
        "page_licences": list(page.licences),
        "signals": dict(page.signals),
        "page_title": page.title,
        "page_description": page.description,
    }
    return {name: value for name, value in found.items() if value not in (None, [], {})}


def _image_meta(page: Page, image: Candidate, taken: tuple[str, ...]) -> dict[str, Any]:
    """The texts that are no captions, and everything else that is known of an image."""
    texts = ((name, read(page, image)) for name, read in TEXTS.items() if name not in taken)
    facts = ((name, getattr(image, name)) for name in _FACTS)
    lists: dict[str, Any] = {
        "headings": list(image.headings),
        "licences": list(image.licences),
        "variants": [variant._asdict() for variant in image.variants],
    }
    found = chain(texts, facts, lists.items())
    return {name: value for name, value in found if value is not None and value != []}


def wit_fields(page: Page, image: Candidate) -> dict[str, Any]:
    """The columns of WIT that a page alone can fill, under WIT's names; None where it does not.

    The page's title is its first heading, else its title. `caption_attribution_description` is
    what the page's structured data says of the file: the Commons page itself is not read.
    """
    sections = image.headings[1:]
    title = image.headings[0] if image.headings else page.title
    return {
        "language": page.language,
        "page_url": page.url,
        "image_url": image.url,
        "page_title": title,
        "section_title": sections[-1] if sections else None,
        "hierarchical_section_title": " / ".join(filter(None, (title, *sections))) or None,
        "caption_reference_description": image.figcaption,
        "caption_attribution_description": image.attribution,
        "caption_alt_text_description": image.alt,
        "is_main_image": image.is_main,
        "context_page_description": page.lead,
        "context_section_description": image.section_text,
    }
