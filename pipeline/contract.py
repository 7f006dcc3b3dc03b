"""What makes a class a scorer, and what of a user's scorer can be told to be wrong before it runs.

A scorer of samples has `__call__(batch)`: lists in, one value per sample out. A scorer of the
pool has `reduce(rows)` in its place: a table with `key` and the columns it reads, of all rows
that did not fail, sorted by key, text as `large_string`; it returns a table of what it writes,
one row per row, in the same order. If only some rows matter to each other it may say which:
`gather_key(rows)` returns one uint64 per row, a function of the row alone, and rows of equal
number are sure to be in one call of `reduce`, with any others; NULL is for rows that matter to
no other. `reduce` must give each row the same whatever else is in the call. Then a pool of any
size is worked on in buckets, by all workers. Without a `gather_key` all rows meet in memory.

A scorer that learns from the pool before it scores sample by sample has `fit(rows)` beside
`__call__(batch, fitted)`: a table like that of `reduce`, but of at most `fit_rows` rows, drawn by
key from those that hold everything in `fit_reads` (if it does not say so: `reads`). It returns
named numpy arrays, small ones, and gets them back with each batch. So a pool of any size is
scored in bounded memory. ValueError from `fit` says that it can't learn from these rows, and ends
the build; but one that has `is_too_few` says that the pool is too small for it: then its values are
NULL with that reason, and the build goes on.

A scorer of samples may put an exception in place of a row's first value: that row's values are
NULL, and `Type: message` is the reason. One with `kept`, a mapping from written columns to values,
says what a part of a row lacks: the row has these values, and its text as the reason (`Partly`).
An exception that is `retriable` is no row's: it fails the shard, and a later run asks again. A
scorer that pays for its answers may have `keep_in(folder)`: before each `prepare()`, of which there
may be one a shard, it is told of a local folder that outlives crashes, always the same, shared by
all scorers of the build and all workers. A file `run` in it names the run, where that is known.

A scorer that waits for others, as for a server, may say `at_once`: so many of its calls may be
under way at a time, each in a thread of its own. It has a pass to itself and its like, and the end
of a shard, where it waits for the last answers, is beside the beginning of the next.

A scorer of images that keeps what it was told may have `recall(batch)`: a batch with `image_name`
in place of `image`, bytes that stand for the pixels it would be shown. It returns what a call
would, with None in the first column where it would have to see the image. Batches of calls have
the names beside the images then, or None where there is none.

A scorer may say `makes_batches = True` when it cuts what it is given into batches of `batch_size`
by itself: asked for a column of captions it is given all captions of a batch at once, so that its
batches hold many images and not one image many times.

A scorer that reads `image` may have `prepare_image(image)`: what its model needs of one image, a
function of that image alone. Where images are decoded ahead in threads, for a GPU, it is called
there, and a batch holds what it returned in place of images; elsewhere it is not called. When
memory runs out, a scorer whose `batch_size` is a parameter is replaced by one with a smaller one.

A scorer may say what a column must hold that it reads: `needs`, a mapping from a column, or from
the parameter that names one or several, to `text`, `texts`, `number` (true and false are some),
`numbers`, `score` (a number, or for captions a list of them), `terms` (a text or a list of texts),
`captions`, `objects` (things with boxes) or `findings` (text or such things). A recipe that names a
column of another type is refused. Where a text is needed, a column of captions will do: the scorer
is asked for each of them. `aligned` maps a parameter that names columns of scores to the one that
names, in the same order, what these are scores of.

A scorer sees only samples that have everything it reads; it may name columns in `may_lack` that it
does without, of which it is given None.

Nothing here reads data. A class that is no scorer is refused before it is made: making an object
of any class that a recipe names may do anything.
"""

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from pipeline.recipe_errors import found

FIELDS = ("image", "header", "image_bytes")  # what decoding provides; the rest are columns
_ATTRIBUTES = ("version", "reads", "writes")
NEEDS = {
    "text": "text",
    "texts": "lists of texts",
    "number": "numbers",
    "numbers": "vectors",
    "score": "numbers or lists of them",
    "terms": "text or lists of texts",
    "captions": "captions",
    "objects": "things with boxes",
    "findings": "text or things with boxes",
}
"""What a scorer may need of a column, and how a person is told of it."""
_PLAIN = (int, float, str, bool, type(None))


class Partly(Exception):
    """A reason beside values that the row has all the same: `kept`, by the scorer's own names."""

    def __init__(self, reason: str, kept: Mapping[str, Any]) -> None:
        super().__init__(reason)
        self.kept = kept


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
    sized = [column.name for column in writes if pa.types.is_fixed_size_list(column.type)]
    if sized:  # pyarrow can't read one with a NULL row back from Parquet (25.0)
        raise ValueError(f"column {sized[0]!r}: lists of a fixed size; write `pa.list_(TYPE)`")
    if not isinstance(scorer.version, int):
        raise ValueError(f"`version` must be a whole number, not {scorer.version!r}")
    if not isinstance(getattr(scorer, "batch_size", 1), int):
        raise ValueError(f"`batch_size` must be a whole number, not {scorer.batch_size!r}")
    decoded = [name for name in reads if name in FIELDS]
    if decoded and hasattr(scorer, "reduce"):
        raise ValueError(f"a scorer with `reduce` reads columns alone, not {decoded[0]!r}")
    if hasattr(scorer, "fit"):
        _check_fit(scorer)
    if not isinstance(getattr(scorer, "at_once", 1), int) or getattr(scorer, "at_once", 1) < 1:
        raise ValueError(f"`at_once` must be a whole number from 1, not {scorer.at_once!r}")
    gathers = getattr(scorer, "gather_key", None)
    if gathers is not None and not (callable(gathers) and hasattr(scorer, "reduce")):
        raise ValueError("`gather_key` must be a method, of a scorer with `reduce`")
    keeps = getattr(scorer, "keep_in", None)
    if keeps is not None and (not callable(keeps) or hasattr(scorer, "reduce")):
        raise ValueError("`keep_in` must be a method, of a scorer without `reduce`")
    looks = getattr(scorer, "prepare_image", None)
    if looks is not None and not (callable(looks) and "image" in reads):
        raise ValueError("`prepare_image` must be a method, of a scorer that reads 'image'")
    _check_needs(scorer)
    lacks = getattr(scorer, "may_lack", ())
    if not isinstance(lacks, tuple | list) or not set(lacks) <= set(reads):
        raise ValueError(f"`may_lack` must name columns that it reads, not {lacks!r}")
    return tuple(reads), writes


def must_hold(scorer: Any) -> tuple[str, ...]:
    """What a scorer reads and a sample must have, to be seen by it."""
    lacks = getattr(scorer, "may_lack", ())
    return tuple(name for name in scorer.reads if name not in lacks)


def _check_needs(scorer: Any) -> None:
    needs = getattr(scorer, "needs", {})
    if not isinstance(needs, Mapping) or not set(needs.values()) <= set(NEEDS):
        raise ValueError(f"`needs` must map columns or parameters to {', '.join(NEEDS)}")
    for name in needs:
        if not hasattr(scorer, name) and name not in scorer.reads:
            raise ValueError(f"`needs`: {name!r} is no parameter of it, and no column it reads")


def _needed(scorer: Any) -> Iterator[tuple[str, str, str]]:
    """The parameter or column that `needs` names, the column it reads by that, and the need."""
    read = {*scorer.reads, *getattr(scorer, "fit_reads", ())}
    for name, need in getattr(scorer, "needs", {}).items():
        value = getattr(scorer, name, name)
        columns = (value,) if isinstance(value, str) else value or ()
        named = [c[0] if isinstance(c, tuple) else c for c in columns]  # a mapping may be pairs
        yield from ((name, column, need) for column in named if column in read)


def need_problem(scorer: Any, columns: Mapping[str, pa.DataType]) -> tuple[str, str] | None:
    """The first column that a scorer can't use, if there is one, by the types of columns.

    It is told by the parameter that names it, or its own name, and by what is wrong with it.
    """
    for name, column, need in _needed(scorer):
        kind = columns.get(column)
        holds = "the picture itself" if column in FIELDS else str(kind)
        if column in FIELDS or (kind is not None and not _is_of(kind, need)):
            by = "" if name == column else f"`{name}`: "
            wanted = f"a column of {NEEDS[need]} is needed"
            return name, f"{by}{wanted}, and {column!r} holds {holds}"
    return None


def alignment_problem(
    scorer: Any, columns: Mapping[str, pa.DataType], about: Mapping[str, str | None]
) -> tuple[str, str] | None:
    """The first column of scores that is not of the captions it stands for, as `need_problem`."""
    for name, of in getattr(scorer, "aligned", {}).items():
        for scores, text in zip(getattr(scorer, name), getattr(scorer, of), strict=False):
            problem = score_problem(text, scores, columns, about)
            if problem is not None:
                return name, f"`{name}`: {problem}"
    return None


def score_problem(
    text: str, scores: str, columns: Mapping[str, pa.DataType], about: Mapping[str, str | None]
) -> str | None:
    """Why a column holds no score for a text, or for each caption of a column, if it holds none.

    `about` names, for columns with a value per caption, the column of these captions; None for
    lists that are not about captions.
    """
    kind, found = columns[text], columns[scores]
    if pa.types.is_null(kind) or pa.types.is_null(found):
        return None
    if not _is_captions(kind):
        wanted = f"{text!r} holds one text, and {scores!r} lists of scores"
        return wanted if _is_list(found) else None
    if not _is_list(found):
        return f"{text!r} holds lists of captions, and {scores!r} no score for each of them"
    own = about.get(scores, text)
    if own == text:
        return None
    if own is None:
        return f"{scores!r} holds no value for each caption of {text!r}, but a list of its own"
    return f"{scores!r} holds scores of {own!r}; those of {text!r} are written with `text: {text}`"


def _is_of(kind: pa.DataType, need: str) -> bool:
    """Whether a column of this type holds what is needed; one of NULLs alone holds nothing else."""
    if pa.types.is_null(kind):
        return True
    if need in ("texts", "numbers"):
        return _is_list(kind) and _is_of(kind.value_type, need.removesuffix("s"))
    if need in _EITHER:
        return any(_is_of(kind, one) for one in _EITHER[need])
    if need == "number":
        return any(is_it(kind) for is_it in _NUMBERS)
    if need == "captions":
        return _is_captions(kind)
    if need == "objects":
        return _has_fields(kind, "name", "score", "box")
    return _is_text(kind) or _is_captions(kind)


_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
_EITHER = {
    "score": ("number", "numbers"),
    "terms": ("text", "texts"),
    "findings": ("text", "objects"),
}
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def _is_list(kind: pa.DataType) -> bool:
    return any(bool(is_it(kind)) for is_it in _LISTS)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_captions(kind: pa.DataType) -> bool:
    return _is_list(kind) and pa.types.is_struct(kind.value_type) and _has_text(kind.value_type)


def _has_fields(kind: Any, *names: str) -> bool:
    is_struct = _is_list(kind) and pa.types.is_struct(kind.value_type)
    return is_struct and all(kind.value_type.get_field_index(name) >= 0 for name in names)


def _has_text(kind: Any) -> bool:
    place = kind.get_field_index("text")
    return place >= 0 and _is_text(kind.field(place).type)


def _check_fit(scorer: Any) -> None:
    learns_from = getattr(scorer, "fit_reads", scorer.reads)
    decoded = [name for name in learns_from if name in FIELDS]
    if hasattr(scorer, "reduce"):
        raise ValueError("a scorer has `fit` or `reduce`, not both")
    if decoded:
        raise ValueError(f"a scorer is fitted on columns alone, not {decoded[0]!r}: `fit_reads`")
    rows = getattr(scorer, "fit_rows", None)
    if not isinstance(rows, int) or rows < 1:
        raise ValueError(f"`fit_rows` must be how many rows it is fitted on, not {rows!r}")


def is_retriable(error: Exception) -> bool:
    """Whether an error says that the same may well go right another time: nobody answers."""
    return bool(getattr(error, "retriable", False))


def described(error: BaseException) -> str:
    """What a scorer's own code raised, for a person; ValueError and TypeError speak for it."""
    text = " ".join(str(error).split())
    plain = isinstance(error, ValueError | TypeError) and text
    return text if plain else f"{type(error).__name__}: {text}".rstrip(": ")
