"""Write the kept rows as globally shuffled, evenly sized webdataset tars, the same bytes each time.

Two passes. The first renders the kept samples of some pool shards into a run: finished tar
members, sorted by their place in the shuffle, which is a function of seed and key. The second
merges a slice of every run into one output shard by copying bytes. Neither holds more than a run
or a shard in memory.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import decoding, encoding, pool, storage
from pipeline.errors import DamagedFile
from pipeline.keys import digest, draw_bits
from pipeline.pool import Pool, Shard
from pipeline.render import RenderOptions, Row, render
from pipeline.shards import END, member, read_shard

CODEC_VERSIONS = f"{decoding.DECODER_VERSION}.{encoding.ENCODER_VERSION}"
RUN_BYTES = 64_000_000  # pool tars of about this size make one run
_INDEX = np.dtype([("place", "<u8"), ("key", "V16"), ("offset", "<i8"), ("length", "<i8")])


@dataclass(frozen=True)
class ExportJob:
    """What a worker needs for either pass. `digest` names the export and its folder of runs."""

    pool_root: str
    out: str
    digest: str
    render: RenderOptions
    seed: int
    boundaries: tuple[int, ...] | None = ()
    runs: tuple[str, ...] = ()
    max_pixels: int = decoding.MAX_PIXELS

    @property
    def work(self) -> str:
        return storage.join(self.out, "work", f"export-{self.digest}")


@dataclass(frozen=True)
class RunTask:
    """Some pool shards, and per shard the kept rows with the number of copies of each."""

    name: str
    shards: tuple[Shard, ...]
    kept: tuple[tuple[tuple[int, int], ...], ...]


@dataclass
class _Buffer:
    """Rendered members of one run, and where each sample lies in them."""

    data: list[bytes] = field(default_factory=list)
    index: list[tuple[int, bytes, int]] = field(default_factory=list)  # place, key, position


def copy_key(key: bytes, copy: int) -> bytes:
    """The key of the n-th copy of a row; the first is the row itself."""
    return key if copy == 0 else digest(key, str(copy).encode())


def place(key: bytes, seed: int) -> int:
    """Where a sample stands in the shuffle: 64 uniform bits of its key and the seed."""
    return draw_bits(key, seed, "place")


def boundaries(places: npt.NDArray[np.uint64], samples_per_shard: int) -> tuple[int, ...]:
    """The first place of every output shard but the first: their sizes differ by one at most.

    Needs 8 bytes a kept sample. No samples make no shards.
    """
    count = -(-len(places) // samples_per_shard)
    ordered = np.sort(places)
    return tuple(int(ordered[i * len(places) // count]) for i in range(1, count))


def group_shards(shards: Sequence[Shard], limit: int = 10_000) -> Iterator[tuple[Shard, ...]]:
    """Pool shards in order, in groups of about RUN_BYTES, at most `limit` groups."""
    total = sum(shard.size_bytes for shard in shards)
    wanted = max(RUN_BYTES, -(-total // limit))
    group: list[Shard] = []
    weight = 0
    for shard in shards:
        if group and weight + shard.size_bytes > wanted:
            yield tuple(group)
            group, weight = [], 0
        group.append(shard)
        weight += shard.size_bytes
    if group:
        yield tuple(group)


def run_paths(job: ExportJob, name: str) -> tuple[str, str]:
    """The members of a run and their index; the index is written last."""
    return (
        storage.join(job.work, f"{name}.members"),
        storage.join(job.work, f"{name}.npy"),
    )


def write_run(task: RunTask, job: ExportJob) -> dict[str, Any]:
    """Render the kept rows of some pool shards; returns counts and what could not be rendered."""
    buffer = _Buffer()
    failed: dict[str, str] = {}
    reasons: Counter[str] = Counter()  # in samples, that is copies
    for shard, kept in zip(task.shards, task.kept, strict=True):
        for row, copies in _kept_rows(job, shard, dict(kept)):
            try:
                parts = render(row, job.render, job.max_pixels)
            except decoding.Unreadable as error:
                failed[row.key.hex()] = error.reason
                reasons[error.reason] += copies
                continue
            for copy in range(copies):
                _add(buffer, row, copy_key(row.key, copy), parts, job.seed)
    _write_run(buffer, *run_paths(job, task.name))
    return {
        "samples": len(buffer.index),
        "failed": dict(sorted(reasons.items())),
        "failed_keys": dict(sorted(failed.items())),
    }


def _kept_rows(job: ExportJob, shard: Shard, kept: Mapping[int, int]) -> Iterator[tuple[Row, int]]:
    """The kept rows of a pool shard with their image bytes, in order, and their copies."""
    if not kept:
        return
    columns = job.render.read_columns(job.pool_root, shard)
    base = pool.read_base(job.pool_root, shard).to_pylist()
    path = pool.tar_path(job.pool_root, shard.name)
    samples = {}
    wanted = {base[row]["key"].hex() for row in kept}
    for sample in read_shard(path):
        if sample.key in wanted:
            samples[sample.key] = sample.parts
    for row in sorted(kept):
        values = {name: column[row] for name, column in columns.items()}
        yield Row(base[row], _image_of(base[row], samples, path), values), kept[row]


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


def _add(buffer: _Buffer, row: Row, key: bytes, parts: Mapping[str, bytes], seed: int) -> None:
    name = key.hex()
    fields = dict(parts)
    if key != row.key:
        fields["json"] = json.dumps(json.loads(parts["json"]) | {"key": name}).encode()
    members = b"".join(member(f"{name}.{e}", data) for e, data in fields.items())
    buffer.index.append((place(key, seed), key, len(buffer.data)))
    buffer.data.append(members)


def _write_run(buffer: _Buffer, members_path: str, index_path: str) -> None:
    order = sorted(buffer.index)
    index = np.zeros(len(order), _INDEX)
    offset = 0
    with storage.writing(members_path) as temporary, open(temporary, "wb") as stream:
        for slot, (where, key, position) in enumerate(order):
            data = buffer.data[position]
            index[slot] = (where, key, offset, len(data))
            stream.write(data)
            offset += len(data)
    with storage.writing(index_path) as temporary, open(temporary, "wb") as stream:
        np.save(stream, index)


def shard_range(job: ExportJob, number: int) -> tuple[int, int]:
    """First place of an output shard, and the first that is beyond it."""
    edges = [0, *(job.boundaries or ()), 1 << 64]
    return edges[number], edges[number + 1]


def write_output(task: tuple[str, int], job: ExportJob) -> dict[str, Any]:
    """Merge one output shard from all runs; returns its sample count, bytes and sha256."""
    name, number = task
    slices = _slices(job, number)
    order = sorted(
        (int(entry["place"]), entry["key"].tobytes(), run, slot)
        for run, entries in enumerate(slices)
        for slot, entry in enumerate(entries)
    )
    state = hashlib.sha256()
    path = storage.join(job.out, "shards", f"{name}.tar")
    blobs = [_read_slice(job, run, entries) for run, entries in zip(job.runs, slices, strict=True)]
    with storage.writing(path) as temporary, open(temporary, "wb") as stream:
        for _, _, run, slot in order:
            entry, first = slices[run][slot], slices[run][0]
            start = int(entry["offset"] - first["offset"])
            data = blobs[run][start : start + int(entry["length"])]
            state.update(data)
            stream.write(data)
        state.update(END)
        stream.write(END)
    return {
        "samples": len(order),
        "size_bytes": storage.size(path),
        "sha256": state.hexdigest(),
    }


def read_index(job: ExportJob, run: str) -> Any:
    """Where the samples of a run lie, in the order of the shuffle. Raises DamagedFile."""
    path = run_paths(job, run)[1]
    try:
        with storage.open_input(path) as stream:
            return np.load(stream)
    except (ValueError, OSError) as error:
        message = f"{path}: can't be read, remove it and export again: {error}"
        raise DamagedFile(message) from error


def _slices(job: ExportJob, number: int) -> list[Any]:
    """Per run the index entries that belong to one output shard; they are neighbours there."""
    first, beyond = shard_range(job, number)
    found = []
    for run in job.runs:
        index = read_index(job, run)
        start = int(np.searchsorted(index["place"], np.uint64(first), side="left"))
        stop = len(index)
        if beyond < 1 << 64:
            stop = int(np.searchsorted(index["place"], np.uint64(beyond), side="left"))
        found.append(index[start:stop].copy())  # a view would hold the whole index
    return found


def _read_slice(job: ExportJob, run: str, entries: Any) -> bytes:
    if not len(entries):
        return b""
    start = int(entries[0]["offset"])
    stop = int(entries[-1]["offset"] + entries[-1]["length"])
    path = run_paths(job, run)[0]
    with storage.open_input(path) as stream:
        stream.seek(start, os.SEEK_SET)
        data = stream.read(stop - start)
    if len(data) != stop - start:
        raise DamagedFile(f"{path}: ends at byte {start + len(data)}; remove it and export again")
    return data


def run_is_written(job: ExportJob, name: str) -> bool:
    return all(storage.exists(path) for path in run_paths(job, name))


def export_digest(selection: str, made_from: Pool, options: Mapping[str, Any]) -> str:
    """Names an export: the verdicts it is made from, the pool, and how samples are written."""
    text = json.dumps([selection, made_from.digest, dict(options)], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
