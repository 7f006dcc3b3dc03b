"""The one home of DuckDB: in-memory databases in which no SQL can open a file or load code.

Everything is switched off before the settings are locked, so no statement can switch it on again.
"""

import os
import re
from functools import lru_cache
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import RecipeError

Database = duckdb.DuckDBPyConnection
SqlError = duckdb.Error
OutOfMemory = duckdb.OutOfMemoryException

_SAFE = (
    "python_enable_replacements = false",  # a Python variable is not a table
    "autoinstall_known_extensions = false",
    "autoload_known_extensions = false",
    "enable_external_access = false",
    "lock_configuration = true",
)


def open_database(
    *, memory_limit: str = "512MB", threads: int | None = None, temp_dir: Path | None = None
) -> Database:
    """An empty database of its own; what exceeds `memory_limit` goes to `temp_dir`, if given.

    Raises RecipeError for a limit that is no size.
    """
    database = duckdb.connect(":memory:")
    database.execute(f"set temp_directory = {literal(str(temp_dir) if temp_dir else '')}")
    try:
        database.execute(f"set memory_limit = {literal(memory_limit)}")
    except duckdb.Error as error:
        database.close()
        raise RecipeError(f"memory limit {memory_limit!r}: {short(error)}") from error
    if threads is not None:
        database.execute(f"set threads = {threads:d}")
    for setting in _SAFE:
        database.execute(f"set {setting}")
    return database


def small_database() -> Database:
    """A cursor of a database for small questions, kept for the life of this process.

    Close it after use.
    """
    return _small(os.getpid()).cursor()


@lru_cache(maxsize=1)
def _small(process: int) -> Database:
    """One for each process: a database must not be used on both sides of a fork."""
    return open_database(threads=1)


def quoted(name: str) -> str:
    """A column name as SQL: `group` is a fine column and a keyword."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def short(error: Exception) -> str:
    """The one line of a DuckDB message that says what is wrong, without the quoted statement."""
    text = re.split(r"\n\s*(?:LINE \d+:|Candidate|Possible|\n)", str(error), maxsplit=1)[0]
    return re.sub(r"^[A-Z][A-Za-z ]* Error: ", "", " ".join(text.split())).rstrip(".")


def readable(table: pa.Table) -> pa.Table:
    """A table as DuckDB can read it: no half floats; what is not finite is NULL."""
    for position, field in enumerate(table.schema):
        if not pa.types.is_floating(field.type):
            continue
        given = column = table.column(position)
        if pa.types.is_float16(field.type):
            column = column.cast(pa.float32())
        finite = pc.is_finite(column)
        if not pc.all(finite).as_py():
            column = pc.if_else(finite, column, pa.scalar(None, column.type))
        if column is not given:
            table = table.set_column(position, field.name, column)
    return table
