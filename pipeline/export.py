"""Write the kept rows as globally shuffled, evenly sized shards, the same bytes each time.

Two passes. The first renders the kept samples of some pool shards into a run, sorted by their
place in the shuffle, which is a function of seed and key. The second merges slices of every run
into output shards by copying bytes. What either holds does not grow with the pool.
"""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import decoding, embeddings, encoding, pool, storage
from pipeline.aspect import group_of, grouped
from pipeline.cuts import Bucket
from pipeline.errors import DamagedFile
from pipeline.keys import digest, draw_bits
from pipeline.npz import npz_bytes
from pipeline.pool import Pool, Shard
from pipeline.render import RenderOptions, Row, render
from pipeline.runs import Merged, Rendered, Run, Slice, merge
from pipeline.runs import write_run as write_rendered
from pipeline.shards import END, member, read_shard
from pipeline.verdicts import Part

CODEC_VERSIONS = f"{decoding.DECODER_VERSION}.{encoding.ENCODER_VERSION}"
RUN_BYTES = 64_000_000  # pool tars of about this size make one run
ROW_BYTES = 2_000  # what a row counts for beside its image
RUNS = 1_000  # at most; larger pools have larger runs
TABLE = pa.schema([("uid", pa.string()), ("url", pa.string()), ("text", pa.string())])
_UID_COLUMNS = ("key", "source_key", "url")


@dataclass(frozen=True)
class ExportJob:
    """What a worker needs for either pass. `digest` names the export and its folder of runs.

    With `tables` the rows are written as Parquet, in the layout of DataComp's metadata, and not
    as tars. The second pass knows the `runs`, and the `dims` of every array of vectors.
    """

    pool_root: str
    out: str
    digest: str
    render: RenderOptions
    seed: int
    max_pixels: int = decoding.MAX_PIXELS
    tables: bool = False
    runs: tuple[Run, ...] = ()
    dims: Mapping[str, int] = field(default_factory=dict)

    @property
    def work(self) -> str:
        return storage.join(self.out, "work", f"export-{self.digest}")

    def run(self, name: str) -> Run:
        return Run(storage.join(self.work, name))

    def path(self, name: str) -> str:
        return storage.join(self.out, "shards", name)


@dataclass(frozen=True)
class RunTask:
    """Some pool shards, and for each where its verdicts are."""

    name: str
    shards: tuple[Shard, ...]
    verdicts: tuple[Part, ...]


@dataclass(frozen=True)
class BucketTask:
    """The output shards of one task of the second pass, by their names."""

    names: tuple[str, ...]
    bucket: Bucket


def copy_key(key: bytes, copy: int) -> bytes:
    """The key of the n-th copy of a row; the first is the row itself."""
    return key if copy == 0 else digest(key, str(copy).encode())


def place(key: bytes, seed: int) -> int:
    """Where a sample stands in the shuffle: 64 uniform bits of its key and the seed."""
    return draw_bits(key, seed, "place")


def group_shards(shards: Sequence[Shard]) -> Iterator[tuple[Shard, ...]]:
    """Pool shards in order, in groups of about RUN_BYTES, and no more than RUNS of them."""
    weights = [shard.size_bytes + ROW_BYTES * shard.rows for shard in shards]
    wanted = max(RUN_BYTES, -(-sum(weights) // RUNS))
    group: list[Shard] = []
    held = 0
    for shard, weight in zip(shards, weights, strict=True):
        group.append(shard)
        held += weight
        if held >= wanted:
            yield tuple(group)
            group, held = [], 0
    if group:
        yield tuple(group)


def write_run(task: RunTask, job: ExportJob) -> dict[str, Any]:
    """Render the kept rows of some pool shards; returns counts and what could not be rendered.

    `dims` says for each array of vectors of how many numbers they are.
    """
    failed: dict[str, str] = {}
    reasons: Counter[str] = Counter()  # in samples, that is copies
    groups: Counter[int] = Counter()
    dims: list[set[int]] = [set() for _ in job.render.embeddings]

    def rendered() -> Iterator[Rendered]:
        for shard, part in zip(task.shards, task.verdicts, strict=True):
            for row, copies in _kept_rows(job, shard, part):
                try:
                    samples = _rendered(row, copies, job)
                except decoding.Unreadable as error:
                    failed[row.key.hex()] = error.reason
                    reasons[error.reason] += copies
                    continue
                for seen, count in zip(
                    dims, embeddings.dims_of(row.vectors, job.render.embeddings), strict=True
                ):
                    seen.update([count] if count >= 0 else [])
                if job.render.buckets is not None:
                    groups.update(group_of(p) for sample in samples for p, _ in sample.places)
                yield from samples

    written = write_rendered(job.run(task.name), rendered())
    return {
        "samples": written,
        "failed": dict(sorted(reasons.items())),
        "failed_keys": dict(sorted(failed.items())),
        "dims": [sorted(seen) for seen in dims],
        "groups": {str(number): count for number, count in sorted(groups.items())},
    }


def _rendered(row: Row, copies: int, job: ExportJob) -> list[Rendered]:
    """A row as it will be written.

    Copies that are alike are one entry, with its parts apart; those of which each has a caption
    drawn for it are an entry each.
    """
    if job.tables:
        text = job.render.txt.text(row.columns, row.key, job.seed, "txt")
        return [_entry(row, {row.key: place(row.key, job.seed)}, _table_row(row, text))]
    keys = [copy_key(row.key, copy) for copy in range(copies)]
    differ = len(keys) == 1 or job.render.draws
    samples, bucket = render(row, job.render, job.max_pixels, keys if differ else keys[:1])
    places = {key: place(key, job.seed) for key in keys}
    if bucket is not None:
        places = {key: grouped(at, bucket) for key, at in places.items()}
    if not differ:
        return [_entry(row, places, _framed(samples[0]))]
    return [
        _entry(row, {key: places[key]}, _members(key, parts))
        for key, parts in zip(keys, samples, strict=True)
    ]


def _entry(row: Row, places: Mapping[bytes, int], data: bytes) -> Rendered:
    """The data of one sample, or of equal copies, with the place of each key."""
    told = tuple((at, key) for key, at in places.items())
    return Rendered(told, data + row.vectors, len(row.vectors))


def _kept_rows(job: ExportJob, shard: Shard, part: Part) -> Iterator[tuple[Row, int]]:
    """The kept rows of a pool shard with their image bytes, in order, and their copies."""
    times = part.times()
    kept = np.flatnonzero(times).tolist()
    if not kept:
        return
    columns = job.render.read_columns(job.pool_root, shard)
    vectors = embeddings.read_vectors(job.render.embeddings, job.render.columns, shard)
    wanted = _UID_COLUMNS if job.tables else None
    base = pool.read_base(job.pool_root, shard, wanted).to_pylist()
    path = pool.tar_path(job.pool_root, shard.name)
    images = {} if job.tables else _images(path, {base[row]["key"].hex() for row in kept})
    for row in kept:
        image = None if job.tables else _image_of(base[row], images, path)
        values = {name: column[row] for name, column in columns.items()}
        yield Row(base[row], image, values, embeddings.pack(vectors, row)), int(times[row])


def _images(path: str, wanted: set[str]) -> dict[str, dict[str, bytes]]:
    return {sample.key: sample.parts for sample in read_shard(path) if sample.key in wanted}


def _image_of(row: dict[str, Any], samples: dict[str, dict[str, bytes]], path: str) -> bytes | None:
    """The image of a base row, taken out of the samples of its shard; None of metadata alone."""
    if row["extension"] is None:
        return None
    key = row["key"].hex()
    image = samples.pop(key, {}).get(row["extension"])
    if image is None:
        raise DamagedFile(f"{path}: has no sample {key}")
    if hashlib.sha256(image).digest() != row["image_sha256"]:
        raise DamagedFile(f"{path}: the image of {key} is not the one that came in")
    return image


def _table_row(row: Row, text: str | None) -> bytes:
    values = (row.base["source_key"], row.base["url"], text)
    return json.dumps(dict(zip(TABLE.names, values, strict=True))).encode()


def _members(key: bytes, parts: Mapping[str, bytes]) -> bytes:
    """A sample as it stands in a tar."""
    return b"".join(member(f"{key.hex()}.{e}", data) for e, data in parts.items())


def _framed(parts: Mapping[str, bytes]) -> bytes:
    """The parts of a sample behind a line that says how long they are."""
    sizes = json.dumps({extension: len(data) for extension, data in parts.items()})
    return b"".join([sizes.encode(), b"\n", *parts.values()])


def _copy(key: bytes, framed: bytes) -> bytes:
    """A copy as it stands in a tar: name and json have its key."""
    line, _, data = framed.partition(b"\n")
    parts, at = {}, 0
    for extension, size in json.loads(line).items():
        parts[extension] = data[at : at + size]
        at += size
    fields = json.loads(parts["json"])
    if fields["key"] != key.hex():
        parts["json"] = json.dumps(fields | {"key": key.hex()}).encode()
    return _members(key, parts)


@dataclass(frozen=True)
class _Sample:
    """A sample of the second pass: as it will be written, and its vectors."""

    key: bytes
    data: bytes = field(repr=False)
    vectors: bytes = field(repr=False)


def write_bucket(task: BucketTask, job: ExportJob) -> dict[str, Any]:
    """Merge neighbouring output shards from all runs; returns of each what was written."""
    spans = zip(job.runs, task.bucket.rows.tolist(), strict=True)
    slices = [Slice(run, run.read_index(*span)) for run, span in spans if span[1] > span[0]]
    merged = merge(slices)
    edges = np.array(task.bucket.edges, np.uint64)
    stops = [*np.searchsorted(merged.index["place"], edges, side="left").tolist()]
    starts = [0, *stops]
    samples = _samples(merged)
    shards = []
    for name, start, stop in zip(task.names, starts, [*stops, len(merged.index)], strict=True):
        files = _write_shard(name, islice(samples, stop - start), job)
        shards.append({"name": name, "samples": stop - start, "files": files})
    return {"samples": len(merged.index), "shards": shards}


def _samples(merged: Merged) -> Iterator[_Sample]:
    columns = (merged.index[name].tolist() for name in ("key", "vectors", "is_copied"))
    for data, key, vectors, is_copied in zip(merged.data(), *columns, strict=True):
        cut = len(data) - vectors
        own = _copy(key, data[:cut]) if is_copied else data[:cut]
        yield _Sample(key, own, data[cut:])


def _write_shard(name: str, samples: Iterator[_Sample], job: ExportJob) -> dict[str, Any]:
    """Write the files of an output shard; returns size and sha256 of each by its name."""
    keys: list[str] = []
    vectors: list[bytes] = []

    def noted() -> Iterator[bytes]:
        for sample in samples:
            keys.append(sample.key.hex())
            vectors.append(sample.vectors)
            yield sample.data

    write = _write_table if job.tables else _write_tar
    files = {file: write(job.path(file), noted()) for file in [shard_file(name, job.tables)]}
    if job.render.embeddings:
        arrays = embeddings.arrays_of(keys, vectors, job.render.embeddings, job.dims)
        files[f"{name}.npz"] = _write_bytes(job.path(f"{name}.npz"), npz_bytes(arrays))
    return files


def shard_file(name: str, tables: bool) -> str:
    return f"{name}.parquet" if tables else f"{name}.tar"


def _write_tar(path: str, data: Iterator[bytes]) -> dict[str, Any]:
    state = hashlib.sha256()
    with storage.writing(path) as temporary, open(temporary, "wb") as stream:
        for block in data:
            state.update(block)
            stream.write(block)
        state.update(END)
        stream.write(END)
    return {"size_bytes": storage.size(path), "sha256": state.hexdigest()}


def _write_table(path: str, data: Iterator[bytes]) -> dict[str, Any]:
    rows = [json.loads(row) for row in data]
    buffer = io.BytesIO()
    table = pa.Table.from_pylist(rows, schema=TABLE)
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return _write_bytes(path, buffer.getvalue())


def _write_bytes(path: str, data: bytes) -> dict[str, Any]:
    storage.write_atomic(path, data)
    return {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def export_digest(selection: str, made_from: Pool, options: Mapping[str, Any]) -> str:
    """Names an export: the verdicts it is made from, the pool, and how samples are written."""
    text = json.dumps([selection, made_from.digest, dict(options)], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
