"""What a build would do, before it does it: rows, bytes and time, measured on a small sample.

Nothing is written to the output directory: the sample is scored in a temporary folder. Times are
those of one process of this machine; what has to be fetched from the network is not tried, nor
a scorer that pays for answers.
"""

import dataclasses
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from pipeline import ingest, storage
from pipeline.build import Build
from pipeline.errors import CurationError
from pipeline.instances import Instance
from pipeline.plan_cost import Cost, Counting, in_all, pays
from pipeline.pool import Pool
from pipeline.recipe import Recipe, load_recipe
from pipeline.recipe_pages import CrawlSource
from pipeline.score import score_shard
from pipeline.score_job import ScoreJob, stale
from pipeline.scoring import Resolved
from pipeline.selection import SelectionPlan
from pipeline.sources.base import Incoming, Source, Unit
from pipeline.sources.of_recipe import all_units, make_sources
from pipeline.stage import reason

SAMPLE_ROWS = 64


@dataclass(frozen=True)
class Sampled:
    """The first rows of a unit of another source."""

    source: Source
    limit: int

    @property
    def name(self) -> str:
        return self.source.name

    def units(self) -> list[Unit]:
        return self.source.units()

    def read(self, unit: Unit) -> Iterator[Incoming]:
        return islice(self.source.read(unit), self.limit)

    @property
    def fetches(self) -> bool:
        return self.source.fetches

    @property
    def web(self) -> None:
        return None

    def fetch(self, rows: Iterable[Incoming]) -> Iterator[Incoming]:
        return self.source.fetch(rows)


@dataclass(frozen=True)
class Sample:
    """A small pool in a temporary folder, and how long it took to make."""

    pool: Pool
    wall_s: float
    size_bytes: int


@dataclass(frozen=True)
class Rows:
    """Rows of sources that hold their images, and of those that are fetched; None: not known."""

    there: int | None
    fetched: int | None

    @property
    def total(self) -> int | None:
        if self.there is None or self.fetched is None:
            return None
        return self.there + self.fetched


def estimate(recipe_path: str, out: str) -> str:
    """The plan of a build, for a person."""
    recipe = load_recipe(recipe_path)
    build = Build(recipe, out)
    build.check()
    made = build.ready_pool()
    resolved, selection = build.resolve(made)
    with tempfile.TemporaryDirectory() as folder:
        sample = _sample(recipe, folder)
        found = Rows(made.rows, 0) if made else _rows(recipe, sample)
        lines = [*_ingest_lines(build, made, sample, found)]
        lines += _score_lines(build, made, sample, resolved, found.total)
        lines += _rest_lines(build, made, selection)
    return "\n".join(lines)


def _sample(recipe: Recipe, folder: str) -> Sample | None:
    """A pool of the first rows of the first source that needs no fetching; None if all do."""
    sources = {n: s for n, s in make_sources(recipe).items() if not s.fetches}
    units = all_units(recipe, sources)
    if not units:
        return None
    started = time.monotonic()
    source = Sampled(sources[units[0].source], SAMPLE_ROWS)
    job = ingest.IngestJob(folder, "sample", {source.name: source}, SAMPLE_ROWS)
    ingest.survey_unit((0, units[0]), job)
    tasks = ingest.plan_writes(job, units[:1])
    if not any(task.shards for task in tasks):
        return None
    for task in tasks:
        ingest.write_task(task, job)
    made = ingest.finish(job, "sample", tasks, "")
    size = sum(shard.size_bytes for shard in made.shards)
    return Sample(made, time.monotonic() - started, size)


def _rows(recipe: Recipe, sample: Sample | None) -> Rows:
    """How many rows the sources hold, as far as that can be known without reading them."""
    sections = recipe.sources
    is_crawled = any(isinstance(section, CrawlSource) for section in sections.values())
    sources = {
        name: source
        for name, source in make_sources(recipe).items()
        if not isinstance(sections[name], CrawlSource)
    }
    there = {name: source for name, source in sources.items() if not source.fetches}
    fetched = {name: source for name, source in sources.items() if source.fetches}
    return Rows(
        _counted(all_units(recipe, there), sample),
        None if is_crawled else _counted(all_units(recipe, fetched), sample),
    )


def _counted(units: Iterable[Unit], sample: Sample | None) -> int | None:
    total = 0
    for unit in units:
        if unit.names:
            total += len(unit.names)
        elif unit.stop is not None:
            total += unit.stop - unit.start
        elif sample is not None and unit.path.endswith(".tar") and sample.pool.rows:
            total += round(storage.size(unit.path) / (sample.size_bytes / sample.pool.rows))
        else:
            return None
    return total


def _ingest_lines(
    build: Build, made: Pool | None, sample: Sample | None, rows: Rows
) -> Iterator[str]:
    if made is not None:
        yield f"ingest   done: {made.rows_in:,} rows in {len(made.shards)} shards of {build.root}"
        return
    if sample is not None:
        size = _size(rows.there, sample.size_bytes, sample.pool.rows)
        time_ = _duration(rows.there, sample.wall_s, sample.pool.rows)
        yield f"ingest   {_about(rows.there)} rows, {size}, {time_}"
    if sample is None or rows.fetched != 0:
        count = rows.total if sample is None else rows.fetched
        yield f"ingest   {_about(count)} rows; they must be fetched, which a plan does not try"


def _about(rows: int | None) -> str:
    return "an unknown number of" if rows is None else f"about {rows:,}"


def _score_lines(
    build: Build, made: Pool | None, sample: Sample | None, resolved: Resolved, rows: int | None
) -> Iterator[str]:
    by_set = {instance.columns.folder: instance for instance in resolved.instances}
    costs: dict[str, Cost] = {}
    for instances in resolved.passes():
        for instance in instances:
            due = _due_rows(build, made, instance, rows)
            if due == 0:
                yield f"score    {instance.name}: done"
            elif instance.looks_at_pool or sample is None or not _can_try(instance, by_set):
                why = "looks at the whole pool" if instance.looks_at_pool else "not tried"
                why += ", as it asks a server" if pays(instance) else ""
                there = _counting(build, made, sample, instance, by_set)
                cost = there.cost(instance.name, due)
                if cost is not None:
                    costs[instance.name] = cost
                words = "" if cost is None else cost.words
                yield f"score    {instance.name}: {_count(due)} rows, {why}{words}"
            else:
                for needed in _needs(instance, by_set):
                    _timed(needed, sample)
                seconds = _timed(instance, sample)
                yield (
                    f"score    {instance.name}: {_count(due)} rows,"
                    f" {_duration(due, seconds, sample.pool.rows)}"
                )
    total = in_all(costs)
    if total is not None:
        yield f"score    {total}"


def _counting(
    build: Build,
    made: Pool | None,
    sample: Sample | None,
    instance: Instance,
    by_set: Mapping[str, Instance],
) -> Counting:
    """Where it is counted what a scorer asks for: in the pool, or where that can't be, the sample.

    What it needs is written for the sample, if that costs nothing.
    """
    job = ScoreJob(build.root, (instance,))
    shards = [shard for shard in made.shards if stale(job, shard)] if made else []
    there = Counting(shards, {one.name: one for one in by_set.values()})
    if sample is None or not pays(instance) or (made and there.is_there(instance.name)):
        return there
    needed = _needs(instance, by_set)
    is_free = all(not n.looks_at_pool and n.only is None and not pays(n) for n in needed)
    for one in needed if is_free else ():
        _timed(one, sample)
    if made and not is_free:
        return there
    scorers = {name: _within(one, sample) for name, one in there.scorers.items()}
    return Counting(sample.pool.shards, scorers)


def _due_rows(build: Build, made: Pool | None, instance: Instance, rows: int | None) -> int | None:
    """Rows whose columns are missing."""
    if made is None:
        return rows
    job = ScoreJob(build.root, (instance,))
    return sum(shard.rows for shard in made.shards if stale(job, shard))


def _needs(instance: Instance, by_set: Mapping[str, Instance]) -> list[Instance]:
    """The scorers whose columns one reads, and those that these read, the first first."""
    found: dict[str, Instance] = {}
    for columns in instance.inputs.values():
        writer = by_set[columns.folder]
        found |= {i.name: i for i in [*_needs(writer, by_set), writer]}
    return list(found.values())


def _can_try(instance: Instance, by_set: Mapping[str, Instance]) -> bool:
    """Whether a few rows are enough: nothing it needs looks at the whole pool or at survivors.

    What pays for its answers is not tried either: these would be thrown away, and paid for again.
    """
    return all(
        not needed.looks_at_pool and needed.only is None and not pays(needed)
        for needed in [*_needs(instance, by_set), instance]
    )


def _within(instance: Instance, sample: Sample) -> Instance:
    """The instance with its columns, and those it reads, in the sample."""
    root = sample.pool.root
    only = instance.only
    if only is not None:
        reads = {c: dataclasses.replace(s, root=root) for c, s in only.reads.items()}
        only = dataclasses.replace(only, survivors_root=root, reads=reads)  # no verdicts are there
    return dataclasses.replace(
        instance,
        columns=dataclasses.replace(instance.columns, root=root),
        inputs={c: dataclasses.replace(s, root=root) for c, s in instance.inputs.items()},
        only=only,
    )


def _timed(instance: Instance, sample: Sample) -> float:
    """Seconds that one scorer needs for the sample, models already loaded."""
    here = _within(instance, sample)
    job = ScoreJob(sample.pool.root, (here,))
    shard = sample.pool.shards[0]
    try:
        score_shard(shard, job)  # loads models
        storage.remove(here.columns.path(shard))
        started = time.monotonic()
        score_shard(shard, job)
    except Exception as error:  # as in a stage, whatever a scorer does wrong
        raise CurationError(f"score {instance.name}: {reason(error)}") from error
    return time.monotonic() - started


def _rest_lines(build: Build, made: Pool | None, selection: SelectionPlan) -> Iterator[str]:
    done = made is not None and selection.open() is not None
    yield f"select   {len(selection.steps)} steps: {', '.join(selection.steps) or 'none'}" + (
        ", done" if done else ", seconds"
    )
    manifest = storage.exists(storage.join(build.out, "shards", "manifest.json"))
    yield "export   " + ("done, if the selection stays as it is" if done and manifest else "to do")


def _count(rows: int | None) -> str:
    return "?" if rows is None else f"{rows:,}"


def _size(rows: int | None, size_bytes: int, sampled: int) -> str:
    if rows is None or not sampled:
        return "unknown size"
    return f"about {rows * size_bytes / sampled / 1e6:,.1f} MB"


def _duration(rows: int | None, seconds: float, sampled: int) -> str:
    """How long `rows` take when `sampled` rows took `seconds`."""
    if not sampled:
        return "unknown time"
    each = seconds / sampled
    if rows is None:
        return f"{1000 * each:.2g} ms a row"
    total = rows * each
    text = f"{total:.0f} s" if total < 120 else f"{total / 60:.0f} min"
    return f"about {text} in one process ({1000 * each:.2g} ms a row)"
