"""The sections of a recipe as models: their keys, types and defaults, and nothing of files.

Types are never converted and unknown keys never pass. The first required key of a source or a
step is the word that decides its kind.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from pipeline.recipe_errors import SCORER, first_key, tag
from pipeline.recipe_fetch import FetchingSource
from pipeline.recipe_pages import CrawlSource, PagesSource, WarcSource, WatSource
from pipeline.recipe_values import Count, Name, Path, Renames, Section, Seed, Share, Text, Texts


class FolderSource(Section):
    """A folder of images with captions beside them, in `.txt` or `.json` files."""

    folder: Path
    """The folder, relative to the recipe; all its levels are read."""
    captions: Path | None = None
    """A table of file names and captions, in place of the files beside the images."""


class TableSource(FetchingSource):
    """A table of URLs: parquet, csv, tsv or jsonl, also with .gz."""

    table: Path
    """The file, or a glob of files, relative to the recipe."""
    url: Text
    """The column of URLs."""
    caption: Texts | None = None
    """The column of captions, or several in order of preference."""
    key: Text | None = None
    """The column of the table's own ids; kept as `source_key`."""
    md5: Text | None = None
    """The column of MD5 hashes, hexadecimal; other bytes are refused."""
    sha256: Text | None = None
    """The column of SHA-256 hashes, hexadecimal; other bytes are refused."""


class WebDatasetSource(Section):
    """Tars in webdataset's layout."""

    webdataset: Path
    """A folder, a glob or a brace pattern (quote it), relative to the recipe."""
    captions: Texts | None = None
    """Where captions are, in order of preference: a member (`txt`) or a field (`json.caption`)."""


class Img2datasetSource(Section):
    """A folder that img2dataset wrote."""

    img2dataset: Path
    """The folder, relative to the recipe."""


class ParquetSource(Section):
    """Parquet files that hold the images, as Hugging Face writes them."""

    parquet: Path
    """The file, or a glob of files (quote it), relative to the recipe."""
    image: Text
    """The column of images: bytes, or a struct of bytes and path."""
    caption: Texts | None = None
    """The column of captions, or several in order of preference."""
    key: Text | None = None
    """The column of the files' own ids; kept as `source_key`."""


class DataCompSource(Section):
    """DataComp's metadata: rows without images, for selections over published scores."""

    datacomp: Path
    """The folder of parquet files, with their npz beside."""


class ColumnImport(Section):
    """Columns that others published, joined to the pool."""

    file: Path = Field(alias="import")
    """The file, relative to the recipe."""
    on: Literal["url", "sha256", "key", "source_key"]
    """What rows are joined on."""
    take: Renames | None = None
    """The columns to take: a list of names, or a mapping of new names to old."""


class Survivors(Section):
    """The rows that a step of the selection lets through."""

    survivors_of: Name
    """The name of the step."""
    where: Text | None = None
    """A condition that must hold of them, too."""


def _only_kind(value: object) -> str | None:
    if isinstance(value, dict | Survivors):
        return tag(Survivors)
    return "(text)" if isinstance(value, str) else None


Only = Annotated[
    Annotated[Text, Tag("(text)")] | Annotated[Survivors, Tag("(survivors_of)")],
    Discriminator(
        _only_kind,
        custom_error_type="expected",
        custom_error_message="a condition or {survivors_of: STEP}",
    ),
]


class ScorerSection(Section):
    """What is measured: a scorer, its parameters, and which rows it is asked about."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Any]

    scorer: Annotated[str, StringConstraints(pattern=SCORER)] | None = None
    """The scorer, or package.module:Class; by default the one of the section's own name."""
    columns: dict[Text, Name] = Field(default={})
    """New names for its columns: `{clip_score: l14_score}`."""
    only: Only | None = None
    """The rows it is asked about: a condition, `{survivors_of: STEP}`, or both: `where:` in it."""


class StepRule(Section):
    """What every kind of step can be given."""

    max_drop: Share | None = None
    """A step that drops more than this share of what reaches it is warned about."""


class WhereStep(StepRule):
    """Keep the rows for which a condition holds; NULL never holds."""

    where: Text
    """A SQL condition over columns, such as `short_side >= 200`."""


class TopStep(StepRule):
    """Keep the best rows by one column, exactly; ties go by key."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["fraction"]}, {"required": ["count"]}]}
    )

    top: Text
    """The column; the highest values are kept."""
    fraction: Share | None = None
    """The share that is kept."""
    count: Count | None = None
    """The number of rows that is kept."""
    per: Texts | None = None
    """A column, or several: the best of each of its values are kept."""
    lowest: bool = False
    """Whether the lowest values are kept, and not the highest."""
    mode: Literal["exact", "datacomp"] = "exact"
    """`datacomp` keeps what DataComp's baselines keep: the threshold's ties too."""

    @model_validator(mode="after")
    def _has_one_size(self) -> Self:
        if (self.fraction is None) == (self.count is None):
            raise ValueError("give either 'fraction' or 'count'")
        return self


class OnePerStep(StepRule):
    """Keep one row of each group, the best of the survivors."""

    one_per: Text
    """The column of the group; a row without one is a group of its own."""
    best: Text | None = None
    """The column whose highest value is kept; by default the smallest key."""
    per: Texts | None = None
    """A column, or several: one row is kept for each of its values."""
    lowest: bool = False
    """Whether the lowest value of `best` is kept, and not the highest."""


def _draw_kind(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    return "(text)" if isinstance(value, str) else "(number)"


Probability = Annotated[
    Annotated[float, Field(gt=0), Tag("(number)")] | Annotated[Text, Tag("(text)")],
    Discriminator(
        _draw_kind,
        custom_error_type="expected",
        custom_error_message="a number or the name of a column",
    ),
]


class DrawStep(StepRule):
    """Keep rows at random, by their key and a seed."""

    draw: Probability
    """The probability of each row, or the column that holds it; with `count`, its weight."""
    count: Count | None = None
    """The number of rows that is drawn."""
    repeat: bool = False
    """Whether a row can be drawn more than once, that is, be written as several copies."""
    seed: Seed = 0
    """Another seed is another draw."""
    per: Texts | None = None
    """A column, or several: the draw is made for each of its values."""

    @model_validator(mode="after")
    def _is_probability(self) -> Self:
        if isinstance(self.draw, float) and self.draw > 1 and not self.repeat:
            raise ValueError(f"a probability is at most 1, found {self.draw:g}, or `repeat: true`")
        return self


class SubsetStep(StepRule):
    """Keep the rows that a list names, in DataComp's format."""

    subset: Path
    """The list of uids (.npy), relative to the recipe; a uid is a row's `source_key`."""


def kinds(what: str, *models: type[Section]) -> Discriminator:
    """Chooses the model by the word that decides; an error lists the words. A text is `(text)`."""

    def kind_of(value: object) -> str | None:
        if isinstance(value, str):
            return "(text)"
        if isinstance(value, dict):
            present = [model for model in models if first_key(model) in value]
        else:
            present = [model for model in models if type(value) is model]
        return tag(present[0]) if len(present) == 1 else None

    words = " ".join([what, *map(first_key, models)])
    return Discriminator(kind_of, custom_error_type="kind", custom_error_message=words)


SOURCES = (
    FolderSource,
    TableSource,
    WebDatasetSource,
    Img2datasetSource,
    ParquetSource,
    DataCompSource,
    WarcSource,
    WatSource,
    PagesSource,
    CrawlSource,
)
STEPS = (WhereStep, TopStep, OnePerStep, DrawStep, SubsetStep)

Source = Annotated[
    Annotated[FolderSource, Tag("(folder)")]
    | Annotated[TableSource, Tag("(table)")]
    | Annotated[WebDatasetSource, Tag("(webdataset)")]
    | Annotated[Img2datasetSource, Tag("(img2dataset)")]
    | Annotated[ParquetSource, Tag("(parquet)")]
    | Annotated[DataCompSource, Tag("(datacomp)")]
    | Annotated[WarcSource, Tag("(warc)")]
    | Annotated[WatSource, Tag("(wat)")]
    | Annotated[PagesSource, Tag("(pages)")]
    | Annotated[CrawlSource, Tag("(crawl)")],
    kinds("source", *SOURCES),
]
Step = Annotated[
    Annotated[WhereStep, Tag("(where)")]
    | Annotated[TopStep, Tag("(top)")]
    | Annotated[OnePerStep, Tag("(one_per)")]
    | Annotated[DrawStep, Tag("(draw)")]
    | Annotated[SubsetStep, Tag("(subset)")],
    kinds("step", *STEPS),
]


def _one_name(value: object) -> object:
    if not isinstance(value, dict):
        raise PydanticCustomError("expected", "`name: {...}`")
    first, inside = next(iter(value.items()), ("", None))
    words = [first_key(model) for model in STEPS]
    if first in words and not isinstance(inside, dict | None):
        raise ValueError(f"a step needs a name: `- my_name: {{{first}: ...}}`")
    if len(value) != 1:
        found = ", ".join(value) or "nothing"
        hint = "; indent the rule deeper than the name" if inside is None and value else ""
        raise ValueError(f"expected one name with a rule, `- name: {{...}}`, found {found}{hint}")
    return value


NamedStep = Annotated[dict[Name, Step], BeforeValidator(_one_name)]


class IngestSection(Section):
    """How the pool is laid out, and what it refuses."""

    rows_per_shard: Count = 1000
    """Rows in each shard of the pool."""
    max_pixels: Count = 89_478_485
    """An image of more pixels than this is not decoded."""
