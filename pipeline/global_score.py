"""Score rows that must meet: duplicates, frequencies, whatever looks at a pool and not at a shard.

Only small columns travel, never images. The rows are put in the order of their keys before the
scorer sees them, so that its columns do not depend on the order of shards. Here all rows of a
pool meet at once; `gathering` has them meet bucket by bucket.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.asked import asked_rows
from pipeline.instances import Instance
from pipeline.large import large, large_type, taken, value_bytes
from pipeline.memory import require_memory
from pipeline.pool import BASE, Pool, Shard, read_base

Places = npt.NDArray[np.int64]

SMALL_ROWS = 1 << 17  # a pool that is not worth a look at the size of its rows
_SAMPLED_SHARDS = 16
# What a reduce needs for each byte of the columns read, these included twice. Measured: counting
# captions 3.1, duplicates 4.7, and 6.3 where they merge captions.
_COPIES = 5


@dataclass(frozen=True)
class GlobalJob:
    """One global scorer and the pool it sees whole."""

    pool: Pool
    instance: Instance


def score_pool(_: str, job: GlobalJob) -> dict[str, Any]:
    """Gather the rows that can be scored, reduce them, and write the columns of every shard.

    Memory: the columns read, once as they are stored and once in order, then once beside the
    scorer's own need. Raises CurationError when that is more than can be had, and ValueError when
    the scorer does not answer with the columns it promised, one row per row.
    """
    instance, pool = job.instance, job.pool
    if pool.rows > SMALL_ROWS:
        needed = _COPIES * row_bytes(job) * pool.rows
        require_memory(needed, f"scorer {instance.name!r} over {pool.rows:,} rows")
    rows, places = read_rows(instance, pool.root, pool.shards)
    ordered, back = by_key(rows)
    del rows
    scored = reduced(instance, ordered)
    del ordered
    take = np.full(pool.rows, -1)
    take[places] = back
    write_columns(instance, pool.shards, scored, take)
    return {"rows": pool.rows, "scored": len(places)}


def row_bytes(job: GlobalJob) -> int:
    """What a row of the columns read needs in memory, by some shards spread over the pool."""
    shards = job.pool.shards
    some = [shards[i] for i in range(0, len(shards), -(-len(shards) // _SAMPLED_SHARDS) or 1)]
    rows, _ = read_rows(job.instance, job.pool.root, some)
    return -(-value_bytes(rows) // max(1, len(rows)))


def read_rows(
    instance: Instance, root: str, shards: Sequence[Shard], reads: Sequence[str] | None = None
) -> tuple[pa.Table, Places]:
    """Key and columns read of the rows that can be scored, and their places among all rows.

    Rows that failed can't be, and with `only` those that the scorer is not asked about. `reads`
    names the columns; if None those that the scorer says it reads.
    """
    names = instance.scorer.reads if reads is None else reads
    tables, places, start = [], [], 0
    for shard in shards:
        table, kept = _read_shard(instance, root, shard, names)
        tables.append(table)
        places.append(start + kept)
        start += shard.rows
    return pa.concat_tables(tables), np.concatenate(places)


def _read_shard(
    instance: Instance, root: str, shard: Shard, reads: Sequence[str]
) -> tuple[pa.Table, Places]:
    from_base = [name for name in reads if name in BASE.names and name != "key"]
    base = read_base(root, shard, [*dict.fromkeys(["key", "failed", *from_base])])
    kept = base["failed"].is_null().to_numpy(zero_copy_only=False)
    if instance.only is not None:
        kept = kept & np.array(asked_rows(instance, shard), bool)
    table = base.select(["key", *from_base])
    for name in reads:
        if name not in table.column_names:
            column = instance.inputs[name].read(shard, [name])[name]
            table = table.append_column(name, column)
    table = large(table.filter(pa.array(kept)).replace_schema_metadata(None))
    return table, np.flatnonzero(kept)


def by_key(rows: pa.Table) -> tuple[pa.Table, Places]:
    """The rows sorted by key, and where each row of before is among them."""
    order = key_order(rows["key"])
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return pa.Table.from_batches([taken(rows, pa.array(order))]), back


def key_order(keys: pa.ChunkedArray) -> Places:
    """The order that sorts 16-byte keys."""
    words = key_words(keys)
    order: Places = np.lexsort((words[:, 1], words[:, 0]))
    return order


def key_words(keys: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """The two halves of each 16-byte key as numbers, [n, 2]."""
    parts = [
        np.frombuffer(chunk.buffers()[1], ">u8", 2 * len(chunk), 16 * chunk.offset)
        for chunk in keys.chunks
        if len(chunk)
    ]
    words = np.concatenate(parts) if parts else np.zeros(0, ">u8")
    return words.astype(np.uint64).reshape(-1, 2)


def reduced(instance: Instance, rows: pa.Table) -> pa.Table:
    """The columns of the recipe for rows in the order of their keys, in one piece.

    Raises ValueError when the scorer does not answer with one row per row.
    """
    answer = instance.scorer.reduce(rows)
    _check_answer(instance, answer, len(rows))
    columns = []
    for own in instance.scorer.writes.names:
        kind = instance.columns.schema.field(instance.renames.get(own, own)).type
        columns.append(answer[own].cast(large_type(kind)).combine_chunks())
    names = [instance.renames.get(own, own) for own in instance.scorer.writes.names]
    return pa.table(columns, names=names)


def _check_answer(instance: Instance, scored: Any, rows: int) -> None:
    if not isinstance(scored, pa.Table):
        what = type(scored).__name__
        raise ValueError(f"scorer {instance.name!r} returned {what}, expected a table of pyarrow")
    if len(scored) != rows:
        raise ValueError(f"scorer {instance.name!r} returned {len(scored)} rows for {rows}")
    missing = [name for name in instance.scorer.writes.names if name not in scored.column_names]
    if missing:
        raise ValueError(f"scorer {instance.name!r} returned no column {missing[0]!r}")


def write_columns(
    instance: Instance, shards: Sequence[Shard], scored: pa.Table, take: Places
) -> None:
    """Write the columns of shards that have none; `take` says where in `scored` each row is.

    A row that is nowhere (-1) is NULL: it was not scored.
    """
    columns, start = instance.columns, 0
    for shard in shards:
        part = take[start : start + shard.rows]
        start += shard.rows
        if columns.has(shard):
            continue
        indices = pa.array(part, mask=part < 0)
        arrays = [scored[f.name].take(indices).cast(f.type) for f in columns.schema]
        arrays.append(pa.nulls(len(indices), pa.string()))
        columns.write(shard, pa.table(arrays, names=columns.names))
