"""Columns: one Parquet file per scorer and shard, rows in the base rows' order, NULL for no value.

A column file is complete or absent, and its metadata names the fingerprint of what wrote it and
the rows it describes: a file of other parameters, of an older version or of another pool is
never mistaken for the one asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import packs, storage
from pipeline.errors import DamagedFile
from pipeline.packs import open_pack, write_pack
from pipeline.pool import Shard


@dataclass(frozen=True, slots=True)
class ColumnSet:
    """The columns that one scorer instance wrote with one identity, for every shard of a pool.

    `asked` names the rows it was limited to (empty: all), which is part of the place but not of
    the value's identity.
    """

    root: str
    name: str
    fingerprint: str
    schema: pa.Schema
    asked: str = ""

    @property
    def folder_name(self) -> str:
        return f"{self.fingerprint}-{self.asked}" if self.asked else self.fingerprint

    @property
    def folder(self) -> str:
        return storage.join(self.root, "columns", self.name, self.folder_name)

    @property
    def error_column(self) -> str:
        return f"{self.name}_error"

    @property
    def names(self) -> list[str]:
        """The columns, and the one of the reasons why their values are missing."""
        return [*self.schema.names, self.error_column]

    def path(self, shard: Shard) -> str:
        return storage.join(self.folder, f"{shard.name}.parquet")

    def has(self, shard: Shard) -> bool:
        """Whether the columns are there, readable, and about exactly these rows."""
        pack = self._pack()
        if pack is not None and shard.digest in pack.groups:
            return True
        path = self.path(shard)
        if not storage.exists(path):
            return False
        try:
            with storage.open_input(path) as stream:
                metadata = pq.read_metadata(stream).metadata or {}
        except (pa.ArrowException, OSError):
            return False
        return metadata.get(b"fingerprint") == self.fingerprint.encode() and (
            metadata.get(b"shard") == shard.digest.encode()
        )

    def write(self, shard: Shard, table: pa.Table) -> None:
        """Write the columns of a shard.

        Raises ValueError when they are not one row per base row, or hold NaN or infinity.
        """
        check(table, shard.rows)
        metadata = {
            "fingerprint": self.fingerprint,
            "shard": shard.digest,
            "keys": shard.keys,
            "rows": str(shard.rows),
        }
        with storage.writing(self.path(shard), durable=False) as temporary:
            table = table.replace_schema_metadata(metadata)
            pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)

    def read(self, shard: Shard, columns: Sequence[str] | None = None) -> pa.Table:
        """The columns of a shard, in the order of its base rows.

        Raises DamagedFile when the file can't be read or describes other rows.
        """
        pack = self._pack()
        if pack is not None and shard.digest in pack.groups:
            return self._packed(pack, [shard], columns)
        path = self.path(shard)
        wanted = None if columns is None else list(columns)
        try:
            with storage.open_input(path) as stream:
                table = pq.read_table(stream, columns=wanted, page_checksum_verification=True)
        except FileNotFoundError:
            raise DamagedFile(f"{path}: is missing; score again to make it") from None
        except (pa.ArrowException, OSError) as error:
            what = storage.first_line(error)
            raise DamagedFile(f"{path}: can't be read, remove it and score again: {what}") from (
                error
            )
        metadata = table.schema.metadata or {}
        if metadata.get(b"keys") != shard.keys.encode() or len(table) != shard.rows:
            raise DamagedFile(f"{path}: describes other rows than shard {shard.name} has")
        return table.replace_schema_metadata(None)

    def read_range(self, shards: Sequence[Shard], columns: Sequence[str]) -> pa.Table:
        """The columns of neighbouring shards, in order."""
        pack = self._pack()
        if pack is not None and all(shard.digest in pack.groups for shard in shards):
            return self._packed(pack, shards, columns)
        return pa.concat_tables([self.read(shard, columns) for shard in shards])

    def pack(self, shards: Sequence[Shard]) -> None:
        """Bring the files of a large pool into one, and remove them; others may do so at once."""
        if len(shards) < packs.PACK_FROM or self._pack() is not None:
            return
        try:
            write_pack(
                self._pack_path,
                self.fingerprint,
                [shard.digest for shard in shards],
                lambda position: self.read(shards[position]),
            )
        except DamagedFile:
            if self._pack() is None:  # else another part has packed them and removed the files
                raise
        for shard in shards:
            storage.remove(self.path(shard))

    @property
    def _pack_path(self) -> str:
        return storage.join(self.folder, packs.NAME)

    def _pack(self) -> packs.Pack | None:
        return open_pack(self._pack_path, self.fingerprint)

    def _packed(
        self, pack: packs.Pack, shards: Sequence[Shard], columns: Sequence[str] | None
    ) -> pa.Table:
        table = pack.read([shard.digest for shard in shards], columns)
        if len(table) != sum(shard.rows for shard in shards):
            raise DamagedFile(f"{pack.path}: describes other rows than the shards have")
        return table.replace_schema_metadata(None)


def empty_rows(path: str, before: Shard, after: Shard, gone: npt.NDArray[np.bool_]) -> None:
    """Make some rows of a column file NULL, and have it describe the shard that they left.

    Nothing happens when it does so already; a file about another shard is removed.
    """
    with storage.open_input(path) as stream:
        table = pq.read_table(stream, page_checksum_verification=True)
    metadata = dict(table.schema.metadata or {})
    digest = metadata.get(b"shard", b"").decode()
    if digest == after.digest:
        return
    if digest != before.digest or len(table) != len(gone):
        storage.remove(path)
        return
    metadata[b"shard"] = after.digest.encode()
    with storage.writing(path) as temporary:
        table = without_rows(table, gone).replace_schema_metadata(metadata)
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def empty_packed(
    path: str, label: str, shards: Mapping[str, tuple[Shard, npt.NDArray[np.bool_]]]
) -> None:
    """The same for a pack; `shards` has by the digests of before what is left, and what is gone."""
    pack = open_pack(path, label)
    if pack is None or not any(digest in pack.groups for digest in shards):
        return
    digests = list(pack.groups)

    def emptied(position: int) -> pa.Table:
        table = pack.read([digests[position]], None)
        found = shards.get(digests[position])
        return table if found is None else without_rows(table, found[1])

    after = [shards[digest][0].digest if digest in shards else digest for digest in digests]
    write_pack(path, label, after, emptied)


def without_rows(table: pa.Table, gone: npt.NDArray[np.bool_]) -> pa.Table:
    """The table with NULL in all columns of some rows, but for which were asked for."""
    left = pa.array(np.arange(len(table)), mask=gone)
    for number, field in enumerate(table.schema):
        if field.name != "asked":
            table = table.set_column(number, field, table[field.name].take(left))
    return table


def values_of(column: "pa.ChunkedArray[Any]") -> list[Any]:
    """The values of a column as Python's; vectors of equal length as rows of one numpy array."""
    kind = column.type
    is_vector = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)
    has_vectors = is_vector and pa.types.is_floating(kind.value_type)
    found: list[Any] = []
    for chunk in column.chunks:
        found += _vectors(chunk) if has_vectors else chunk.to_pylist()
    return found


def _vectors(chunk: "pa.Array[Any]") -> list[Any]:
    valid = chunk.is_valid().to_numpy(zero_copy_only=False)
    present = chunk.drop_null()
    lengths = pc.unique(pc.list_value_length(present))
    numbers = present.flatten()
    if len(lengths) != 1 or numbers.null_count or not len(numbers):
        plain: list[Any] = chunk.to_pylist()
        return plain
    rows = iter(numbers.to_numpy().reshape(-1, lengths[0].as_py()))
    return [next(rows) if here else None for here in valid]


def problem_of(values: Sequence[Any], kind: pa.DataType) -> str | None:
    """Why a column of this type can't hold these values, if it can't; NaN is no number."""
    try:
        column = pa.array(values, type=kind)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        return str(error).partition("\n")[0]
    return None if _is_finite(column) else "NaN or infinity; a missing value is NULL"


def _is_finite(column: "pa.Array[Any]") -> bool:
    """Whether every number in a column is finite, those in lists too."""
    if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
        return _is_finite(column.flatten())
    if not pa.types.is_floating(column.type):
        return True
    return bool(pc.all(pc.is_finite(column), min_count=0).as_py())


def check(table: pa.Table, rows: int) -> None:
    """Reject what would corrupt a selection later: missing rows and non-finite numbers."""
    if len(table) != rows:
        raise ValueError(f"column table has {len(table)} rows for {rows} base rows")
    for field in table.schema:
        if not all(_is_finite(chunk) for chunk in table[field.name].chunks):
            raise ValueError(
                f"column {field.name!r} holds NaN or infinity; a missing value is NULL"
            )
