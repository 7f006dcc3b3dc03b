"""The sections of sources that are pages: archives of crawls, saved pages, a crawl of one's own."""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from pipeline.crawl.rows import TEXTS
from pipeline.crawl.rules import PageRules
from pipeline.recipe_fetch import FetchingSource
from pipeline.recipe_values import Count, Path, Section, Text, Texts, not_empty


def _is_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    return text


def _is_address(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_one = False
    if not is_one:
        raise ValueError(f"{text!r} is no address; it begins with http:// or https:// and a host")
    return text


def _are_addresses(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_is_address, texts))


Patterns = Annotated[tuple[Annotated[Text, AfterValidator(_is_pattern)], ...], Field(strict=False)]
Address = Annotated[Text, AfterValidator(_is_address)]


class RulesSection(Section):
    """What is refused before anything is fetched, by an image's address and declared size."""

    refuse: Patterns = ()
    """Regular expressions; an image is refused when one is found in its address."""
    only: Patterns = ()
    """Regular expressions; an image is refused when none is found in its address."""
    icons: bool = False
    """Whether icons pass: by the name of the file, or by the declared size."""
    icon_side: Annotated[int, Field(ge=0)] = 32
    """What declares both sides up to this is an icon, in pixels."""
    min_side: Count | None = None
    """What declares a shorter side is refused, in pixels; what declares none passes."""
    max_ratio: Annotated[float, Field(ge=1)] | None = None
    """What declares a longer side of more than so many times the shorter is refused."""
    max_url: Count = 2000
    """Longer addresses are refused, in characters."""

    def made(self) -> PageRules:
        return PageRules(**dict(self))


class PageSource(FetchingSource):
    """What every source of pages can be given."""

    texts: Annotated[
        tuple[Literal[tuple(TEXTS)], ...],  # type: ignore[valid-type]
        Field(strict=False, json_schema_extra={"minItems": 1}),
        AfterValidator(not_empty),
    ] = ("alt", "figcaption", "title", "aria_label")
    """The texts that are captions, in order of preference; the others become meta."""
    pairs: Literal["first", "each"] = "first"
    """`first`: a row for each image, with all its captions; `each`: one for each caption."""
    needs_text: bool = True
    """Whether an image without any of the texts is refused."""
    wit: bool = False
    """Whether the columns of WIT that the page fills are kept, in `meta` under `wit`."""
    rules: RulesSection = RulesSection()
    """What is refused before anything is fetched."""

    @model_validator(mode="after")
    def _is_fetched_here(self) -> Self:
        if self.fetch.engine == "img2dataset":
            raise ValueError("fetch.engine: img2dataset fetches the images of a `table:` alone")
        return self


class WarcSource(PageSource):
    """WARC files: pages as a crawler received them, such as Common Crawl's."""

    warc: Path
    """A file, a folder, a glob or a brace pattern (quote it), relative to the recipe."""


class WatSource(PageSource):
    """WAT files: the links of crawled pages, as Common Crawl publishes them."""

    wat: Path
    """A file, a folder, a glob or a brace pattern (quote it), relative to the recipe."""


class PagesSource(PageSource):
    """A folder of saved pages; images in it are read, others fetched if `fetch:` says who asks."""

    pages: Path
    """The folder, relative to the recipe; all its levels are read."""
    site: Address | None = None
    """The address that the folder mirrors; a page that says where it is from needs none."""

    @property
    def says_who_asks(self) -> bool:
        """Without a contact nobody is asked; what is in the folder needs none."""
        return True


class CrawlSource(PageSource):
    """A polite crawl from some addresses; what it receives is kept as WARC files in the pool."""

    crawl: Annotated[Texts, AfterValidator(_are_addresses)]
    """The address it starts from, or several."""
    depth: Annotated[int, Field(ge=0)] = 3
    """Links that are followed one after the other; 0: the starts alone."""
    max_pages: Count = 1000
    """Pages that are asked for."""
    max_pages_per_host: Count | None = None
    """Pages that each host is asked for."""
    max_hosts: Count = 10
    """Hosts that are asked."""
    stay: Literal["host", "site", "any"] = "host"
    """Which links are followed: to the hosts of the starts, to their registered domains, or any."""
    only: Patterns = ()
    """Regular expressions; a page is asked for when one is found in its address."""
    refuse: Patterns = ()
    """Regular expressions; a page is not asked for when one is found in its address."""
