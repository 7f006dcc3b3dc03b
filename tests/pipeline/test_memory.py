"""What memory there is, by the machine and by the control groups of either version."""

import pytest

from pipeline import memory
from pipeline.errors import CurationError

MACHINE = {"/proc/meminfo": "MemTotal: 900 kB\nMemAvailable:   800 kB\nBuffers: 1 kB\n"}
TWO = {
    "/proc/self/cgroup": "0::/job/step\n",
    "/sys/fs/cgroup/job/step/memory.max": "max\n",
    "/sys/fs/cgroup/job/memory.max": "500000\n",
    "/sys/fs/cgroup/job/memory.stat": "anon 100000\nfile 300000\n",
}
ONE = {
    "/proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/job\n0::/\n",
    "/sys/fs/cgroup/memory/job/memory.limit_in_bytes": "300000\n",
    "/sys/fs/cgroup/memory/job/memory.stat": "cache 5\nrss 1\ntotal_rss 50000\n",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
}
USED_UP = {**ONE, "/sys/fs/cgroup/memory/job/memory.stat": "total_rss 300001\n"}


@pytest.mark.parametrize(
    ("files", "available"),
    [
        ({}, None),
        (MACHINE, 819_200),
        (TWO, 400_000),
        (MACHINE | TWO, 400_000),
        (ONE, 250_000),
        (USED_UP, 0),
    ],
)
def test_the_least_of_all_limits_counts(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, str], available: int | None
) -> None:
    monkeypatch.setattr(memory, "_read", lambda path: files.get(path, ""))
    assert memory.available_bytes() == available


def test_here_some_memory_is_left() -> None:
    available = memory.available_bytes()
    assert available is None or available > 1_000_000
    memory.require_memory(1, "nothing")


def test_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 3_000_000_000)
    memory.require_memory(3_000_000_000, "work")
    with pytest.raises(CurationError, match=r"work needs about 5.0 GB .* here are 3.0 GB"):
        memory.require_memory(5_000_000_000, "work")
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    memory.require_memory(1 << 60, "work")
