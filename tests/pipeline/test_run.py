"""A stage gives the same files on every engine, whatever is killed while it runs."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline import storage
from pipeline.errors import CurationError, RecipeError, ShardsFailed
from pipeline.run import Engine, Stage, run_stage
from tests.pipeline import works
from tests.pipeline.cluster import Cluster, running_cluster

COUNT = 12


def stage_of(folder: Path, work: Any = works.write_file) -> Stage:
    return Stage("score", work, str(folder / "ledger"))


def run_on(engine: Engine, folder: Path, work: Any = works.write_file) -> dict[str, Any]:
    return run_stage(stage_of(folder, work), works.shards(folder, COUNT), engine)


def expected_files(folder: Path) -> dict[str, bytes]:
    """What the work gives without any engine."""
    for _, shard in works.shards(folder, COUNT):
        works.write_file(shard)
    return works.contents(folder)


def failures(folder: Path, work: Any, engine: Engine = Engine()) -> dict[str, str]:  # noqa: B008
    with pytest.raises(ShardsFailed) as caught:
        run_on(engine, folder, work)
    return caught.value.reasons


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster"), workers=2) as cluster:
        yield cluster


class Told:
    """Remembers what it was told. Mutable: it is a list."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def begin(self, stage: str, total: int) -> None:
        self.calls.append(("begin", stage, total))

    def ended(self, task: str, record: dict[str, Any]) -> None:
        self.calls.append((task, record["status"]))

    def finish(self) -> None:
        self.calls.append("finish")


def test_gives_the_stats_of_every_task(tmp_path: Path) -> None:
    stats = run_on(Engine(), tmp_path)
    assert list(stats) == [f"{number:05d}" for number in range(COUNT)]
    assert stats["00003"] == {"rows": 3, "size_bytes": 3200}


def test_nothing_to_do(tmp_path: Path) -> None:
    assert run_stage(stage_of(tmp_path), [], Engine()) == {}


def test_a_failed_shard_stops_no_other(tmp_path: Path) -> None:
    work = partial(works.fail_at, number=3, error=partial(ValueError, "bad tar"))
    assert failures(tmp_path, work) == {"00003": "ValueError: bad tar"}
    assert len(works.contents(tmp_path)) == COUNT - 1


def test_a_ledger_that_cannot_be_written_ends_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(CurationError, match=r"score: .*00000.json: can't write this record"):
        run_on(Engine(), tmp_path, works.spoil_ledger)
    assert not [record for record in caplog.records if record.exc_info]  # one line is enough
    with pytest.raises(CurationError, match="ledger: can't remove old records: NotADirectory"):
        run_on(Engine(), tmp_path)


def test_old_records_are_not_believed(tmp_path: Path) -> None:
    old = {"run": "another", "status": "failed", "error": "long ago"}
    storage.write_json(str(tmp_path / "ledger" / "00000.json"), old)
    assert run_on(Engine(), tmp_path)["00000"]["rows"] == 0


def test_names_of_tasks_are_unique(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="given twice"):
        run_stage(stage_of(tmp_path), works.shards(tmp_path, 1) * 2, Engine())


def test_progress_is_told_of_every_task(tmp_path: Path) -> None:
    told = Told()
    work = partial(works.fail_at, number=1, error=works.full_disk)
    with pytest.raises(ShardsFailed):
        run_stage(stage_of(tmp_path, work), works.shards(tmp_path, 2), Engine(), told)
    assert told.calls == [("begin", "score", 2), ("00000", "done"), ("00001", "failed"), "finish"]


def test_one_line_per_shard(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run_stage(stage_of(tmp_path), works.shards(tmp_path, 2), Engine())
    assert [line.partition(" done")[0] for line in caplog.messages] == [
        "score: 00000",
        "score: 00001",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "spark"}, "no engine 'spark'; there are local, procs, dask, beam"),
        ({"name": "procs", "workers": 0}, "0 workers"),
        ({"name": "dask"}, "dask scheduler --host HOST"),
        ({"scheduler": "tcp://127.0.0.1:1"}, "goes with the dask engine"),
        ({"beam_options": ("--runner=X",)}, "go with the beam engine"),
        ({"name": "beam"}, "needs --runner=NAME"),
        ({"name": "beam", "beam_options": ("--streaming",)}, "needs --runner=NAME"),
        ({"name": "beam", "beam_options": ("--runner", "DaskRunner")}, "take the dask engine"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Engine(**settings)


def test_beam_is_not_imported_before_it_is_needed() -> None:
    code = (
        "import sys, pipeline.run; "
        "print(sorted({'apache_beam', 'dask', 'distributed', 'rich'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_the_beam_engine_takes_any_runner(tmp_path: Path) -> None:
    engine = Engine("beam", beam_options=("--runner=FnApiRunner",))
    assert len(run_on(engine, tmp_path)) == COUNT


@pytest.mark.slow
def test_every_engine_gives_the_same_files(tmp_path: Path, cluster: Cluster) -> None:
    expected = expected_files(tmp_path / "plain")
    engines = [Engine(), Engine("procs", workers=2), Engine("dask", scheduler=cluster.address)]
    for engine in engines:
        folder = tmp_path / engine.name
        stats = run_on(engine, folder)
        assert works.contents(folder) == expected
        assert [stats[name]["rows"] for name in stats] == list(range(COUNT))


@pytest.mark.slow
def test_procs_fails_one_shard_alone(tmp_path: Path) -> None:
    work = partial(works.fail_at, number=3, error=works.full_disk)
    reasons = failures(tmp_path, work, Engine("procs", workers=2))
    assert reasons["00003"].startswith("disk full")
    assert len(works.contents(tmp_path)) == COUNT - 1


@pytest.mark.slow
def test_procs_ends_when_the_ledger_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(CurationError, match="can't write this record"):
        run_on(Engine("procs", workers=2), tmp_path, works.spoil_ledger)


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 3])
def test_procs_survives_killed_workers(tmp_path: Path, times: int) -> None:
    killer = works.kill_workers(tmp_path / "procs", times)
    work = partial(works.write_file, seconds=0.3)
    stats = run_on(Engine("procs", workers=2), tmp_path / "procs", work)
    killer.join()
    assert len(stats) == COUNT
    assert works.contents(tmp_path / "procs") == expected_files(tmp_path / "plain")


@pytest.mark.slow
def test_procs_gives_up_a_shard_that_kills(tmp_path: Path) -> None:
    reasons = failures(tmp_path, partial(works.die_at, number=3), Engine("procs", workers=2))
    assert reasons == {"00003": "worker died 3 times while running it (signal 9; out of memory?)"}
    assert len(works.contents(tmp_path)) == COUNT


@pytest.mark.slow
def test_a_killed_run_leaves_nobody_and_can_be_repeated(tmp_path: Path) -> None:
    folder = tmp_path / "procs"
    program = start_program(folder, "procs", seconds=0.5)
    works.wait_until(lambda: len(works.contents(folder)) >= 2)
    program.kill()
    program.wait()
    works.wait_until(lambda: not any(works.is_alive(pid) for pid in works.pids(folder)), 10)
    assert len(works.contents(folder)) < COUNT
    run_on(Engine("procs", workers=2), folder)
    assert works.contents(folder) == expected_files(tmp_path / "plain")


def start_program(folder: Path, engine: str, seconds: float) -> "subprocess.Popen[bytes]":
    arguments = [str(folder), engine, str(COUNT), str(seconds)]
    return subprocess.Popen(
        # SIGINT may be ignored in this shell. No `preexec_fn`: to fork beside gRPC may abort.
        ["env", "--default-signal=INT", sys.executable, "-m", "tests.pipeline.works", *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "procs"])
@pytest.mark.parametrize("seconds", [1, 1000])
def test_an_interrupt_ends_the_run_at_once(tmp_path: Path, engine: str, seconds: float) -> None:
    program = start_program(tmp_path, engine, seconds)
    works.wait_until(lambda: works.files_begun(tmp_path))
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=90)
    assert len(works.contents(tmp_path)) < COUNT
    assert program.returncode != 0
    assert errors.rstrip().endswith(b"KeyboardInterrupt")
    assert not any(works.is_alive(pid) for pid in works.pids(tmp_path))


@pytest.mark.slow
def test_dask_survives_a_killed_worker(tmp_path: Path, cluster: Cluster) -> None:
    killer = works.kill_workers(tmp_path / "dask")
    work = partial(works.write_file, seconds=0.3)
    stats = run_on(Engine("dask", scheduler=cluster.address), tmp_path / "dask", work)
    killer.join()
    assert len(stats) == COUNT
    assert works.contents(tmp_path / "dask") == expected_files(tmp_path / "plain")


@pytest.mark.slow
def test_dask_gives_up_a_shard_that_kills(tmp_path: Path, cluster: Cluster) -> None:
    for _ in range(3):
        cluster.add_worker()
    cluster.wait_for_workers()
    work = partial(works.die_at, number=3, seconds=0.2)
    reasons = failures(tmp_path, work, Engine("dask", scheduler=cluster.address))
    assert reasons == {"00003": "worker died 4 times while running it"}
    assert len(works.contents(tmp_path)) == COUNT


@pytest.mark.slow
def test_dask_fails_one_shard_alone(tmp_path: Path, cluster: Cluster) -> None:
    work = partial(works.fail_at, number=3, error=works.full_disk)
    reasons = failures(tmp_path, work, Engine("dask", scheduler=cluster.address))
    assert reasons["00003"].startswith("disk full")
    assert len(works.contents(tmp_path)) == COUNT - 1


@pytest.mark.slow
def test_dask_without_a_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.dask_runner.CONNECT_S", 1)
    with pytest.raises(CurationError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        run_on(Engine("dask", scheduler="tcp://127.0.0.1:1"), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["workers", "scheduler"])
def test_dask_without_its_cluster(
    tmp_path: Path, cluster: Cluster, victim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience_s = 4.0 if victim == "workers" else 60.0
    monkeypatch.setattr("pipeline.dask_runner.NO_WORKERS_S", patience_s)
    victims = cluster.workers if victim == "workers" else [cluster.scheduler]

    def kill() -> None:
        works.wait_until(lambda: works.files_begun(tmp_path))
        for process in victims:
            process.kill()

    threading.Thread(target=kill, daemon=True).start()
    message = "no workers for 4 s" if victim == "workers" else "connection .* was lost"
    work = partial(works.write_file, seconds=1.0)
    with pytest.raises(CurationError, match=message):
        run_on(Engine("dask", scheduler=cluster.address), tmp_path, work)
