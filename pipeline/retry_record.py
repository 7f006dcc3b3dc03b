"""Rows of a pool that were tried again: which they are, and a retry that has not come to its end.

Beside a shard lies `NNNNN.retried.parquet` with the positions of its rows that were tried again,
those of the first retry first. The index says how many of them count: what a retry notes before
its end counts for nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import shapes, storage
from pipeline.errors import DamagedFile

if TYPE_CHECKING:
    from pipeline.pool import Shard

RETRIED = "retried"  # the reason of a row of which a newer one tells what came of it
STATE: dict[str, Any] = {
    "failed": RETRIED,
    "detail": "tried again; what came of it is in the newest row of this key",
    "retriable": False,
}
_SCHEMA = pa.schema([pa.field("row", pa.int32(), nullable=False)])
_OPEN = {"plan": str, "shards": [str]}
Places = npt.NDArray[np.int32]


@dataclass(frozen=True)
class OpenRetry:
    """A retry that was begun: the name of what it does, and the shards that it may write."""

    plan: str
    shards: tuple[str, ...] = ()


def sidecar_path(root: str, shard: str) -> str:
    return storage.join(root, "pool", f"{shard}.retried.parquet")


def work_folder(root: str) -> str:
    """Where rows are on their way: an ingest and a retry have it one after the other."""
    return storage.join(root, "pool", "survey")


def _open_path(root: str) -> str:
    return storage.join(work_folder(root), "retry.json")


def note(root: str, shard: "Shard", rows: Sequence[int]) -> None:
    """Write that these rows of a shard were tried again, behind those that count already."""
    known = positions(root, shard)
    whole = np.concatenate([known, np.array(sorted(rows), np.int32)])
    table = pa.table([pa.array(whole, pa.int32())], schema=_SCHEMA)
    with storage.writing(sidecar_path(root, shard.name)) as temporary:
        table = table.replace_schema_metadata({"keys": shard.keys})
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def positions(root: str, shard: "Shard") -> Places:
    """The rows of a shard that were tried again, as the index counts them. Raises DamagedFile."""
    if not shard.retried:
        return np.zeros(0, np.int32)
    path = sidecar_path(root, shard.name)
    try:
        with storage.open_input(path) as stream:
            table = pq.read_table(stream, page_checksum_verification=True)
        rows: Places = table["row"].to_numpy()[: shard.retried]
    except (pa.ArrowException, OSError, KeyError) as error:
        what = storage.first_line(error)
        raise DamagedFile(f"{path}: can't be read, bring it back from a copy: {what}") from error
    is_of_shard = (table.schema.metadata or {}).get(b"keys") == shard.keys.encode()
    is_whole = len(np.unique(rows)) == shard.retried and rows.min() >= 0 and rows.max() < shard.rows
    if not is_of_shard or not is_whole:
        raise DamagedFile(f"{path}: is not about the rows that pool/index.json says")
    return rows


def superseded(root: str, shard: "Shard") -> "pa.Array[Any]":
    """Of every row of a shard, in order, whether it was tried again."""
    gone = np.zeros(shard.rows, bool)
    gone[positions(root, shard)] = True
    return pa.array(gone)


def marked(table: pa.Table, gone: Any) -> pa.Table:
    """Base rows, of which those that were tried again have failed for that reason."""
    for number, field in enumerate(table.schema):
        if field.name in STATE:
            state = pa.scalar(STATE[field.name], field.type)
            table = table.set_column(number, field, pc.if_else(gone, state, table[field.name]))
    return table


def open_retry(root: str) -> OpenRetry | None:
    """The retry that was begun and has not ended; None when there is none. Raises DamagedFile."""
    path = _open_path(root)
    if not storage.exists(path):
        return None
    value = storage.read_fields(path, *_OPEN)
    shapes.require(path, value, _OPEN)
    return OpenRetry(value["plan"], tuple(value["shards"]))


def write_open(root: str, begun: OpenRetry) -> None:
    storage.write_json(_open_path(root), {"plan": begun.plan, "shards": list(begun.shards)})


def is_unfinished(root: str, indexed: Collection[str]) -> bool:
    """Whether a retry was begun whose shards are not in the index."""
    begun = open_retry(root)
    return begun is not None and not (begun.shards and set(begun.shards) <= set(indexed))


def forget_shards(root: str, indexed: Collection[str]) -> None:
    """Remove the shards of a retry that did not come to its end."""
    begun = open_retry(root)
    for name in begun.shards if begun is not None else ():
        if name not in indexed:
            for ending in ("tar", "parquet"):
                storage.remove(storage.join(root, "pool", f"{name}.{ending}"))


def forget(root: str, indexed: Collection[str]) -> None:
    """Remove all that it has left: rows on their way, and what was fetched for them, too."""
    forget_shards(root, indexed)
    storage.remove(work_folder(root))
