"""From the `sources:` section of a recipe to sources that can be read."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.errors import RecipeError
from pipeline.recipe import Recipe
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
from pipeline.sources.parquet import ParquetImages
from pipeline.sources.urls import UrlTable
from pipeline.sources.webdataset import WebDataset


def make_sources(recipe: Recipe) -> dict[str, Source]:
    """Every source of a recipe by name, in its order; nothing is opened."""
    made = {
        name: _MAKE[type(section)](name, section, recipe)
        for name, section in recipe.sources.items()
    }
    prefer = recipe.captions.prefer
    if not prefer:
        return made
    return {name: PreferredCaptions(source, prefer) for name, source in made.items()}


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
        threads=section.fetch.threads,
        timeout_s=section.fetch.timeout_s,
        retries=section.fetch.retries,
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


_MAKE: dict[type[Any], Callable[[str, Any, Recipe], Source]] = {
    FolderSource: _folder,
    TableSource: _table,
    WebDatasetSource: _webdataset,
    Img2datasetSource: _img2dataset,
    ParquetSource: _parquet,
    DataCompSource: _datacomp,
}
