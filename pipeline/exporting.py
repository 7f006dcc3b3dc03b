"""The export verb's plan: which rows, in which run, to which shard; then the manifest.

`manifest.json` is removed first and written last: without it a folder of tars is no export.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline import export, pool, storage
from pipeline.columns import ColumnSet
from pipeline.errors import CurationError, DamagedFile
from pipeline.export import ExportJob, RunTask
from pipeline.manifest import SUBSET, Written, manifest_path, write_manifest, written_before
from pipeline.places import refuse_foreign_shards
from pipeline.pool import BASE, Pool
from pipeline.record import read_manifest
from pipeline.render import RenderOptions
from pipeline.scoring import Resolved
from pipeline.subsets import write_subset
from pipeline.verdicts import Verdicts

if TYPE_CHECKING:
    from pipeline.build import Build

VERSION = 1  # raise it when the same verdicts would give other shards
SMALL_BYTES = 256_000_000  # a pool that is rendered sooner than new processes have started


def run_export(build: "Build") -> dict[str, Any]:
    """Write the training shards of a build; returns the manifest."""
    made = build.open_pool()
    resolved, plan = build.resolve(made)
    verdicts = plan.open()
    if verdicts is None:
        raise CurationError(f"{build.out}: not selected yet; run `pairmill select`")
    options = render_options(build, resolved)
    job = _job(build, made, options, verdicts)
    finished = _finished(build, job.digest)
    if finished is not None:  # its tars are right; what describes them follows the recipe
        return write_manifest(build, resolved, verdicts, written_before(finished))
    _clear_once(build, job)
    if build.recipe.export.format == "uids":
        return write_manifest(build, resolved, verdicts, _write_uids(made, verdicts, job))
    _require_images(build, made, verdicts)
    written = _two_passes(build, made, verdicts, job)
    manifest = write_manifest(build, resolved, verdicts, written)
    if build.part.count == 1:  # another part may still read the runs
        storage.remove(job.work)
    return manifest


def _two_passes(build: "Build", made: Pool, verdicts: Verdicts, job: ExportJob) -> Written:
    """Render the kept rows into runs, then merge the runs into shards; what is there stays."""
    tasks = list(_run_tasks(made, verdicts))
    is_small = sum(shard.size_bytes for shard in made.shards) < SMALL_BYTES
    render, write = f"render-{job.digest}", f"export-{job.digest}"
    build.stage(
        "render",
        partial(export.write_run, job=job),
        [(task.name, task) for task in tasks],
        lambda task: export.run_is_written(job, task.name) and build.has_record(render, task.name),
        folder=render,
        is_small=is_small,
    )
    job = _planned(build, job, [task.name for task in tasks])
    count = _shard_count(job)
    names = [pool.shard_name(number, count) for number in range(count)]
    build.stage(
        "export",
        partial(export.write_output, job=job),
        [(name, (name, number)) for number, name in enumerate(names)],
        lambda task: _is_whole(build, write, task[0]),
        folder=write,
        is_small=is_small,
    )
    return Written(
        digest=job.digest,
        shards=tuple((name, build.stats(write, name)) for name in names),
        runs=tuple(build.stats(render, task.name) for task in tasks),
    )


def _require_images(build: "Build", made: Pool, verdicts: Verdicts) -> None:
    """Raises RecipeError when rows are kept of metadata alone, of which no tars can be made."""
    if verdicts.summary["kept"] and not any(shard.samples for shard in made.shards):
        raise build.recipe.error(
            "the pool holds no images, so there is nothing to write into tars;"
            " `export: {format: uids}` writes the list of what was chosen",
            "export",
        )


def _write_uids(made: Pool, verdicts: Verdicts, job: ExportJob) -> Written:
    """Write the source keys of the kept rows as a subset file, each as often as it was chosen."""
    uids: list[str] = []
    times: list[int] = []
    for shard in made.shards:
        names = pool.read_base(made.root, shard, ["source_key"])["source_key"].to_pylist()
        for row, copies in _kept(verdicts, shard.name):
            uids.append(names[row] or "")
            times.append(copies)
    count = write_subset(storage.join(job.out, "shards", SUBSET), uids, times)
    return Written(digest=job.digest, shards=(), runs=(), subset=count)


def render_options(build: "Build", resolved: Resolved) -> RenderOptions:
    """How samples are written, by the recipe.

    Raises RecipeError for a column nobody writes, and for a `txt` that is no text.
    """
    recipe = build.recipe
    section, captions = recipe.export, recipe.captions
    columns: dict[str, ColumnSet] = {}
    wanted = {captions.txt: ("captions", "txt")}
    wanted |= dict.fromkeys(captions.json_columns, ("captions", "json"))
    wanted |= dict.fromkeys(section.json_columns, ("export", "json"))
    for name, path in wanted.items():
        if name in resolved.writers:
            columns[name] = resolved.writers[name]
        elif name not in BASE.names:
            known = ", ".join(sorted(resolved.types))
            raise recipe.error(f"no column {name!r}; known are {known}", *path)
    kind = resolved.types[captions.txt]
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        found = str(kind).partition("<")[0]
        message = f"column {captions.txt!r} holds {found}, and a `txt` is text"
        raise recipe.error(message, "captions", "txt")
    return RenderOptions(
        image=section.image,
        quality=90 if section.quality is None else section.quality,
        max_side=section.max_side,
        resize=section.resize,
        txt=captions.txt,
        json=tuple(dict.fromkeys([*captions.json_columns, *section.json_columns])),
        columns=columns,
    )


def _job(build: "Build", made: Pool, options: RenderOptions, verdicts: Verdicts) -> ExportJob:
    """The job of the first pass; its digest names everything that decides about the bytes."""
    section = build.recipe.export
    how = {
        "image": options.image,
        "quality": options.quality,
        "max_side": options.max_side,
        "resize": options.resize,
        "txt": options.txt,
        "json": list(options.json),
        "columns": {name: c.folder_name for name, c in sorted(options.columns.items())},
        "seed": section.seed,
        "samples_per_shard": section.samples_per_shard,
        "format": section.format,
        "decoder": export.CODEC_VERSIONS,
        "max_pixels": build.recipe.ingest.max_pixels,
        "version": VERSION,
    }
    return ExportJob(
        pool_root=build.root,
        out=build.out,
        digest=export.export_digest(verdicts.digest, made, how),
        render=options,
        seed=section.seed,
        max_pixels=build.recipe.ingest.max_pixels,
    )


def _finished(build: "Build", digest: str) -> dict[str, Any] | None:
    """The manifest of this very export if all its files are there, its shards with their sizes."""
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
    sizes = [(storage.join(folder, s["name"]), s["size_bytes"]) for s in manifest["shards"]]
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
    """The runs of the first pass: groups of pool shards, with the kept rows of each."""
    for number, shards in enumerate(export.group_shards(made.shards)):
        kept = tuple(_kept(verdicts, shard.name) for shard in shards)
        yield RunTask(f"{number:06d}", shards, kept)


def _kept(verdicts: Verdicts, shard: str) -> tuple[tuple[int, int], ...]:
    times = verdicts.of_shard(shard)["times"].to_numpy()
    rows = np.flatnonzero(times)
    return tuple(zip(rows.tolist(), times[rows].tolist(), strict=True))


def _planned(build: "Build", job: ExportJob, runs: Sequence[str]) -> ExportJob:
    """The job of the second pass: where output shards begin, from the places of all samples."""
    indices = (export.read_index(job, run)["place"] for run in runs)
    every = np.concatenate([np.zeros(0, np.uint64), *indices])
    if not len(every):
        return replace(job, boundaries=None, runs=tuple(runs))
    edges = export.boundaries(every, build.recipe.export.samples_per_shard)
    return replace(job, boundaries=edges, runs=tuple(runs))


def _shard_count(job: ExportJob) -> int:
    return 0 if job.boundaries is None else len(job.boundaries) + 1


def _is_whole(build: "Build", folder: str, name: str) -> bool:
    """Whether an output shard is there as its record says."""
    record = build.record(folder, name)
    path = storage.join(build.out, "shards", f"{name}.tar")
    return record is not None and _has_size(path, record["stats"]["size_bytes"])
