"""Score a whole pool at once: duplicates, frequencies, whatever needs rows to meet.

Only small columns travel, never images. The rows are put in the order of their keys before the
scorer sees them, so that its columns do not depend on the order of shards.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.instances import Instance
from pipeline.pool import BASE, Pool, Shard, read_base


@dataclass(frozen=True)
class GlobalJob:
    """One global scorer and the pool it sees whole."""

    pool: Pool
    instance: Instance


def is_done(job: GlobalJob) -> bool:
    return all(job.instance.columns.has(shard) for shard in job.pool.shards)


def score_pool(_: str, job: GlobalJob) -> dict[str, Any]:
    """Gather the rows that can be scored, reduce them, and write the columns of every shard.

    Memory: the columns read, once as they are stored and once in order. Raises ValueError when
    the scorer does not answer with the columns it promised, one row per row.
    """
    gathered = [_gather(job, number, shard) for number, shard in enumerate(job.pool.shards)]
    table = pa.concat_tables([rows for rows, _ in gathered]).combine_chunks()
    places = np.concatenate([place for _, place in gathered])
    del gathered
    order = key_order(table["key"])
    scored = job.instance.scorer.reduce(table.take(pa.array(order)))
    _check_answer(job.instance, scored, len(table))
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    _scatter(job, scored, places, back)
    return {"rows": job.pool.rows, "scored": len(table)}


def _check_answer(instance: Instance, scored: Any, rows: int) -> None:
    if not isinstance(scored, pa.Table):
        what = type(scored).__name__
        raise ValueError(f"scorer {instance.name!r} returned {what}, expected a table of pyarrow")
    if len(scored) != rows:
        raise ValueError(f"scorer {instance.name!r} returned {len(scored)} rows for {rows}")
    missing = [name for name in instance.scorer.writes.names if name not in scored.column_names]
    if missing:
        raise ValueError(f"scorer {instance.name!r} returned no column {missing[0]!r}")


def _gather(job: GlobalJob, number: int, shard: Shard) -> tuple[pa.Table, npt.NDArray[Any]]:
    """The columns read of the rows that did not fail, and the positions of those rows."""
    reads = job.instance.scorer.reads
    from_base = [name for name in reads if name in BASE.names]
    base = read_base(job.pool.root, shard, [*dict.fromkeys(["key", "failed", *from_base])])
    keep = base["failed"].is_null()
    table = base.select(["key", *[name for name in from_base if name != "key"]])
    for name in reads:
        if name not in table.column_names:
            column = job.instance.inputs[name].read(shard, [name])[name]
            table = table.append_column(name, column)
    positions = np.flatnonzero(keep.to_numpy(zero_copy_only=False))
    places = np.stack([np.full(len(positions), number), positions], axis=1).astype(np.int32)
    return table.filter(keep).replace_schema_metadata(None), places


def key_order(keys: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """The order that sorts 16-byte keys."""
    data = keys.combine_chunks()
    if isinstance(data, pa.ChunkedArray):
        data = pa.concat_arrays(data.chunks) if data.num_chunks else pa.array([], pa.binary(16))
    raw = data.buffers()[1]
    if raw is None or not len(data):
        return np.zeros(0, np.int64)
    words = np.frombuffer(raw, dtype=">u8", count=2 * len(data), offset=16 * data.offset)
    words = words.reshape(-1, 2).astype(np.uint64)
    return np.lexsort((words[:, 1], words[:, 0]))


def _scatter(
    job: GlobalJob, scored: pa.Table, places: npt.NDArray[Any], back: npt.NDArray[np.int64]
) -> None:
    """Write the columns of every shard; rows that were not scored are NULL.

    `back` says where in `scored` the row of each place is.
    """
    starts = np.searchsorted(places[:, 0], np.arange(len(job.pool.shards) + 1))
    for number, shard in enumerate(job.pool.shards):
        if job.instance.columns.has(shard):
            continue
        first, beyond = int(starts[number]), int(starts[number + 1])
        take = np.full(shard.rows, -1, np.int64)
        take[places[first:beyond, 1]] = back[first:beyond]
        indices = pa.array(take, mask=take < 0)
        job.instance.columns.write(shard, _columns(job.instance, scored, indices))


def _columns(instance: Instance, scored: pa.Table, indices: pa.Array) -> pa.Table:
    named = dict(_renamed(instance, scored))
    arrays = [named[f.name].take(indices).cast(f.type) for f in instance.columns.schema]
    arrays.append(pa.nulls(len(indices), pa.string()))
    return pa.table(arrays, names=[*instance.columns.schema.names, instance.columns.error_column])


def _renamed(instance: Instance, scored: pa.Table) -> Iterator[tuple[str, pa.ChunkedArray]]:
    for name in scored.column_names:
        yield instance.renames.get(name, name), scored[name]
