"""The score that is probed: a scorer, with whatever must be measured before it.

Everything that can be wrong with it is said before a picture is drawn: that it is not known, that
it reads what a probe does not have, or that it compares the rows of a pool. One that learns from
a pool is fitted on the pairs of the probe.
"""

import dataclasses
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline import catalog, decoding
from pipeline.contract import FIELDS
from pipeline.errors import RecipeError
from pipeline.instances import Instance, base_types, known_parameters, parameters
from pipeline.recipe import Recipe, ScoreEntry, load_recipe, parse_recipe
from pipeline.recipe_errors import unknown_word, wrong_value
from pipeline.scoring import Resolver
from pipeline.yaml_reader import parse_yaml

CAPTION = "caption"
_WITH = "--with"
_NOT_PARAMETERS = ("scorer", "columns", "only")
_VECTORS = {"embeddings": True}  # how a dual encoder is asked for its vectors


@dataclass(frozen=True)
class Named:
    """How a user names a score: `scorer` of the catalog or `package.module:Class` with parameters
    as YAML, or an instance of a recipe; `column` is the one to look at."""

    scorer: str
    parameters: str | None = None
    recipe: str | None = None
    column: str | None = None


@dataclass(frozen=True)
class Subject:
    """Scorers in an order that works, of which the last one writes `column`.

    `encoder` is the same scorer asked for its vectors too, if it has any.
    """

    chain: tuple[Instance, ...]
    column: str
    max_pixels: int
    encoder: Instance | None = None

    @property
    def probed(self) -> Instance:
        return self.chain[-1]

    def identity(self) -> dict[str, Any]:
        """What the answers depend on, for the record."""
        return {"column": self.column, **_identity(self.probed)} | {
            "after": [_identity(instance) for instance in self.chain[:-1]]
        }


def find_subject(named: Named, root: str) -> Subject:
    """The score of a name. Raises RecipeError when it is none that can be probed.

    `root` is the folder in which a scorer that pays for its answers may keep them.
    """
    recipe, entry = _of_recipe(named) if named.recipe else _of_catalog(named)
    chain = _chain(recipe, entry, root)
    probed = chain[-1]
    _check(entry.name, chain)
    column = _column(probed, named.column)
    return Subject(chain, column, recipe.ingest.max_pixels, _encoder(recipe, entry, chain, root))


def _of_catalog(named: Named) -> tuple[Recipe, ScoreEntry]:
    """A recipe with the one scorer; its relative paths lie in the working directory."""
    catalog.scorer_class(named.scorer)
    given = {} if named.parameters is None else _parameters(named.parameters)
    name = "probed" if ":" in named.scorer else named.scorer
    plain = {"pool": "none", "score": {name: {**given, "scorer": named.scorer}}}
    recipe = parse_recipe(json.dumps(plain), os.path.join(os.getcwd(), _WITH))
    return recipe, recipe.scorers[0]


def _parameters(text: str) -> dict[str, Any]:
    """Parameters as YAML; on one line the braces may be left out."""
    is_bare = "\n" not in text and not text.lstrip().startswith("{")
    found = parse_yaml(f"{{{text}}}" if is_bare else text, _WITH).data
    if not isinstance(found, dict):
        raise RecipeError(wrong_value("a mapping", found), _WITH)
    for name in _NOT_PARAMETERS:
        if name in found:
            raise RecipeError(f"{name!r} is no parameter; use --recipe for that", _WITH)
    return found


def _of_recipe(named: Named) -> tuple[Recipe, ScoreEntry]:
    assert named.recipe is not None
    if named.parameters is not None:
        raise RecipeError(f"{_WITH} and --recipe can't stand together: a recipe has them all")
    recipe = load_recipe(named.recipe)
    for entry in recipe.scorers:
        if entry.name == named.scorer:
            return recipe, entry
    known = [entry.name for entry in recipe.scorers]
    raise recipe.error(unknown_word("scorer", named.scorer, known), "score")


def _chain(recipe: Recipe, entry: ScoreEntry, root: str) -> tuple[Instance, ...]:
    """The scorer after those whose columns it reads, above it in the recipe or by default."""
    above = [other for other in recipe.scorers if other.path != entry.path]
    above = above[: recipe.scorers.index(entry)]
    encoder = None if above else _encoder_entry(entry)
    ways = [[*above, entry]] + ([] if encoder is None else [[encoder, entry]])
    for n, entries in enumerate(ways, 1):
        try:
            return _needed(recipe, entries, root)
        except RecipeError as error:
            if n == len(ways):
                raise _plain(recipe, error) from None
    raise AssertionError("there is a way at least")


def _plain(recipe: Recipe, error: RecipeError) -> RecipeError:
    """An error of a recipe with its place, one of the command line without the one made up."""
    if os.path.basename(recipe.path) == _WITH:
        return RecipeError(error.message)
    return error


def _encoder_entry(entry: ScoreEntry) -> ScoreEntry | None:
    """A dual encoder of the catalog that writes vectors, to be read by the scorer."""
    for name in catalog.SCORERS:
        if name != entry.scorer and set(_VECTORS) <= set(
            known_parameters(catalog.scorer_class(name))
        ):
            return dataclasses.replace(
                entry, name=name, scorer=name, params=_VECTORS, columns={}, only=None
            )
    return None


def _needed(recipe: Recipe, entries: Sequence[ScoreEntry], root: str) -> tuple[Instance, ...]:
    """The last entry with all that it reads. Entries above that it does not read may be wrong."""
    resolver = Resolver(recipe, root, "", _no_survivors, root)
    *above, last = (dataclasses.replace(entry, only=None) for entry in entries)
    first: RecipeError | None = None
    for entry in above:
        try:
            resolver.resolve([entry], {})
        except RecipeError as error:
            first = first or error
    made = {i.name: i for i in resolver.resolve([last], {}).instances}
    chain = _closure(made[last.name], made.values())
    named = {entry.name for entry in entries}
    if first is not None and not all(instance.name in named for instance in chain):
        raise first
    return chain


def _no_survivors(step: str) -> tuple[str, frozenset[str]]:
    raise RecipeError(f"a probe has no survivors of {step!r}")


def _closure(last: Instance, made: Iterable[Instance]) -> tuple[Instance, ...]:
    wanted, names = {last.name}, set(last.inputs)
    for instance in reversed([*made]):
        if names & set(instance.columns.schema.names):
            wanted.add(instance.name)
            names |= set(instance.inputs)
    return tuple(instance for instance in made if instance.name in wanted)


def _check(name: str, chain: Sequence[Instance]) -> None:
    """Raise RecipeError unless the scorers need nothing but pairs of image and caption.

    To be fitted, they may need many of them.
    """
    for instance in chain:
        if instance.is_global:
            raise RecipeError(
                f"scorer {instance.name!r} looks at a whole pool; a probe has single pairs of"
                " image and caption alone"
            )
    read = {column for instance in chain for column in instance.scorer.reads}
    learnt = {column for instance in chain for column in instance.fit_reads}
    others = sorted(((read | learnt) & set(base_types())) - {CAPTION})
    if others:
        raise RecipeError(
            f"scorer {name!r} reads {', '.join(others)}; a probe has images and captions alone"
            f" (`{CAPTION}`)"
        )
    for what, is_read in (("image", bool(read & set(FIELDS))), (CAPTION, CAPTION in read)):
        if not is_read:
            raise RecipeError(
                f"scorer {name!r} reads no {what}: it can't tell whether image and caption agree,"
                " so there is nothing to probe"
            )


def _column(probed: Instance, asked: str | None) -> str:
    """The column to look at: the one asked for, or the first that holds fractions."""
    schema = probed.columns.schema
    numbers = [
        f.name for f in schema if pa.types.is_floating(f.type) or pa.types.is_integer(f.type)
    ]
    if asked is not None:
        if asked not in numbers:
            word = unknown_word("column", asked, numbers)
            raise RecipeError(f"scorer {probed.name!r}: {word}", "--column")
        return asked
    for field in schema:
        if pa.types.is_floating(field.type):
            return str(field.name)
    raise RecipeError(
        f"scorer {probed.name!r} writes no column of fractions, only"
        f" {', '.join(schema.names)}; choose one of numbers with --column"
    )


def _encoder(
    recipe: Recipe, entry: ScoreEntry, chain: Sequence[Instance], root: str
) -> Instance | None:
    """A lone scorer of pairs that can write its vectors, doing so."""
    kind = type(chain[-1].scorer)
    if len(chain) > 1 or chain[-1].is_fitted or not set(_VECTORS) <= set(known_parameters(kind)):
        return None
    asking = dataclasses.replace(entry, params={**entry.params, **_VECTORS})
    return _needed(recipe, [asking], root)[-1]


def _identity(instance: Instance) -> dict[str, Any]:
    kind = type(instance.scorer)
    return {
        "name": instance.name,
        "class": f"{kind.__module__}:{kind.__qualname__}",
        "version": instance.scorer.version,
        "parameters": json.loads(json.dumps(parameters(instance.scorer), default=str)),
        "weights": getattr(instance.scorer, "weights_digest", None),
        "fingerprint": instance.columns.fingerprint,
        "decoder": decoding.DECODER_VERSION,
    }
