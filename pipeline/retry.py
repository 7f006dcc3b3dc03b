"""Try again what failed and may succeed now, and append what comes of it to the pool.

Nothing that was written changes: new rows are in new shards, behind the last, and beside each old
shard is noted which of its rows they stand for. What is tried comes from the pool itself; the
lists it was made from need not be there. A retry that was killed is finished by the next one.
"""

import json
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import decoding, ingest, pool, retry_record, routing, storage, takedown_match
from pipeline import takedown_record as takedown
from pipeline.errors import CurationError, DamagedFile, RecipeError
from pipeline.ingest import IngestJob, Task
from pipeline.keys import digest
from pipeline.pool import Pool, Shard
from pipeline.pool_rows import KNOWN_HASHES
from pipeline.retry_record import OpenRetry
from pipeline.routing import Said
from pipeline.sources.base import Incoming, Source, Unit
from pipeline.sources.of_recipe import make_sources, stores_of
from pipeline.takedown_match import Listed

if TYPE_CHECKING:
    from pipeline.build import Build
    from pipeline.recipe import Recipe

VERSION = 1  # raise it when the same pool would be tried in another way
_ROWS_AT_ONCE = 1 << 16  # that one task looks through
_MOST_TASKS = 10_000  # in one graph
_PACE_S = 1.0  # for which what an ingest has just asked counts against the pace of its sites
_NOT_FETCHING = ("unreadable_file",)  # what fails for a while, but is no matter of the network
_ASKED = ("key", "url", "failed", "retriable")
_READ = ("source_key", "captions", "meta")
_DUE = pa.schema([pa.field("shard", pa.int32()), pa.field("row", pa.int32())])


@dataclass(frozen=True)
class Retried:
    """What came of a retry: rows by what they are now, and by source those that were left out."""

    fetched: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    left: Mapping[str, int] = field(default_factory=dict)

    @property
    def tried(self) -> int:
        return self.fetched + sum(self.failed.values())


@dataclass(frozen=True)
class Group:
    """Neighbouring shards of one source, which a task looks through: a unit of the retry."""

    number: int
    source: str
    first: int  # the place of the first shard in the index
    shards: tuple[Shard, ...]

    @property
    def label(self) -> str:
        return f"{self.number:06d}"


def retry(build: "Build") -> Retried:
    """Fetch again what can be, in a pool that is finished first; what came of it.

    Raises as an ingest does.
    """
    if not build.reads_sources:
        raise RecipeError("--retry needs the `sources:` of the recipe: how they are fetched")
    made = build.ready_pool()
    if made is None:
        made = build.ingest()
        time.sleep(_PACE_S)
    pool.pack_base(made)
    begun = retry_record.open_retry(build.root)
    if begun is not None and not retry_record.is_unfinished(build.root, _names(made)):
        storage.remove(retry_record.work_folder(build.root))  # killed just behind its index
        return _outcome([shard for shard in made.shards if shard.name in begun.shards], build.root)
    sources = make_sources(build.recipe, build.root)
    job = _job(build, made, sources)
    _begin(build, made, job.plan)
    try:
        return _try(build, made, job)
    except (FileNotFoundError, DamagedFile):
        if not _has_ended(build):
            raise
        return _by_others(build, made)


def told(found: Retried) -> Iterator[str]:
    """What a person should read of a retry."""
    if found.tried:
        again = sum(found.failed.values())
        yield (
            f"retried: {found.tried:,} rows, {found.fetched:,} fetched, {again:,} failed again"
            + (f" ({_listed(found.failed)})" if again else "")
        )
    else:
        yield "nothing to retry: no row is left that failed and may be fetched now"
    if found.left:
        yield _not_retried(found.left)


def _not_retried(left: Mapping[str, int]) -> str:
    return (
        f"not retried: {_listed(left)}, by source; only what pairmill's own fetcher"
        " fetches is tried again"
    )


def planned(recipe: "Recipe", out: str) -> str:
    """How many rows a retry would try, by the reason of their failure; nothing is written."""
    from pipeline.build import Build

    build = Build(recipe, out)
    build.check()
    made = build.ready_pool()
    if made is None:
        return f"retry    there is no finished pool in {build.root}: it is made first"
    sources = make_sources(recipe, build.root)
    listed = takedown_match.listed(build.root)
    due: Counter[str] = Counter()
    left: Counter[str] = Counter()
    for shard in made.shards:
        rows, others = _due_rows(build.root, shard, listed)
        source = sources.get(shard.source)
        is_ours = source is not None and source.web is not None
        due.update(rows.values() if is_ours else ())
        left[shard.source] += others + (0 if is_ours else len(rows))
    text = f"retry    {due.total():,} rows" + (f" ({_listed(due)})" if due else "")
    return f"{text}\n{_not_retried(+left)}" if +left else text


def _listed(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{name} {count:,}" for name, count in ordered)


def _names(made: Pool) -> set[str]:
    return {shard.name for shard in made.shards}


def _job(build: "Build", made: Pool, sources: Mapping[str, Source]) -> IngestJob:
    """The retry as an ingest of rows of the pool; its plan names the state of the pool."""
    options = build.recipe.ingest
    sizes = options.rows_per_shard, options.max_pixels
    web = sorted(name for name, source in sources.items() if source.web is not None)
    versions = VERSION, ingest.VERSION, decoding.DECODER_VERSION, sizes, web
    asked = takedown.record_digest(build.root)
    parts = ("retry", made.digest, asked, repr(versions))
    plan = digest(*(part.encode() for part in parts)).hex()
    return IngestJob(build.root, plan, sources, *sizes, stores_of(build.recipe))


def _begin(build: "Build", made: Pool, plan: str) -> None:
    """Note that this retry is begun; of several parts none goes on before all are here.

    Else a part that comes late would find the pool finished, and begin the next retry.
    """
    root = build.root
    begun = retry_record.open_retry(root)
    if begun is None or begun.plan != plan:
        retry_record.forget_shards(root, _names(made))
        retry_record.write_open(root, OpenRetry(plan))
    storage.write_json(_arrival(build, build.part.index), {"plan": plan})
    others = [(str(n), n) for n in range(build.part.count) if n != build.part.index]
    build.wait("retry", others, lambda number: _is_here(build, number, plan))


def _arrival(build: "Build", index: int) -> str:
    name = f"retry-part-{index}-of-{build.part.count}.json"
    return storage.join(retry_record.work_folder(build.root), name)


def _is_here(build: "Build", index: int, plan: str) -> bool:
    try:
        return bool(storage.read_fields(_arrival(build, index), "plan")["plan"] == plan)
    except FileNotFoundError:
        return _has_ended(build)


def _has_ended(build: "Build") -> bool:
    """Whether another part has finished this retry, and with it what this one left there."""
    return not storage.exists(_arrival(build, build.part.index))


def _try(build: "Build", made: Pool, job: IngestJob) -> Retried:
    groups = list(_groups(made, job.sources))
    build.stage(
        "retry survey",
        partial(survey_group, job=job),
        [(group.label, group) for group in groups],
        lambda group: (
            routing.has_rows(_due_path(job.root, group.number), job.plan) or _has_ended(build)
        ),
    )
    web = [group for group in groups if job.sources[group.source].web is not None]
    left = _left_out(job, groups)
    if not any(_due_count(job.root, group) for group in web):
        storage.remove(retry_record.work_folder(job.root))
        return Retried(left=left)
    units = [Unit(group.source, group.shards[0].name) for group in web]
    behind = max(int(shard.name) for shard in made.shards) + 1
    tasks = ingest.plan_writes(job, units, behind)
    names = tuple(name for task in tasks for name in task.shards)
    if not _has_ended(build):
        retry_record.write_open(job.root, OpenRetry(job.plan, names))
    build.stage(
        "retry",
        partial(ingest.write_task, job=job),
        [(task.label, task) for task in tasks],
        lambda task: all(pool.finished_shard(job.root, n, task.plan) for n in task.shards),
    )
    new = _finish(job, made, web, tasks)
    return replace(_outcome(new, job.root), left=left)


def _groups(made: Pool, sources: Mapping[str, Source]) -> Iterator[Group]:
    """The shards in ranges of some rows; first those that our own fetcher fetches."""
    at_once = max(_ROWS_AT_ONCE, made.rows // _MOST_TASKS)
    found: list[tuple[str, int, list[Shard]]] = []
    places = enumerate(made.shards)
    for name, run in groupby(places, key=lambda placed: placed[1].source):
        rows = at_once
        for place, shard in run:
            if rows >= at_once:
                found.append((name, place, []))
                rows = 0
            found[-1][2].append(shard)
            rows += shard.rows
    found.sort(key=lambda one: sources[one[0]].web is None)
    for number, (name, first, shards) in enumerate(found):
        yield Group(number, name, first, tuple(shards))


def _due_path(root: str, number: int) -> str:
    return storage.join(retry_record.work_folder(root), f"{number:06d}.due.parquet")


def _due_count(root: str, group: Group) -> int:
    with storage.open_input(_due_path(root, group.number)) as stream:
        return int(pq.read_metadata(stream).num_rows)


def _left_out(job: IngestJob, groups: Sequence[Group]) -> Counter[str]:
    """Rows by source that might succeed too, but are not ours to try."""
    left: Counter[str] = Counter()
    for group in groups:
        with storage.open_input(_due_path(job.root, group.number)) as stream:
            metadata = pq.read_metadata(stream).metadata or {}
        left[group.source] += json.loads(metadata[b"left"])
    return +left


def survey_group(group: Group, job: IngestJob) -> dict[str, Any]:
    """Keep the rows of some shards that are to be tried, as a survey keeps those of a list.

    Where each stands in the pool is written last.
    """
    source = job.sources[group.source]
    listed = takedown_match.listed(job.root)
    places: list[tuple[int, int]] = []
    left = [0]

    def due() -> Iterator[Said]:
        for place, shard in enumerate(group.shards, group.first):
            rows, others = _due_rows(job.root, shard, listed)
            if source.web is None:
                left[0] += len(rows) + others
                continue
            left[0] += others
            if rows:
                places.extend((place, row) for row in rows)
                yield from _said(job.root, shard, list(rows))

    if source.web is None:
        deque(due(), maxlen=0)
    else:
        ingest.survey_rows(group.number, source, due(), job)
    columns = np.array(places, np.int32).reshape(-1, 2)
    table = pa.table([columns[:, 0], columns[:, 1]], schema=_DUE)
    table = table.replace_schema_metadata({"plan": job.plan, "left": json.dumps(left[0])})
    with storage.writing(_due_path(job.root, group.number)) as temporary:
        pq.write_table(table, temporary)
    return {"rows": sum(shard.rows for shard in group.shards), "due": len(places)}


def _due_rows(root: str, shard: Shard, listed: Listed) -> tuple[dict[int, str], int]:
    """The positions of a shard's rows to try with the reasons of their failure, and how many
    might succeed beside them that nobody can fetch.

    Rows that are taken down are not among them, nor those that have a newer row.
    """
    asked = _ASKED if listed.is_empty else (*_ASKED, "meta")
    table = pool.read_base(root, shard, asked)
    may: Any = pc.and_(pc.fill_null(table["retriable"], False), pc.is_valid(table["failed"]))
    places = np.flatnonzero(may.to_numpy(zero_copy_only=False)).tolist()
    rows = table.take(pa.array(places, pa.int64())).to_pylist()
    found = {
        place: row
        for place, row in zip(places, rows, strict=True)
        if listed.is_empty or listed.by_base(row) is None
    }
    due = {
        place: row["failed"]
        for place, row in found.items()
        if row["url"] is not None and row["failed"] not in _NOT_FETCHING
    }
    return due, len(found) - len(due)


def _said(root: str, shard: Shard, rows: Sequence[int]) -> Iterator[Said]:
    """These rows of a shard as they came in."""
    table = pool.read_base(root, shard, ["key", "url", *_READ]).take(pa.array(rows))
    for base in table.to_pylist():
        row = Incoming(source_key=base["source_key"], url=base["url"])
        row.captions = base["captions"] or []
        row.meta = json.loads(base["meta"]) if base["meta"] else {}
        if isinstance(row.meta.get(KNOWN_HASHES), dict):  # else a list's own word
            row.hashes = row.meta.pop(KNOWN_HASHES)
        yield base["key"], row.said, row


def _finish(
    job: IngestJob, made: Pool, groups: Sequence[Group], tasks: Sequence[Task]
) -> list[Shard]:
    """Note which rows were tried, then name the new shards in the index, then clear up.

    Raises DamagedFile when a shard is missing, or holds other rows than were tried.
    """
    new = []
    for task in tasks:
        for name in task.shards:
            shard = pool.finished_shard(job.root, name, task.plan)
            if shard is None:
                raise DamagedFile(f"{pool.tar_path(job.root, name)}: is missing or not whole")
            new.append(shard)
    counts = {place: count for group in groups for place, count in _noted(job, made, group)}
    if sum(counts.values()) != sum(shard.rows for shard in new):
        raise DamagedFile(f"{job.root}: new shards hold other rows than were tried; retry again")
    old = (replace(s, retried=s.retried + counts.get(n, 0)) for n, s in enumerate(made.shards))
    after = replace(made, shards=(*old, *new))
    pool.write_index(after)
    pool.pack_base(after)
    storage.remove(retry_record.work_folder(job.root))
    return new


def _noted(job: IngestJob, made: Pool, group: Group) -> Iterator[tuple[int, int]]:
    """Note beside each shard of a group its rows that were tried; the places of shards, and how
    many rows of each."""
    with storage.open_input(_due_path(job.root, group.number)) as stream:
        table = pq.read_table(stream)
    shards, rows = table["shard"].to_numpy(), table["row"].to_numpy()
    for place in np.unique(shards).tolist():
        here = rows[shards == place].tolist()
        retry_record.note(job.root, made.shards[place], here)
        yield place, len(here)


def _outcome(new: Sequence[Shard], root: str) -> Retried:
    """What became of the rows in new shards."""
    failed: Counter[str] = Counter()
    for shard in new:
        column = pool.read_stored(root, shard, ["failed"])["failed"].drop_null()
        for pair in pc.value_counts(column).to_pylist():
            failed[pair["values"]] += pair["counts"]
    rows = sum(shard.rows for shard in new)
    return Retried(rows - failed.total(), dict(sorted(failed.items())))


def _by_others(build: "Build", made: Pool) -> Retried:
    """What came of a retry that another part has finished."""
    after = build.ready_pool()
    if after is None:
        raise CurationError(f"{build.root}: the pool has vanished during a retry")
    return _outcome(after.shards[len(made.shards) :], build.root)
