"""CSV and TSV line by line: a quote that never closes costs its own line, not the rest of the file.

Memory is bounded by the bytes and the lines that one row may stretch over.
"""

import csv
from collections import deque
from collections.abc import Iterator
from typing import IO, Any

BROKEN = "\0broken"  # the name under which a line that is no row carries its reason
_MAX_BYTES = 16_000_000  # of one row
_MAX_LINES = 200  # that the quoted fields of one row may stretch over
_BOM = b"\xef\xbb\xbf"
csv.field_size_limit(2 * _MAX_BYTES)


def lines_of(stream: IO[bytes]) -> Iterator[bytes | None]:
    """The lines of a file with their ends, no byte order mark; None for one of over 16 MB."""
    limit = _MAX_BYTES + len(_BOM)
    is_first = True
    while line := stream.readline(limit):
        if is_first:
            line, is_first = line.removeprefix(_BOM), False
        if len(line) <= _MAX_BYTES:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(limit)
        yield None


def csv_rows(stream: IO[bytes], delimiter: str) -> Iterator[dict[str, Any]]:
    """The rows below the header; an empty cell is None, what is no row `{BROKEN: reason}`."""
    header: list[str] | None = None
    for number, values in _records(stream, delimiter):
        if isinstance(values, str):
            yield {BROKEN: f"line {number}: {values}"}
        elif header is None:
            header = values
        elif len(values) != len(header):
            yield {BROKEN: f"line {number}: {len(values)} fields, not {len(header)}"}
        else:
            yield {n: v if v != "" else None for n, v in zip(header, values, strict=True)}


def csv_header(stream: IO[bytes], delimiter: str) -> list[str]:
    """The names of the columns; none of an empty file."""
    found = (values for _, values in _records(stream, delimiter) if isinstance(values, list))
    return next(found, [])


class _Lines:
    """Text lines for a csv reader, one row's at most; a class because lines can go back."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._lines = lines_of(stream)
        self._back: deque[bytes | None] = deque()
        self.taken: list[bytes | None] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        size = sum(len(line or b"") for line in self.taken) if self.taken else 0
        if len(self.taken) == _MAX_LINES or size > _MAX_BYTES:
            raise StopIteration
        line = self._back.popleft() if self._back else next(self._lines)
        self.taken.append(line)
        if line is None:
            raise StopIteration
        return _text(line)

    def first_alone(self) -> str:
        """The first line that was taken; the others are read again."""
        first, *others = self.taken
        self._back.extendleft(reversed(others))
        self.taken = [first]
        return _text(first or b"")


def _text(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape")


def _records(stream: IO[bytes], delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """(line, fields) of each row, or (line, reason). Blank lines are no rows."""
    lines = _Lines(stream)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    number = 1
    while True:
        values: list[str] | str
        try:
            values = next(reader)
        except StopIteration:
            if not lines.taken:
                return
            values = f"more than {_MAX_BYTES} bytes"
        except csv.Error:
            values = _line_alone(lines, delimiter)
        if delimiter == "\t" and _are_rows(lines.taken, values):
            values = _line_alone(lines, delimiter)
        if values:
            yield number, values
        number += len(lines.taken)
        lines.taken = []


def _line_alone(lines: _Lines, delimiter: str) -> list[str] | str:
    """The fields of a line whose quotes don't match: taken for letters where they can't be quotes.

    TSV that was written without quoting has captions that begin with a quotation mark.
    """
    unclosed = len(lines.taken) > 1
    text = lines.first_alone()
    literal = delimiter == "\t" or unclosed or text.count('"') % 2 == 1
    literally = csv.reader([text], delimiter=delimiter, quoting=csv.QUOTE_NONE)
    try:
        return next(literally if literal else csv.reader([text], delimiter=delimiter))
    except csv.Error as error:
        return str(error)


def _are_rows(taken: list[bytes | None], values: list[str] | str) -> bool:
    """Whether the lines of one row would be as many rows, were quotation marks mere letters."""
    if len(taken) < 2 or isinstance(values, str) or len(values) < 2:
        return False
    return all((line or b"").count(b"\t") == len(values) - 1 for line in taken)
