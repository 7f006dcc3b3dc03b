"""The texts of samples: from a recipe's `captions:` to choices over columns that exist."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.contract import score_problem
from pipeline.each import is_captions
from pipeline.recipe_captions import CaptionsSection, ChoiceBest, ChoiceDraw, ChoiceFrom
from pipeline.recipe_captions import Choice as Chosen
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
    section, types, about = recipe.captions, resolved.types, resolved.about
    if section.profile == "t2i" and recipe.export.buckets is None:
        message = "`profile: t2i` needs sizes for its images, `export: {buckets: {sides: [512]}}`"
        raise recipe.error(message, *_PATH, "profile")
    txt, files = choices(section)
    is_of_profile = section.profile is not None and section.txt is None
    _check(recipe, resolved, txt, (*_PATH, "of" if is_of_profile else "txt"))
    for name, chosen in files.items():
        _check(recipe, resolved, chosen, (*_PATH, "files", name))
    told = dict.fromkeys(section.told, _PATH)
    told |= dict.fromkeys(recipe.export.json_columns, ("export",))
    for name, path in told.items():
        if name not in types:
            raise recipe.error(_unknown(name, types), *path, "json")
    lists = tuple(name for name in told if is_captions(types[name]) and name != "captions")
    owned = ((name, about.get(name)) for name in told)
    scores = {name: own for name, own in owned if own is not None and own in (*lists, "captions")}
    taken = {*lists, *scores, "captions"}
    return Texts(
        txt=txt,
        files=files,
        captions=lists,
        scores=scores,
        json=tuple(name for name in told if name not in taken),
    )


def choices(section: CaptionsSection) -> tuple[Choice, dict[str, Choice]]:
    """How the `.txt` is chosen, as said or by the profile, and each of the further files."""
    files = {name: _choice(chosen) for name, chosen in section.files.items()}
    if section.profile is None or section.txt is not None:
        return _choice(section.txt or "caption"), files
    columns = section.of
    weights: tuple[float, ...] = ()
    if section.profile == "clip":
        raw = _RAW if section.raw is None else section.raw
        weights = ((1 - raw) / len(columns),) * len(columns)
        if raw:
            columns, weights = (*columns, "caption"), (*weights, raw)
    prefer = _PREFERRED[section.profile]
    return Choice(columns, weights=weights, unflagged=True, whole=True, prefer=prefer), files


def _choice(chosen: Chosen) -> Choice:
    if isinstance(chosen, str):
        return Choice((chosen,))
    if isinstance(chosen, ChoiceFrom):
        made = Choice((chosen.column,), kind=chosen.kind, language=chosen.language)
    elif isinstance(chosen, ChoiceBest):
        made = Choice(tuple(chosen.best), scores=tuple(chosen.best.values()))
    else:
        assert isinstance(chosen, ChoiceDraw)
        made = Choice(tuple(chosen.draw), weights=tuple(chosen.draw.values()))
    return replace(made, unflagged=chosen.unflagged)


def _check(recipe: "Recipe", resolved: Resolved, made: Choice, path: tuple[str, ...]) -> None:
    """Raise RecipeError for columns that hold no texts, or no scores of them."""
    types = resolved.types
    for problem in _problems(made, types, resolved.about):
        raise recipe.error(problem, *path)
    limits = {"kind": made.kind, "language": made.language, "unflagged": made.unflagged or None}
    if not any(is_captions(types[name]) for name in made.columns) and not made.whole:
        for word, value in limits.items():
            if value is not None:
                message = f"'{word}' is for columns of captions, and {made.columns[0]!r} holds text"
                raise recipe.error(message, *path)


def _problems(
    made: Choice, types: Mapping[str, pa.DataType], about: Mapping[str, str | None]
) -> Iterator[str]:
    for name in made.reads:
        if name not in types:
            yield _unknown(name, types)
    for name in made.columns:
        if not _is_text(types[name]) and not is_captions(types[name]):
            found = str(types[name]).partition("<")[0]
            yield f"column {name!r} holds {found}, and a `txt` is text"
    for name, scores in zip(made.columns, made.scores, strict=False):
        problem = score_problem(name, scores, types, about)
        if problem is not None:
            yield problem
        kind = types[scores].value_type if pa.types.is_list(types[scores]) else types[scores]
        if not pa.types.is_floating(kind) and not pa.types.is_integer(kind):
            yield f"column {scores!r} holds {str(kind).partition('<')[0]}, and scores are numbers"


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _unknown(name: str, types: Mapping[str, pa.DataType]) -> str:
    return f"no column {name!r}; known are {', '.join(sorted(types))}"
