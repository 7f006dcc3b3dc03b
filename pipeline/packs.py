"""Packs: the small Parquet files of many shards as one, a row group for each shard.

A pool of thousands of shards would otherwise have tens of thousands of files to open for a
selection. A pack is complete or absent, and names the digest of every shard in it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.errors import DamagedFile

PACK_FROM = 4000  # shards
NAME = "packed.parquet"


@dataclass(frozen=True)
class Pack:
    """A complete pack: what it is of (`label`), and the row group of each shard by its digest."""

    path: str
    label: str
    groups: dict[str, int]
    footer: pq.FileMetaData  # parsed once: that of thousands of row groups takes a while

    def read(self, digests: Sequence[str], columns: Sequence[str] | None) -> pa.Table:
        """The rows of some shards, in the order given. Raises DamagedFile when it can't be read."""
        try:
            with storage.open_input(self.path) as stream:
                file = pq.ParquetFile(stream, metadata=self.footer, page_checksum_verification=True)
                groups = [self.groups[digest] for digest in digests]
                return file.read_row_groups(groups, columns=columns, use_threads=True)
        except (pa.ArrowException, OSError) as error:
            what = storage.first_line(error)
            raise DamagedFile(f"{self.path}: can't be read: {what}") from error


def open_pack(path: str, label: str) -> Pack | None:
    """The pack at `path` if it is there and is of what `label` names."""
    if not storage.exists(path):
        return None
    pack = _opened(path, storage.stamp(path))
    return pack if pack is not None and pack.label == label else None


@lru_cache(maxsize=32)
def _opened(path: str, _stamp: int) -> Pack | None:
    try:
        with storage.open_input(path) as stream:
            footer = pq.read_metadata(stream)
        metadata = footer.metadata or {}
        digests = json.loads(metadata[b"digests"])
    except (pa.ArrowException, OSError, KeyError, ValueError):  # not a pack, or a damaged one
        return None
    label = metadata.get(b"label", b"").decode()
    groups = {digest: group for group, digest in enumerate(digests)}
    return Pack(path, label, groups, footer)


def write_pack(
    path: str, label: str, digests: Sequence[str], read: Callable[[int], pa.Table]
) -> None:
    """Write a pack of shards; `read` gives the table of the shard at a position."""
    first = read(0)
    metadata = {"label": label, "digests": json.dumps(list(digests))}
    schema = first.schema.with_metadata(metadata)
    with (
        storage.writing(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for position in range(len(digests)):
            table = first if position == 0 else read(position)
            table = table.replace_schema_metadata(metadata)
            writer.write_table(table, row_group_size=max(1, len(table)))
