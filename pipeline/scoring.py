"""The score verb's plan: which scorers a recipe asks for, in which order, and what is due.

`resolve` finds everything that can be wrong with the `score:` section before any data is read.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from pipeline import catalog, decoding
from pipeline.columns import ColumnSet
from pipeline.conditions import check_condition, columns_of
from pipeline.contract import (
    FIELDS,
    alignment_problem,
    described,
    interface,
    need_problem,
    type_problem,
)
from pipeline.each import CAPTIONS, EachCaption, is_captions
from pipeline.errors import RecipeError
from pipeline.instances import (
    Instance,
    Only,
    base_types,
    fingerprint,
    fit_reads,
    known_parameters,
    needed_parameters,
)
from pipeline.recipe import Recipe, ScoreEntry

_RESERVED = ("shard", "row", "asked")  # columns of ours beside those of scorers
Survivors = Callable[[str], tuple[str, frozenset[str]]]  # step -> its definition, what it reads
_LONGEST_NAME = 200
# Parameters that are files beside the recipe.
_FILES = ("hashes", "targets", "words", "annotations", "classes", "vocabulary", "glossary")
_WEIGHTS = ("pretrained", "weights", "encoder_weights")  # a file if it looks like one, else a name
_WEIGHT_FILES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
_FOLDER = "local-dir:"  # how open_clip names a model in a folder


@dataclass(frozen=True)
class Resolved:
    """All scorers of a recipe in an order that works, and who writes which column."""

    instances: tuple[Instance, ...]

    @property
    def writers(self) -> dict[str, ColumnSet]:
        """The column set of every column that is not a base column, those of reasons too."""
        return {name: i.columns for i in self.instances for name in i.columns.names}

    @property
    def types(self) -> dict[str, pa.DataType]:
        """Every column a condition may name, with its type."""
        found = base_types()
        for instance in self.instances:
            found |= {column.name: column.type for column in instance.columns.schema}
            found[instance.columns.error_column] = pa.string()
        return found

    @property
    def about(self) -> dict[str, str | None]:
        """For each column with a value per caption of a column, that column of captions.

        None for lists about a picture or one text of it, as vectors are: no captions were read.
        """
        found: dict[str, str | None] = {}
        known = self.types
        for instance in self.instances:
            names = instance.columns.schema.names
            reads = instance.scorer.reads
            if isinstance(instance.scorer, EachCaption):
                found |= dict.fromkeys(names, instance.scorer.column)
            elif CAPTIONS in instance.scorer.writes.names:  # one that writes scores beside captions
                own, types = instance.renames[CAPTIONS], instance.columns.schema.types
                lists = (n for n, t in zip(names, types, strict=True) if pa.types.is_list(t))
                found |= {name: own for name in lists if name != own}
            elif instance.reads_pixels and not any(
                is_captions(known[n]) for n in reads if n in known
            ):
                found |= dict.fromkeys(names)
        return found

    def passes(self) -> Iterator[tuple[Instance, ...]]:
        """Groups of scorers that run together: by level, CPU first, global ones alone."""
        for level in sorted({instance.level for instance in self.instances}):
            here = [i for i in self.instances if i.level == level]
            for lane in sorted({i.lane for i in here if not i.is_global}, key=_after_cpu):
                yield tuple(i for i in here if not i.is_global and i.lane == lane)
            for instance in here:
                if instance.is_global:
                    yield (instance,)


class Resolver:
    """Builds instances one by one; a class because each may read what the earlier ones write."""

    def __init__(
        self, recipe: Recipe, root: str, pool_digest: str, survivors: Survivors, work: str
    ) -> None:
        self._recipe, self._root, self._pool = recipe, root, pool_digest
        self._survivors, self._work = survivors, work
        self._made: dict[str, Instance] = {}
        self._writer_of: dict[str, Instance] = {}
        self._owners: dict[str, str] = {}

    @property
    def _decoder(self) -> str:
        """The decoding that pixels come from: its version, and the cap on pixels."""
        return f"{decoding.DECODER_VERSION}, {self._recipe.ingest.max_pixels} pixels"

    def resolve(self, entries: Sequence[ScoreEntry], published: Mapping[str, Any]) -> Resolved:
        for name, scorer in published.items():
            self._add(name, scorer, ("columns", name))
        for entry in entries:
            self._add_entry(entry)
        return Resolved(tuple(self._made.values()))

    def _add_entry(self, entry: ScoreEntry) -> None:
        at = ("score", entry.name)
        if len(entry.name) > _LONGEST_NAME:  # it becomes the name of a folder
            message = f"a name of {len(entry.name)} characters (limit {_LONGEST_NAME})"
            raise self._recipe.error(message, *at)
        try:
            kind = catalog.scorer_class(entry.scorer or entry.name)
        except RecipeError as error:
            path = (*at, "scorer") if entry.scorer else at
            raise self._recipe.error(error.message, *path) from error
        self._check_parameters(entry, kind)
        with self._blaming(entry.name, at):
            given = {name: self._located(name, value) for name, value in entry.params.items()}
            scorer = kind(**{name: _frozen(value) for name, value in given.items()})
            scorer = self._of_captions(scorer)
        self._add(entry.name, scorer, at, entry)

    def _of_captions(self, scorer: Any) -> Any:
        """The scorer; one whose `text` is a column of captions is asked for each of them."""
        text = getattr(scorer, "text", None)
        if not isinstance(text, str) or text not in scorer.reads:
            return scorer
        kind = Resolved(tuple(self._made.values())).types.get(text)
        if kind is None or not is_captions(kind):
            return scorer
        if not hasattr(scorer, "reduce") and not hasattr(scorer, "fit"):
            return EachCaption(scorer, text)
        raise ValueError(f"{text!r} holds lists of captions, and it reads one text of each row")

    def _located(self, name: str, value: Any) -> Any:
        """A parameter that names a file beside the recipe, as a scorer can open it."""
        if isinstance(value, list):
            return [self._located_entry(one) for one in value]
        if not isinstance(value, str):
            return value
        if value.startswith(_FOLDER):
            return _FOLDER + self._recipe.resolve(value.removeprefix(_FOLDER))
        is_file = "/" in value or value.endswith(_WEIGHT_FILES)
        is_path = name in _FILES or (name in _WEIGHTS and is_file)
        return self._recipe.resolve(value) if is_path else value

    def _located_entry(self, entry: Any) -> Any:
        """An entry of a list, which may name a `file`; other mappings hold a user's words."""
        if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
            return entry
        return {**entry, "file": self._recipe.resolve(entry["file"])}

    def _check_parameters(self, entry: ScoreEntry, kind: type[Any]) -> None:
        known = known_parameters(kind)
        for name, value in entry.params.items():
            problem = type_problem(kind, name, _frozen(value))
            if name not in known:
                listed = ", ".join(sorted(known)) or "none"
                problem = f"no parameter {name!r}; known are {listed}"
            if problem is not None:
                message = f"scorer {entry.name!r}: {problem}"
                raise self._recipe.error(message, "score", entry.name, name)
        missing = [f"`{name}`" for name in needed_parameters(kind) if name not in entry.params]
        if missing:
            message = f"scorer {entry.name!r} needs {' and '.join(missing)}"
            raise self._recipe.error(message, "score", entry.name)

    @contextmanager
    def _blaming(self, name: str, at: tuple[str, ...]) -> Iterator[None]:
        """Whatever the code of a scorer raises is an error of the recipe that names it."""
        try:
            yield
        except RecipeError as error:
            raise self._recipe.error(error.message, *at) from error
        except Exception as error:
            raise self._recipe.error(f"scorer {name!r}: {described(error)}", *at) from error

    def _add(
        self, name: str, scorer: Any, at: tuple[str, ...], entry: ScoreEntry | None = None
    ) -> None:
        renames = dict(entry.columns) if entry else {}
        with self._blaming(name, at):
            reads, writes = interface(scorer)
        if CAPTIONS in writes.names:  # a base column: that of a captioner is called after itself
            renames.setdefault(CAPTIONS, name)
        for old in renames:
            if old not in writes.names:
                raise self._recipe.error(
                    f"scorer {name!r} writes no column {old!r}, only {', '.join(writes.names)}",
                    *at,
                    "columns",
                    old,
                )
        schema = pa.schema([f.with_name(renames.get(f.name, f.name)) for f in writes])
        self._claim(name, schema, at)
        columns_read = [c for c in dict.fromkeys([*reads, *fit_reads(scorer)]) if c not in FIELDS]
        for column in columns_read:
            self._provide(column, name, at)
        self._check_needs(name, scorer, at, entry)
        inputs = {c: self._writer_of[c].columns for c in columns_read if c in self._writer_of}
        with self._blaming(name, at):
            if hasattr(scorer, "check_inputs"):
                scorer.check_inputs({c: self._writer_of[c].scorer for c in inputs})
            identity = self._identity(scorer, inputs)
        only = self._only(entry, at)
        instance = Instance(
            name=name,
            scorer=scorer,
            columns=ColumnSet(self._root, name, identity, schema, only.digest if only else ""),
            renames=renames,
            inputs=inputs,
            only=only,
        )
        self._made[name] = replace(instance, level=self._level(instance))
        for column in instance.columns.names:
            self._writer_of[column] = self._made[name]

    def _check_needs(
        self, name: str, scorer: Any, at: tuple[str, ...], entry: ScoreEntry | None
    ) -> None:
        """See that the columns it reads hold what it can use; the parameter's line is named."""
        above = Resolved(tuple(self._made.values()))
        found = need_problem(scorer, above.types)
        if found is None:
            found = alignment_problem(scorer, above.types, above.about)
        if found is not None:
            parameter, problem = found
            path = (*at, parameter) if entry and parameter in entry.params else at
            raise self._recipe.error(f"scorer {name!r}: {problem}", *path)

    def _identity(self, scorer: Any, inputs: Mapping[str, ColumnSet]) -> str:
        read = {column: columns.folder_name for column, columns in inputs.items()}
        identity = fingerprint(scorer, read, self._decoder)
        if not hasattr(scorer, "reduce") and not hasattr(scorer, "fit"):
            return identity
        return hashlib.blake2b(f"{identity}{self._pool}".encode(), digest_size=8).hexdigest()

    def _claim(self, name: str, schema: pa.Schema, at: tuple[str, ...]) -> None:
        """Take the names of a scorer's columns and of its reasons."""
        for column in [*schema.names, f"{name}_error"]:
            problem = self._clash(name, column)
            if problem is not None:
                raise self._recipe.error(problem, *at)
            self._owners[column.lower()] = name

    def _clash(self, name: str, column: str) -> str | None:
        """Why a scorer can't have a column of this name; to DuckDB `Width` and `width` are one."""
        if column.lower() in base_types():
            return f"{column!r} is a base column; rename it"
        if not column or column.startswith("__") or column.lower() in _RESERVED:
            return f"scorer {name!r}: no column can be called {column!r}; rename it"
        other = self._owners.get(column.lower())
        if other == name:
            return f"scorer {name!r} writes {column!r} twice"
        if other is not None:
            return (
                f"scorers {other!r} and {name!r} both write {column!r};"
                f" rename one: columns: {{{column}: other_name}}"
            )
        return None

    def _provide(self, column: str, reader: str, at: tuple[str, ...]) -> None:
        """See that somebody writes a column: nobody yet means the scorer that does by default."""
        if column in base_types() or column in self._values():
            return
        entries = {entry.name for entry in self._recipe.scorers} - {*self._made, reader}
        provider = catalog.default_scorer_of(column)
        if provider is None and column in entries:
            provider = column  # what writes captions calls its column as it is called
        if provider is not None and provider not in self._made and provider != reader:
            if provider in entries:
                raise self._recipe.error(
                    f"scorer {reader!r} reads {column!r}, which {provider!r} writes further down;"
                    " a scorer reads columns of those above it",
                    *at,
                )
            self._add(provider, catalog.scorer_class(provider)(), at)
            if column in self._values():
                return
        known = ", ".join(sorted([*base_types(), *self._values()]))
        raise self._recipe.error(
            f"scorer {reader!r} reads {column!r}, which nothing above it writes; known are {known}",
            *at,
        )

    def _values(self) -> set[str]:
        """What a scorer can read of the columns so far: not the reasons why values are missing."""
        return {name for made in self._made.values() for name in made.columns.schema.names}

    def _only(self, entry: ScoreEntry | None, at: tuple[str, ...]) -> Only | None:
        if entry is None or entry.only is None:
            return None
        if isinstance(entry.only, str):
            return Only(entry.only, reads=self._read_by(entry.only, (*at, "only")))
        only = self._only_survivors(entry, entry.only.survivors_of, at)
        if entry.only.where is None:
            return only
        reads = self._read_by(entry.only.where, (*at, "only", "where"))
        return replace(only, condition=entry.only.where, reads=reads)

    def _read_by(self, condition: str, at: tuple[str, ...]) -> dict[str, ColumnSet]:
        """What a condition reads of the scorers above it."""
        try:
            check_condition(condition, Resolved(tuple(self._made.values())).types)
        except RecipeError as error:
            raise self._recipe.error(error.message, *at) from error
        reads = columns_of(condition)
        return {c: w.columns for c, w in self._writer_of.items() if c in reads}

    def _only_survivors(self, entry: ScoreEntry, step: str, at: tuple[str, ...]) -> Only:
        try:
            steps, reads_of_steps = self._survivors(step)
            steps += self._pool  # who survives depends on all rows there are
        except RecipeError as error:
            raise self._recipe.error(error.message, *at, "only") from error
        missing = reads_of_steps - set(self._writer_of) - set(base_types())
        if missing:
            raise self._recipe.error(
                f"only: the steps up to {step!r} read {', '.join(sorted(missing))}, which no scorer"
                f" above {entry.name!r} writes",
                *at,
                "only",
            )
        inputs = {c: w.columns for c, w in self._writer_of.items() if c in reads_of_steps}
        return Only(step=step, steps=steps, survivors_root=self._work, step_reads=inputs)

    def _level(self, instance: Instance) -> int:
        """One more than what must be complete before: globals' inputs, and `only` conditions."""
        level = 0
        for column in instance.inputs:
            writer = self._writer_of[column]
            waits = instance.looks_at_pool or writer.is_global or writer.lane != instance.lane
            waits = waits or writer.at_once > 1  # its answers are there when the shard ends
            level = max(level, writer.level + (1 if waits else 0))
        if instance.only is not None:
            for column in instance.only.inputs:
                level = max(level, self._writer_of[column].level + 1)
        return level


def _after_cpu(lane: str) -> tuple[bool, str]:
    return lane != "cpu", lane


def _frozen(value: Any) -> Any:
    """Lists of a recipe as tuples, so that scorers are hashable and can't be changed."""
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    return value
