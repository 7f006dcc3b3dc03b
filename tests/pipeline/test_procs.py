"""Workers share tasks, and no death of anybody leaves a task undone or a process behind."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pipeline import procs
from pipeline.errors import CurationError
from tests.pipeline import works

pytestmark = pytest.mark.slow


def work_on(work: Callable[[works.Shard], object]) -> None:
    """What a worker does, without Beam."""
    count = 0
    for name, shard in procs.pull():
        work(shard)
        procs.report_ended(name)
        count += 1
    procs.confirm(count)


def run(
    work: Callable[[works.Shard], object], tasks: list[procs.Task], workers: int = 2
) -> dict[str, str]:
    """The tasks that were given up, after all others are done."""
    lost: dict[str, str] = {}
    main = partial(work_on, work)
    procs.Supervisor(tasks, main, on_lost=lost.__setitem__, tick=lambda: None).run(workers)
    return lost


def test_each_task_is_done_once(tmp_path: Path) -> None:
    tasks = works.shards(tmp_path, 12)
    assert run(partial(works.write_file, seconds=0.05), tasks) == {}
    assert len(works.contents(tmp_path)) == 12
    assert len(works.files_begun(tmp_path)) == 12
    assert len(works.pids(tmp_path)) == 2


def test_no_more_workers_than_tasks(tmp_path: Path) -> None:
    run(works.write_file, works.shards(tmp_path, 1), workers=5)
    assert len(works.pids(tmp_path)) == 1


def test_what_workers_log_is_logged_here(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run(works.log_lines, works.shards(tmp_path, 2))
    said = sorted(caplog.record_tuples)
    assert said == [
        (name, level, f"shard {number} of 2")
        for name, level in (("elsewhere", logging.WARNING), ("pipeline.works", logging.INFO))
        for number in range(2)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 4])
def test_killed_workers_cost_nothing(tmp_path: Path, times: int) -> None:
    killer = works.kill_workers(tmp_path, times)
    assert run(partial(works.write_file, seconds=0.2), works.shards(tmp_path, 12)) == {}
    killer.join()
    assert len(works.contents(tmp_path)) == 12


@pytest.mark.slow
def test_gives_up_a_task_that_kills_its_workers(tmp_path: Path) -> None:
    lost = run(partial(works.die_at, number=1), works.shards(tmp_path, 6))
    assert lost == {
        "00001": "worker died 3 times while running it (signal 9; out of memory?)",
    }
    assert len(works.contents(tmp_path)) == 6
    assert len(works.files_begun(tmp_path, 1)) == 3


def _overlap(work: Callable[[works.Shard], object]) -> None:
    """A worker that ends a task when it has the next one, or when none comes for a while."""
    ends: list[threading.Timer] = []
    for name, shard in procs.pull():
        work(shard)
        ends.append(threading.Timer(0.3, procs.report_ended, [name]))
        ends[-1].start()
    for end in ends:
        end.join()
    procs.confirm(len(ends))


@pytest.mark.slow
def test_a_task_that_kills_takes_none_with_it_that_was_beside_it(tmp_path: Path) -> None:
    tasks, lost = works.shards(tmp_path, 3), dict[str, str]()
    main = partial(_overlap, partial(works.die_at, number=1))
    procs.Supervisor(tasks, main, on_lost=lost.__setitem__, tick=lambda: None).run(1)
    assert list(lost) == ["00001"]
    assert len(works.files_begun(tmp_path, 0)) == 2  # it was under way when the first died


@pytest.mark.slow
def test_notices_a_death_that_a_child_hides(tmp_path: Path) -> None:
    """A forked child keeps the dead worker's channel open, and must not outlive it."""
    assert run(works.fork_and_die_once, works.shards(tmp_path, 4)) == {}
    assert len(works.contents(tmp_path)) == 4


def _cannot_start() -> None:
    sys.exit("no such library")


def _cannot_go_on() -> None:
    next(procs.pull())
    raise CurationError("the ledger can't be written: disk full")


def _counts_wrong() -> None:
    for name, _ in procs.pull():
        procs.report_ended(name)
    procs.confirm(1)


@pytest.mark.parametrize(
    ("main", "message"),
    [
        (_cannot_start, "3 workers in a row died before their first task .exit code 1."),
        (_cannot_go_on, "the ledger can't be written: disk full"),
        (_counts_wrong, "a worker ended 2 tasks, its graph counted 1"),
    ],
)
def test_ends_with_an_error_that_says_why(main: Callable[[], None], message: str) -> None:
    tasks = [("a", 1), ("b", 2)]
    with pytest.raises(CurationError, match=message):
        procs.Supervisor(tasks, main, on_lost=lambda *_: None, tick=lambda: None).run(1)


def _keep_environment(shard: works.Shard) -> None:
    shard.path.write_text(os.environ["OMP_NUM_THREADS"])


def test_a_worker_has_one_native_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    run(_keep_environment, works.shards(tmp_path, 2), workers=2)
    assert set(works.contents(tmp_path).values()) == {b"1"}
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    run(_keep_environment, works.shards(tmp_path, 1), workers=2)
    assert works.contents(tmp_path)["00000.bin"] == b"1"


@pytest.mark.slow
def test_an_interrupt_ends_the_workers(tmp_path: Path) -> None:
    def tick() -> None:
        if len(works.pids(tmp_path)) == 2:
            raise KeyboardInterrupt

    main = partial(work_on, works.spin)
    tasks = works.shards(tmp_path, 2)
    with pytest.raises(KeyboardInterrupt):
        procs.Supervisor(tasks, main, on_lost=lambda *_: None, tick=tick).run(2)
    assert not any(works.is_alive(pid) for pid in works.pids(tmp_path))


_SUPERVISOR = """
import sys
from functools import partial
from pathlib import Path
from tests.pipeline import test_procs, works
test_procs.run(works.spin, works.shards(Path(sys.argv[1]), 2))
"""


@pytest.mark.slow
@pytest.mark.parametrize("with_what", [signal.SIGKILL, signal.SIGTERM])
def test_workers_do_not_outlive_their_supervisor(tmp_path: Path, with_what: int) -> None:
    path = str(Path(__file__).parents[2])
    supervisor = subprocess.Popen(
        [sys.executable, "-c", _SUPERVISOR, str(tmp_path)], env={**os.environ, "PYTHONPATH": path}
    )
    works.wait_until(lambda: len(works.pids(tmp_path)) == 2)
    supervisor.send_signal(with_what)
    supervisor.wait()
    started = time.monotonic()
    works.wait_until(lambda: not any(works.is_alive(pid) for pid in works.pids(tmp_path)))
    assert time.monotonic() - started < 40
