"""What a user reads when a word or a value of a recipe is wrong.

Every message says what was found and what is known or expected there. Knows the models only by
their fields, reads no file and decides nothing.
"""

import difflib
import json
import re
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.yaml_reader import Path, Problem

NAME = r"^[a-z][a-z0-9_]*$"
SCORER = r"^([a-z][a-z0-9_]*|[A-Za-z_][\w.]*:[A-Za-z_]\w*)$"
PATH = r"^[^\x00-\x1f]+$"
MEMBER = r"^[a-z][a-z0-9_-]*$"

_PATTERNS = {
    NAME: "a name of lower-case letters, digits and `_` that begins with a letter",
    SCORER: "the name of a scorer, or package.module:Class",
    PATH: "a path",
    MEMBER: "lower-case letters, digits, `-` and `_` that begin with a letter",
}
_TYPES = {
    "string_type": "a text",
    "string_too_short": "a text that is not empty",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "too_short": "at least one entry",
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def unknown_word(what: str, word: str, known: Iterable[str]) -> str:
    """`unknown key 'qualty'; did you mean 'quality'? known: ...`, where `what` is `key`."""
    known = list(known)
    choices = f"known: {', '.join(known)}" if known else "none is known here"
    return f"unknown {what} {_quoted(word)};{_did_you_mean(word, known)} {choices}"


def wrong_value(expected: str, value: object) -> str:
    """`expected a whole number, found the text '1000'`."""
    message = f"expected {expected}, found {found(value)}"
    if expected == "a mapping" and value is None:
        return f"{message}; indent what belongs to it, or write {{}}"
    if expected == "a list" and isinstance(value, dict):
        return f"{message}; begin each entry with `- `"
    if expected == "a list" and isinstance(value, str):
        return f"{message}; a list of one is written [{value}]"
    if expected == "true or false" and str(value).lower() in ("yes", "no", "on", "off"):
        return f"{message}, which is a word in YAML 1.2"
    return message


def found(value: object) -> str:
    """A value of a recipe in words, long texts shortened."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {_quoted(value)}"
    return "a mapping" if isinstance(value, dict) else "a list"


def problems_of(error: ValidationError, root: type[BaseModel]) -> list[Problem]:
    """Everything that validation against `root` found wrong, with its path in the data."""
    # A list whose entries are all wrong is told to be too short as well.
    all_of_it = error.errors(include_url=False)
    return [_problem(d, root) for d in all_of_it if d["type"] != "too_short" or not d["input"]]


def tag(model: type[BaseModel]) -> str:
    """The name of a model in a union of kinds."""
    return f"({first_key(model)})"


def first_key(model: type[BaseModel]) -> str:
    """The first key that a model requires, by which a mapping is known to be of it; or ""."""
    fields = model.model_fields.items()
    return next((field.alias or name for name, field in fields if field.is_required()), "")


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys that a model has in a recipe, those that it requires first."""
    fields = sorted(model.model_fields.items(), key=lambda item: not item[1].is_required())
    return [field.alias or name for name, field in fields]


def dotted(path: Path) -> str:
    """`sources.urls.fetch`: a path for people; positions in a list are left to the line number."""
    return ".".join(part for part in path if isinstance(part, str))


def _problem(details: ErrorDetails, root: type[BaseModel]) -> Problem:
    kind = details["type"]
    model, path = _walk(root, details["loc"])
    at_key = kind == "extra_forbidden" or details["loc"][-1:] == ("[key]",)
    if kind in ("extra_forbidden", "missing"):
        *above, key = path
        shown = dotted(tuple(above))
        if kind == "missing":
            message, path = f"the key '{key}' is missing", tuple(above)
        else:
            message = unknown_word("key", str(key), keys_of(model))
    else:
        shown, message = dotted(path[:-1] if at_key else path), _message(details)
    return Problem(f"{shown}: {message}" if shown else message, path, at_key)


def _message(details: ErrorDetails) -> str:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "kind":
        what, *kinds = details["msg"].split()
        return _no_kind(value, what, kinds)
    if kind == "literal_error":
        choices = re.findall("'([^']*)'", context["expected"])
        guess = _did_you_mean(value, choices) if isinstance(value, str) else ""
        return wrong_value(context["expected"], value) + (guess and f";{guess}")
    if kind in _BOUNDS:
        words, limit = _BOUNDS[kind]
        return wrong_value(f"{words} {context[limit]:g}", value)
    if kind == "string_pattern_mismatch":
        return wrong_value(_PATTERNS[context["pattern"]], value)
    if kind == "expected":
        return wrong_value(details["msg"], value)
    if kind in _TYPES:
        return wrong_value(_TYPES[kind], value)
    return details["msg"]


def _no_kind(value: object, what: str, kinds: list[str]) -> str:
    if not isinstance(value, dict):
        return wrong_value("a mapping", value)
    choices = f"a {what} has one of {', '.join(kinds)}"
    several = [kind for kind in kinds if kind in value]
    if several:
        return f"{' and '.join(map(repr, several))} can't stand together; {choices}"
    guesses = (_did_you_mean(key, kinds) for key in value)
    guess = next((guess for guess in guesses if guess), "")
    keys = ", ".join(map(_quoted, value)) or "nothing"
    return f"{choices}; found {keys}{guess and f';{guess}'}"


def _walk(root: type[BaseModel], loc: tuple[str | int, ...]) -> tuple[type[BaseModel], Path]:
    """The innermost model along a location of pydantic's, and the path in the data.

    The location has parts that the data has not: the tag of a union's member, and `[key]`.
    """
    model, members, path = root, [root], []
    for part in loc:
        member = next((m for m in members if tag(m) == part), None)
        if member is not None:
            model = member
        elif part != "[key]" and part != "(text)" and part != "(number)":
            path.append(part)
            inner = _models_in(_annotation(model, part))
            if inner:
                model, members = inner[0], inner
    return model, tuple(path)


def _annotation(model: type[BaseModel], key: str | int) -> Any:
    fields = model.model_fields.items()
    return next((f.annotation for name, f in fields if (f.alias or name) == key), None)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word.lower(), known, n=2)
    return f" did you mean {' or '.join(map(repr, close))}?" if close else ""


def _quoted(text: str) -> str:
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    return "'" + json.dumps(shown, ensure_ascii=False)[1:-1].replace('\\"', '"') + "'"
