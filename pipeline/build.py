"""The four verbs over one output directory: each does what is missing, and nothing else.

Every stage is a list of tasks with names; a task whose output is there is not given to the
engine. With `part` a process does its share of the tasks and waits for the others'.
"""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Container, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

from pipeline import fitting, gathering, ingesting, pool, storage, takedown_match
from pipeline.database import open_database
from pipeline.errors import CurationError, DamagedFile, RecipeError
from pipeline.global_score import GlobalJob, score_pool
from pipeline.keys import digest
from pipeline.places import begin_run, check_places
from pipeline.plan_cost import pays
from pipeline.pool import Pool
from pipeline.progress import Progress
from pipeline.recipe import Recipe
from pipeline.record import write_record
from pipeline.run import Engine, run_stage
from pipeline.score import begin_shard, score_shard
from pipeline.score_job import ScoreJob, stale
from pipeline.scoring import Resolved, Resolver
from pipeline.selection import SelectionPlan, plan_selection, run_selection, survivors_of
from pipeline.stage import Descriptor, Stage, Work
from pipeline.verdicts import Verdicts

_TOLD_SHARDS = 100  # whose records are read to warn of a scorer that says nothing
_LONGEST_NAME = 200
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """This process's share of every stage: tasks `index`, `index + count`, … of each."""

    index: int = 0
    count: int = 1
    wait_s: float = 3600.0
    poll_s: float = 1.0


@dataclass
class Build:
    """A recipe, an output directory, and the engine that works; a class because verbs share them.

    `root` holds `pool/` and `columns/`; it is the output directory unless the recipe names another.
    """

    recipe: Recipe
    out: str
    engine: Engine = field(default_factory=Engine)
    progress: Progress | None = None
    part: Part = field(default_factory=Part)
    memory_limit: str = "2GB"
    _began: int = field(default_factory=time.time_ns, init=False, repr=False)

    @cached_property
    def root(self) -> str:
        if not self.recipe.pool:
            return self.out
        root = self.recipe.resolve(self.recipe.pool)
        if not storage.is_local(root) or not storage.is_local(self.out):
            return root
        same = os.path.realpath(storage.local(root)) == os.path.realpath(storage.local(self.out))
        return self.out if same else os.path.normpath(storage.local(root))

    @property
    def sources_digest(self) -> str:
        """Names the part of the recipe that decides what pool this is."""
        prefer = "\0".join(self.recipe.captions.prefer)
        sections = [self.recipe.section_digest(name) for name in ("sources", "ingest")]
        return digest(*(s.encode() for s in [*sections, prefer])).hex()

    @property
    def reads_sources(self) -> bool:
        return bool(self.recipe.sources)

    # ingest

    def ingest(self) -> Pool:
        """The pool of the recipe's sources, made if it is not there."""
        ready = self.ready_pool()
        if ready is not None:
            ingesting.finish_ready(self, ready)
            return ready
        if not self.reads_sources:
            raise RecipeError(f"there is no finished pool in {self.root}")
        try:
            return ingesting.make_pool(self)
        except FileNotFoundError:
            ready = self.ready_pool()  # another part has just finished it and removed the survey
            if ready is None:
                raise
            return ready

    def has_index(self) -> bool:
        """Whether a pool is finished; then the survey that it was made by is gone."""
        return storage.exists(pool.index_path(self.root))

    def ready_pool(self) -> Pool | None:
        """The pool if it is finished. Raises RecipeError when it is made from other sources."""
        return pool.open_pool(self.root, self.sources_digest if self.reads_sources else None)

    def open_pool(self) -> Pool:
        """The finished pool. Raises CurationError when there is none yet."""
        found = self.ready_pool()
        if found is None:
            raise CurationError(f"there is no finished pool in {self.root}; run `pairmill ingest`")
        return found

    # score

    def resolve(self, made: Pool | None = None) -> tuple[Resolved, SelectionPlan]:
        """Scorers and steps of the recipe, checked; nothing is read but the recipe.

        Without a pool the plan can be checked and shown, but not run.
        """
        taken = takedown_match.bring_up(self, made) if made else None
        digest_ = takedown_match.used_digest(made, taken)
        survivors = storage.join(self.out, "work", "survivors")
        resolver = Resolver(
            self.recipe, self.root, digest_, partial(survivors_of, self.recipe), survivors
        )
        resolved = resolver.resolve(self.recipe.scorers, self._imports())
        plan = plan_selection(self.recipe, self.out, resolved, made)
        return resolved, replace(plan, takedown=taken)

    def check(self) -> None:
        """Raise RecipeError for all that can be wrong with the recipe and the settings.

        Nothing is written, and no data is read.
        """
        from pipeline.exporting import render_options

        check_places(self.recipe, self.root, self.out)
        if self.memory_limit.lstrip().startswith("-"):  # to DuckDB no limit at all
            raise RecipeError(f"memory limit {self.memory_limit!r}: must be more than nothing")
        open_database(memory_limit=self.memory_limit).close()
        resolved, _ = self.resolve()
        render_options(self, resolved)

    def _imports(self) -> dict[str, Any]:
        from pipeline.imports import make_imports

        return make_imports(self.recipe)

    def score(self) -> Resolved:
        """Bring the columns of every scorer up to date."""
        made = self.open_pool()
        resolved, plan = self.resolve(made)
        is_named = self.part.index > 0  # the first part names the run for what asks servers
        for instances in resolved.passes():
            for instance in instances:
                only = instance.only
                if only is not None and only.step is not None and only.survivors is not None:
                    self._run_selection(plan.until(only.step, only.survivors), made)
            if instances[0].is_global:
                self._score_global(made, instances[0])
            else:
                if not is_named and self._will_ask(made, instances):
                    begin_run(self.root)
                    is_named = True
                self._score_local(made, instances)
            for instance in instances:
                instance.columns.pack(made.shards)
        return resolved

    def _score_global(self, made: Pool, instance: Any) -> None:
        job = GlobalJob(made, instance)
        is_complete = gathering.completion(job)
        cut = None if is_complete() else gathering.plan(job)
        if cut is not None:
            gathering.score_in_buckets(self, job, cut)
        else:
            self.stage(
                f"score {instance.name}",
                partial(score_pool, job=job),
                [("pool", "pool")],
                lambda _: is_complete(),
            )
        storage.remove(gathering.work_folder(self, instance))

    def _will_ask(self, made: Pool, instances: Sequence[Any]) -> bool:
        """Whether a model server is to be asked for something."""
        job = ScoreJob(self.root, tuple(instances))
        return any(map(pays, instances)) and any(stale(job, shard) for shard in made.shards)

    def _score_local(self, made: Pool, instances: Sequence[Any]) -> None:
        silent = {i.name for i in instances if i.is_fitted and not fitting.fit(self, made, i)}
        here = copy(self)
        here.engine = self.engine.for_device(instances[0].device)
        processes = max(1, len(here.engine.gpus))
        job = ScoreJob(self.root, tuple(instances), self.recipe.ingest.max_pixels, processes)
        names = " ".join(instance.name for instance in instances)
        here.stage(
            f"score {names}",
            partial(begin_shard if job.waits else score_shard, job=job),
            [(shard.name, shard) for shard in made.shards],
            lambda shard: not stale(job, shard),
        )
        self._warn_of_silence(f"score {names}".replace(" ", "-"), made, silent)

    def _warn_of_silence(self, folder: str, made: Pool, known: Container[str]) -> None:
        """Say so when a scorer had rows to score, as far as records tell, and no value for any.

        Not of those that are known to have none.
        """
        scored: Counter[str] = Counter()
        failed: dict[str, Counter[str]] = {}
        for shard in made.shards[:_TOLD_SHARDS]:
            record = self.record(folder, shard.name)
            for name, said in (record["stats"].get("scorers", {}) if record else {}).items():
                scored[name] += said["scored"]
                failed.setdefault(name, Counter()).update(said["failed"])
        for name, reasons in failed.items():
            if not scored[name] and reasons and name not in known:
                told = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common(3))
                _LOGGER.warning("scorer %r has no value for any row: %s", name, told)

    # select and export

    def select(self) -> Verdicts:
        """The verdict of every row, by the steps of the recipe."""
        made = self.open_pool()
        resolved, plan = self.resolve(made)
        self._require_scored(made, resolved)
        write_record(self, resolved)
        verdicts = self._run_selection(plan, made)
        for warning in verdicts.summary["warnings"]:
            _LOGGER.warning("%s", warning)
        return verdicts

    def _require_scored(self, made: Pool, resolved: Resolved) -> None:
        for instance in resolved.instances:
            missing = sum(not instance.columns.has(shard) for shard in made.shards)
            if missing:
                raise CurationError(
                    f"{instance.columns.folder}: {missing} of {len(made.shards)} shards are not"
                    " scored; run `pairmill score`"
                )

    def _run_selection(self, plan: SelectionPlan, made: Pool) -> Verdicts:
        """Select; of several parts the first does, and the others wait for its verdicts."""
        if self.part.index > 0:
            self.wait("select", [("verdicts", None)], lambda _: plan.open() is not None)
        return run_selection(plan, made, self.memory_limit)

    def export(self) -> dict[str, Any]:
        """Write the training shards; returns the manifest."""
        from pipeline.exporting import run_export

        return run_export(self)

    # stages

    def ledger(self, folder: str) -> str:
        """Where the records of a stage are; a name that no file system would take is cut short."""
        if len(folder) > _LONGEST_NAME:
            folder = f"{folder[:_LONGEST_NAME]}-{digest(folder.encode()).hex()[:8]}"
        return storage.join(self.out, "ledger", folder)

    def record(self, folder: str, task: str) -> dict[str, Any] | None:
        """What a task of a stage left when it was done; None when it was not, or failed."""
        record = self._any_record(folder, task)
        return record if record is not None and record["status"] == "done" else None

    def _any_record(self, folder: str, task: str) -> dict[str, Any] | None:
        """The record of a task, whatever became of it; None when there is none, or a damaged one.

        It may vanish at any time: a part that begins a stage forgets what it did there before.
        """
        try:
            path = storage.join(self.ledger(folder), f"{task}.json")
            return storage.read_fields(path, "status")
        except (DamagedFile, FileNotFoundError, NotADirectoryError):
            return None

    def has_record(self, folder: str, task: str) -> bool:
        return self.record(folder, task) is not None

    def stats(self, folder: str, task: str) -> dict[str, Any]:
        """The counts of a task that is done. Raises CurationError when its record is gone."""
        record = self.record(folder, task)
        if record is None:
            raise CurationError(f"{self.ledger(folder)}: the record of {task} is missing")
        stats: dict[str, Any] = record["stats"]
        return stats

    def stage(
        self,
        name: str,
        work: Work,
        tasks: Sequence[tuple[str, Descriptor]],
        done: Callable[[Descriptor], bool],
        folder: str | None = None,
        is_small: bool = False,
    ) -> None:
        """Run the tasks that are not done; then wait until the other parts have done theirs.

        What is small, or is one task, is done in this process rather than in new ones. Raises
        ShardsFailed when tasks of this part failed, CurationError when one of the others did.
        """
        folder = folder or name.replace(" ", "-")
        due = [(number, task) for number, task in enumerate(tasks) if not done(task[1])]
        mine = [task for n, task in due if n % self.part.count == self.part.index]
        others = [task for n, task in due if n % self.part.count != self.part.index]
        if mine:
            alone = self.engine.name == "procs" and (is_small or len(mine) == 1)
            engine = Engine() if alone else self.engine
            run_stage(Stage(name, work, self.ledger(folder)), mine, engine, self.progress)
        self.wait(name, others, done, folder)

    def wait(
        self,
        name: str,
        others: Sequence[tuple[str, Descriptor]],
        done: Callable[[Any], bool],
        folder: str | None = None,
    ) -> None:
        """Return when the tasks of other parts are done.

        Raises CurationError after `wait_s`, and at once when one leaves in `folder` the record of
        a failure.
        """
        deadline = time.monotonic() + self.part.wait_s
        while others := [task for task in others if not done(task[1])]:
            if folder is not None:
                self._check_others(name, [task for task, _ in others], folder)
            if time.monotonic() > deadline:
                raise CurationError(
                    f"{name}: {len(others)} tasks of other parts are not done after"
                    f" {self.part.wait_s:.0f} s, the first is {others[0][0]};"
                    " run their parts, then this one again"
                )
            _LOGGER.info("%s: waiting for %d tasks of other parts", name, len(others))
            time.sleep(self.part.poll_s)

    def _check_others(self, name: str, tasks: Sequence[str], folder: str) -> None:
        """Raise CurationError when one of the tasks failed since this build began.

        A failure of before may be one that its part is about to mend.
        """
        for task in tasks:
            path = storage.join(self.ledger(folder), f"{task}.json")
            try:
                is_new = storage.is_local(path) and storage.stamp(path) > self._began
            except (FileNotFoundError, NotADirectoryError):
                continue
            record = self._any_record(folder, task) if is_new else None
            if record is not None and record["status"] == "failed":
                raise CurationError(
                    f"{name}: {task}, a task of another part, failed: {record.get('error')};"
                    " run that part, then this one again"
                )
