"""Rows of a table, whatever its format: Parquet, CSV, TSV, JSON lines, plain or gzipped."""

import csv
import gzip
import io
import json
import math
import sys
from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.errors import DamagedFile, RecipeError
from pipeline.sources.base import Unit

FORMATS = ("parquet", "csv", "tsv", "jsonl")
BROKEN = "\0broken"  # the name under which a line that is no row carries its reason
_UNIT_ROWS = 50_000
csv.field_size_limit(min(sys.maxsize, 1 << 31))


def table_format(path: str) -> str:
    """One of FORMATS by the name of the file. Raises RecipeError for another."""
    name = path.lower().removesuffix(".gz")
    for format_ in FORMATS:
        if name.endswith(f".{format_}"):
            return format_
    if name.endswith((".ndjson", ".json")):
        return "jsonl"
    raise RecipeError(f"{path}: known tables are {', '.join(FORMATS)}, and .gz of the text ones")


def table_files(pattern: str, source: str) -> list[str]:
    """The files of a table: one, a glob, or all tables of a folder."""
    if storage.is_folder(pattern):
        names = storage.files_below(pattern)
        paths = [storage.join(pattern, name) for name in names if _is_table(name)]
    else:
        paths = [path for path in storage.expand(pattern) if storage.exists(path)]
    if not paths:
        raise RecipeError(f"source {source!r}: there is no table at {pattern}")
    return paths


def _is_table(name: str) -> bool:
    return any(name.lower().removesuffix(".gz").endswith(f".{f}") for f in FORMATS)


def table_units(pattern: str, source: str) -> list[Unit]:
    """The files of a table as units; large Parquet files in parts that end with a row group."""
    return [unit for path in table_files(pattern, source) for unit in _units(path, source)]


def _units(path: str, source: str) -> Iterator[Unit]:
    stamp = str(storage.size(path))
    if table_format(path) != "parquet":
        yield Unit(source, path, stamp=stamp)
        return
    metadata = _parquet(path).metadata
    start = rows = 0
    for group in range(metadata.num_row_groups):
        rows += metadata.row_group(group).num_rows
        if rows - start >= _UNIT_ROWS or group == metadata.num_row_groups - 1:
            yield Unit(source, path, start, rows, stamp=stamp)
            start = rows


def table_columns(path: str) -> list[str]:
    """The names of the columns; of JSON lines, those of the first row."""
    format_ = table_format(path)
    if format_ == "parquet":
        return list(_parquet(path).schema_arrow.names)
    if format_ == "jsonl":
        first = next(_json_lines(path), {})
        return [] if BROKEN in first else list(first)
    with _text(path) as stream:
        return next(csv.reader(stream, delimiter=_delimiter(format_)), [])


def check_columns(path: str, needed: Sequence[str], source: str) -> None:
    """Raises RecipeError when the table lacks a column, with those it has."""
    found = table_columns(path)
    for name in needed:
        if name not in found:
            listed = ", ".join(found) or "none"
            raise RecipeError(
                f"source {source!r}: {path} has no column {name!r}; its columns are {listed}"
            )


def read_rows(unit: Unit) -> Iterator[dict[str, Any]]:
    """The rows of a unit in order; a line that is no row comes as `{BROKEN: reason}`."""
    format_ = table_format(unit.path)
    if format_ == "parquet":
        yield from _parquet_rows(unit)
    elif format_ == "jsonl":
        yield from _json_lines(unit.path)
    else:
        yield from _csv_rows(unit.path, _delimiter(format_))


def _parquet(path: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(storage.open_input(path))
    except pa.ArrowException as error:
        raise DamagedFile(f"{path}: is no Parquet file: {error}") from error


def _parquet_rows(unit: Unit) -> Iterator[dict[str, Any]]:
    file = _parquet(unit.path)
    beyond = file.metadata.num_rows if unit.stop is None else unit.stop
    position = 0
    groups = []
    for group in range(file.metadata.num_row_groups):
        if unit.start <= position < beyond:
            groups.append(group)
        position += file.metadata.row_group(group).num_rows
    for batch in file.iter_batches(batch_size=512, row_groups=groups):
        yield from batch.to_pylist()


def _delimiter(format_: str) -> str:
    return "\t" if format_ == "tsv" else ","


def _text(path: str) -> IO[str]:
    return io.TextIOWrapper(_bytes(path), encoding="utf-8-sig", errors="replace", newline="")


def _bytes(path: str) -> IO[bytes]:
    stream = storage.open_input(path)
    return gzip.GzipFile(fileobj=stream) if path.lower().endswith(".gz") else stream


def _csv_rows(path: str, delimiter: str) -> Iterator[dict[str, Any]]:
    with _text(path) as stream:
        lines = csv.reader(stream, delimiter=delimiter)
        header = next(lines, [])
        while True:
            try:
                values = next(lines)
            except StopIteration:
                return
            except csv.Error as error:
                yield {BROKEN: f"line {lines.line_num}: {error}"}
                continue
            if len(values) != len(header):
                yield {BROKEN: f"line {lines.line_num}: {len(values)} fields, not {len(header)}"}
            else:
                yield {n: v if v != "" else None for n, v in zip(header, values, strict=True)}


def _json_lines(path: str) -> Iterator[dict[str, Any]]:
    with _bytes(path) as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError as error:
                yield {BROKEN: f"line {number}: {error}"}
                continue
            yield value if isinstance(value, dict) else {BROKEN: f"line {number}: no object"}


def plain(value: Any) -> Any:
    """A value as JSON can hold it: bytes are left out, NaN is None, times are text."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if not isinstance(v, bytes)}
    if isinstance(value, list):
        return [plain(item) for item in value if not isinstance(item, bytes)]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return None if isinstance(value, bytes) else str(value)


def text_of(value: Any) -> str | None:
    """A cell as text: NULL and NaN are none; numbers as they print."""
    value = plain(value)
    return None if value is None else value if isinstance(value, str) else str(value)
