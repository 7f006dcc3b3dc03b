"""How much memory there is for work that can't be cut into pieces, so that it fails in time."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from pipeline.errors import CurationError

# Control groups of versions 2 and 1: their folder, the limit, and what of it can't be dropped.
_GROUPS = {
    "": ("/sys/fs/cgroup", "memory.max", "anon"),
    "memory": ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "total_rss"),
}


def require_memory(needed_bytes: int, what: str) -> None:
    """Raise CurationError when so much memory can't be had; else the kernel would end the run."""
    available = available_bytes()
    if available is not None and needed_bytes > available:
        raise CurationError(
            f"{what} needs about {needed_bytes / 1e9:.1f} GB of memory at once;"
            f" here are {available / 1e9:.1f} GB (use a machine with more, or fewer workers)"
        )


def available_bytes() -> int | None:
    """Memory that could be had now, by the machine and its control groups; None: unknown."""
    known = [*_of_machine(), *_of_groups()]
    return min(known) if known else None


def _of_machine() -> Iterator[int]:
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            yield 1024 * int(line.split()[1])


def _of_groups() -> Iterator[int]:
    """What is left of each limit on the way from this process's group to the root.

    Files that the kernel keeps in memory count as free: it drops them first.
    """
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in _GROUPS:
            continue
        root, limit_file, held = _GROUPS[controllers]
        group = PurePosixPath(root + path)
        for folder in (f for f in [group, *group.parents] if f.is_relative_to(root)):
            limit = _read(str(folder / limit_file)).strip()
            if limit.isdecimal():
                yield max(0, int(limit) - _number(str(folder / "memory.stat"), held))


def _number(path: str, name: str) -> int:
    for line in _read(path).splitlines():
        key, _, number = line.partition(" ")
        if key == name:
            return int(number)
    return 0


def _read(path: str) -> str:
    try:
        with open(path) as stream:
            return stream.read()
    except OSError:
        return ""
