"""One task of a stage and its record: the one place where a shard may fail alone.

Whatever a shard raises becomes a record in the stage's ledger and stops no other shard. A record
is complete or absent; it carries times and memory, so ledgers are no part of the promise of equal
bytes. A ledger that can't be written ends the run.
"""

import errno
import json
import re
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pipeline import aside, storage
from pipeline.errors import CurationError

Descriptor = Any  # small, picklable
Task = tuple[str, Descriptor]
Stats = dict[str, Any]
Record = dict[str, Any]

_NAME = re.compile(r"[A-Za-z0-9_=][A-Za-z0-9_=.,+-]{0,200}")


@dataclass(frozen=True)
class Ending:
    """The end of a task's work, which waits more than it works; it may be in another thread.

    While more than `beside` of them go on, no further task begins.
    """

    end: Callable[[], Stats]
    beside: int = 1

    def __call__(self) -> Stats:
        return self.end()


Work = Callable[[Descriptor], Stats | Ending]


@dataclass(frozen=True)
class Stage:
    """Work on whole shards, and the folder where each task leaves its record.

    `work` must be picklable, safe to repeat and safe to run twice at once: engines may do either.
    It returns a small dict that JSON can hold, or the ending that does, which may go on beside the
    next tasks.
    """

    name: str
    work: Work
    ledger: str

    def record_path(self, task: str) -> str:
        return storage.join(self.ledger, f"{task}.json")


def check_names(names: Iterable[str]) -> list[str]:
    """The names as a list; ValueError unless each is unique and fit to be a file name."""
    seen: dict[str, None] = {}
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"task name {name!r}: letters, digits and _ = . , + - only")
        if name in seen:
            raise ValueError(f"task name {name!r} is given twice")
        seen[name] = None
    return list(seen)


def run_task(stage: Stage, run: str, task: Task) -> None:
    """Do the work of one task and leave its record; a failure of the work is in the record.

    A task that already has a record of this `run` is not done again: an engine repeats tasks when
    a worker dies with their rows. Raises CurationError when the record can't be written.
    """
    ending = _begin_task(stage, run, task)
    if ending is not None:
        ending()


@dataclass
class Turns:
    """Does tasks of a stage one after another; endings may go on beside the next.

    Mutable: it remembers what has not ended. `ended` is told the name of each task that has, also
    in another thread.
    """

    stage: Stage
    run: str
    ended: Callable[[str], None]
    _open: "set[Future[None]]" = field(default_factory=set, init=False)

    def do(self, task: Task) -> None:
        """Begin a task, and return when its ending has begun. Raises as `run_task`."""
        ending = _begin_task(self.stage, self.run, task)
        if ending is None:
            self.ended(task[0])
        else:
            self._wait(ending.beside - 1)
            self._open.add(aside.begin(partial(self._end, ending, task[0])))

    def settle(self) -> None:
        """Wait for what has not ended."""
        self._wait(0)

    def _wait(self, most: int) -> None:
        """Until no more than so many go on."""
        while len(self._open) > most:
            done, self._open = wait(self._open, return_when=FIRST_COMPLETED)
            for one in done:
                one.result()

    def _end(self, ending: Ending, name: str) -> None:
        try:
            ending()
        finally:
            self.ended(name)


def _begin_task(stage: Stage, run: str, task: Task) -> Ending | None:
    """Do a task, or all of it but the ending that is returned."""
    name, descriptor = task
    path = stage.record_path(name)
    if read_record(path, run) is not None:
        return None
    started, cpu = time.monotonic(), _cpu_s()
    _reset_peak_memory()
    record = _tried(partial(stage.work, descriptor))
    spent = {"cpu_s": round(_cpu_s() - cpu, 3)}  # what comes after is beside another task's

    def leave(record: Record) -> Stats:
        wall = {"wall_s": round(time.monotonic() - started, 3)}
        peak = {"peak_memory_bytes": _peak_memory_bytes()}
        try:
            storage.write_json(path, {"run": run, **record, **wall, **spent, **peak})
        except OSError as error:
            raise CurationError(f"{path}: can't write this record: {reason(error)}") from error
        return record

    ending = record.get("stats")
    if isinstance(ending, Ending):
        return Ending(lambda: leave(_tried(ending)), ending.beside)
    leave(record)
    return None


def read_record(path: str, run: str) -> Record | None:
    """The record at `path` if it is there and comes from this `run`."""
    try:
        record: Record = storage.read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return record if record["run"] == run else None


def write_failure(stage: Stage, run: str, task: str, error: str) -> None:
    """Record a task as failed on behalf of a worker that can't do so any more."""
    record = {"run": run, "status": "failed", "error": error}
    storage.write_json(stage.record_path(task), record)


def reason(error: BaseException) -> str:
    """`Type: message`, and a full disk is called so, however deep below it was met."""
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    if any(_is_full(cause) for cause in _causes(error)):
        return f"disk full, or quota used up ({text})"
    return text


def _tried(work: Callable[[], Stats | Ending]) -> Record:
    """What came of it, as a record; `stats` may be the ending that does the rest."""
    try:
        stats = work()
        if not isinstance(stats, Ending):
            stats = json.loads(json.dumps(stats, allow_nan=False))
    except (Exception, SystemExit) as error:  # noqa: BLE001 (some libraries sys.exit)
        return {"status": "failed", "error": reason(error), "traceback": _tail(error)}
    return {"status": "done", "stats": stats}


def _tail(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-4000:]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _is_full(error: BaseException) -> bool:
    full = (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, OSError) and error.errno in full


def _cpu_s() -> float:
    """CPU seconds of this process, all threads, and of its children that have ended."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    usages = [resource.getrusage(kind) for kind in kinds]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _reset_peak_memory() -> None:
    """Have Linux count the peak from here (proc(5), clear_refs 5); elsewhere it only grows."""
    try:
        with open("/proc/self/clear_refs", "w") as stream:
            stream.write("5")
    except OSError:
        return


def _peak_memory_bytes() -> int:
    """Largest resident size of this process since the reset, shared by its threads."""
    try:
        with open("/proc/self/status") as stream:
            line = next(line for line in stream if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
