"""Score a pool too large for one process: rows that must meet do so in buckets.

For scorers that say by a `gather_key` which rows those are. Three stages, each bounded in memory:
groups of shards are sorted into buckets, each bucket is reduced, and its answers go back to the
shards. The columns are the same bytes as if all rows had met at once. Work files are written
whole, one for each task, and removed when the columns are there.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import storage
from pipeline.errors import CurationError, DamagedFile
from pipeline.global_score import (
    SMALL_ROWS,
    GlobalJob,
    Places,
    by_key,
    key_words,
    read_rows,
    reduced,
    row_bytes,
    write_columns,
)
from pipeline.instances import Instance
from pipeline.large import taken, value_bytes
from pipeline.memory import require_memory
from pipeline.pool import Shard

if TYPE_CHECKING:
    from pipeline.build import Build

VERSION = 1  # raise it when work files of before would be read wrongly
# A bucket and a group of shards hold about so many rows, and no more bytes of columns.
ROWS_AT_ONCE = 1 << 20
BYTES_AT_ONCE = 1 << 28
_MOST_TASKS = 10_000  # in one graph
_CHECKED_ROWS = 16  # of each slice, by which a gather key that changes is found out


@dataclass(frozen=True)
class Plan:
    """How a pool is cut; the same for all that work on it, whatever the engine."""

    groups: tuple[tuple[Shard, ...], ...]
    buckets: int


@dataclass(frozen=True)
class GatherJob:
    """What a worker needs for each of the three stages; `work` is the folder of their files."""

    root: str
    instance: Instance
    work: str
    groups: int
    buckets: int

    def gathered(self, group: int) -> str:
        """The rows of a group of shards, a slice for each bucket."""
        return storage.join(self.work, f"gathered-{group:05d}.arrow")

    def answered(self, bucket: int) -> str:
        """What became of the rows of a bucket, a slice for each group."""
        return storage.join(self.work, f"answered-{bucket:05d}.arrow")


def plan(job: GlobalJob) -> Plan | None:
    """How to cut the pool; None when the scorer needs all rows at once, or they are few enough.

    Depends on the pool and the columns read alone.
    """
    rows = job.pool.rows
    if getattr(job.instance.scorer, "gather_key", None) is None or rows <= SMALL_ROWS:
        return None
    fitting = BYTES_AT_ONCE // max(1, row_bytes(job))
    at_once = max(1, min(ROWS_AT_ONCE, fitting), rows // _MOST_TASKS)
    buckets = -(-rows // at_once)
    return Plan(tuple(_groups(job.pool.shards, at_once)), buckets) if buckets > 1 else None


def _groups(shards: Sequence[Shard], rows: int) -> Iterator[tuple[Shard, ...]]:
    """Shards in order, in groups of at most so many rows, if one alone has no more."""
    group: list[Shard] = []
    held = 0
    for shard in shards:
        if group and held + shard.rows > rows:
            yield tuple(group)
            group, held = [], 0
        group.append(shard)
        held += shard.rows
    yield tuple(group)


def score_in_buckets(build: "Build", whole: GlobalJob, cut: Plan) -> None:
    """Write the columns of a global scorer, bucket by bucket."""
    job = _job(build, whole.instance, cut)
    name, complete = whole.instance.name, completion(whole)
    groups = [(f"{n:05d}", (n, shards)) for n, shards in enumerate(cut.groups)]
    buckets = [(f"{n:05d}", n) for n in range(cut.buckets)]
    has = whole.instance.columns.has

    def stage(verb: str, work: Any, tasks: Any, is_done: Callable[[Any], bool]) -> None:
        folder = f"score-{name}-{verb}".replace(" ", "-")
        build.stage(f"score {name}: {verb}", partial(work, job=job), tasks, is_done, folder)

    def is_there(path: str) -> bool:
        return storage.exists(path) or complete()

    try:
        stage("gather", gather_group, groups, lambda task: is_there(job.gathered(task[0])))
        stage("reduce", reduce_bucket, buckets, lambda bucket: is_there(job.answered(bucket)))
        stage("write", write_group, groups, lambda task: all(has(shard) for shard in task[1]))
    except CurationError:
        if not complete():  # else another part has finished, and removed what this one read
            raise


def _job(build: "Build", instance: Instance, cut: Plan) -> GatherJob:
    size = f"v{VERSION}-{len(cut.groups)}-{cut.buckets}"
    work = storage.join(work_folder(build, instance), instance.columns.folder_name, size)
    return GatherJob(build.root, instance, work, len(cut.groups), cut.buckets)


def work_folder(build: "Build", instance: Instance) -> str:
    """Where the work files of an instance are, for whatever identity and cut."""
    return storage.join(build.out, "work", "gather", instance.name)


def completion(job: GlobalJob) -> Callable[[], bool]:
    """Tells whether every shard has its columns; what it has seen it does not look for again."""
    missing = list(job.pool.shards)

    def is_complete() -> bool:
        while missing and job.instance.columns.has(missing[-1]):
            missing.pop()
        return not missing

    return is_complete


def gather_group(task: tuple[int, tuple[Shard, ...]], job: GatherJob) -> dict[str, Any]:
    """Sort the rows of some shards into buckets, and write them as one file.

    Memory: the columns read of a group, twice, beside what the gather key needs.
    """
    group, shards = task
    rows, places = read_rows(job.instance, job.root, shards)
    bucket = _buckets(job, rows)
    order = np.argsort(bucket, kind="stable")
    edges = np.searchsorted(bucket[order], np.arange(job.buckets + 1))
    rows = rows.append_column("row", pa.array(places))
    _write_slices(job.gathered(group), taken(rows, pa.array(order)), edges)
    return {"rows": sum(shard.rows for shard in shards), "gathered": len(rows)}


def _buckets(job: GatherJob, rows: pa.Table) -> Places:
    """The bucket of each row: by gather key, or without one by its own key."""
    keys = _gather_keys(job.instance, rows)
    own = key_words(rows["key"])[:, 0]
    known = keys.is_valid().to_numpy(zero_copy_only=False)
    numbers = np.where(known, keys.fill_null(0).to_numpy(zero_copy_only=False), own)
    return (_mixed(numbers) % np.uint64(job.buckets)).astype(np.int64)


def _gather_keys(instance: Instance, rows: pa.Table) -> Any:
    """The scorer's gather keys. Raises ValueError unless they are one uint64 for each row."""
    keys = instance.scorer.gather_key(rows)
    if isinstance(keys, pa.ChunkedArray):
        keys = keys.combine_chunks()
    if isinstance(keys, np.ndarray):
        keys = pa.array(keys)
    kind = keys.type if isinstance(keys, pa.Array) else type(keys).__name__
    if kind != pa.uint64() or len(keys) != len(rows):
        count = f"{len(keys)} " if isinstance(keys, pa.Array) else ""
        raise ValueError(
            f"scorer {instance.name!r}: `gather_key` returned {count}{kind} for {len(rows)} rows,"
            " expected as many uint64"
        )
    return keys


def _mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The numbers with their bits stirred, so that small ones spread over all buckets.

    The finalizer of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
    generators, OOPSLA 2014).
    """
    mixed = numbers ^ (numbers >> np.uint64(30))
    mixed = mixed * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    stirred: npt.NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return stirred


def reduce_bucket(bucket: int, job: GatherJob) -> dict[str, Any]:
    """Let the rows of a bucket meet, and write what the scorer says of them.

    Memory: the columns read of a bucket, twice, then once beside the scorer's own need. A bucket
    is as large as the others unless one gather key has very many rows.
    """
    files = [job.gathered(group) for group in range(job.groups)]
    slices = [_read_slice(path, bucket, job.buckets) for path in files]
    _check_gathered(job, bucket, slices)
    rows = pa.Table.from_batches(slices)
    edges = np.cumsum([0, *(len(some) for some in slices)])
    del slices
    what = f"bucket {bucket} of scorer {job.instance.name!r}, of {len(rows):,} rows,"
    require_memory(2 * value_bytes(rows), what)
    places = rows["row"]
    ordered, back = by_key(rows.drop_columns("row"))
    del rows
    scored = reduced(job.instance, ordered)
    del ordered
    answer = taken(scored, pa.array(back)).append_column("row", places.combine_chunks())
    _write_slices(job.answered(bucket), answer, edges)
    return {"rows": len(places)}


def _check_gathered(job: GatherJob, bucket: int, slices: Sequence[pa.RecordBatch]) -> None:
    """Raise CurationError when the gather key is not what it was when the rows were gathered."""
    some = pa.Table.from_batches([rows.slice(0, _CHECKED_ROWS) for rows in slices])
    if (_buckets(job, some.drop_columns("row")) != bucket).any():
        raise CurationError(
            f"scorer {job.instance.name!r}: `gather_key` gives other numbers for the same rows"
            " than when they were gathered. It must depend on nothing but the row (Python's"
            f" `hash` does not do); if it was changed meanwhile, remove {job.work}"
        )


def write_group(task: tuple[int, tuple[Shard, ...]], job: GatherJob) -> dict[str, Any]:
    """Collect what became of the rows of some shards, and write their columns.

    Memory: the columns written of a group, twice.
    """
    group, shards = task
    files = [job.answered(bucket) for bucket in range(job.buckets)]
    scored = pa.Table.from_batches([_read_slice(path, group, job.groups) for path in files])
    scored = scored.combine_chunks()
    count = sum(shard.rows for shard in shards)
    take = np.full(count, -1)
    take[scored["row"].to_numpy()] = np.arange(len(scored))
    write_columns(job.instance, shards, scored, take)
    return {"rows": count, "scored": len(scored)}


def _write_slices(path: str, rows: pa.RecordBatch, edges: npt.NDArray[Any]) -> None:
    """Write the rows between each two edges as a batch of an Arrow file."""
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with (
        storage.writing(path) as temporary,
        pa.OSFile(temporary, "wb") as stream,
        pa.ipc.new_file(stream, rows.schema, options=options) as writer,
    ):
        for first, beyond in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            writer.write_batch(rows.slice(first, beyond - first))


def _read_slice(path: str, number: int, count: int) -> pa.RecordBatch:
    """One of `count` slices of a work file. Raises DamagedFile when it can't be read."""
    try:
        with storage.open_input(path) as stream:
            file = pa.ipc.open_file(stream)
            if file.num_record_batches != count:
                raise DamagedFile(f"{path}: is no work file of this build; remove it, score again")
            return file.get_batch(number)
    except (pa.ArrowException, OSError) as error:
        what = storage.first_line(error)
        raise DamagedFile(f"{path}: can't be read; remove it and score again: {what}") from error
