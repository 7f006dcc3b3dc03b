"""Lists of what must not be used, read whole or refused whole.

A list is a text of one name a line, or a table (CSV, TSV, JSON lines, Parquet) whose columns say
what they hold. A name that could be of two kinds, or would take down more than a site, is refused
with its line; then nothing of the list comes into force.
"""

import csv
import datetime
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.domains import is_public_suffix
from pipeline.errors import RecipeError
from pipeline.takedown_record import KINDS, Entry
from pipeline.urls import host_of

DISTANCE, MAX_DISTANCE = 4, 12  # of 64 bits
MAX_BYTES = 1 << 30
_LONGEST = 4096  # signs of a name or a reason
_TOLD = 20
_VALUES = ("value", "entry", "name")
_HEX = re.compile(r"(?:0x)?([0-9a-f]+)")
_BY_LENGTH = {16: "phash", 32: "key", 64: "sha256"}
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
Fields = Mapping[str, Any]


def read_list(path: str, reason: str | None, date: str) -> list[Entry]:
    """What a list names, in its order; `reason` and `date` are for entries without their own.

    Raises RecipeError that names the lines which say nothing clear; a list of nothing is one.
    """
    try:
        _day(date)
    except ValueError as error:
        raise RecipeError(f"--date: {error}") from None
    found: list[Entry] = []
    problems: list[str] = []
    for where, fields in _rows(path):
        try:
            if isinstance(fields, str):
                raise ValueError(fields)
            found += _entries(fields, reason, date)
        except ValueError as error:
            problems.append(f"  {where}: {error}")
    if problems:
        more = [f"  and {len(problems) - _TOLD} more"] if len(problems) > _TOLD else []
        told = "\n".join([*problems[:_TOLD], *more])
        raise RecipeError(f"{path}: nothing of it counts, as these are not clear\n{told}")
    if not found:
        raise RecipeError(f"{path}: names nothing")
    return found


def _rows(path: str) -> Iterator[tuple[str, Fields | str]]:
    """(line, fields) of each line, or (line, what is wrong); of a plain text one field."""
    if not storage.exists(path) or storage.is_folder(path):
        raise RecipeError(f"{path}: there is no such list")
    if storage.size(path) > MAX_BYTES:
        raise RecipeError(f"{path}: is of {storage.size(path):,} bytes (limit {MAX_BYTES:,})")
    name = path.lower()
    try:
        if name.endswith(".parquet"):
            yield from _parquet(path)
            return
        text = storage.read_bytes(path).decode("utf-8-sig")
    except (UnicodeDecodeError, pa.ArrowException, OSError) as error:
        raise RecipeError(f"{path}: can't be read: {storage.first_line(error)}") from error
    if name.endswith((".csv", ".tsv")):
        yield from _csv(path, text, "\t" if name.endswith(".tsv") else ",")
    elif name.endswith((".jsonl", ".ndjson")):
        yield from _json(text)
    elif name.endswith((".gz", ".zip", ".json", ".xlsx", ".tar", ".npz")):
        raise RecipeError(f"{path}: a list is a text, .csv, .tsv, .jsonl or .parquet")
    else:
        yield from _lines(text)


def _lines(text: str) -> Iterator[tuple[str, Fields | str]]:
    for number, line in enumerate(text.split("\n"), 1):
        words = re.sub(r"(^|\s)#.*", "", line).split()
        if len(words) > 1:
            yield f"line {number}", f"{len(words)} words, and a line is one name"
        elif words:
            yield f"line {number}", {"value": words[0]}


def _csv(path: str, text: str, delimiter: str) -> Iterator[tuple[str, Fields | str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        line = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"line {line}", f"{error}; what follows is not read"
            return
        if not header:
            header = values
            _check_header(path, header)
        elif values and len(values) != len(header):
            yield f"line {line}", f"{len(values)} fields, not {len(header)}"
        elif values:
            yield f"line {line}", dict(zip(header, values, strict=True))


def _json(text: str) -> Iterator[tuple[str, Fields | str]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield f"line {number}", f"no JSON: {error}"
            continue
        yield f"line {number}", fields if isinstance(fields, dict) else "no object"


def _parquet(path: str) -> Iterator[tuple[str, Fields | str]]:
    with storage.open_input(path) as stream:
        file = pq.ParquetFile(stream)
        _check_header(path, file.schema_arrow.names)
        wanted = {"kind", "distance", "reason", "date", *_VALUES, *KINDS}
        names = [name for name in file.schema_arrow.names if name in wanted]
        number = 0
        for batch in file.iter_batches(columns=names):
            for fields in batch.to_pylist():
                number += 1
                yield f"row {number}", fields


def _check_header(path: str, names: list[str]) -> None:
    known = [name for name in names if name in (*_VALUES, *KINDS)]
    if not known or len(set(known)) < len(known):
        shown = ", ".join(repr(name[:40]) for name in names[:20]) or "none"
        raise RecipeError(
            f"{path}: needs a column {', '.join(KINDS)}, or `value` (and `kind`), each once;"
            f" its columns are {shown}"
        )


def _entries(fields: Fields, reason: str | None, date: str) -> Iterator[Entry]:
    """The entries of a row: its value, and each column that is called after a kind."""
    own = _text(fields.get("reason")) or reason
    if own is not None and len(own) > _LONGEST:
        raise ValueError(f"a reason of {len(own)} signs (limit {_LONGEST})")
    since = fields.get("date")
    day = _day(str(since)[:10] if isinstance(since, datetime.date) else _text(since) or date)
    named = [(kind, fields[kind]) for kind in KINDS if _is_given(fields.get(kind))]
    kind = _text(fields.get("kind"))
    for column in _VALUES:
        if _is_given(fields.get(column)):
            named.append((kind or "", fields[column]))
    if not named:
        raise ValueError("names nothing")
    for kind, value in named:
        kind, name = _named(kind.lower(), value)
        distance = _distance(fields.get("distance")) if kind == "phash" else None
        yield Entry(kind, name, distance, own, day)


def _is_given(value: Any) -> bool:
    return value is not None and value != "" and value != b""


def _named(kind: str, value: Any) -> tuple[str, str]:
    """Kind and canonical name. Raises ValueError for what is not clear."""
    if isinstance(value, bytes) and kind in ("key", "sha256"):
        value = value.hex()
    if isinstance(value, int) and not isinstance(value, bool) and kind == "phash":
        value = f"{value:016x}"
    text = _text(value)
    if text is None:
        raise ValueError(f"{value!r:.60} is no text")
    if len(text) > _LONGEST:
        raise ValueError(f"a name of {len(text)} signs (limit {_LONGEST})")
    if kind and kind not in _CHECKED:
        raise ValueError(f"no kind {kind[:40]!r}; known are {', '.join(KINDS)}")
    kind = kind or _kind_of(text)
    return kind, _CHECKED[kind](text)


def _kind_of(text: str) -> str:
    """What a name is by its form alone."""
    number = _HEX.fullmatch(text.lower())
    if number is not None and len(number[1]) in _BY_LENGTH:
        return _BY_LENGTH[len(number[1])]
    if "://" in text:
        return "url"
    if "." in text and not re.search(r"[/?#@\s]", text):
        return "domain"
    raise ValueError(
        f"{text[:60]!r} may be anything: a URL has its http://, a domain no path, a key 32, a"
        " sha256 64 and a phash 16 hexadecimal digits"
    )


def _hexadecimal(digits: int) -> Callable[[str], str]:
    def check(text: str) -> str:
        number = _HEX.fullmatch(text.lower())
        if number is None or len(number[1]) != digits:
            raise ValueError(f"{text[:80]!r} has not {digits} hexadecimal digits")
        return number[1]

    return check


def _url(text: str) -> str:
    """A URL as it came; it must be one that names a host."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"{text[:80]!r} is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text[:80]!r} is no URL of http or https")
    return text


def _domain(text: str) -> str:
    host = host_of(text.removeprefix("*.").strip("[]"))
    is_address = re.fullmatch(r"(\d+\.){3}\d+|[0-9a-f.:]*:[0-9a-f.:]*", host) is not None
    if not is_address and not all(map(_HOST.fullmatch, host.split("."))):
        raise ValueError(f"{text[:80]!r} is no domain")
    if not is_address and ("." not in host or is_public_suffix(host)):
        raise ValueError(f"{text[:80]!r} is no domain of its own: all sites below it would go")
    return host


_CHECKED: dict[str, Callable[[str], str]] = {
    "key": _hexadecimal(32),
    "url": _url,
    "domain": _domain,
    "sha256": _hexadecimal(64),
    "phash": _hexadecimal(16),
}


def _distance(value: Any) -> int:
    if not _is_given(value):
        return DISTANCE
    text = _text(value) or ""
    if not text.isascii() or not text.isdecimal() or len(text) > 2 or int(text) > MAX_DISTANCE:
        raise ValueError(f"distance {value!r:.40}: must be 0 to {MAX_DISTANCE} bits")
    return int(text)


def _day(text: str) -> str:
    try:
        if not _DAY.fullmatch(text):
            raise ValueError
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no date such as 2026-01-31") from None


def _text(value: Any) -> str | None:
    """A cell as text without blanks around it; None when it is empty or no text."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        return None
    if not value.strip().isprintable():
        raise ValueError(f"{value[:60]!r} holds signs that can't be printed")
    return value.strip()
