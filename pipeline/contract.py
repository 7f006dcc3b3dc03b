"""What makes a class a scorer, and what of a user's scorer can be told to be wrong before it runs.

Nothing here reads data. A class that is no scorer is refused before it is made: making an object
of any class that a recipe names may do anything.
"""

import types
import typing
from typing import Any

import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from pipeline.recipe_errors import found

FIELDS = ("image", "header", "image_bytes")  # what decoding provides; the rest are columns
_ATTRIBUTES = ("version", "reads", "writes")
_PLAIN = (int, float, str, bool, type(None))


def class_problem(kind: type[Any]) -> str | None:
    """Why the objects of a class are no scorers, if they are none; nothing of it is called."""
    fields = getattr(kind, "__dataclass_fields__", {})
    lacking = [name for name in _ATTRIBUTES if not hasattr(kind, name) and name not in fields]
    called = any("__call__" in vars(base) for base in kind.__mro__)
    if not called and not hasattr(kind, "reduce"):
        lacking.append("__call__ or reduce")
    return f"is no scorer: it has no {', '.join(lacking)}" if lacking else None


def type_problem(kind: type[Any], name: str, value: object) -> str | None:
    """Why a value is none for a parameter, where its type is said in plain words of Python."""
    try:
        hint = typing.get_type_hints(kind).get(name)
    except (NameError, TypeError, AttributeError):  # a type that can't be found is not checked
        return None
    if hint is None or not _is_plain(hint):
        return None
    try:
        TypeAdapter(hint).validate_python(value, strict=True)
    except ValidationError as error:
        expected = error.errors()[0]["msg"].replace("Input should be", "expected")
        return f"{name}: {expected}, found {found(value)}"
    return None


def _is_plain(hint: Any) -> bool:
    if hint in _PLAIN or hint is Ellipsis or typing.get_origin(hint) is typing.Literal:
        return True
    composed = typing.get_origin(hint) in (typing.Union, types.UnionType, tuple)
    return composed and all(_is_plain(part) for part in typing.get_args(hint))


def interface(scorer: Any) -> tuple[tuple[str, ...], pa.Schema]:
    """What a scorer reads and writes. Raises ValueError when that is not what it must be."""
    reads, writes = scorer.reads, scorer.writes
    if not isinstance(reads, tuple | list) or not all(isinstance(name, str) for name in reads):
        raise ValueError(f"`reads` must be a tuple of names, not {reads!r}")
    if not isinstance(writes, pa.Schema) or not writes.names:
        raise ValueError("`writes` must be a schema of pyarrow with a column at least")
    if not isinstance(scorer.version, int):
        raise ValueError(f"`version` must be a whole number, not {scorer.version!r}")
    if not isinstance(getattr(scorer, "batch_size", 1), int):
        raise ValueError(f"`batch_size` must be a whole number, not {scorer.batch_size!r}")
    decoded = [name for name in reads if name in FIELDS]
    if decoded and hasattr(scorer, "reduce"):
        raise ValueError(f"a scorer with `reduce` reads columns alone, not {decoded[0]!r}")
    return tuple(reads), writes


def described(error: BaseException) -> str:
    """What a scorer's own code raised, for a person; ValueError and TypeError speak for it."""
    text = " ".join(str(error).split())
    plain = isinstance(error, ValueError | TypeError) and text
    return text if plain else f"{type(error).__name__}: {text}".rstrip(": ")
