"""Bring every row of the sources into a pool: a base row each, and a sample where there is one.

Two passes. The survey reads all rows and notes their keys, so that of rows with equal keys one
can be chosen and shards can be numbered; the second pass writes the shards. Only headers of
images are read: a full decode that fails later is the reason of the scorer that met it.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import decoding, pool, storage, takedown_match
from pipeline.domains import registered_domain
from pipeline.errors import DamagedFile, RecipeError
from pipeline.keys import digest
from pipeline.pool import Pool, Shard
from pipeline.shards import Sample, ShardWriter
from pipeline.sources.base import Incoming, Source, Unit
from pipeline.takedown_match import Listed
from pipeline.takedown_record import TAKEN_DOWN, Entry, empty_row

DUPLICATE = "duplicate_key"
VERSION = 2  # raise it when the same sources would give another pool; 2: links are not followed
_SURVEY = pa.schema([("key", pa.binary(16)), ("rank", pa.binary(16))])
_UNUSABLE = 1 << 127  # the first bit of a rank
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


@dataclass(frozen=True)
class WriteTask:
    """A unit, and the names of the shards it becomes, in order."""

    number: int
    unit: Unit
    shards: tuple[str, ...]
    plan: str  # the ingest, and which rows of the unit others stand for


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
    keys, ranks = bytearray(), bytearray()
    for row in job.sources[unit.source].read(unit):
        keys += row.key(unit.source)
        ranks += _rank(row, unit.source, job.max_pixels)
    table = pa.table([_binary16(keys), _binary16(ranks)], schema=_SURVEY)
    with storage.writing(survey_path(job.root, number)) as temporary:
        pq.write_table(table.replace_schema_metadata({"plan": job.plan}), temporary)
    return {"rows": len(table)}


def _rank(row: Incoming, source: str, max_pixels: int) -> bytes:
    """The rank of a row; one that can't have a sample comes behind all that may."""
    rank = int.from_bytes(row.rank(source), "big") >> 1
    return (rank if _is_usable(row, max_pixels) else rank | _UNUSABLE).to_bytes(16, "big")


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


def is_surveyed(job: IngestJob, number: int) -> bool:
    path = survey_path(job.root, number)
    if not storage.exists(path):
        return False
    try:
        with storage.open_input(path) as stream:
            metadata = pq.read_metadata(stream).metadata or {}
    except pa.ArrowException:  # damaged: not surveyed
        return False
    return metadata.get(b"plan") == job.plan.encode()


def plan_writes(job: IngestJob, units: Sequence[Unit]) -> list[WriteTask]:
    """Number the shards, and choose among rows with equal keys; its result is on disk beside.

    Needs the survey of every unit. A function of the surveys alone, so that several processes
    may do it at once.
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
    counts = [-(-count // job.rows_per_shard) for count in rows]
    names = iter(pool.shard_name(i, sum(counts)) for i in range(sum(counts)))
    return [
        WriteTask(number, unit, tuple(islice(names, count)), plan)
        for number, (unit, count, plan) in enumerate(zip(units, counts, plans, strict=True))
    ]


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

    In as many rounds as it takes to have few keys in memory; equal keys meet in one of them.
    """
    rounds = max(1, -(-sum(rows) // _ROWS_AT_ONCE))
    found: list[list[npt.NDArray[np.int64]]] = [[] for _ in rows]
    for round_ in range(rounds):
        places, keys, ranks = [], [], []
        for number in range(len(rows)):
            words = _survey(job, number, "key")
            at = np.flatnonzero(words[:, 1] % np.uint64(rounds) == round_)
            places.append(at)
            keys.append(words[at])
            ranks.append(_survey(job, number, "rank")[at])
        for number, at in enumerate(_repeated(keys, ranks)):
            found[number].append(places[number][at])
    return [np.sort(np.concatenate(parts)) for parts in found]


def _repeated(keys: Sequence[_Words], ranks: Sequence[_Words]) -> list[npt.NDArray[np.int64]]:
    """Per list the positions of keys that stand elsewhere with a smaller rank."""
    if not keys:
        return []
    all_keys, all_ranks = np.concatenate(keys), np.concatenate(ranks)
    order = np.lexsort((all_ranks[:, 1], all_ranks[:, 0], all_keys[:, 1], all_keys[:, 0]))
    repeats = np.zeros(len(order), bool)
    ordered = all_keys[order]
    repeats[order[1:]] = (ordered[1:] == ordered[:-1]).all(axis=1)
    ends = np.cumsum([len(part) for part in keys])
    return [np.flatnonzero(part) for part in np.split(repeats, ends[:-1])]


def write_unit(task: WriteTask, job: IngestJob) -> dict[str, Any]:
    """Write the shards of a unit that are not there yet; returns counts for the ledger.

    One image is in memory at a time, or what the source fetches for a shard. Raises DamagedFile
    when the rows are no longer those of the survey.
    """
    keys = _survey(job, task.number, "key").astype(">u8").tobytes()
    incoming = _marked(task, job)
    rows = samples = 0
    for name in task.shards:
        due = islice(incoming, min(job.rows_per_shard, len(keys) // 16 - rows))
        expected = keys[16 * rows : 16 * (rows + job.rows_per_shard)]
        shard = _finished(name, expected, task, job)
        if shard is None:
            shard = _write_shard(name, due, expected, task, job)
        deque(due, maxlen=0)
        rows, samples = rows + shard.rows, samples + shard.samples
    if next(incoming, None) is not None:
        raise _changed(task, job)
    return {"rows": rows, "samples": samples}


def _marked(task: WriteTask, job: IngestJob) -> Iterator[Incoming]:
    """The rows of a unit; those listed and those that another row stands for have failed.

    What has failed is not fetched.
    """
    listed = takedown_match.listed(job.root)
    with storage.open_input(losers_path(job.root, task.number)) as stream:
        losers = frozenset(np.load(stream).tolist())
    for position, row in enumerate(job.sources[task.unit.source].read(task.unit)):
        if position in losers and row.failed is None:
            row.failed, row.detail = DUPLICATE, "another row carries this pair"
            row.retriable = False
        if not listed.is_empty:
            _block(row, listed.by_name(row.key(task.unit.source), row.url))
        yield row


def _block(row: Incoming, entry: Entry | None) -> None:
    """Make a row one that was taken down if an entry names it."""
    if entry is not None:
        row.failed, row.detail, row.retriable = TAKEN_DOWN, entry.reason, False


def _finished(name: str, keys: bytes, task: WriteTask, job: IngestJob) -> Shard | None:
    """The shard if it is written, and holds these rows."""
    shard = pool.finished_shard(job.root, name, task.plan)
    expected = pool.keys_digest(pa.chunked_array([_binary16(keys)]))
    return shard if shard is not None and shard.keys == expected else None


def _changed(task: WriteTask, job: IngestJob) -> DamagedFile:
    """The error for a unit that is not what it was; the next ingest surveys it anew."""
    storage.remove(survey_path(job.root, task.number))
    return DamagedFile(f"{task.unit.path}: has changed since it was surveyed; ingest again")


def _write_shard(
    name: str, due: Iterator[Incoming], keys: bytes, task: WriteTask, job: IngestJob
) -> Shard:
    source = job.sources[task.unit.source]
    path = pool.tar_path(job.root, name)
    listed = takedown_match.listed(job.root)
    with storage.writing(path) as temporary, open(temporary, "wb") as stream:
        writer = ShardWriter(stream)
        base = [
            _pool_row(_allowed(row, listed, job.max_pixels), source.name, writer, job.max_pixels)
            for row in source.fetch(due)
        ]
        writer.close()
        if b"".join(row["key"] for row in base) != keys:
            raise _changed(task, job)
    return pool.write_base(job.root, name, pool.base_table(base), storage.size(path), task.plan)


def _allowed(row: Incoming, listed: Listed, max_pixels: int) -> Incoming:
    """The row with its image, which fails when that is listed."""
    if row.image is not None and (listed.images or listed.alike):
        _block(row, takedown_match.by_image(listed, row.image, row.image_sha256, max_pixels))
    return row


def _pool_row(row: Incoming, source: str, writer: ShardWriter, max_pixels: int) -> dict[str, Any]:
    """The base row of an incoming row; its sample is written when there is one."""
    key = row.key(source)
    if row.failed == TAKEN_DOWN:
        return empty_row(key, source, row.detail)
    base = {
        "key": key,
        "source": source,
        "source_key": row.source_key,
        "url": row.url,
        "domain": registered_domain(row.url),
        "caption": row.caption,
        "captions": row.captions or None,
        "image_sha256": row.image_sha256,
        "failed": row.failed,
        "detail": row.detail,
        "retriable": row.retriable,
        "meta": json.dumps(row.meta, sort_keys=True, default=str) if row.meta else None,
    }
    if row.failed is not None or row.metadata_only:
        return base
    if row.image is None:
        return base | {"failed": "no_image", "retriable": False}
    try:
        header = decoding.read_header(row.image, max_pixels=max_pixels)
    except decoding.Unreadable as error:
        return base | {"failed": error.reason, "detail": error.detail, "retriable": False}
    extension = decoding.EXTENSIONS[header.format]
    writer.write(Sample(key.hex(), {extension: row.image, **_others(row, extension)}))
    return base | {"extension": extension}


def _others(row: Incoming, extension: str) -> dict[str, bytes]:
    """The members beside the image: those that came, and the caption as `txt` if none did.

    One that has the name the image takes by its true format is called `other.<name>`.
    """
    others = {
        f"other.{name}" if name == extension else name: data for name, data in row.parts.items()
    }
    if row.caption is not None:
        others.setdefault("txt", row.caption.encode("utf-8"))
    return others


def finish(job: IngestJob, sources: str, tasks: Sequence[WriteTask], inputs: str) -> Pool:
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
