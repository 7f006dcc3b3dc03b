"""Columns: one Parquet file per scorer and shard, rows in the base rows' order, NULL for no value.

A column file is complete or absent, and its metadata names the fingerprint of what wrote it and
the rows it describes: a file of other parameters, of an older version or of another pool is
never mistaken for the one asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.errors import DamagedFile
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

    def path(self, shard: Shard) -> str:
        return storage.join(self.folder, f"{shard.name}.parquet")

    def has(self, shard: Shard) -> bool:
        """Whether the file is there, is readable, and is about exactly these rows."""
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
            pq.write_table(table.replace_schema_metadata(metadata), temporary, compression="zstd")

    def read(self, shard: Shard, columns: Sequence[str] | None = None) -> pa.Table:
        """The columns of a shard, in the order of its base rows.

        Raises DamagedFile when the file can't be read or describes other rows.
        """
        path = self.path(shard)
        wanted = None if columns is None else list(columns)
        try:
            with storage.open_input(path) as stream:
                table = pq.read_table(stream, columns=wanted)
        except FileNotFoundError:
            raise DamagedFile(f"{path}: is missing; score again to make it") from None
        except (pa.ArrowException, OSError) as error:
            raise DamagedFile(f"{path}: can't be read, remove it and score again: {error}") from (
                error
            )
        metadata = table.schema.metadata or {}
        if metadata.get(b"keys") != shard.keys.encode() or len(table) != shard.rows:
            raise DamagedFile(f"{path}: describes other rows than shard {shard.name} has")
        return table.replace_schema_metadata(None)


def check(table: pa.Table, rows: int) -> None:
    """Reject what would corrupt a selection later: missing rows and non-finite numbers."""
    if len(table) != rows:
        raise ValueError(f"column table has {len(table)} rows for {rows} base rows")
    for field in table.schema:
        if not pa.types.is_floating(field.type):
            continue
        if not pc.all(pc.is_finite(table[field.name]), min_count=0).as_py():
            raise ValueError(
                f"column {field.name!r} holds NaN or infinity; a missing value is NULL"
            )
