"""Read a YAML 1.2 core file into plain data, and know where in the file each value stands.

Numbers are finite, keys are text, nothing is interpreted: tags, merge keys, several documents,
repeated keys and files made to exhaust memory are refused with file:line:column.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from pipeline.errors import RecipeError

MAX_BYTES = 1 << 20
MAX_NODES = 50_000  # after aliases are expanded: ten aliases of ten aliases of ... end here
MAX_DEPTH = 32

Path = tuple[str | int, ...]


class Place(NamedTuple):
    """A position in a file, counted from 1 as editors do."""

    line: int
    column: int


class Problem(NamedTuple):
    """What is wrong at a path of the data; `at_key` points at the key and not at its value."""

    message: str
    path: Path = ()
    at_key: bool = False


@dataclass(frozen=True)
class Document:
    """The plain data of a file with the places of its keys and values.

    `name` is the file as the user gave it; `text` its content. Collections are found by their
    key, scalars by where they stand.
    """

    name: str
    text: str = field(repr=False)
    data: Any
    values: dict[Path, Place] = field(repr=False)
    keys: dict[Path, Place] = field(repr=False)

    def place(self, path: Path, *, at_key: bool = False) -> Place:
        """Where a path stands; of one that the file does not hold, the nearest that it does."""
        while path and path not in self.values:
            path, at_key = path[:-1], True
        here = self.values.get(path, Place(1, 1))
        return self.keys.get(path, here) if at_key else here

    def error(self, problems: Iterable[Problem]) -> RecipeError:
        """One error for all the problems, one line each, in the order of the file."""
        placed = {(self.place(p.path, at_key=p.at_key), p.message) for p in problems}
        return _error(self.name, sorted(placed))


def read_yaml(path: str) -> Document:
    """The document in a local file; raises RecipeError for anything that is not a plain one."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise RecipeError("there is no such file", path) from None
    except IsADirectoryError:
        raise RecipeError("this is a folder, not a file", path) from None
    except PermissionError:
        raise RecipeError("no permission to read this file", path) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise RecipeError(f"cannot be read: {reason}", path) from None
    return parse_yaml(data, path)


def parse_yaml(data: bytes | str, name: str) -> Document:
    """The document in `data`, for which errors say `name`. An empty one holds None."""
    if len(data) > MAX_BYTES:
        raise RecipeError(f"larger than {MAX_BYTES} bytes, the limit of such a file", name)
    text = _decoded(data, name) if isinstance(data, bytes) else data
    reader = _Reader(text.removeprefix("\ufeff"))
    try:
        _check_characters(text)
        root = reader.read()
    except _Refused as refused:
        raise _error(name, [(refused.place, refused.message)]) from None
    if reader.problems:
        raise _error(name, sorted(reader.problems))
    values: dict[Path, Place] = {}
    keys: dict[Path, Place] = {}
    plain = _plain(root, (), values, keys)
    return Document(name=name, text=text, data=plain, values=values, keys=keys)


def _error(name: str, problems: list[tuple[Place, str]]) -> RecipeError:
    """The first problem with its place, the others below it as lines of their own."""
    lines = [(f"{name}:{place.line}:{place.column}", message) for place, message in problems]
    (where, first), *rest = lines
    return RecipeError("\n".join([first, *(f"{at}: {message}" for at, message in rest)]), where)


def _decoded(data: bytes, name: str) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise RecipeError("not UTF-8 but UTF-16; save the file as UTF-8", f"{name}:1:1")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        *above, line = before.decode("utf-8").split("\n")
        where = f"{name}:{len(above) + 1}:{len(line) + 1}"
        byte = f"byte 0x{data[error.start]:02x}"
        raise RecipeError(f"not UTF-8 ({byte}); save the file as UTF-8", where) from None


# What YAML 1.2.2 calls printable (section 5.1), without the line breaks of Unicode: those are
# text in YAML 1.2 but broke lines in 1.1, and the parser still follows 1.1.
_FORBIDDEN = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)


def _check_characters(text: str) -> None:
    if found := _FORBIDDEN.search(text):
        *above, line = text[: found.start()].split("\n")
        code, place = f"U+{ord(found[0]):04X}", Place(len(above) + 1, len(line) + 1)
        raise _Refused(f"the control character {code} can't stand in this file", place)


class _Refused(Exception):
    def __init__(self, message: str, place: Place) -> None:
        self.message, self.place = message, place
        super().__init__(message)


@dataclass(frozen=True)
class _Node:
    """A value of the file: a scalar, a list of nodes, or key -> (place of the key, node).

    `at` is where an error about it points. `size` and `height` count what aliases expand to.
    """

    value: Any
    at: Place
    size: int = 1
    height: int = 1


class _Reader:
    """Builds nodes from parser events; holds state because anchors and limits span the file."""

    def __init__(self, text: str) -> None:
        self.problems: list[tuple[Place, str]] = []
        self._events = _events(text)
        self._anchors: dict[str, _Node | None] = {}
        self._nodes = 0

    def read(self) -> _Node:
        root: _Node | None = None
        for event in self._events:
            if _kind(event) != "DocumentStart":
                continue
            if root is not None:
                raise _Refused("a second document begins here; a file holds one", _at(event))
            if event.version not in (None, (1, 2)):
                version = ".".join(map(str, event.version))
                raise _Refused(f"this is read as YAML 1.2, not {version}", Place(1, 1))
            root = self._node(next(self._events), 1)
        return root or _Node(None, Place(1, 1))

    def _node(self, event: Any, depth: int) -> _Node:
        if depth > MAX_DEPTH:
            raise _Refused(f"nested deeper than {MAX_DEPTH} levels", _at(event))
        if _kind(event) == "Alias":
            return self._alias(event, depth)
        if event.tag is not None:
            raise _Refused("tags (`!name`) are not allowed; quote a text with a `!`", _at(event))
        self._count(1, event)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if _kind(event) == "MappingStart":
            node = self._mapping(event, depth)
        elif _kind(event) == "SequenceStart":
            node = self._sequence(event, depth)
        else:
            node = _Node(_scalar(event), _at(event))
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: Any, depth: int) -> _Node:
        if event.anchor not in self._anchors:
            raise _Refused(f"alias `*{event.anchor}` has no anchor above it", _at(event))
        target = self._anchors[event.anchor]
        if target is None:
            raise _Refused(f"alias `*{event.anchor}` lies inside its own anchor", _at(event))
        self._count(target.size, event)
        if depth + target.height - 1 > MAX_DEPTH:
            raise _Refused(f"nested deeper than {MAX_DEPTH} levels", _at(event))
        return replace(target, at=_at(event))

    def _count(self, nodes: int, event: Any) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise _Refused(f"more than {MAX_NODES} values, counting aliases in full", _at(event))

    def _sequence(self, start: Any, depth: int) -> _Node:
        items: list[_Node] = []
        while _kind(event := next(self._events)) != "SequenceEnd":
            items.append(self._node(event, depth + 1))
        return _collection(items, items, _at(start))

    def _mapping(self, start: Any, depth: int) -> _Node:
        entries: dict[str, tuple[Place, _Node]] = {}
        while _kind(event := next(self._events)) != "MappingEnd":
            key, place = _key(event), _at(event)
            value = next(self._events)
            if start.flow_style and _is_absent(value):
                raise _Refused(_no_value(key), place)
            node = self._node(value, depth + 1)
            if key in entries:
                first = entries[key][0].line
                self.problems.append((place, f"{key!r} is given twice, first in line {first}"))
            else:
                entries[key] = place, node
        return _collection(entries, [node for _, node in entries.values()], _at(start))


def _collection(value: Any, nodes: list[_Node], at: Place) -> _Node:
    size = 1 + sum(node.size for node in nodes)
    return _Node(value, at, size, 1 + max((node.height for node in nodes), default=0))


def _kind(event: Any) -> str:
    return type(event).__name__.removesuffix("Event")


def _at(event: Any) -> Place:
    return _place(event.start_mark)


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def _is_absent(event: Any) -> bool:
    return _kind(event) == "Scalar" and event.value == "" and event.implicit[0]


def _no_value(key: str) -> str:
    name, colon, rest = key.partition(":")
    if colon and rest:
        return f"{key!r} has no value; write a space after the colon: `{name}: {rest}`"
    return f"{key!r} has no value; inside {{...}} quote a text that holds a comma"


def _key(event: Any) -> str:
    if _kind(event) != "Scalar":
        raise _Refused("a key must be a word, found a collection or an alias", _at(event))
    if event.tag is not None or event.anchor is not None:
        raise _Refused("a key can't have a tag or an anchor", _at(event))
    if event.implicit[0] and event.value == "<<":
        raise _Refused("merge keys (`<<`) are not part of YAML 1.2; write the keys", _at(event))
    value = _scalar(event)
    if not isinstance(value, str):
        shown = event.value or "nothing"
        raise _Refused(f"a key must be a word, found {shown}; quote it if you mean it", _at(event))
    return value


# The core schema of YAML 1.2.2, section 10.3.2.
_NULL = re.compile(r"|~|null|Null|NULL")
_BOOL = re.compile(r"(true|True|TRUE)|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_INTS = range(-(1 << 63), 1 << 64)


def _scalar(event: Any) -> str | int | float | bool | None:
    text: str = event.value
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise _Refused("a lone surrogate (`\\ud800` to `\\udfff`) is no text", _at(event))
    if not event.implicit[0]:  # quoted, or a block of text
        return text
    if _NULL.fullmatch(text):
        return None
    if found := _BOOL.fullmatch(text):
        return found[1] is not None
    if _INT.fullmatch(text) or _OCTAL_OR_HEX.fullmatch(text):
        return _integer(text, event)
    if _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text):
        number = float(text) if _FLOAT.fullmatch(text) else math.inf
        if math.isinf(number):
            raise _Refused(f"{_short(text)} is not a finite number", _at(event))
        return number
    return text


def _integer(text: str, event: Any) -> int:
    # Python refuses to convert very long digits: 4,300 at most.
    number = int(text, 0 if text[:2] in ("0o", "0x") else 10) if len(text) < 100 else 1 << 64
    if number not in _INTS:
        raise _Refused(f"{_short(text)} is larger than 64 bits", _at(event))
    return number


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


def _plain(node: _Node, path: Path, values: dict[Path, Place], keys: dict[Path, Place]) -> Any:
    """The data of a node; notes the place of everything below it."""
    values[path] = node.at
    if isinstance(node.value, list):
        return [_plain(item, (*path, i), values, keys) for i, item in enumerate(node.value)]
    if not isinstance(node.value, dict):
        if node.value is None and path in keys:
            values[path] = keys[path]  # nothing stands nowhere: point at its key
        return node.value
    plain = {}
    for key, (place, value) in node.value.items():
        keys[*path, key] = place
        plain[key] = _plain(value, (*path, key), values, keys)
        if isinstance(value.value, dict | list):
            values[*path, key] = place
    return plain


def _events(text: str) -> Iterator[Any]:
    """The events of ruamel's parser, which interprets nothing; its errors in our words."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    try:
        yield from YAML(typ="safe", pure=True, plug_ins=[]).parse(text)
    except MarkedYAMLError as error:
        raise _syntax_error(error) from None


def _syntax_error(error: Any) -> _Refused:
    begin, problem = error.context_mark or error.problem_mark, str(error.problem)
    for pattern, words, at_begin in _SYNTAX:
        if match := re.search(pattern, problem):
            opened = f"line {begin.line + 1}, column {begin.column + 1}"
            message = match.expand(words).replace("OPENED", opened)
            place = _place(begin if at_begin else error.problem_mark)
            return _Refused(f"not YAML: {message}", place)
    return _Refused(f"not YAML: {problem}", _place(error.problem_mark or begin))


# What the parser says, what we say, and whether to point at where the construct began.
_SYNTAX = (
    (r"character '\\t'", "a tab; indent and separate with spaces", False),
    (r"character '(.)' that cannot", r"a text can't begin with \1; quote it", False),
    ("mapping values", "no `: ` can stand here; quote the text or check the indentation", False),
    ("end of stream", "the quote that opens here is never closed", True),
    ("find expected ':'", "expected `key: value`, found no colon", True),
    (
        r"expected ',' or '(.)'",
        r"expected , or \1 for the bracket opened at OPENED; quote a text that holds , [ ] { or }",
        False,
    ),
    (
        "<block end>",
        "this fits nothing above; check the indentation, or quote the whole text",
        False,
    ),
    ("comment or a line", "> and | begin a block of text; quote a text with them", False),
    (r"unknown escape character '(.)'", r"no escape \\\1 in a quoted text; use '...'", False),
    ("node content", "a value is missing", False),
)
