"""From the `sources:` section of a recipe to sources that can be read."""

import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.crawl.crawl_options import CrawlOptions
from pipeline.crawl.rows import RowOptions
from pipeline.errors import RecipeError
from pipeline.fetch.options import FetchOptions
from pipeline.places import crawl_folder
from pipeline.recipe import Recipe
from pipeline.recipe_fetch import FetchingSource
from pipeline.recipe_pages import CrawlSource, PageSource, PagesSource, WarcSource, WatSource
from pipeline.recipe_sections import (
    DataCompSource,
    FolderSource,
    Img2datasetSource,
    ParquetSource,
    TableSource,
    WebDatasetSource,
)
from pipeline.sources.base import Incoming, Source, Unit
from pipeline.sources.datacomp import DataCompMetadata
from pipeline.sources.folder import Folder
from pipeline.sources.img2dataset import Img2datasetOutput
from pipeline.sources.page_rows import PageOptions
from pipeline.sources.parquet import ParquetImages
from pipeline.sources.saved_pages import SavedPages
from pipeline.sources.urls import UrlTable
from pipeline.sources.web_pages import ArchivedPages, CrawledPages
from pipeline.sources.webdataset import WebDataset
from pipeline.storing import Store


def make_sources(recipe: Recipe, root: str | None = None) -> dict[str, Source]:
    """Every source of a recipe by name, in its order; nothing is opened.

    `root` is that of the pool, where the pages of `crawl:` sources are; without it those have no
    units.
    """
    made = {
        name: _crawl(name, section, recipe, root)
        if isinstance(section, CrawlSource)
        else _MAKE[type(section)](name, section, recipe)
        for name, section in recipe.sources.items()
    }
    prefer = recipe.captions.prefer
    if not prefer:
        return made
    return {name: PreferredCaptions(source, prefer) for name, source in made.items()}


def check_authorities(recipe: Recipe) -> None:
    """Raises RecipeError when the certificates that a source is to trust can't be read."""
    for name, section in recipe.sources.items():
        ca_file = section.fetch.ca_file if isinstance(section, FetchingSource) else None
        if ca_file is None:
            continue
        path = recipe.resolve(ca_file)
        try:
            ssl.create_default_context(cafile=path)
        except OSError as error:  # SSLError too
            what = f"{path}: can't be read as certificates: {error.strerror or error}"
            raise recipe.error(what, "sources", name, "fetch", "ca_file") from None


def stores_of(recipe: Recipe) -> dict[str, Store]:
    """What the pool keeps of fetched images, by source; sources whose bytes are kept are not in
    it."""
    made = {
        name: section.fetch.store.made()
        for name, section in recipe.sources.items()
        if isinstance(section, FetchingSource)
    }
    return {name: store for name, store in made.items() if store is not None}


@dataclass(frozen=True)
class PreferredCaptions:
    """A source whose rows have their captions in the order that a recipe prefers.

    `prefer` lists origins: `title`, `txt`, `json.caption`. Others follow as they came.
    """

    source: Source
    prefer: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def fetches(self) -> bool:
        return self.source.fetches

    @property
    def web(self) -> FetchOptions | None:
        return self.source.web

    def units(self) -> list[Unit]:
        return self.source.units()

    def read(self, unit: Unit) -> Iterator[Incoming]:
        places = {origin: place for place, origin in reversed(list(enumerate(self.prefer)))}
        for row in self.source.read(unit):
            row.captions.sort(key=lambda caption: places.get(caption["origin"], len(self.prefer)))
            yield row

    def fetch(self, rows: Iterable[Incoming]) -> Iterator[Incoming]:
        return self.source.fetch(rows)


def all_units(recipe: Recipe, sources: dict[str, Source]) -> list[Unit]:
    """The units of all sources, in order. Raises RecipeError that points into the recipe."""
    units: list[Unit] = []
    for name, source in sources.items():
        try:
            units += source.units()
        except RecipeError as error:
            raise recipe.error(error.message, "sources", name) from error
        except OSError as error:  # of a disk, or of the server behind a URL
            message = f"source {name!r} can't be read: {error}"
            raise recipe.error(message, "sources", name) from error
    return units


def _folder(name: str, section: FolderSource, recipe: Recipe) -> Source:
    table = None if section.captions is None else recipe.resolve(section.captions)
    return Folder(name, recipe.resolve(section.folder), table)


def _table(name: str, section: TableSource, recipe: Recipe) -> Source:
    return UrlTable(
        name=name,
        pattern=recipe.resolve(section.table),
        url=section.url,
        captions=section.caption or (),
        key=section.key,
        md5=section.md5,
        sha256=section.sha256,
        web=section.fetch.options(recipe.resolve),
        threads=section.fetch.threads or 32,
        timeout_s=section.fetch.timeout_s or 10.0,
        retries=1 if section.fetch.retries is None else section.fetch.retries,
        allow_hosts=section.fetch.allow_hosts,
    )


def _webdataset(name: str, section: WebDatasetSource, recipe: Recipe) -> Source:
    pattern = recipe.resolve(section.webdataset)
    if section.captions is None:
        return WebDataset(name, pattern)
    return WebDataset(name, pattern, section.captions)


def _img2dataset(name: str, section: Img2datasetSource, recipe: Recipe) -> Source:
    return Img2datasetOutput(name, recipe.resolve(section.img2dataset))


def _parquet(name: str, section: ParquetSource, recipe: Recipe) -> Source:
    return ParquetImages(
        name=name,
        pattern=recipe.resolve(section.parquet),
        image=section.image,
        captions=section.caption or (),
        key=section.key,
    )


def _datacomp(name: str, section: DataCompSource, recipe: Recipe) -> Source:
    return DataCompMetadata(name, recipe.resolve(section.datacomp))


def _warc(name: str, section: WarcSource, recipe: Recipe) -> Source:
    return ArchivedPages(name, recipe.resolve(section.warc), "warc", _options(section, recipe))


def _wat(name: str, section: WatSource, recipe: Recipe) -> Source:
    return ArchivedPages(name, recipe.resolve(section.wat), "wat", _options(section, recipe))


def _pages(name: str, section: PagesSource, recipe: Recipe) -> Source:
    folder = recipe.resolve(section.pages)
    return SavedPages(name, folder, section.site, _options(section, recipe))


def _crawl(name: str, section: CrawlSource, recipe: Recipe, root: str | None) -> Source:
    crawl_options(name, section, recipe)  # a plan, too, is refused where nothing could be crawled
    folder = None if root is None else crawl_folder(root, name)
    return CrawledPages(name, folder, _options(section, recipe))


def crawl_options(name: str, section: CrawlSource, recipe: Recipe) -> CrawlOptions:
    """How the pages of a source are crawled. Raises RecipeError for what can't be meant."""
    fetch = section.fetch.options(recipe.resolve)
    assert fetch is not None, "img2dataset fetches for tables alone"
    try:
        return CrawlOptions(
            start=section.crawl,
            depth=section.depth,
            max_pages=section.max_pages,
            max_pages_per_host=section.max_pages_per_host,
            max_hosts=section.max_hosts,
            stay=section.stay,
            only=section.only,
            refuse=section.refuse,
            web=fetch,
        )
    except ValueError as error:
        raise recipe.error(str(error), "sources", name, "crawl") from None


def _options(section: PageSource, recipe: Recipe) -> PageOptions:
    """What rows the pages of a source give."""
    made = RowOptions(section.texts, section.pairs, section.needs_text, section.rules.made())
    fetch = section.fetch.options(recipe.resolve)
    assert fetch is not None, "img2dataset fetches for tables alone"
    return PageOptions(rows=made, wit=section.wit, fetch=fetch)


_MAKE: dict[type[Any], Callable[[str, Any, Recipe], Source]] = {
    FolderSource: _folder,
    TableSource: _table,
    WebDatasetSource: _webdataset,
    Img2datasetSource: _img2dataset,
    ParquetSource: _parquet,
    DataCompSource: _datacomp,
    WarcSource: _warc,
    WatSource: _wat,
    PagesSource: _pages,
}
