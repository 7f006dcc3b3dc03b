"""Columns that others published, joined to the pool: scores, captions, embeddings.

An import behaves like a scorer over the whole pool: it has an identity, writes columns, and a
row it says nothing about is NULL.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import npz, storage
from pipeline.errors import DamagedFile, RecipeError
from pipeline.recipe import Recipe
from pipeline.sources.tables import named_files, parquet_file, require_columns

_JOINS = {
    "url": ("url", "URL"),
    "sha256": ("sha256", "image_sha256"),
    "key": ("key",),
    "source_key": ("source_key", "uid", "id", "key"),
}
_READS = {"url": "url", "sha256": "image_sha256", "key": "key", "source_key": "source_key"}
_CHUNK = 1 << 20
_NPZ = ".npz"


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
    DataComp publishes embeddings. An `.npz` without such a table is one itself: its arrays of
    texts are what is joined on, as an export writes them beside its tars. NULL joins nothing.
    """

    name: str
    pattern: str
    on: str
    take: tuple[tuple[str, str], ...] | None = None
    version: ClassVar[int] = 2  # vectors as lists of any length; NULL where they have a mask or NaN

    @property
    def reads(self) -> tuple[str, ...]:
        return (_READS[self.on],)

    @property
    def identity(self) -> dict[str, Any]:
        """What was joined to what: the digest of the files, not their place."""
        return {"on": self.on, "take": self.take, "files": self._digest}

    @cached_property
    def _files(self) -> list[str]:
        found = named_files(self.pattern, f"import {self.name!r}", (".parquet", _NPZ))
        tables = {_npz(path) for path in found if not path.endswith(_NPZ)}
        return [path for path in found if path not in tables]

    @cached_property
    def _digest(self) -> str:
        """Of the tables by their bytes, of an npz by the checksums it holds: it may be huge."""
        state = hashlib.blake2b(digest_size=16)
        for path in self._files:
            if not path.endswith(_NPZ):
                state.update(_file_digest(path, storage.size(path), storage.stamp(path)))
            if self._from_npz:
                state.update(repr(npz.checksums(_npz(path))).encode())
        return state.hexdigest()

    @cached_property
    def _columns(self) -> Mapping[str, pa.DataType]:
        """The columns of the first table."""
        return {field.name: field.type for field in _schema(self._files[0])}

    @cached_property
    def _join(self) -> str:
        for name in _JOINS[self.on]:
            if name in self._columns:
                return name
        wanted = " or ".join(_JOINS[self.on])
        raise RecipeError(
            f"import {self.name!r}: to join on {self.on} {self._files[0]} needs a column {wanted};"
            f" its columns are {', '.join(self._columns) or 'none'}"
        )

    @cached_property
    def _taken(self) -> tuple[tuple[str, str], ...]:
        if self.take is not None:
            return self.take
        names = [name for name in self._columns if name != self._join]
        if self._files[0].endswith(_NPZ):
            names += npz.vector_types(self._files[0])
        return tuple((name, name) for name in names)

    @cached_property
    def _from_npz(self) -> tuple[str, ...]:
        """The columns that the tables do not have."""
        return tuple(dict.fromkeys(old for _, old in self._taken if old not in self._columns))

    def check(self) -> None:
        """Raises RecipeError when a file or a column it takes is not there."""
        _ = self.writes
        if not self._taken:
            raise RecipeError(f"import {self.name!r}: {self._files[0]} has no column to take")
        needed = [self._join, *(old for _, old in self._taken if old not in self._from_npz)]
        for path in self._files:
            columns = _schema(path).names
            require_columns(columns, list(dict.fromkeys(needed)), f"import {self.name!r}: {path}")
            if self._from_npz:
                found = sorted(npz.vector_types(_npz(path)))
                where = f"import {self.name!r}: {path} with its npz"
                require_columns([*columns, *found], self._from_npz, where)

    @cached_property
    def writes(self) -> pa.Schema:
        known = {
            **(npz.vector_types(_npz(self._files[0])) if self._from_npz else {}),
            **self._columns,
        }
        where = f"import {self.name!r}: {self._files[0]}"
        require_columns(sorted(known), [self._join, *(old for _, old in self._taken)], where)
        return pa.schema([pa.field(new, known[old]) for new, old in self._taken])

    def reduce(self, rows: pa.Table) -> pa.Table:
        """The columns for these rows of the pool; NULL where the files have no such row.

        Memory: the column joined on of every file, the rows that were found, and one file.
        """
        joined = [self._names(self._read(path, [self._join])[self._join]) for path in self._files]
        chunks = [chunk for part in joined for chunk in part.chunks]
        everything = pa.chunked_array(chunks, pa.large_string())
        wanted = self._names(rows[self.reads[0]])
        indices: Any = pc.index_in(wanted, value_set=everything.combine_chunks(), skip_nulls=True)
        places = indices.fill_null(-1).to_numpy()
        found = np.unique(places[places >= 0])
        parts, start = [self.writes.empty_table()], 0
        for path, part in zip(self._files, joined, strict=True):
            inside = found[(found >= start) & (found < start + len(part))] - start
            if len(inside):
                parts.append(self._rows(path, inside))
            start += len(part)
        positions = pa.array(np.searchsorted(found, places), mask=places < 0)
        return pa.concat_tables(parts).combine_chunks().take(positions)

    def _names(self, column: "pa.ChunkedArray[Any]") -> "pa.ChunkedArray[Any]":
        """What is joined on as text; hashes and keys as hex, whichever way they are stored."""
        kind = column.type
        is_binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
        if pa.types.is_fixed_size_binary(kind) or is_binary:
            texts = [None if value is None else value.hex() for value in column.to_pylist()]
            return pa.chunked_array([pa.array(texts, pa.large_string())])
        names: Any = column.cast(pa.large_string())
        lowered: pa.ChunkedArray[Any] = pc.utf8_lower(names)
        return lowered if self.on in ("sha256", "key") else names

    def _rows(self, path: str, positions: Any) -> pa.Table:
        """The columns of some rows of one file."""
        stored = [old for _, old in self._taken if old not in self._from_npz]
        table = self._read(path, list(dict.fromkeys(stored or [self._join])))
        found = {name: table[name].take(pa.array(positions)) for name in table.column_names}
        for name in self._from_npz:
            vectors = npz.read_vectors(_npz(path), name, len(table)).take(pa.array(positions))
            found[name] = pa.chunked_array([vectors])
        arrays = [
            _finite(found[old].cast(field.type))
            for field, (_, old) in zip(self.writes, self._taken, strict=True)
        ]
        return pa.table(arrays, schema=self.writes)

    def _read(self, path: str, columns: list[str]) -> pa.Table:
        try:
            if path.endswith(_NPZ):
                return _texts(path, columns)
            return parquet_file(path).read(columns).replace_schema_metadata(None)
        except (pa.ArrowException, OSError) as error:
            raise DamagedFile(f"{path}: can't be read: {error}") from error


@lru_cache(maxsize=4096)
def _file_digest(path: str, _size: int, _stamp: int) -> bytes:
    """The digest of a file, taken once for each change of it."""
    state = hashlib.blake2b(digest_size=16)
    with storage.open_input(path) as stream:
        while block := stream.read(_CHUNK):
            state.update(block)
    return state.digest()


def _npz(path: str) -> str:
    return path.removesuffix(_NPZ).removesuffix(".parquet") + _NPZ


def _schema(path: str) -> pa.Schema:
    """The columns of a table; of an npz its arrays of texts."""
    if path.endswith(_NPZ):
        return pa.schema([(name, pa.string()) for name in npz.text_names(path)])
    return parquet_file(path).schema_arrow


def _texts(path: str, names: list[str]) -> pa.Table:
    found = {name: pa.array(values) for name, values in npz.read_arrays(path, *names)}
    return pa.table({name: column.cast(pa.string()) for name, column in found.items()})


def _finite(column: "pa.ChunkedArray[Any]") -> "pa.ChunkedArray[Any]":
    """NaN and infinity are no values: others write them where we have NULL."""
    if not pa.types.is_floating(column.type):
        return column
    values: pa.ChunkedArray[Any] = pc.if_else(pc.is_finite(column), column, None)
    return values.cast(column.type)
