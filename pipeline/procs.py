"""Processes of one machine that share a list of tasks and survive each other's death.

Each worker pulls one task after another from the supervisor, so uneven tasks balance themselves.
When a worker dies, others get its task; a task that had three workers die on it is given up. No
end of a worker, and no end of the supervisor, leaves anybody waiting or working. A worker that
neither ends nor dies is waited for: a shard may take hours.

Beam's own `multi_processing` mode is not used: it cuts the input into fixed parts beforehand,
never repeats the part of a dead worker, and as a rule waits for ever when one is killed.
"""

import contextlib
import logging
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from pipeline import gpus
from pipeline.errors import CurationError

Task = tuple[str, Any]

MAX_DEATHS = 3  # workers that one task may cost; also workers in a row that fail to start
POLL_S = 0.2
GRACE_S = 10.0  # for a worker to leave after the last task
CLOSING_S = 1.0  # between the end of a channel and that of its process

_START = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from pipeline.procs import work; work(int(sys.argv[1]), int(sys.argv[2]))"
)
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)


# The side of the supervisor


@dataclass
class _Worker:
    """A process and what it has in hand. Mutable: it follows a process."""

    process: subprocess.Popen[bytes]
    channel: Connection
    held: dict[str, Task] = field(default_factory=dict)
    ended: int = 0
    is_waiting: bool = False
    gpu: str | None = None


class Supervisor:
    """Hands tasks to workers and takes them back from the dead. Mutable: it is a scheduler.

    `main` is what each worker runs; it must be picklable, take its tasks from `pull()` and call
    `report_ended` for each of them, then `confirm` with their number. `on_lost` is told which
    task is given up and why; `tick` is called several times a second.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        main: Callable[[], None],
        *,
        on_lost: Callable[[str, str], None],
        tick: Callable[[], None],
    ) -> None:
        self._queue, self._left = deque(tasks), len(tasks)
        self._main, self._on_lost, self._tick = main, on_lost, tick
        self._workers: dict[Connection, _Worker] = {}
        self._deaths: Counter[str] = Counter()
        self._stillborn = 0

    def run(self, workers: int, devices: Sequence[str] = ()) -> None:
        """Return when each task has ended or was given up.

        Of the GPUs `devices` each worker sees one, and no two the same. Raises CurationError when
        workers can't start or when one reports that it can't go on.
        """
        workers = min(workers, self._left)
        environment = _environment()
        try:
            while self._left:
                while len(self._workers) < min(workers, self._left):
                    self._start(environment, self._free(devices))
                self._listen()
                self._tick()
            self._dismiss()
        finally:
            for worker in self._workers.values():
                _kill(worker.process)

    def _free(self, devices: Sequence[str]) -> str | None:
        taken = {worker.gpu for worker in self._workers.values()}
        return next((name for name in devices if name not in taken), None)

    def _start(self, environment: dict[str, str], gpu: str | None) -> None:
        import cloudpickle  # as Beam and Dask do: functions of `__main__` go by value

        seen = {} if gpu is None else {gpus.VARIABLE: gpu}
        ours, theirs = Pipe()
        with theirs:
            handle = theirs.fileno()
            process = subprocess.Popen(
                [sys.executable, "-c", _START, str(handle), str(os.getpid()), *sys.path],
                stdin=subprocess.DEVNULL,
                pass_fds=[handle],
                env={**environment, **seen},
                process_group=0,  # Ctrl-C reaches the supervisor alone; a kill takes grandchildren
            )
        self._workers[ours] = _Worker(process, ours, gpu=gpu)
        _send(ours, cloudpickle.dumps(self._main))

    def _listen(self) -> None:
        for channel in wait(list(self._workers), POLL_S):
            self._receive(self._workers[channel])  # type: ignore[index]
        for worker in list(self._workers.values()):
            # A child that a worker forked may hold the channel open, so ask for the process too.
            if _is_dead(worker.process) and not worker.channel.poll():
                self._bury(worker)

    def _receive(self, worker: _Worker) -> None:
        try:
            kind, value = worker.channel.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        if kind == "logged":
            _log(value)
        elif kind == "next":
            worker.is_waiting, self._stillborn = True, 0
            self._hand_out()
        elif kind == "ended":
            del worker.held[value]
            worker.ended += 1
            self._left -= 1
            self._hand_out()
        elif kind == "failed":
            raise CurationError(value)

    def _hand_out(self) -> None:
        for worker in self._workers.values():
            if worker.is_waiting and self._queue and self._is_room_beside(worker.held):
                task = self._queue.popleft()
                worker.held[task[0]], worker.is_waiting = task, False
                _send(worker.channel, task)

    def _is_room_beside(self, held: Mapping[str, Task]) -> bool:
        """Whether the next task goes to a worker that has some: one that cost a worker goes alone.

        Else the one that did nothing would be given up with it.
        """
        return not held or not any(self._deaths[name] for name in (self._queue[0][0], *held))

    def _bury(self, worker: _Worker) -> None:
        how = self._remove(worker)
        if not (worker.held or worker.ended or worker.is_waiting):
            self._stillborn += 1
        if self._stillborn >= MAX_DEATHS:
            raise CurationError(
                f"{MAX_DEATHS} workers in a row died before their first task ({how}); "
                "what they said is above"
            )
        for name, task in worker.held.items():
            self._deaths[name] += 1
            if self._deaths[name] < MAX_DEATHS:
                self._queue.append(task)  # last, in case it is the cause
            else:
                self._left -= 1
                self._on_lost(name, f"worker died {MAX_DEATHS} times while running it ({how})")
        self._hand_out()

    def _remove(self, worker: _Worker) -> str:
        """Forget a worker that has closed its channel, and say how it ended."""
        del self._workers[worker.channel]
        worker.channel.close()
        deadline = time.monotonic() + CLOSING_S
        while not _is_dead(worker.process) and time.monotonic() < deadline:
            time.sleep(0.01)
        _kill(worker.process)
        return _cause_of_death(worker.process.returncode)

    def _dismiss(self) -> None:
        """Let the workers leave, and compare the number of tasks that each counted with ours."""
        deadline = time.monotonic() + GRACE_S
        for worker in list(self._workers.values()):
            if not worker.ended:
                _kill(worker.process)
            _send(worker.channel, None)
        while self._workers and time.monotonic() < deadline:
            for channel in wait(list(self._workers), POLL_S):
                self._take_leave(self._workers[channel])  # type: ignore[index]

    def _take_leave(self, worker: _Worker) -> None:
        try:
            kind, value = worker.channel.recv()
        except (EOFError, OSError):
            self._remove(worker)
            return
        if kind == "logged":
            _log(value)
        if kind == "confirmed" and value != worker.ended:
            raise CurationError(f"a worker ended {worker.ended} tasks, its graph counted {value}")
        if kind == "failed":
            raise CurationError(value)


def _environment() -> dict[str, str]:
    """The environment, with one native thread for each process.

    A sum of floats depends on the number of threads that share it; one is the same everywhere.
    """
    return {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, "1")}


def _send(channel: Connection, value: Any) -> None:
    with contextlib.suppress(OSError):  # the other end is dead: its burial follows
        channel.send(value)


def _log(said: tuple[str, int, str]) -> None:
    """Say here what a worker has to say: this process knows where a person reads it."""
    name, level, text = said
    logging.getLogger(name).log(level, "%s", text)


def _is_dead(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended. It stays a zombie: its number, and its group, remain ours to kill."""
    if process.returncode is not None:
        return True
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process.pid, options) is not None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a worker with all that it started. Work is safe to kill, so nobody is asked."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _cause_of_death(status: int) -> str:
    if status >= 0:
        return f"exit code {status}"
    hint = "; out of memory?" if -status == signal.SIGKILL else ""
    return f"signal {-status}{hint}"


# The side of the worker


@dataclass(frozen=True)
class _Line:
    """The way to the supervisor: what it sent, in order, and the channel back."""

    channel: Connection
    inbox: queue.SimpleQueue[Any]
    lock: Any = field(default_factory=threading.RLock)  # what ends meanwhile may have logged

    def send(self, message: tuple[str, Any]) -> None:
        with self.lock:  # tasks may end in threads of their own
            self.channel.send(message)

    def put_nowait(self, record: logging.LogRecord) -> None:
        """Send what was logged, as to a queue."""
        with contextlib.suppress(OSError):  # nobody is there any more: this process ends
            self.send(("logged", (record.name, record.levelno, record.getMessage())))


_LINES: list[_Line] = []  # one, in a worker; what Beam unpickles can't be given it any other way


def pull() -> Iterator[Task]:
    """Yield the tasks that the supervisor has for this worker until there are no more."""
    line = _LINES[0]
    while True:
        line.send(("next", None))
        task = line.inbox.get()
        if task is None:
            return
        yield task


def report_ended(name: str) -> None:
    _LINES[0].send(("ended", name))


def confirm(count: int) -> None:
    """Tell the supervisor how many tasks the graph of this worker has counted."""
    _LINES[0].send(("confirmed", count))


def work(handle: int, supervisor: int) -> None:
    """Be a worker: take what to run from the channel and run it.

    An error that a user should read goes to the supervisor; any other ends this process with its
    traceback, and the supervisor takes it for a death.
    """
    os.set_inheritable(handle, False)
    line = _Line(Connection(handle), queue.SimpleQueue())
    _LINES.append(line)
    threading.Thread(target=_listen_to_supervisor, args=(line, supervisor), daemon=True).start()
    logging.getLogger().addHandler(QueueHandler(line))  # type: ignore[arg-type]
    logging.getLogger(__package__).setLevel(logging.INFO)
    main = pickle.loads(line.inbox.get())
    try:
        main()
    except CurationError as error:
        line.send(("failed", str(error)))


def _listen_to_supervisor(line: _Line, supervisor: int) -> None:
    """Fill the inbox, and end this process with all that it started when the supervisor is gone.

    Its end closes the channel, unless a child that it forked holds that open: then the process
    above us has changed.
    """
    try:
        while os.getppid() == supervisor:
            if line.channel.poll(1.0):
                line.inbox.put(line.channel.recv())
    except (EOFError, OSError):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)
