"""Rows of a table, whatever its format: Parquet, CSV, TSV, JSON lines, plain or gzipped.

Every line becomes a row or a reason; a damaged part of a file costs the rows in it, no others.
"""

import gzip
import json
import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from itertools import islice
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.errors import RecipeError
from pipeline.sources.base import Incoming, Unit, readable
from pipeline.sources.delimited import BROKEN, csv_header, csv_rows, lines_of

FORMATS = ("parquet", "csv", "tsv", "jsonl")
_UNIT_ROWS = 50_000
_BATCH = 512
_PLAIN = frozenset({str, int, bool, type(None)})
_SAMPLE_LINES = 1000  # lines of JSON in which every column in use should have appeared
_SHOWN_COLUMNS = 30
_FOREIGN = {  # by the first two bytes
    b"\xff\xfe": "is in UTF-16, and tables are in UTF-8",
    b"\xfe\xff": "is in UTF-16, and tables are in UTF-8",
    b"\x1f\x8b": "is packed by gzip, and its name does not end in .gz",
}
_GZIP_DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error)


def table_format(path: str) -> str:
    """One of FORMATS by the name of the file. Raises RecipeError for another."""
    name = path.lower().removesuffix(".gz")
    for format_ in FORMATS:
        if name.endswith(f".{format_}") and (format_ != "parquet" or name == path.lower()):
            return format_
    if name.endswith((".ndjson", ".json")):
        return "jsonl"
    raise RecipeError(f"{path}: known tables are {', '.join(FORMATS)}, and .gz of the text ones")


def table_files(pattern: str, source: str) -> list[str]:
    """The files of a table: one, a glob, or all tables of a folder."""
    endings = tuple(f".{f}{gz}" for f in FORMATS for gz in ("", ".gz"))
    return named_files(pattern, f"source {source!r}", endings)


def named_files(pattern: str, who: str, endings: tuple[str, ...]) -> list[str]:
    """The files of a pattern, or those below a folder that have one of the endings.

    Raises RecipeError when there are none, or when one that is named is missing.
    """
    if storage.is_folder(pattern):
        names = [n for n in files_of(pattern, who) if n.lower().endswith(endings)]
        paths = [storage.join(pattern, name) for name in names]
    else:
        paths = storage.expand(pattern)
    missing = [path for path in paths if not storage.exists(path)]
    if not paths or len(missing) == len(paths):
        kinds = "table" if len(endings) > 3 else endings[0]
        raise RecipeError(f"{who}: there is no {kinds} at {pattern}")
    if missing:
        listed = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        raise RecipeError(
            f"{who}: {len(missing)} of the {len(paths)} files of {pattern} are"
            f" missing: {listed}; a pattern with * takes those that are there"
        )
    return paths


def files_of(folder: str, who: str) -> list[str]:
    """Every file below a folder. Raises RecipeError when there is none, or a part can't be read."""
    if not storage.is_folder(folder):
        raise RecipeError(f"{who}: there is no folder {folder}")
    try:
        return storage.files_below(folder)
    except OSError as error:
        where = error.filename or folder
        raise RecipeError(f"{who}: {where} can't be read: {error.strerror}") from error


def table_units(pattern: str, source: str) -> list[Unit]:
    """The files of a table as units; large Parquet files in parts that end with a row group.

    Raises RecipeError when a file can't be opened.
    """
    return [unit for path in table_files(pattern, source) for unit in _units(path, source)]


def _units(path: str, source: str) -> Iterator[Unit]:
    stamp = str(storage.size(path))
    if table_format(path) != "parquet":
        yield Unit(source, path, stamp=stamp)
        return
    metadata = parquet_file(path).metadata
    start = rows = 0
    for group in range(metadata.num_row_groups):
        rows += metadata.row_group(group).num_rows
        if rows - start >= _UNIT_ROWS or group == metadata.num_row_groups - 1:
            yield Unit(source, path, start, rows, stamp=stamp)
            start = rows


def table_columns(path: str) -> list[str]:
    """The names of the columns; of JSON lines, those of its first thousand rows.

    Raises RecipeError when the file can't be opened or read, or is no such table.
    """
    format_ = table_format(path)
    if format_ == "parquet":
        return list(parquet_file(path).schema_arrow.names)
    try:
        with _opened(path) as stream:
            foreign = _FOREIGN.get(stream.read(2))
            if foreign is not None:
                raise RecipeError(f"{path}: {foreign}")
            stream.seek(0)
            if format_ == "jsonl":
                return _json_columns(stream, path)
            return csv_header(stream, _delimiter(format_))
    except _GZIP_DAMAGE as error:
        raise RecipeError(f"{path}: can't be read: {error}") from error


def _json_columns(stream: IO[bytes], path: str) -> list[str]:
    rows = list(islice(_json_lines(stream), _SAMPLE_LINES))
    names = dict.fromkeys(name for row in rows if BROKEN not in row for name in row)
    if rows and not names:
        why = rows[0].get(BROKEN, "line 1: an empty object")
        raise RecipeError(f"{path}: {why}; in JSON each line of a table is an object of its own")
    return list(names)


def check_columns(path: str, needed: Sequence[str], source: str) -> None:
    """Raises RecipeError when the table lacks a column, or has two of that name."""
    require_columns(table_columns(path), needed, f"source {source!r}: {path}")


def require_columns(found: Sequence[str], needed: Sequence[str], where: str) -> None:
    """Raises RecipeError when a name is not found once, with those that are."""
    for name in needed:
        if found.count(name) != 1:
            shown = [repr(column[:60]) for column in found[:_SHOWN_COLUMNS]]
            more = [f"and {len(found) - len(shown)} more"] if len(found) > len(shown) else []
            what = "no column" if name not in found else f"{found.count(name)} columns"
            raise RecipeError(
                f"{where} has {what} {name!r}; its columns are {', '.join(shown + more) or 'none'}"
            )


def read_rows(unit: Unit, batch_rows: int = _BATCH) -> Iterator[dict[str, Any]]:
    """The rows of a unit in order; what is no row comes as `{BROKEN: reason}`.

    A file that can't be read further ends with such a row; of Parquet every row of a damaged
    row group is one.
    """
    format_ = table_format(unit.path)
    if format_ == "parquet":
        yield from _parquet_rows(unit, batch_rows)
        return
    with _opened(unit.path) as stream:
        try:
            if format_ == "jsonl":
                yield from _json_lines(stream)
            else:
                yield from csv_rows(stream, _delimiter(format_))
        except _GZIP_DAMAGE as error:
            yield {BROKEN: f"the file can't be read further: {error}"}


def broken(fields: dict[str, Any], source_key: str) -> Incoming | None:
    """The failed row for what read_rows found to be none; None for a good one."""
    if BROKEN not in fields:
        return None
    return Incoming(source_key=source_key, failed="bad_row", detail=fields[BROKEN], retriable=False)


def parquet_file(path: str) -> pq.ParquetFile:
    """An open Parquet file. Raises RecipeError when it can't be opened or is none."""
    try:
        return pq.ParquetFile(storage.open_input(path))
    except (pa.ArrowException, OSError) as error:
        raise RecipeError(f"{path}: can't be read as Parquet: {error}") from error


def _parquet_rows(unit: Unit, batch_rows: int) -> Iterator[dict[str, Any]]:
    file = parquet_file(unit.path)
    beyond = file.metadata.num_rows if unit.stop is None else unit.stop
    position = 0
    for group in range(file.metadata.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if unit.start <= position < beyond:
            yield from _group_rows(file, group, rows, batch_rows)
        position += rows


def _group_rows(
    file: pq.ParquetFile, group: int, rows: int, batch_rows: int
) -> Iterator[dict[str, Any]]:
    done = 0
    try:
        for batch in file.iter_batches(batch_size=batch_rows, row_groups=[group]):
            for row in batch.to_pylist():
                yield row
                done += 1
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = f"row group {group} can't be read: {error}"
        for _ in range(done, rows):
            yield {BROKEN: reason}


def _delimiter(format_: str) -> str:
    return "\t" if format_ == "tsv" else ","


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    try:
        stream = storage.open_input(path)
    except OSError as error:
        raise RecipeError(f"{path}: can't be opened: {error.strerror or error}") from error
    with stream:
        if path.lower().endswith(".gz"):
            with gzip.GzipFile(fileobj=stream) as unpacked:
                yield cast(IO[bytes], unpacked)
        else:
            yield stream


def _json_lines(stream: IO[bytes]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines_of(stream), start=1):
        if line is None:
            yield {BROKEN: f"line {number}: is too long"}
            continue
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield {BROKEN: f"line {number}: {error}"}
            continue
        yield value if isinstance(value, dict) else {BROKEN: f"line {number}: no object"}


def plain(value: Any) -> Any:
    """A value as JSON can hold it: bytes are left out, NaN is None, times are text."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {
            str(k): v if type(v) in _PLAIN else plain(v)
            for k, v in value.items()
            if not isinstance(v, bytes)
        }
    if isinstance(value, list | tuple):
        return [plain(item) for item in value if not isinstance(item, bytes)]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    return None if isinstance(value, bytes) else str(value)


def text_of(value: Any) -> str | None:
    """A cell as text: NULL and NaN are none; numbers as they print, bytes as UTF-8."""
    if type(value) is str:
        return readable(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    value = plain(value)
    return None if value is None else readable(value if isinstance(value, str) else str(value))
