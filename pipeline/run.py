"""Run one stage on an engine; with `portable`, `procs` and `dask_runner`, the home of Beam.

Every engine gives the same files, because the work decides about them and the engine only about
who does it. When a stage returns, each of its tasks has a record that says `done`; else it
raises. Beam's default runner is never used: it looks for another one to download.
"""

import argparse
import re
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pipeline import aside, gpus, storage
from pipeline.errors import CurationError, RecipeError, ShardsFailed
from pipeline.progress import LogProgress, Progress
from pipeline.stage import (
    Descriptor,
    Record,
    Stage,
    Task,
    Work,
    check_names,
    read_record,
    reason,
    write_failure,
)

__all__ = ["Descriptor", "Engine", "Stage", "Task", "Work", "run_stage"]

POLL_S = 0.2

_NO_CLUSTER = """the dask engine needs the address of a running cluster; start one with
  dask scheduler --host HOST --port 8786
  dask worker tcp://HOST:8786 --nworkers N --nthreads 1   (on each machine)
with pairmill installed wherever they run, and give --scheduler tcp://HOST:8786"""
_ADDRESS = re.compile(r"(?:(?:tcp|tls|wss?)://)?(?:[^\s:/\[\]]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")


@dataclass(frozen=True)
class Engine:
    """Where a stage runs: `local`, `procs`, `dask` or `beam`; RecipeError if that makes no sense.

    `local` works in this process, one task at a time. `procs` uses `workers` processes of this
    machine, or one for each of `gpus`, which sees no other. `dask` uses the cluster at
    `scheduler`. `beam` hands the graph to the runner that `beam_options` name; machines other than
    this one must see the same files.
    """

    name: str = "local"
    workers: int = 1
    scheduler: str | None = None
    beam_options: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()

    def for_device(self, device: str) -> "Engine":
        """This engine for work on the CPU, or, where it has processes here, one for each GPU."""
        found = gpus.visible() if device != "cpu" and self.name == "procs" else ()
        return replace(self, workers=len(found), gpus=found) if found else self

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem is not None:
            raise RecipeError(problem)


def run_stage(
    stage: Stage,
    tasks: Sequence[Task],
    engine: Engine,
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """The stats of every task, by name, once all have been done; old records are not looked at.

    Raises ShardsFailed when some failed, after all others are done, and CurationError when the
    engine broke down: a rerun then takes up what is missing.
    """
    names = check_names(name for name, _ in tasks)
    _forget(stage, names)
    watch = _Watch(stage, uuid.uuid4().hex, names, progress or LogProgress())
    if tasks:
        with watch:
            _RUN[engine.name](stage, tasks, engine, watch)
    failed = {n: r["error"] for n, r in watch.records.items() if r["status"] == "failed"}
    if failed:
        raise ShardsFailed(stage.name, failed)
    if watch.pending:
        missing = ", ".join(sorted(watch.pending)[:5])
        raise CurationError(
            f"{stage.name}: {len(watch.pending)} of {len(names)} tasks left no record: {missing}"
        )
    return {name: watch.records[name]["stats"] for name in names}


def _forget(stage: Stage, names: list[str]) -> None:
    try:
        for name in names:
            storage.remove(stage.record_path(name))
    except OSError as error:
        raise CurationError(f"{stage.ledger}: can't remove old records: {reason(error)}") from error


class _Watch:
    """Follows a stage by the records of its tasks, the same way on every engine. Mutable."""

    def __init__(self, stage: Stage, run: str, names: list[str], progress: Progress) -> None:
        self.run, self.records = run, dict[str, Record]()
        self.pending = dict.fromkeys(names)
        self._stage, self._progress, self._next = stage, progress, 0.0

    def __enter__(self) -> None:
        self._progress.begin(self._stage.name, len(self.pending))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._read()
        self._progress.finish()

    def poll(self) -> None:
        """Look for new records, but spend no more than a twentieth of the time on it."""
        started = time.monotonic()
        if started >= self._next:
            self._read()
            now = time.monotonic()
            self._next = now + max(POLL_S, 20 * (now - started))

    def lose(self, task: str, error: str) -> None:
        """Record as failed what no worker can record any more."""
        write_failure(self._stage, self.run, task, error)

    def lose_pending(self, error: str) -> None:
        self._read()
        for name in self.pending:
            self.lose(name, error)

    def _read(self) -> None:
        for name in list(self.pending):
            record = read_record(self._stage.record_path(name), self.run)
            if record is not None:
                del self.pending[name]
                self.records[name] = record
                self._progress.ended(name, record)


def _run_local(stage: Stage, tasks: Sequence[Task], engine: Engine, watch: _Watch) -> None:
    _run_in_thread(stage, tasks, ("--runner=FnApiRunner",), watch)


def _run_beam(stage: Stage, tasks: Sequence[Task], engine: Engine, watch: _Watch) -> None:
    _run_in_thread(stage, tasks, engine.beam_options, watch)


def _run_in_thread(
    stage: Stage, tasks: Sequence[Task], options: tuple[str, ...], watch: _Watch
) -> None:
    """Run in a thread that can be left behind: most runners come back only at the very end."""
    from pipeline import portable

    pipeline = portable.stage_graph(stage, watch.run, tasks, options)
    outcome = aside.begin(partial(portable.complete, pipeline))
    try:
        while not wait([outcome], POLL_S).done:
            watch.poll()
    except BaseException:
        portable.interrupt(watch.run)
        raise
    error = outcome.exception()
    if error is not None:
        raise _breakdown(stage, error) from error


def _run_procs(stage: Stage, tasks: Sequence[Task], engine: Engine, watch: _Watch) -> None:
    from pipeline.procs import Supervisor

    main = partial(_work_through, stage, watch.run)
    Supervisor(tasks, main, on_lost=watch.lose, tick=watch.poll).run(engine.workers, engine.gpus)


def _work_through(stage: Stage, run: str) -> None:
    """What a worker of `procs` does: one graph over the tasks that it pulls."""
    from pipeline import portable

    try:
        portable.complete(portable.worker_graph(stage, run))
    except Exception as error:
        raise _breakdown(stage, error) from error


def _run_dask(stage: Stage, tasks: Sequence[Task], engine: Engine, watch: _Watch) -> None:
    from pipeline import portable
    from pipeline.dask_runner import StrictDaskRunner, WorkersKilled

    options = (f"--dask_client_address={engine.scheduler}",)
    runner = StrictDaskRunner(tick=watch.poll)
    pipeline = portable.stage_graph(stage, watch.run, tasks, options, runner)
    try:
        portable.complete(pipeline)
    except WorkersKilled as error:
        watch.lose_pending(str(error))
    except Exception as error:
        raise _breakdown(stage, error) from error


def _breakdown(stage: Stage, error: BaseException) -> CurationError:
    """What a user should read about an engine that stopped; the cause keeps the rest."""
    text = str(error) if isinstance(error, CurationError) else reason(error)
    text = text.partition(" [while running")[0]  # appended by Beam
    return CurationError(f"{stage.name}: {text[:2000]}")


_RUN: dict[str, Callable[[Stage, Sequence[Task], Engine, _Watch], None]] = {
    "local": _run_local,
    "procs": _run_procs,
    "dask": _run_dask,
    "beam": _run_beam,
}


def _problem(engine: Engine) -> str | None:
    """Why these settings make no sense together, if they don't."""
    if engine.name not in _RUN:
        return f"no engine {engine.name!r}; there are {', '.join(_RUN)}"
    if engine.workers < 1:
        return f"{engine.workers} workers (at least 1)"
    if (engine.scheduler is not None) != (engine.name == "dask"):
        return _NO_CLUSTER if engine.name == "dask" else "a scheduler goes with the dask engine"
    if engine.scheduler is not None and not _is_address(engine.scheduler):
        return f"no address of a scheduler: {engine.scheduler!r}; expected tcp://HOST:PORT"
    if engine.name != "beam":
        return "options of Beam go with the beam engine" if engine.beam_options else None
    return _beam_problem(engine.beam_options)


def _is_address(text: str) -> bool:
    found = _ADDRESS.fullmatch(text)
    return found is not None and 0 < int(found[1]) < 1 << 16


def _beam_problem(options: tuple[str, ...]) -> str | None:
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False, exit_on_error=False)
    parser.add_argument("--runner", default="", nargs="?", const="")
    runner: str = parser.parse_known_args(options)[0].runner
    if not runner:
        return "the beam engine needs --runner=NAME: Beam's default downloads a program"
    if runner.rpartition(".")[2].lower().removesuffix("runner") == "dask":
        return "Beam's DaskRunner loses rows and steps in silence; take the dask engine"
    from pipeline import portable

    return portable.options_problem(options, runner)
