"""Works of shards that tests hand to engines: they leave files, take a while, fail or die."""

import hashlib
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import storage


@dataclass(frozen=True)
class Shard:
    """A descriptor: which shard, and where its file goes."""

    number: int
    folder: str

    @property
    def path(self) -> Path:
        return Path(self.folder) / f"{self.number:05d}.bin"


def shards(folder: Path, count: int) -> list[tuple[str, Shard]]:
    return [(f"{number:05d}", Shard(number, str(folder))) for number in range(count)]


def write_file(shard: Shard, seconds: float = 0.0) -> dict[str, Any]:
    """A file that depends on the shard alone; a mark says which process began it."""
    marks = Path(shard.folder) / "begun"
    marks.mkdir(parents=True, exist_ok=True)
    (marks / f"{shard.number:05d}.{os.getpid()}").touch()
    time.sleep(seconds)
    data = hashlib.sha256(str(shard.number).encode()).digest() * 100
    storage.write_atomic(str(shard.path), data)
    return {"rows": shard.number, "size_bytes": len(data)}


def log_lines(shard: Shard) -> dict[str, Any]:
    """A line that a person is to see, another of a library, and one that is nobody's concern."""
    logging.getLogger("pipeline.works").info("shard %d of %d", shard.number, 2)
    logging.getLogger("elsewhere").warning("shard %d of %d", shard.number, 2)
    logging.getLogger("elsewhere").info("shard %d", shard.number)
    return write_file(shard)


def fail_at(shard: Shard, number: int, error: Callable[[], BaseException]) -> dict[str, Any]:
    if shard.number == number:
        raise error()
    return write_file(shard)


def die_at(shard: Shard, number: int, seconds: float = 0.0) -> dict[str, Any]:
    """Kill the process that works on one shard, as the kernel does when memory runs out."""
    if shard.number == number:
        write_file(shard)
        os.kill(os.getpid(), signal.SIGKILL)
    return write_file(shard, seconds)


def fork_and_die_once(shard: Shard) -> dict[str, Any]:
    """Leave a child that holds all open files, and be killed; the second try is harmless."""
    if shard.number == 1 and not files_begun(Path(shard.folder), 1):
        write_file(shard)
        if os.fork():
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(600)
    return write_file(shard)


def spin(shard: Shard) -> dict[str, Any]:
    """Never come to an end."""
    write_file(shard)
    while True:
        sum(range(10_000))


def spoil_ledger(shard: Shard) -> dict[str, Any]:
    """Put a file where the folder of records should be, which even root can't write through."""
    ledger = Path(shard.folder) / "ledger"
    shutil.rmtree(ledger, ignore_errors=True)
    ledger.touch()
    return {}


def full_disk() -> OSError:
    return OSError(28, "No space left on device", "/pool/00001.tar")


def leave() -> SystemExit:
    return SystemExit(3)


def files_begun(folder: Path, number: int | None = None) -> list[Path]:
    pattern = "*" if number is None else f"{number:05d}.*"
    return sorted((folder / "begun").glob(pattern))


def pids(folder: Path) -> set[int]:
    """The processes that have begun a shard."""
    return {int(mark.suffix[1:]) for mark in files_begun(folder)}


def kill_workers(folder: Path, times: int = 1) -> threading.Thread:
    """Kill the process of that many shards, each as soon as it has begun."""

    def kill() -> None:
        hit: set[str] = set()
        for _ in range(times):
            new = wait_until(lambda: [m for m in files_begun(folder) if m.stem not in hit])
            hit.add(new[-1].stem)
            os.kill(int(new[-1].suffix[1:]), signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.bin"))}


def wait_until(is_so: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first true value, within a time that only a hang takes."""
    deadline = time.monotonic() + seconds
    while not (value := is_so()):
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)
    return value


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has asked for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def main(arguments: list[str]) -> None:
    """Run a stage in a process of its own: FOLDER ENGINE COUNT SECONDS."""
    from functools import partial

    from pipeline.run import Engine, Stage, run_stage

    folder, name, count, seconds = arguments
    work = partial(write_file, seconds=float(seconds)) if float(seconds) < 100 else spin
    stage = Stage("score", work, f"{folder}/ledger")
    print(run_stage(stage, shards(Path(folder), int(count)), Engine(name, workers=2)))


if __name__ == "__main__":
    from tests.pipeline import works  # functions of `__main__` would be pickled by value

    works.main(sys.argv[1:])
