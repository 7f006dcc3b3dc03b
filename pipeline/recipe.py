"""A recipe: one YAML file that says what a data set is made of. Strict, frozen, and never guessing.

Unknown words and wrong types are refused with file:line:column, what was found and what is known,
all of them in one error; nothing but the recipe itself is opened.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from pipeline.errors import RecipeError
from pipeline.keys import digest
from pipeline.recipe_captions import CaptionsSection
from pipeline.recipe_errors import dotted, first_key, problems_of, unknown_word, wrong_value
from pipeline.recipe_export import ExportSection
from pipeline.recipe_fetch import FetchingSource
from pipeline.recipe_sections import (
    ColumnImport,
    IngestSection,
    NamedStep,
    ScorerSection,
    Source,
    Step,
    Survivors,
)
from pipeline.recipe_values import Name, Path, Section, Share
from pipeline.yaml_reader import Document, Problem, parse_yaml, read_yaml
from pipeline.yaml_reader import Path as DataPath

RESERVED_STEPS = ("kept", "failed", "takedown")
StepKind = Literal["where", "top", "one_per", "draw", "subset"]


@dataclass(frozen=True)
class ScoreEntry:
    """One scorer of a recipe under its own name.

    `scorer` is a name of the catalog or `package.module:Class`; `params` are as written, and
    unchecked. `columns` maps the scorer's names of columns to the recipe's. `path` is where the
    entry stands, for `Recipe.error`.
    """

    name: str
    scorer: str
    params: Mapping[str, Any]
    columns: Mapping[str, str]
    only: str | Survivors | None
    path: DataPath


@dataclass(frozen=True)
class StepEntry:
    """One named step of the selection; `rule` is the model of its kind.

    `max_drop` is the step's own limit, or else that of the recipe.
    """

    name: str
    kind: StepKind
    rule: Step
    max_drop: float | None
    path: DataPath


class Recipe(Section):
    """What a data set is made of: where pairs come from, what is measured, which are kept."""

    pool: Path | None = None
    """Where the pool and its columns are; by default in the output directory."""
    sources: dict[Name, Source] = Field(default={})
    """Where pairs come from."""
    columns: dict[Name, ColumnImport] = Field(default={})
    """Columns that others published, joined to the pool."""
    score: dict[Name, ScorerSection] = Field(default={})
    """What is measured. A scorer may read columns of those above it."""
    select: Annotated[tuple[NamedStep, ...], Field(strict=False)] = ()
    """Which rows are kept: named steps, in order."""
    captions: CaptionsSection = CaptionsSection()
    """Which captions the written samples carry."""
    export: ExportSection = ExportSection()
    """How the chosen samples are written."""
    ingest: IngestSection = IngestSection()
    """How the pool is laid out, and what it refuses."""
    max_drop: Share | None = None
    """A step that drops more than this share of what reaches it is warned about."""

    _document: Document = PrivateAttr()
    _folder: str = PrivateAttr()

    @model_validator(mode="after")
    def _has_pairs(self) -> Self:
        if not self.sources and self.pool is None:
            raise ValueError("a recipe needs `sources:`, or the `pool:` that another one made")
        return self

    @property
    def path(self) -> str:
        """The file as the user named it."""
        return self._document.name

    @property
    def source_text(self) -> str:
        """The recipe as it was written."""
        return self._document.text

    @property
    def scorers(self) -> tuple[ScoreEntry, ...]:
        """The entries of `score:`, in order."""
        return tuple(
            ScoreEntry(
                name=name,
                scorer=entry.scorer or name,
                params=entry.model_extra or {},
                columns=entry.columns,
                only=entry.only,
                path=("score", name),
            )
            for name, entry in self.score.items()
        )

    @property
    def steps(self) -> tuple[StepEntry, ...]:
        """The entries of `select:`, in order."""
        return tuple(
            StepEntry(
                name=name,
                kind=_kind_of(rule),
                rule=rule,
                max_drop=self.max_drop if rule.max_drop is None else rule.max_drop,
                path=("select", position, name),
            )
            for position, named in enumerate(self.select)
            for name, rule in named.items()
        )

    def resolve(self, path: str) -> str:
        """A path of the recipe as a program can open it: relative ones lie beside the recipe.

        A URL (`s3://bucket/x`) is returned as it is; `~/x` lies in the home of the user.
        """
        if "://" in path:
            return path
        return os.path.join(self._folder, os.path.expanduser(path))

    def error(self, message: str, *path: str | int, at_key: bool = False) -> RecipeError:
        """An error about a value of this recipe, with its file:line:column.

        `path` is such as `"score", "clip", "model"`; of one that the file does not hold, the
        nearest above it that it does. `at_key` points at the word before the colon.
        """
        return self.errors([Problem(message, path, at_key)])

    def errors(self, problems: Iterable[Problem]) -> RecipeError:
        """Several problems as one error, one line each, in the order of the file."""
        return self._document.error(problems)

    def normalised(self) -> dict[str, Any]:
        """The recipe as plain JSON data without anything that is as it would be by default.

        Paths are as written, so that a recipe is the same wherever it lies.
        """
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)

    def section_digest(self, section: str) -> str:
        """Names what a section says, in 32 hex digits: of equal ones the same.

        Defaults, comments and the order of keys don't matter; the order of sources, scorers and
        steps does. How URLs are fetched is left out, but for what is kept of them: it is not what
        a pool is made of.
        """
        if section not in type(self).model_fields:
            raise KeyError(section)
        plain = self.normalised().get(section, {})
        if section == "sources":
            plain = {name: _without_fetch(source) for name, source in plain.items()}
        if section in ("sources", "columns", "score"):
            plain = list(plain.items())
        return digest(json.dumps(plain, sort_keys=True).encode()).hex()


def load_recipe(path: str) -> Recipe:
    """The recipe in a local file; raises RecipeError with everything that is wrong in it."""
    return _recipe(read_yaml(path))


def parse_recipe(text: str | bytes, name: str = "recipe.yaml") -> Recipe:
    """The recipe in a text; errors call it `name`, and relative paths lie beside that."""
    return _recipe(parse_yaml(text, name))


def _recipe(document: Document) -> Recipe:
    if document.data is None:
        raise document.error([Problem("the recipe is empty; `sources:` is the least it needs")])
    if not isinstance(document.data, dict):
        raise document.error([Problem(wrong_value("a mapping", document.data))])
    empty = list(_empty_values(document.data))
    try:
        recipe = Recipe.model_validate(document.data)
    except ValidationError as error:
        problems = problems_of(error, Recipe)
        said = {problem.path for problem in problems}
        unsaid = (
            p for p in empty if not any(p.path[:n] in said for n in range(1, len(p.path) + 1))
        )
        raise document.error([*problems, *unsaid]) from None
    recipe._document = document
    recipe._folder = os.path.dirname(os.path.abspath(document.name))
    problems = [*empty, *_clashes(recipe)]
    if problems:
        raise document.error(problems)
    return recipe


def _empty_values(data: object, path: DataPath = ()) -> Iterator[Problem]:
    """Keys that nothing follows. Only parameters of scorers may be null."""
    if data is None:
        message = f"{dotted(path)}: nothing follows; give a value or remove the key"
        yield Problem(message, path)
    elif isinstance(data, dict):
        for key, value in data.items():
            if len(path) != 2 or path[0] != "score" or key in ScorerSection.model_fields:
                yield from _empty_values(value, (*path, key))
    elif isinstance(data, list):
        for position, value in enumerate(data):
            yield from _empty_values(value, (*path, position))


def _clashes(recipe: Recipe) -> Iterator[Problem]:
    """Names that are taken, reserved or unknown; and a fetch that does not say who asks."""
    for name, source in recipe.sources.items():
        if isinstance(source, FetchingSource) and not source.says_who_asks:
            message = (
                f"sources.{name}.fetch: `contact` is missing; hosts have to know whom to ask:"
                " give a URL or mailto:name@host"
            )
            yield Problem(message, ("sources", name, "fetch"), True)
    first: dict[str, StepEntry] = {}
    for step in recipe.steps:
        at = dotted(step.path)
        if step.name in RESERVED_STEPS:
            taken = ", ".join(RESERVED_STEPS)
            yield Problem(f"{at}: this name is a verdict; taken are {taken}", step.path, True)
        if step.name in first:
            line = recipe._document.place(first[step.name].path, at_key=True).line
            message = f"{at}: a step of this name stands in line {line}"
            yield Problem(message, step.path, True)
        first.setdefault(step.name, step)
    for entry in recipe.scorers:
        if entry.name in recipe.columns:
            message = f"score.{entry.name}: an import under `columns:` has this name"
            yield Problem(message, entry.path, True)
        if isinstance(entry.only, Survivors) and entry.only.survivors_of not in first:
            path = (*entry.path, "only", "survivors_of")
            word = unknown_word("step", entry.only.survivors_of, first)
            yield Problem(f"{dotted(path)}: {word}", path)


def _kind_of(rule: Step) -> StepKind:
    kind: StepKind = first_key(type(rule))  # type: ignore[assignment]
    return kind


def _without_fetch(source: Mapping[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in source.items() if name != "fetch"}
    store = source.get("fetch", {}).get("store")
    return rest | {"store": store} if store else rest
