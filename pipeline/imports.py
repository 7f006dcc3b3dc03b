"""Columns that others published, joined to the pool: scores, captions, embeddings.

An import behaves like a scorer over the whole pool: it has an identity, writes columns, and a
row it says nothing about is NULL.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.errors import RecipeError
from pipeline.recipe import Recipe
from pipeline.sources.tables import table_columns, table_files, table_format

_JOINS = {
    "url": ("url", "URL"),
    "sha256": ("sha256", "image_sha256"),
    "key": ("key",),
    "source_key": ("source_key", "uid", "id", "key"),
}
_READS = {"url": "url", "sha256": "image_sha256", "key": "key", "source_key": "source_key"}


def make_imports(recipe: Recipe) -> dict[str, "ImportedColumns"]:
    """Every entry of `columns:` by name. Raises RecipeError for files or columns not there."""
    made = {}
    for name, section in recipe.columns.items():
        taken = None if section.take is None else tuple(section.take.items())
        entry = ImportedColumns(name, recipe.resolve(section.file), section.on, taken)
        try:
            entry.check()
        except RecipeError as error:
            raise recipe.error(error.message, "columns", name) from error
        made[name] = entry
    return made


@dataclass(frozen=True)
class ImportedColumns:
    """Columns of the tables at `pattern`, joined where `on` is equal; of equal rows the first.

    `take` has pairs (new name, name in the file); without it every column is taken. A name that
    the table lacks is looked for in an `.npz` of the same stem, rows in the table's order, as
    DataComp publishes embeddings.
    """

    name: str
    pattern: str
    on: str
    take: tuple[tuple[str, str], ...] | None = None
    version: ClassVar[int] = 1

    @property
    def reads(self) -> tuple[str, ...]:
        return (_READS[self.on],)

    @property
    def identity(self) -> dict[str, Any]:
        """What was joined to what: the digest of the files, not their place."""
        return {"on": self.on, "take": self.take, "files": self._digest}

    @cached_property
    def _files(self) -> list[str]:
        return table_files(self.pattern, self.name)

    @cached_property
    def _digest(self) -> str:
        state = hashlib.blake2b(digest_size=16)
        for path in self._files:
            for file in filter(storage.exists, [path, _npz(path)]):
                with storage.open_input(file) as stream:
                    state.update(hashlib.file_digest(stream, "blake2b").digest())
        return state.hexdigest()

    @cached_property
    def _join(self) -> str:
        columns = table_columns(self._files[0])
        for name in _JOINS[self.on]:
            if name in columns:
                return name
        wanted = " or ".join(_JOINS[self.on])
        raise RecipeError(
            f"import {self.name!r}: to join on {self.on} {self._files[0]} needs a column {wanted};"
            f" its columns are {', '.join(columns) or 'none'}"
        )

    @cached_property
    def _taken(self) -> tuple[tuple[str, str], ...]:
        if self.take is not None:
            return self.take
        columns = table_columns(self._files[0])
        return tuple((name, name) for name in columns if name != self._join)

    def check(self) -> None:
        """Raises RecipeError when a file or a column it takes is not there."""
        if any(table_format(path) != "parquet" for path in self._files):
            raise RecipeError(f"import {self.name!r}: {self._files[0]} is not Parquet")
        _ = self._join, self.writes

    @cached_property
    def writes(self) -> pa.Schema:
        schema = self._schema
        fields = []
        for new, old in self._taken:
            if old not in schema:
                listed = ", ".join(sorted(schema))
                raise RecipeError(
                    f"import {self.name!r}: {self._files[0]} has no column {old!r};"
                    f" there are {listed}"
                )
            fields.append(pa.field(new, schema[old]))
        return pa.schema(fields)

    @cached_property
    def _schema(self) -> Mapping[str, pa.DataType]:
        """The columns of the table and of the npz beside it."""
        with storage.open_input(self._files[0]) as stream:
            table = pq.read_schema(stream)
        found = {field.name: field.type for field in table}
        for name, array in _arrays(self._files[0]):
            found.setdefault(name, pa.list_(pa.from_numpy_dtype(array.dtype), array.shape[1]))
        return found

    def reduce(self, rows: pa.Table) -> pa.Table:
        """The columns for these rows of the pool; NULL where the files have no such row."""
        parts = [self._read(path) for path in self._files]
        table = pa.concat_tables(parts)
        wanted = _comparable(rows[self.reads[0]])
        places = pc.index_in(wanted, value_set=_comparable(table[self._join]).combine_chunks())
        found = {new: table[old].combine_chunks().take(places) for new, old in self._taken}
        arrays = [_finite(_whole(found[field.name]), field.type) for field in self.writes]
        return pa.table(arrays, schema=self.writes)

    def _read(self, path: str) -> pa.Table:
        wanted = {self._join, *(old for _, old in self._taken)}
        with storage.open_input(path) as stream:
            file = pq.ParquetFile(stream)
            table = file.read([name for name in file.schema_arrow.names if name in wanted])
        for name, array in _arrays(path):
            if name in wanted and name not in table.column_names:
                values = pa.array(np.ascontiguousarray(array).reshape(-1))
                column = pa.FixedSizeListArray.from_arrays(values, array.shape[1])
                table = table.append_column(name, column)
        return table.replace_schema_metadata(None)


def _npz(path: str) -> str:
    return path.removesuffix(".parquet") + ".npz"


def _arrays(path: str) -> Iterator[tuple[str, Any]]:
    """The two-dimensional arrays of the npz beside a table; object arrays are never loaded."""
    if not storage.exists(_npz(path)):
        return
    with storage.open_input(_npz(path)) as stream, np.load(stream, allow_pickle=False) as arrays:
        for name in arrays.files:
            if arrays[name].ndim == 2:
                yield name, arrays[name]


def _comparable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Hashes and keys as hex, so that both ways of writing them meet; the rest as text."""
    if pa.types.is_fixed_size_binary(column.type) or pa.types.is_binary(column.type):
        texts = [None if value is None else value.hex() for value in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    return column.cast(pa.string())


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _finite(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """NaN and infinity are no values: others write them where we have NULL."""
    column = column.cast(kind)
    if not pa.types.is_floating(kind):
        return column
    return pc.if_else(pc.is_finite(column), column, pa.scalar(None, kind))
