"""Bring every row of the sources into a pool: a base row each, and a sample where there is one.

Two passes. The survey reads all rows and notes their keys, so that of rows with equal keys one
can be chosen and shards can be numbered; the second pass writes the shards. Rows that our own
fetcher is to fetch are kept by the survey, and written partition by partition. Only headers of
images are read: a full decode that fails later is the reason of the scorer that met it.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import decoding, pool, routing, storage, takedown_match
from pipeline.errors import DamagedFile, RecipeError
from pipeline.keys import digest
from pipeline.pool import Pool, Shard
from pipeline.pool_rows import Place, block, mark_duplicate, write_shard
from pipeline.routing import Partition, Said
from pipeline.sources.base import Incoming, Source, Unit
from pipeline.stage import Ending
from pipeline.storing import Store

VERSION = 5  # raise it when the same sources would give another pool; 5: texts around images
_SURVEY = pa.schema([("key", pa.binary(16)), ("rank", pa.binary(16))])
_TOP = np.uint64(63)  # the first bit of 64
_ROWS_AT_ONCE = 1 << 24  # whose keys are compared in memory, some 80 bytes each
_Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class IngestJob:
    """What a worker needs to survey or write any unit. `plan` names this ingest."""

    root: str
    plan: str
    sources: Mapping[str, Source]
    rows_per_shard: int = 1000
    max_pixels: int = decoding.MAX_PIXELS
    stores: Mapping[str, Store] = field(default_factory=dict)
    """What the pool keeps of fetched images, by source; of others the bytes as they came."""

    def is_routed(self, unit: Unit) -> bool:
        """Whether our own fetcher fetches the images of a unit."""
        return self.sources[unit.source].web is not None

    def place(self, name: str, source: str, plan: str) -> Place:
        return Place(self.root, name, source, plan, self.max_pixels)


@dataclass(frozen=True)
class WriteTask:
    """A unit, and the names of the shards it becomes, in order."""

    number: int
    unit: Unit
    shards: tuple[str, ...]
    plan: str  # the ingest, and which rows of the unit others stand for

    @property
    def label(self) -> str:
        return f"{self.number:06d}"


@dataclass(frozen=True)
class FetchTask:
    """A partition of the rows that are fetched: its sites, and its shards by source, in order."""

    number: int
    partition: Partition
    units: Mapping[str, tuple[int, ...]]  # by source
    names: Mapping[str, tuple[str, ...]]  # of shards, by source
    plan: str

    @property
    def label(self) -> str:
        return f"sites-{self.number:06d}"

    @property
    def shards(self) -> tuple[str, ...]:
        return tuple(name for names in self.names.values() for name in names)


Task = WriteTask | FetchTask


def plan_digest(sources: str, units: Sequence[Unit], rows_per_shard: int, max_pixels: int) -> str:
    """Names an ingest: the sources as the recipe has them, and the files found there."""
    return digest(
        sources.encode(),
        inputs_digest(units).encode(),
        str((VERSION, decoding.DECODER_VERSION, rows_per_shard, max_pixels)).encode(),
    ).hex()


def inputs_digest(units: Sequence[Unit]) -> str:
    """Changes when files are added to the sources, removed, or get another size."""
    parts = (repr((u.source, u.path.rpartition("/")[2], u.start, u.stop, u.stamp)) for u in units)
    return digest(*(part.encode("utf-8", "replace") for part in parts)).hex()


def survey_path(root: str, number: int) -> str:
    return storage.join(root, "pool", "survey", f"{number:06d}.parquet")


def losers_path(root: str, number: int) -> str:
    return storage.join(root, "pool", "survey", f"{number:06d}.losers.npy")


def survey_unit(task: tuple[int, Unit], job: IngestJob) -> dict[str, Any]:
    """Note key and rank of every row of a unit, 32 bytes for each."""
    number, unit = task
    source = job.sources[unit.source]
    rows = ((row.key(unit.source), row.said, row) for row in source.read(unit))
    return survey_rows(number, source, rows, job)


def survey_rows(
    number: int, source: Source, rows: Iterable[Said], job: IngestJob
) -> dict[str, Any]:
    """The same of rows that are there, and keep them if they are to be fetched."""
    keys, digests, usable = bytearray(), bytearray(), bytearray()
    name, most = source.name, job.max_pixels

    def noted() -> Iterator[Said]:
        nonlocal keys, digests
        for said in rows:
            key, words, row = said
            keys += key
            digests += row.rank(name, words)
            usable.append(_is_usable(row, most))
            yield said

    if source.web is None:
        deque(noted(), maxlen=0)
    else:
        routing.write_rows(routing.rows_path(job.root, number), noted(), source.web, job.plan)
    table = pa.table([_binary16(keys), _binary16(_ranks(digests, usable))], schema=_SURVEY)
    with storage.writing(survey_path(job.root, number)) as temporary:
        table = table.replace_schema_metadata({"plan": job.plan})
        pq.write_table(table, temporary, compression="none", use_dictionary=False)
    return {"rows": len(table)}


def _ranks(digests: bytearray, usable: bytearray) -> bytes:
    """Ranks of rows one after the other: those that can't have a sample are behind all that may,
    by the first bit, for which each digest moves by one."""
    words = np.frombuffer(digests, ">u8").reshape(-1, 2).astype(np.uint64)
    ranks = words >> np.uint64(1)
    ranks[:, 0] |= (np.frombuffer(usable, np.uint8) == 0).astype(np.uint64) << _TOP
    ranks[:, 1] |= words[:, 0] << _TOP
    return ranks.astype(">u8").tobytes()


def _is_usable(row: Incoming, max_pixels: int) -> bool:
    if row.failed is not None or row.image is None:
        return row.failed is None
    try:
        decoding.read_header(row.image, max_pixels=max_pixels)
    except decoding.Unreadable:
        return False
    return True


def _binary16(data: bytes | bytearray) -> "pa.Array[Any]":
    buffers = [None, pa.py_buffer(bytes(data))]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(data) // 16, buffers)


def is_surveyed(job: IngestJob, number: int, unit: Unit) -> bool:
    """Whether the survey of a unit is whole; the rows it keeps are written first."""
    paths = [survey_path(job.root, number)]
    if job.is_routed(unit):
        paths.append(routing.rows_path(job.root, number))
    return all(routing.has_rows(path, job.plan) for path in paths)


def plan_writes(job: IngestJob, units: Sequence[Unit], behind: int = 0) -> list[Task]:
    """Number the shards, and choose among rows with equal keys; its result is on disk beside.

    Needs the survey of every unit. A function of the surveys alone, so that several processes
    may do it at once. Units come in order, and then the partitions of what is fetched. Shards are
    numbered from `behind` on.
    """
    rows = [_surveyed_rows(job, number) for number in range(len(units))]
    plans = []
    for number, losers in enumerate(_losers(job, rows)):
        plans.append(f"{job.plan}-{digest(losers.tobytes()).hex()}")
        with (
            storage.writing(losers_path(job.root, number)) as temporary,
            open(temporary, "wb") as stream,
        ):
            np.save(stream, losers)
    routed = {n: unit.source for n, unit in enumerate(units) if job.is_routed(unit)}
    parts = routing.partitions(job.root, routed, job.rows_per_shard) if routed else []
    counts = [0 if n in routed else _shards(job, count) for n, count in enumerate(rows)]
    total = sum(counts) + sum(_shards(job, count) for part in parts for _, count in part.rows)
    names = iter(pool.shard_name(behind + i, behind + total) for i in range(total))
    tasks: list[Task] = [
        WriteTask(n, unit, tuple(islice(names, counts[n])), plans[n])
        for n, unit in enumerate(units)
        if n not in routed
    ]
    plan = digest(job.plan.encode(), *(plans[n].encode() for n in routed)).hex()
    of_source = {
        name: tuple(n for n, source in routed.items() if source == name and rows[n])
        for name in dict.fromkeys(routed.values())
    }
    for number, part in enumerate(parts):
        named = {name: tuple(islice(names, _shards(job, count))) for name, count in part.rows}
        held = {name: of_source[name] for name in named}
        tasks.append(FetchTask(number, part, held, named, plan))
    return tasks


def _shards(job: IngestJob, rows: int) -> int:
    return -(-rows // job.rows_per_shard)


def _surveyed_rows(job: IngestJob, number: int) -> int:
    with storage.open_input(survey_path(job.root, number)) as stream:
        return int(pq.read_metadata(stream).num_rows)


def _survey(job: IngestJob, number: int, column: str) -> _Words:
    """16-byte values as two words each, which sort as the bytes do."""
    with storage.open_input(survey_path(job.root, number)) as stream:
        chunks = pq.read_table(stream, columns=[column])[column].chunks
    data = b"".join(_bytes(chunk) for chunk in chunks)
    return np.frombuffer(data, ">u8").reshape(-1, 2).astype(np.uint64)


def _bytes(chunk: "pa.Array[Any]") -> memoryview:
    """The 16-byte values of an array one after the other."""
    buffer = chunk.buffers()[1]
    start = 16 * chunk.offset
    return memoryview(buffer or b"")[start : start + 16 * len(chunk)]


def _losers(job: IngestJob, rows: Sequence[int]) -> list[npt.NDArray[np.int64]]:
    """Per unit the positions of rows whose key another row carries with a smaller rank.

    In as many rounds as it takes to have few keys in memory; equal keys meet in one of them. Of
    most keys half is enough to tell that they stand alone.
    """
    rounds = max(1, -(-sum(rows) // _ROWS_AT_ONCE))
    found: list[list[npt.NDArray[np.int64]]] = [[] for _ in rows]
    for round_ in range(rounds):
        places, halves = [], []
        for number in range(len(rows)):
            half = _survey(job, number, "key")[:, 1]
            at = np.flatnonzero(half % np.uint64(rounds) == round_)
            places.append(at)
            halves.append(half[at])
        places = [place[at] for place, at in zip(places, _shared(halves), strict=True)]
        keys = [_survey(job, number, "key")[at] for number, at in enumerate(places)]
        ranks = [_survey(job, number, "rank")[at] for number, at in enumerate(places)]
        for number, at in enumerate(_repeated(keys, ranks)):
            found[number].append(places[number][at])
    return [np.sort(np.concatenate(parts)) for parts in found]


def _shared(halves: Sequence[npt.NDArray[np.uint64]]) -> list[npt.NDArray[np.int64]]:
    """Per list the positions of values that stand elsewhere, too."""
    if not halves:
        return []
    values = np.concatenate(halves)
    order = np.argsort(values)
    values = values[order]
    follows = np.flatnonzero(values[1:] == values[:-1]) + 1
    is_shared = np.zeros(len(order), bool)
    is_shared[order[follows]] = is_shared[order[follows - 1]] = True
    return _by_list(is_shared, halves)


def _repeated(keys: Sequence[_Words], ranks: Sequence[_Words]) -> list[npt.NDArray[np.int64]]:
    """Per list the positions of keys that stand elsewhere with a smaller rank."""
    if not keys:
        return []
    all_keys, all_ranks = np.concatenate(keys), np.concatenate(ranks)
    order = np.lexsort((all_ranks[:, 1], all_ranks[:, 0], all_keys[:, 1], all_keys[:, 0]))
    repeats = np.zeros(len(order), bool)
    ordered = all_keys[order]
    repeats[order[1:]] = (ordered[1:] == ordered[:-1]).all(axis=1)
    return _by_list(repeats, keys)


def _by_list(chosen: npt.NDArray[np.bool_], lists: Sequence[Any]) -> list[npt.NDArray[np.int64]]:
    """Which are chosen of lists that were joined, as positions in each."""
    ends = np.cumsum([len(one) for one in lists])
    return [np.flatnonzero(part) for part in np.split(chosen, ends[:-1])]


def write_task(task: Task, job: IngestJob) -> dict[str, Any] | Ending:
    """Write the shards of a unit or a partition that are not there yet; counts for the ledger."""
    if isinstance(task, WriteTask):
        return write_unit(task, job)
    from pipeline.web_ingest import fetch_partition

    return fetch_partition(task, job)


def write_unit(task: WriteTask, job: IngestJob) -> dict[str, Any]:
    """Write the shards of a unit that are not there yet; returns counts for the ledger.

    One image is in memory at a time, or what the source fetches for a shard. Raises DamagedFile
    when the rows are no longer those of the survey.
    """
    keys = _survey(job, task.number, "key").astype(">u8").tobytes()
    source = job.sources[task.unit.source]
    incoming = _marked(task, job)
    rows = samples = 0
    for name in task.shards:
        due = islice(incoming, min(job.rows_per_shard, len(keys) // 16 - rows))
        expected = keys[16 * rows : 16 * (rows + job.rows_per_shard)]
        shard = _finished(name, expected, task, job)
        if shard is None:
            place = job.place(name, source.name, task.plan)
            keyed = ((row.key(source.name), row) for row in source.fetch(due))
            shard = write_shard(place, keyed, partial(_check, expected, task, job))
        deque(due, maxlen=0)
        rows, samples = rows + shard.rows, samples + shard.samples
    if next(incoming, None) is not None:
        raise _changed(task, job)
    return {"rows": rows, "samples": samples}


def _check(expected: bytes, task: WriteTask, job: IngestJob, keys: bytes) -> None:
    if keys != expected:
        raise _changed(task, job)


def losers_of(root: str, number: int) -> frozenset[int]:
    """The positions of a unit's rows that other rows stand for."""
    with storage.open_input(losers_path(root, number)) as stream:
        return frozenset(np.load(stream).tolist())


def _marked(task: WriteTask, job: IngestJob) -> Iterator[Incoming]:
    """The rows of a unit; those listed and those that another row stands for have failed.

    What has failed is not fetched.
    """
    listed = takedown_match.listed(job.root)
    losers = losers_of(job.root, task.number)
    for position, row in enumerate(job.sources[task.unit.source].read(task.unit)):
        if position in losers:
            mark_duplicate(row)
        if not listed.is_empty:
            block(row, listed.by_name(row.key(task.unit.source), row.url, row.meta))
        yield row


def _finished(name: str, keys: bytes, task: WriteTask, job: IngestJob) -> Shard | None:
    """The shard if it is written, and holds these rows."""
    shard = pool.finished_shard(job.root, name, task.plan)
    expected = pool.keys_digest(pa.chunked_array([_binary16(keys)]))
    return shard if shard is not None and shard.keys == expected else None


def _changed(task: WriteTask, job: IngestJob) -> DamagedFile:
    """The error for a unit that is not what it was; the next ingest surveys it anew."""
    storage.remove(survey_path(job.root, task.number))
    return DamagedFile(f"{task.unit.path}: has changed since it was surveyed; ingest again")


def finish(
    job: IngestJob, sources: str, tasks: Sequence[WriteTask | FetchTask], inputs: str
) -> Pool:
    """Write the index over all shards, which makes the pool; the survey is removed.

    Raises DamagedFile when a shard is missing.
    """
    shards = []
    for task in tasks:
        for name in task.shards:
            shard = pool.finished_shard(job.root, name, task.plan)
            if shard is None:
                raise DamagedFile(f"{pool.tar_path(job.root, name)}: is missing or not whole")
            shards.append(shard)
    if not shards:
        raise RecipeError("the sources hold no rows at all")
    made = Pool(root=job.root, sources=sources, shards=tuple(shards), inputs=inputs)
    pool.write_index(made)
    storage.remove(storage.join(job.root, "pool", "survey"))
    return made
