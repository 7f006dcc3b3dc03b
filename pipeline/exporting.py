"""The export verb's plan: which rows, in which run, to which shard; then the manifest.

`manifest.json` is removed first and written last: without it a folder of tars is no export.
Whether shards of a finished export are still whole is judged by their sizes alone, which costs
nothing; `pairmill verify` reads them and checks every hash.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline import export, pool, storage
from pipeline.aspect import Buckets, starts
from pipeline.blur import BLUR_VERSION
from pipeline.cuts import Bucket, cut
from pipeline.embeddings import Embedding, common_dims, name_problem, number_type
from pipeline.errors import CurationError, DamagedFile
from pipeline.export import BucketTask, ExportJob, RunTask
from pipeline.export_texts import texts_of
from pipeline.manifest import SUBSET, Written, manifest_path, write_manifest, written_before
from pipeline.places import refuse_foreign_shards
from pipeline.pool import Pool
from pipeline.record import read_manifest
from pipeline.render import RenderOptions
from pipeline.scoring import Resolved
from pipeline.subsets import SubsetWriter
from pipeline.verdicts import Verdicts

if TYPE_CHECKING:
    from pipeline.build import Build

VERSION = 1  # raise it when the same verdicts would give other shards
SMALL_BYTES = 256_000_000  # a pool that is rendered sooner than new processes have started
_PATIENCE = 5  # looks at a manifest that another part may be writing anew


def run_export(build: "Build") -> dict[str, Any]:
    """Write the training shards of a build; returns the manifest.

    A finished export is left as it is when all its files are there, its shards with their sizes;
    their hashes are not looked at, that is what `verify` does.
    """
    made = build.open_pool()
    resolved, plan = build.resolve(made)
    verdicts = plan.open()
    if verdicts is None:
        raise CurationError(f"{build.out}: not selected yet; run `pairmill select`")
    options = render_options(build, resolved)
    job = _job(build, made, options, verdicts)
    finished = _finished(build, job.digest)
    # Of what is finished the tars are right; what describes them follows the recipe.
    written = written_before(finished) if finished else _written(build, made, verdicts, job)
    manifest = write_manifest(build, resolved, verdicts, written)
    storage.remove(job.work)  # a part that still reads there finds the manifest in its place
    return manifest


def _written(build: "Build", made: Pool, verdicts: Verdicts, job: ExportJob) -> Written:
    """Write all files but those that describe the export; returns what was written."""
    _clear_once(build, job)
    if not job.tables:
        _require_images(build, made, verdicts)
        return _shared(build, made, verdicts, job)
    written = Written(digest=job.digest, shards=(), runs=())
    if job.render.embeddings:
        written = _shared(build, made, verdicts, job)
    return replace(written, subset=_write_uids(made, verdicts, job))


def _shared(build: "Build", made: Pool, verdicts: Verdicts, job: ExportJob) -> Written:
    """Both passes; of several parts one that comes last may find the work of all done and gone."""
    try:
        return _two_passes(build, made, verdicts, job)
    except CurationError:
        for _ in range(_PATIENCE if build.part.count > 1 else 0):
            finished = _finished(build, job.digest)
            if finished is not None:
                return written_before(finished)
            time.sleep(build.part.poll_s)
        raise


def _two_passes(build: "Build", made: Pool, verdicts: Verdicts, job: ExportJob) -> Written:
    """Render the kept rows into runs, then merge the runs into shards; what is there stays."""
    tasks = list(_run_tasks(made, verdicts))
    is_small = sum(shard.size_bytes for shard in made.shards) < SMALL_BYTES
    render, write = f"render-{job.digest}", f"export-{job.digest}"

    def is_rendered(task: RunTask) -> bool:
        is_there = job.run(task.name).is_written() and build.has_record(render, task.name)
        return is_there or (build.part.count > 1 and _finished(build, job.digest) is not None)

    build.stage(
        "render",
        partial(export.write_run, job=job),
        [(task.name, task) for task in tasks],
        is_rendered,
        folder=render,
        is_small=is_small,
    )
    job, buckets = _planned(build, job, [task.name for task in tasks])
    build.stage(
        "export",
        partial(export.write_bucket, job=job),
        [(task.names[0], task) for task in buckets],
        lambda task: _is_whole(build, write, task),
        folder=write,
        is_small=is_small,
    )
    shards = [s for task in buckets for s in build.stats(write, task.names[0])["shards"]]
    rendered = [build.stats(render, task.name) for task in tasks]
    failed = ({"failed": stats["failed"]} for stats in rendered)
    if job.render.buckets is not None:
        per_shard = build.recipe.export.samples_per_shard
        groups = [number for _, number in starts(_groups(job, rendered), per_shard)]
        labels = map(job.render.buckets.label, groups)
        shards = [s | {"bucket": label} for s, label in zip(shards, labels, strict=True)]
    return _as_written(job, shards, tuple(failed))


def _as_written(
    job: ExportJob, shards: list[dict[str, Any]], failed: tuple[dict[str, Any], ...]
) -> Written:
    """What both passes said: tars are the shards, all other files lie beside them."""
    tars, beside = [], []
    for shard in shards:
        for name, file in shard["files"].items():
            told = {"bucket": shard["bucket"]} if "bucket" in shard else {}
            stats = {"samples": shard["samples"], **told, **file}
            if name.endswith(".tar"):
                tars.append((shard["name"], stats))
            else:
                beside.append({"name": name, **stats})
    arrays = {
        embedding.array: {
            "column": embedding.column,
            "dims": job.dims[embedding.array],
            "type": np.dtype(embedding.dtype).name,
        }
        for embedding in sorted(job.render.embeddings, key=lambda e: e.array)
    }
    embeddings = {"arrays": arrays, "files": beside} if arrays else None
    return Written(job.digest, tuple(tars), failed, embeddings=embeddings)


def _require_images(build: "Build", made: Pool, verdicts: Verdicts) -> None:
    """Raises RecipeError when rows are kept of metadata alone, of which no tars can be made."""
    if verdicts.summary["kept"] and not any(shard.samples for shard in made.shards):
        raise build.recipe.error(
            "the pool holds no images, so there is nothing to write into tars;"
            " `export: {format: uids}` writes the list of what was chosen",
            "export",
        )


def _write_uids(made: Pool, verdicts: Verdicts, job: ExportJob) -> int:
    """Write the source keys of the kept rows as a subset file, each as often as it was chosen."""
    writer = SubsetWriter(job.path(SUBSET), verdicts.summary["copies"])
    for first, beyond, times in verdicts.times():
        base = pool.read_base_range(made, made.shards[first:beyond], ["source_key"])
        writer.add(base["source_key"], times)
    return writer.finish()


def render_options(build: "Build", resolved: Resolved) -> RenderOptions:
    """How samples are written, by the recipe.

    Raises RecipeError for a column nobody writes, and for a `txt` that is no text.
    """
    section = build.recipe.export
    texts = texts_of(build.recipe, resolved)
    if section.blur is not None:
        _require_boxes(build, resolved, section.blur)
    options = RenderOptions(
        image=section.image,
        quality=90 if section.quality is None else section.quality,
        max_side=section.max_side,
        resize=section.resize,
        blur=section.blur,
        buckets=_buckets(build),
        txt=texts.txt,
        files=texts.files,
        captions=texts.captions,
        scores=texts.scores,
        json=texts.json,
        seed=section.seed,
        embeddings=tuple(_embeddings(build, resolved)),
    )
    read = [*options.reads, *(embedding.column for embedding in options.embeddings)]
    writers = resolved.writers
    return replace(options, columns={name: writers[name] for name in read if name in writers})


def _buckets(build: "Build") -> Buckets | None:
    """The sizes of images. Raises RecipeError when there are none or too many."""
    section = build.recipe.export.buckets
    if section is None:
        return None
    buckets = Buckets(section.sides, section.step, section.max_ratio, section.enlarge)
    try:
        known = buckets.sizes
    except ValueError as error:
        raise build.recipe.error(str(error), "export", "buckets") from error
    assert known
    return buckets


def _require_boxes(build: "Build", resolved: Resolved, name: str) -> None:
    """Raises RecipeError when the column to blur by holds no lists of numbers."""
    kind = resolved.types.get(name)
    if kind is None:
        known = [n for n, t in resolved.types.items() if _is_boxes(t)]
        told = ", ".join(sorted(known)) or "none; the scorer `faces` writes `face_boxes`"
        raise build.recipe.error(f"no column {name!r} of boxes; known are {told}", "export", "blur")
    if not _is_boxes(kind):
        found = str(kind).partition("<")[0]
        message = f"column {name!r} holds {found}, and boxes are lists of float"
        raise build.recipe.error(message, "export", "blur")


def _is_boxes(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return bool(is_list and pa.types.is_floating(kind.value_type))


def _embeddings(build: "Build", resolved: Resolved) -> Iterator[Embedding]:
    """The arrays to write. Raises RecipeError for columns that are no vectors."""
    recipe, types = build.recipe, resolved.types
    taken = recipe.export.embeddings
    vectors = {c: kind for c in resolved.writers if (kind := number_type(types[c])) is not None}
    for array, column in taken.items():
        problem = name_problem(array, list(taken))
        if column not in vectors:
            known = ", ".join(sorted(vectors)) or "none"
            problem = f"no column of vectors {column!r}; known are {known}"
        if problem is not None:
            raise recipe.error(problem, "export", "embeddings", array)
        yield Embedding(array, column, vectors[column])


def _job(build: "Build", made: Pool, options: RenderOptions, verdicts: Verdicts) -> ExportJob:
    """The job of the first pass; its digest names everything that decides about the bytes."""
    section = build.recipe.export
    how = {
        "image": options.image,
        "quality": options.quality,
        "max_side": options.max_side,
        "resize": options.resize,
        "txt": asdict(options.txt),
        "files": {name: asdict(choice) for name, choice in sorted(options.files.items())},
        "json": [list(options.json), list(options.captions), sorted(options.scores)],
        "columns": {name: c.folder_name for name, c in sorted(options.columns.items())},
        "seed": section.seed,
        "samples_per_shard": section.samples_per_shard,
        "format": section.format,
        "decoder": export.CODEC_VERSIONS,
        "max_pixels": build.recipe.ingest.max_pixels,
        "version": VERSION,
    }
    if options.buckets is not None:
        how["buckets"] = asdict(options.buckets)
    if options.blur is not None:
        how["blur"] = [options.blur, BLUR_VERSION]
    if options.embeddings:
        how["embeddings"] = [[e.array, e.column, e.dtype] for e in options.embeddings]
    return ExportJob(
        pool_root=build.root,
        out=build.out,
        digest=export.export_digest(verdicts.digest, made, how),
        render=options,
        seed=section.seed,
        max_pixels=build.recipe.ingest.max_pixels,
        tables=section.format == "uids",
    )


def _finished(build: "Build", digest: str) -> dict[str, Any] | None:
    """The manifest of this very export if its files are there, those of shards in their sizes."""
    path = manifest_path(build.out)
    if not storage.exists(path):
        return None
    try:
        manifest = read_manifest(path)
    except DamagedFile:
        return None
    folder = storage.join(build.out, "shards")
    there = all(storage.exists(storage.join(folder, name)) for name in manifest["files"])
    if manifest["export"] != digest or not there:
        return None
    written = [*manifest["shards"], *manifest.get("embeddings", {}).get("files", [])]
    sizes = [(storage.join(folder, s["name"]), s["size_bytes"]) for s in written]
    return manifest if all(_has_size(path, size) for path, size in sizes) else None


def _has_size(path: str, size_bytes: int) -> bool:
    return storage.exists(path) and storage.size(path) == size_bytes


def _clear_once(build: "Build", job: ExportJob) -> None:
    """Of several parts the first clears, and the others wait for it."""
    if build.part.index > 0:
        build.wait("export", [("clearing", None)], lambda _: _state(build) == job.digest)
    else:
        _clear(build, job)


def _state(build: "Build") -> str | None:
    """The digest of the export that `shards/` is made for."""
    path = storage.join(build.out, "work", "export.json")
    return storage.read_fields(path, "digest")["digest"] if storage.exists(path) else None


def _clear(build: "Build", job: ExportJob) -> None:
    """Take back what another export left: the manifest first, then its files and runs."""
    known = _state(build)
    if known is None:
        refuse_foreign_shards(build.out)
    storage.remove(manifest_path(build.out))
    if known != job.digest:
        storage.remove(storage.join(build.out, "shards"))
        if known is not None:
            storage.remove(storage.join(build.out, "work", f"export-{known}"))
            for name in ("render", "export"):
                storage.remove(build.ledger(f"{name}-{known}"))
        state = storage.join(build.out, "work", "export.json")
        storage.write_json(state, {"digest": job.digest})


def _run_tasks(made: Pool, verdicts: Verdicts) -> Iterator[RunTask]:
    """The runs of the first pass: groups of pool shards, and where the verdicts of each are."""
    for number, shards in enumerate(export.group_shards(made.shards)):
        parts = tuple(verdicts.part(shard.name) for shard in shards)
        yield RunTask(f"{number:06d}", shards, parts)


def _planned(
    build: "Build", job: ExportJob, names: list[str]
) -> tuple[ExportJob, list[BucketTask]]:
    """The job of the second pass, and its tasks: by the places of all samples."""
    stats = [build.stats(f"render-{job.digest}", name) for name in names]
    samples = [stat["samples"] for stat in stats]
    dims = common_dims(job.render.embeddings, [stat["dims"] for stat in stats])
    job = replace(job, runs=tuple(job.run(name) for name in names), dims=dims)
    per_shard = build.recipe.export.samples_per_shard
    buckets = cut(job.runs, samples, per_shard, _groups(job, stats))
    count = sum(bucket.shards for bucket in buckets)
    return job, [_bucket_task(bucket, count) for bucket in buckets]


def _groups(job: ExportJob, stats: list[dict[str, Any]]) -> list[int]:
    """How many samples each bucket of sizes has, of an export into such."""
    if job.render.buckets is None:
        return []
    counts: Counter[int] = Counter()
    for stat in stats:
        counts.update({int(number): count for number, count in stat["groups"].items()})
    return [counts[number] for number in range(len(job.render.buckets.sizes))]


def _bucket_task(bucket: Bucket, count: int) -> BucketTask:
    numbers = range(bucket.first, bucket.first + bucket.shards)
    return BucketTask(tuple(pool.shard_name(number, count) for number in numbers), bucket)


def _is_whole(build: "Build", folder: str, task: BucketTask) -> bool:
    """Whether the output shards of a task are there as its record says."""
    record = build.record(folder, task.names[0])
    shards = record["stats"].get("shards") if record is not None else None
    if shards is None or [shard["name"] for shard in shards] != list(task.names):
        return False
    files = [file for shard in shards for file in shard["files"].items()]
    return all(
        _has_size(storage.join(build.out, "shards", name), file["size_bytes"])
        for name, file in files
    )
