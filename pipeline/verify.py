"""Check every promise of a build against its files: checksums, counts, keys, the ledger.

Reads everything it speaks of and changes nothing. It lists all that is wrong, not the first.
"""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import npz, pool, retry_record, storage, takedown
from pipeline.errors import CurationError, DamagedFile, RecipeError
from pipeline.manifest import check_ledger, file_sha256
from pipeline.pool import Shard
from pipeline.record import BuildRecord, open_record
from pipeline.shards import read_shard
from pipeline.verdicts import FAILED, KEPT, Verdicts

Keys = npt.NDArray[np.bytes_]
_KEY = np.dtype("S32")
_SHOWN = 50


def check(out: str) -> str:
    """What was checked, in a line. Raises DamagedFile with every promise that is broken."""
    record = open_record(out)
    problems = [
        *pool_problems(record),
        *column_problems(record),
        *verdict_problems(record),
        *export_problems(record),
        *takedown.problems(record.pool, record.out, record.columns.values(), verdicts_of(record)),
    ]
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems[:50])
        more = f"\n  and {len(problems) - 50} more" if len(problems) > 50 else ""
        raise DamagedFile(f"{out}: {len(problems)} promises are broken\n{listed}{more}")
    manifest = record.manifest()
    shards = len(manifest["shards"]) if manifest else 0
    return (
        f"{out}: all is as promised: {record.pool.rows_in:,} rows in {len(record.pool.shards)} pool"
        f" shards, {len(record.scorers)} column sets, {shards} training shards"
        + "".join(f"\n  {note}" for note in smaller_batches(record))
    )


def pool_problems(record: BuildRecord) -> Iterator[str]:
    """Base rows that are not those indexed, tars that do not hold their samples, rows that were
    tried again and have no newer row."""
    waiting: dict[bytes, str] = {}  # keys of rows that were tried again, and where they stand
    for shard in record.pool.shards:
        path = pool.tar_path(record.pool.root, shard.name)
        try:
            base = pool.read_stored(record.pool.root, shard)
        except DamagedFile as error:
            yield str(error)
            continue
        yield from _retry_problems(record.pool.root, shard, base, waiting)
        if pool.describe(shard.name, base, shard.size_bytes).digest != shard.digest:
            yield f"{pool.base_path(record.pool.root, shard.name)}: rows are not those indexed"
        if not storage.exists(path):
            yield f"{path}: is missing"
            continue
        yield from _tar_problems(path, base.to_pylist())
    for key, path in list(waiting.items())[:_SHOWN]:
        yield f"{path}: {key.hex()} was tried again, and no later shard has a row of this key"


def _retry_problems(
    root: str, shard: Shard, base: pa.Table, waiting: dict[bytes, str]
) -> Iterator[str]:
    """Rows that can't have been tried again; the others wait for a newer row in a later shard."""
    keys = base["key"].to_pylist()
    for key in waiting.keys() & set(keys):
        del waiting[key]
    path = retry_record.sidecar_path(root, shard.name)
    try:
        rows = retry_record.positions(root, shard).tolist()
    except DamagedFile as error:
        yield str(error)
        return
    failed = base["failed"].to_pylist()
    waiting.update((keys[row], path) for row in rows)
    for row in [row for row in rows if failed[row] is None][:_SHOWN]:
        yield f"{path}: row {row} has not failed"


def _tar_problems(path: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    expected = {r["key"].hex(): r for r in rows if r["extension"] is not None}
    seen: Counter[str] = Counter()
    for sample in read_shard(path):
        if sample.failed is not None:
            yield f"{path}: {sample.detail}"
            continue
        seen[sample.key] += 1
        row = expected.get(sample.key)
        if row is None or row["extension"] not in sample.parts:
            yield f"{path}: sample {sample.key} is not one of the base rows"
        elif hashlib.sha256(sample.parts[row["extension"]]).digest() != row["image_sha256"]:
            yield f"{path}: the image of {sample.key} has another sha256 than its base row says"
    for key in expected:
        if seen[key] != 1:
            yield f"{path}: sample {key} is there {seen[key]} times"


def column_problems(record: BuildRecord) -> Iterator[str]:
    """Column files that are missing, unreadable, or about other rows."""
    for columns in {s.folder: s for s in record.columns.values()}.values():
        for shard in record.pool.shards:
            if not columns.has(shard):
                yield f"{columns.path(shard)}: is missing, damaged or about other rows"
                continue
            try:
                columns.read(shard)
            except DamagedFile as error:
                yield str(error)


def verdicts_of(record: BuildRecord) -> Verdicts | None:
    """The verdicts, if they can be read; else that is said elsewhere."""
    with contextlib.suppress(CurationError):
        return record.selection()
    return None


def smaller_batches(record: BuildRecord) -> Iterator[str]:
    """Shards scored in smaller batches because memory ran out, as the ledger of this build says.

    No promise is broken by that, but for a model's last digits: another shape, other kernels.
    """
    folder = storage.join(record.out, "ledger")
    names = storage.files_below(folder) if storage.exists(folder) else []
    for name in sorted(name for name in names if name.startswith("score")):
        try:
            scorers = storage.read_fields(storage.join(folder, name), "stats")["stats"]["scorers"]
            found = {
                scorer: said["smallest_batch"]
                for scorer, said in scorers.items()
                if scorer in record.scorers and "smallest_batch" in said
            }
        except (CurationError, FileNotFoundError, KeyError, TypeError, AttributeError):
            continue  # of another kind, failed, or damaged: the report names those
        shard = name.rpartition("/")[2].removesuffix(".json")
        for scorer, size in found.items():
            yield f"shard {shard}: {scorer} ran out of memory, batches fell to {size}"


def verdict_problems(record: BuildRecord) -> Iterator[str]:
    """Verdicts that are missing, damaged, about other rows, or not as their summary counts them."""
    try:
        verdicts = record.verdicts()
        counted: Counter[str] = Counter()
        for shard in record.pool.shards:
            table = verdicts.of_shard(shard.name)
            for pair in pc.value_counts(table["verdict"]).to_pylist():
                counted[pair["values"]] += pair["counts"]
            if pool.keys_digest(table["key"]) != shard.keys:
                yield f"{verdicts.folder}: is about other rows than shard {shard.name} has"
    except CurationError as error:
        yield str(error)
        return
    summary = verdicts.summary
    failed = sum(summary["failed"].values()) + summary.get("retried", 0)
    said = {KEPT: summary["kept"], FAILED: failed, **summary["dropped"]}
    if +counted != +Counter(said):
        yield f"{verdicts.folder}: holds {dict(counted)}, its summary says {said}"


def export_problems(record: BuildRecord) -> Iterator[str]:
    """Where the manifest and the training shards disagree."""
    folder = storage.join(record.out, "shards")
    try:
        manifest = record.manifest()
    except DamagedFile as error:
        yield str(error)
        return
    if manifest is None:
        yield f"{folder}: there is no manifest.json, so no export"
        return
    yield from _ledger_problems(record, manifest)
    for name, digest in manifest["files"].items():
        yield from _file_problems(storage.join(folder, name), digest)
    arrays = manifest.get("embeddings", {"arrays": {}, "files": []})
    listed = {file["name"] for file in [*manifest["shards"], *arrays["files"]]}
    for name in storage.files_below(folder):
        if name.endswith((".tar", ".npz", ".parquet")) and name not in listed:
            yield f"{storage.join(folder, name)}: is not in the manifest"
    known: list[Keys] = []
    for shard in manifest["shards"]:
        yield from _shard_problems(storage.join(folder, shard["name"]), shard, known)
    yield from _key_problems(folder, manifest, known)
    keys = dict(zip((s["name"] for s in manifest["shards"]), known, strict=True))
    for file in arrays["files"]:
        path, tar = storage.join(folder, file["name"]), file["name"].replace(".npz", ".tar")
        yield from _file_problems(path, file["sha256"])
        if storage.exists(path):
            yield from _beside_problems(path, file["samples"], arrays["arrays"], keys.get(tar))


def _key_problems(folder: str, manifest: Mapping[str, Any], known: Sequence[Keys]) -> Iterator[str]:
    """Keys that stand in more than one shard. Needs 32 bytes a sample."""
    keys = np.concatenate([np.zeros(0, _KEY), *known])
    keys.sort()
    for key in np.unique(keys[1:][keys[1:] == keys[:-1]])[:_SHOWN]:
        yield f"{folder}: key {key.decode()} stands in the export twice"
    if manifest["shards"] and len(keys) != manifest["ledger"]["written"]:
        yield f"{folder}: {len(keys)} keys, the ledger says {manifest['ledger']['written']}"


def _beside_problems(
    path: str, samples: int, arrays: Mapping[str, Any], keys: Keys | None
) -> Iterator[str]:
    """A table or an npz that has other rows than the manifest says, or than its tar has."""
    if not path.endswith(".npz"):
        with contextlib.suppress(ValueError, OSError), storage.open_input(path) as stream:
            if pq.read_metadata(stream).num_rows == samples:
                return
        yield f"{path}: has not the {samples} rows that the manifest says"
        return
    try:
        found = npz.headers(path)
        for name, array in arrays.items():
            shape = (samples, array["dims"])
            if found.get(name, ((), None))[0] != shape:
                yield f"{path}: has no array {name!r} of {shape[0]} x {shape[1]} numbers"
            if found.get(name + npz.MISSING, ((), None))[0] != (samples,):
                yield f"{path}: has no mask of {name!r} for {samples} samples"
        stored = dict(npz.read_arrays(path, "key")).get("key")
    except (RecipeError, DamagedFile) as error:
        yield str(error)
        return
    if stored is None or len(stored) != samples:
        yield f"{path}: has not the keys of {samples} samples"
    elif keys is not None and not np.array_equal(stored, keys):
        yield f"{path}: its rows are not in the order of the samples of its tar"


def _ledger_problems(record: BuildRecord, manifest: Mapping[str, Any]) -> Iterator[str]:
    try:
        check_ledger(manifest["ledger"])
    except CurationError as error:
        yield str(error)
    with contextlib.suppress(CurationError):  # of verdicts, which is said already
        if manifest["selection"] != record.verdicts().digest:
            yield f"{record.out}: was exported from another selection than the one in verdicts/"


def _file_problems(path: str, digest: str) -> Iterator[str]:
    if not storage.exists(path):
        yield f"{path}: is missing; export again"
        return
    if file_sha256(path) != digest:
        yield f"{path}: has another sha256 than the manifest says; remove it and export again"


def _shard_problems(path: str, shard: Mapping[str, Any], known: list[Keys]) -> Iterator[str]:
    """What is wrong with a tar; its keys are added to those known, in its order."""
    yield from _file_problems(path, shard["sha256"])
    keys: list[str] = []
    if storage.exists(path):
        for sample in read_shard(path):
            keys.append(sample.key)
            if sample.failed is not None:
                yield f"{path}: {sample.detail}"
            else:
                yield from _sample_problems(path, sample.key, sample.parts)
        if len(keys) != shard["samples"]:
            yield f"{path}: {len(keys)} samples, the manifest says {shard['samples']}"
    known.append(np.array([key.encode() for key in keys], _KEY))


def _sample_problems(path: str, key: str, parts: Mapping[str, bytes]) -> Iterator[str]:
    """A sample whose members contradict each other."""
    if "json" not in parts or "txt" not in parts:
        yield f"{path}: {key} has no json or no txt"
        return
    try:
        fields = json.loads(parts["json"])
        text = str(fields["caption"]).encode()
        key_, sha = fields["key"], fields["sha256"]
    except (ValueError, TypeError, KeyError):
        yield f"{path}: the json of {key} is damaged"
        return
    image = next((data for name, data in parts.items() if name not in ("json", "txt")), b"")
    if key_ != key or text != parts["txt"]:
        yield f"{path}: the json of {key} is about another sample"
    if sha != hashlib.sha256(image).hexdigest():
        yield f"{path}: the image of {key} is not the one its json describes"
