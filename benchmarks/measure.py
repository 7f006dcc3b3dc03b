"""Run a command and say what it cost: wall and CPU seconds, peak memory of its processes."""

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import psutil

_POLL_S = 0.05
LIBRARIES = ("apache-beam", "numpy", "pyarrow", "duckdb", "pillow", "simplejpeg", "torch")


@dataclass(frozen=True)
class Cost:
    """What a command needed; memory is the sum over its tree of processes, at its highest."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    output: str = ""


def measure(
    command: Sequence[str], env: Mapping[str, str] | None = None, cwd: str | None = None
) -> Cost:
    """Run a command to its end. Raises RuntimeError with its output when it fails."""
    before = os.times()
    started = time.monotonic()
    process = subprocess.Popen(
        list(command),
        env={**os.environ, **(env or {})},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    peak = [0]
    watcher = threading.Thread(target=_watch, args=(process, peak), daemon=True)
    watcher.start()
    output, _ = process.communicate()
    watcher.join()
    after = os.times()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}\n{output[-3000:]}")
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    return Cost(time.monotonic() - started, cpu, peak[0], output)


def _watch(process: "subprocess.Popen[str]", peak: list[int]) -> None:
    while process.poll() is None:
        try:
            root = psutil.Process(process.pid)
            tree = [root, *root.children(recursive=True)]
            peak[0] = max(peak[0], sum(_resident(p) for p in tree))
        except psutil.Error:
            return
        time.sleep(_POLL_S)


def _resident(process: psutil.Process) -> int:
    """Resident bytes without what is shared with others, so that forks do not count twice."""
    try:
        memory = process.memory_info()
    except psutil.Error:
        return 0
    return int(memory.rss - getattr(memory, "shared", 0))


def machine() -> str:
    """The machine and the versions, in two lines of Markdown."""
    names = []
    for library in LIBRARIES:
        try:
            names.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0))
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{cores} cores ({platform.machine()}), {memory:.0f} GiB, load {os.getloadavg()[0]:.1f},"
        f" Python {platform.python_version()}\n{', '.join(names)}"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, numbers to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def python() -> str:
    return sys.executable
