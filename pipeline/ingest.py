"""Bring every row of the sources into a pool: a base row each, and a sample where there is one.

Two passes. The survey reads all rows and notes their keys, so that of rows with equal keys one
can be chosen and shards can be numbered; the second pass writes the shards. Only headers of
images are read: a full decode that fails later is the reason of the scorer that met it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import decoding, pool, storage
from pipeline.domains import registered_domain
from pipeline.errors import DamagedFile, RecipeError
from pipeline.keys import digest
from pipeline.pool import Pool, Shard
from pipeline.shards import Sample, ShardWriter
from pipeline.sources.base import Incoming, Source, Unit

DUPLICATE = "duplicate_key"
_SURVEY = pa.schema([("key", pa.binary(16)), ("rank", pa.binary(16))])


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


def plan_digest(sources: str, units: Sequence[Unit], rows_per_shard: int, max_pixels: int) -> str:
    """Names an ingest: the sources as the recipe has them, and the files found there."""
    return digest(
        sources.encode(),
        inputs_digest(units).encode(),
        str((decoding.DECODER_VERSION, rows_per_shard, max_pixels)).encode(),
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
    """Note key and rank of every row of a unit."""
    number, unit = task
    source = job.sources[unit.source]
    rows = [(row.key(unit.source), row.rank(unit.source)) for row in source.read(unit)]
    table = pa.table(
        [pa.array([r[i] for r in rows], pa.binary(16)) for i in range(2)], schema=_SURVEY
    )
    with storage.writing(survey_path(job.root, number)) as temporary:
        pq.write_table(table.replace_schema_metadata({"plan": job.plan}), temporary)
    return {"rows": len(rows)}


def is_surveyed(job: IngestJob, number: int) -> bool:
    path = survey_path(job.root, number)
    if not storage.exists(path):
        return False
    with storage.open_input(path) as stream:
        metadata = pq.read_metadata(stream).metadata or {}
    return metadata.get(b"plan") == job.plan.encode()


def plan_writes(job: IngestJob, units: Sequence[Unit]) -> list[WriteTask]:
    """Number the shards, and choose among rows with equal keys; its result is on disk beside.

    Needs the survey of every unit. A function of the surveys alone, so that several processes
    may do it at once.
    """
    surveys = [_survey(job, number) for number in range(len(units))]
    for number, losers in enumerate(_losers(surveys)):
        with (
            storage.writing(losers_path(job.root, number)) as temporary,
            open(temporary, "wb") as stream,
        ):
            np.save(stream, losers)
    counts = [-(-len(keys) // job.rows_per_shard) for keys, _ in surveys]
    names = iter(pool.shard_name(i, sum(counts)) for i in range(sum(counts)))
    return [
        WriteTask(number, unit, tuple(islice(names, count)))
        for number, (unit, count) in enumerate(zip(units, counts, strict=True))
    ]


def _survey(job: IngestJob, number: int) -> tuple[npt.NDArray[np.bytes_], npt.NDArray[np.bytes_]]:
    with storage.open_input(survey_path(job.root, number)) as stream:
        table = pq.read_table(stream)
    return _bytes16(table["key"]), _bytes16(table["rank"])


def _bytes16(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """16-byte values as two big-endian words each, which sort as the bytes do."""
    data = b"".join(column.to_pylist())
    return np.frombuffer(data, dtype=">u8").reshape(-1, 2).astype(np.uint64)


def _losers(surveys: Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any]]]) -> list[Any]:
    """Per unit the positions of rows whose key another row carries with a smaller rank."""
    lengths = [len(keys) for keys, _ in surveys]
    if not sum(lengths):
        return [np.zeros(0, np.int64) for _ in surveys]
    keys = np.concatenate([k for k, _ in surveys])
    ranks = np.concatenate([r for _, r in surveys])
    order = np.lexsort((ranks[:, 1], ranks[:, 0], keys[:, 1], keys[:, 0]))
    repeats = np.zeros(len(keys), bool)
    ordered = keys[order]
    repeats[order[1:]] = (ordered[1:] == ordered[:-1]).all(axis=1)
    parts = np.split(repeats, np.cumsum(lengths)[:-1])
    return [np.flatnonzero(part) for part in parts]


def write_unit(task: WriteTask, job: IngestJob) -> dict[str, Any]:
    """Write the shards of a unit that are not there yet; returns counts for the ledger."""
    source = job.sources[task.unit.source]
    with storage.open_input(losers_path(job.root, task.number)) as stream:
        losers = frozenset(np.load(stream).tolist())
    incoming = enumerate(source.read(task.unit))
    rows = samples = 0
    for name in task.shards:
        batch = list(islice(incoming, job.rows_per_shard))
        shard = pool.finished_shard(job.root, name, job.plan)
        if shard is None:
            shard = _write_shard(name, batch, losers, source, job)
        rows, samples = rows + shard.rows, samples + shard.samples
    if next(incoming, None) is not None:
        raise DamagedFile(f"{task.unit.path}: has changed since it was surveyed; ingest again")
    return {"rows": rows, "samples": samples}


def _write_shard(
    name: str,
    batch: Sequence[tuple[int, Incoming]],
    losers: frozenset[int],
    source: Source,
    job: IngestJob,
) -> Shard:
    keys = [row.key(source.name) for _, row in batch]
    for position, row in batch:
        if position in losers and row.failed is None:
            row.failed, row.detail = DUPLICATE, "another row carries this pair"
    rows = _fetched([row for _, row in batch], source)
    path = pool.tar_path(job.root, name)
    with storage.writing(path) as temporary, open(temporary, "wb") as stream:
        writer = ShardWriter(stream)
        base = [
            _pool_row(row, key, source.name, writer, job.max_pixels)
            for row, key in zip(rows, keys, strict=True)
        ]
        writer.close()
    return pool.write_base(job.root, name, pool.base_table(base), storage.size(path), job.plan)


def _fetched(rows: Sequence[Incoming], source: Source) -> list[Incoming]:
    """The rows with their images; rows that have failed already are not fetched."""
    fetched = iter(source.fetch([row for row in rows if row.failed is None]))
    return [row if row.failed is not None else next(fetched) for row in rows]


def _pool_row(
    row: Incoming, key: bytes, source: str, writer: ShardWriter, max_pixels: int
) -> dict[str, Any]:
    """The base row of an incoming row; its sample is written when there is one."""
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
        return base | {"failed": "no_image"}
    try:
        header = decoding.read_header(row.image, max_pixels=max_pixels)
    except decoding.Unreadable as error:
        return base | {"failed": error.reason, "detail": error.detail}
    extension = decoding.EXTENSIONS[header.format]
    writer.write(Sample(key.hex(), {extension: row.image, **_others(row, extension)}))
    return base | {"extension": extension}


def _others(row: Incoming, extension: str) -> dict[str, bytes]:
    """The members beside the image: those that came, and the caption as `txt` if none did."""
    others = {name: data for name, data in row.parts.items() if name != extension}
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
            shard = pool.finished_shard(job.root, name, job.plan)
            if shard is None:
                raise DamagedFile(f"{pool.tar_path(job.root, name)}: is missing or not whole")
            shards.append(shard)
    if not shards:
        raise RecipeError("the sources hold no rows at all")
    made = Pool(root=job.root, sources=sources, shards=tuple(shards), inputs=inputs)
    pool.write_index(made)
    storage.remove(storage.join(job.root, "pool", "survey"))
    return made
