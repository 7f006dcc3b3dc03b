"""The texts of samples: from a recipe's `captions:` to choices over columns that exist."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.each import CAPTIONS, EachCaption, is_captions
from pipeline.recipe_captions import Choice as Chosen
from pipeline.recipe_captions import ChoiceBest, ChoiceDraw, ChoiceFrom
from pipeline.scoring import Resolved
from pipeline.texts import Choice

if TYPE_CHECKING:
    from pipeline.recipe import Recipe

_PATH = ("captions",)
_RAW = 0.2
_PREFERRED = {"clip": ("short", "sentence"), "mllm": ("long",), "t2i": ()}


@dataclass(frozen=True)
class Texts:
    """What becomes text, and which columns go into the json: of captions, their scores, others."""

    txt: Choice
    files: Mapping[str, Choice] = field(default_factory=dict)
    captions: tuple[str, ...] = ()
    scores: Mapping[str, str] = field(default_factory=dict)
    json: tuple[str, ...] = ()


def texts_of(recipe: "Recipe", resolved: Resolved) -> Texts:
    """Everything about texts; raises RecipeError for a column that nobody writes or is none."""
    section, types = recipe.captions, resolved.types
    if section.profile == "t2i" and recipe.export.buckets is None:
        message = "`profile: t2i` needs sizes for its images, `export: {buckets: {sides: [512]}}`"
        raise recipe.error(message, *_PATH, "profile")
    about = dict(_scored(resolved))
    told = dict.fromkeys(section.told, _PATH)
    told |= dict.fromkeys(recipe.export.json_columns, ("export",))
    for name, path in told.items():
        if name not in types:
            raise recipe.error(_unknown(name, types), *path, "json")
    lists = tuple(name for name in told if is_captions(types[name]) and name != "captions")
    scores = {name: about[name] for name in told if about.get(name) in (*lists, "captions")}
    taken = {*lists, *scores, "captions"}
    return Texts(
        txt=_text(recipe, types),
        files={
            name: _choice(recipe, types, chosen, (*_PATH, "files", name))
            for name, chosen in section.files.items()
        },
        captions=lists,
        scores=scores,
        json=tuple(name for name in told if name not in taken),
    )


def _text(recipe: "Recipe", types: Mapping[str, pa.DataType]) -> Choice:
    """How the `.txt` is chosen: as said, or by the profile."""
    section = recipe.captions
    if section.txt is not None or section.profile is None:
        return _choice(recipe, types, section.txt or "caption", (*_PATH, "txt"))
    columns, prefer = section.of, _PREFERRED[section.profile]
    weights: tuple[float, ...] = ()
    if section.profile == "clip":
        raw = _RAW if section.raw is None else section.raw
        weights = ((1 - raw) / len(columns),) * len(columns)
        if raw:
            columns, weights = (*columns, "caption"), (*weights, raw)
    made = Choice(columns, weights=weights, unflagged=True, whole=True, prefer=prefer)
    for problem in _problems(made, types):
        raise recipe.error(problem, *_PATH, "of")
    return made


def _scored(resolved: Resolved) -> Iterator[tuple[str, str]]:
    """Each column that holds a value for every caption of another column, with that column."""
    for instance in resolved.instances:
        if isinstance(instance.scorer, EachCaption):
            for name in instance.columns.schema.names:
                yield name, instance.scorer.column
        elif CAPTIONS in instance.scorer.writes.names:  # one that writes scores beside captions
            own = instance.renames[CAPTIONS]
            for column in instance.columns.schema:
                if column.name != own and pa.types.is_list(column.type):
                    yield column.name, own


def _choice(
    recipe: "Recipe", types: Mapping[str, pa.DataType], chosen: Chosen, path: tuple[str, ...]
) -> Choice:
    if isinstance(chosen, str):
        chosen = ChoiceFrom.model_validate({"from": chosen})
    if isinstance(chosen, ChoiceFrom):
        made = Choice((chosen.column,), kind=chosen.kind, language=chosen.language)
    elif isinstance(chosen, ChoiceBest):
        made = Choice(tuple(chosen.best), scores=tuple(chosen.best.values()))
    else:
        assert isinstance(chosen, ChoiceDraw)
        made = Choice(tuple(chosen.draw), weights=tuple(chosen.draw.values()))
    for problem in _problems(made, types):
        raise recipe.error(problem, *path)
    limits = {"kind": made.kind, "language": made.language, "unflagged": chosen.unflagged or None}
    if not any(is_captions(types[name]) for name in made.columns):
        for word, value in limits.items():
            if value is not None:
                message = f"'{word}' is for columns of captions, and {made.columns[0]!r} holds text"
                raise recipe.error(message, *path)
    return Choice(
        made.columns, made.scores, made.weights, made.kind, made.language, chosen.unflagged
    )


def _problems(made: Choice, types: Mapping[str, pa.DataType]) -> Iterator[str]:
    for name in made.reads:
        if name not in types:
            yield _unknown(name, types)
    for name in made.columns:
        if not _is_text(types[name]) and not is_captions(types[name]):
            found = str(types[name]).partition("<")[0]
            yield f"column {name!r} holds {found}, and a `txt` is text"
    for name, scores in zip(made.columns, made.scores, strict=False):
        kind, lists = types[scores], is_captions(types[name])
        if lists and pa.types.is_list(kind):
            kind, lists = kind.value_type, False
        if lists:
            yield f"{name!r} holds lists of captions, and {scores!r} no score for each of them"
        elif not pa.types.is_floating(kind) and not pa.types.is_integer(kind):
            yield f"column {scores!r} holds {str(kind).partition('<')[0]}, and scores are numbers"


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _unknown(name: str, types: Mapping[str, pa.DataType]) -> str:
    return f"no column {name!r}; known are {', '.join(sorted(types))}"
