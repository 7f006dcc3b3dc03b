"""A task ends in a record, whatever its work does, and is done once in a run."""

import multiprocessing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import stage
from pipeline.errors import CurationError
from tests.pipeline import works


def stage_of(folder: Path, work: Any = works.write_file) -> stage.Stage:
    return stage.Stage("score", work, str(folder / "ledger"))


def record_of(folder: Path, work: Any) -> stage.Record:
    """The record that work on shard 3 leaves."""
    of = stage_of(folder, work)
    stage.run_task(of, "run", ("a", works.Shard(3, str(folder))))
    record = stage.read_record(of.record_path("a"), "run")
    assert record is not None
    return record


def test_a_record_holds_stats_and_what_they_cost(tmp_path: Path) -> None:
    record = record_of(tmp_path, partial(works.write_file, seconds=0.1))
    assert record["status"] == "done"
    assert record["stats"] == {"rows": 3, "size_bytes": 3200}
    assert record["wall_s"] >= 0.1
    assert record["cpu_s"] < 0.1


def _use_memory(_: works.Shard) -> dict[str, Any]:
    return {"sum": int(np.ones(50_000_000, dtype=np.uint8).sum())}


def _peaks(folder: Path) -> list[int]:
    """The peak of a small task, of a large one, and of a small one again."""
    tasks = {"a": works.write_file, "b": _use_memory, "c": works.write_file}
    return [record_of(folder / name, work)["peak_memory_bytes"] for name, work in tasks.items()]


def test_the_peak_of_memory_is_that_of_the_task(tmp_path: Path) -> None:
    """In a process of its own: in one that has freed much, a task finds room and adds none."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        before, large, after = pool.apply(_peaks, (tmp_path,))
    assert large - before > 40_000_000
    assert large - after > 40_000_000


def _fail_below(_: works.Shard) -> dict[str, Any]:
    try:
        raise works.full_disk()
    except OSError as error:
        raise RuntimeError("the tar can't be written") from error


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (partial(works.fail_at, number=3, error=partial(ValueError, "bad")), "ValueError: bad"),
        (partial(works.fail_at, number=3, error=works.leave), "SystemExit: 3"),
        (partial(works.fail_at, number=3, error=MemoryError), "MemoryError"),
        (partial(works.fail_at, number=3, error=works.full_disk), "disk full, or quota used up (O"),
        (_fail_below, "disk full, or quota used up (RuntimeError: the tar can't be written)"),
        (lambda shard: {"mean": float("nan")}, "ValueError: Out of range float values"),
        (lambda shard: {"array": np.ones(3)}, "TypeError: Object of type ndarray"),
    ],
)  # fmt: skip
def test_a_failure_is_a_record_that_says_why(tmp_path: Path, work: Any, message: str) -> None:
    record = record_of(tmp_path, work)
    assert record["status"] == "failed"
    assert record["error"].startswith(message)
    assert record["traceback"].startswith("Traceback")


def test_a_task_is_done_once_in_a_run(tmp_path: Path) -> None:
    of, task = stage_of(tmp_path), ("a", works.Shard(3, str(tmp_path)))
    stage.run_task(of, "first", task)
    works.files_begun(tmp_path)[0].unlink()
    stage.run_task(of, "first", task)
    assert not works.files_begun(tmp_path)
    stage.run_task(of, "second", task)
    assert works.files_begun(tmp_path)


def test_a_record_of_another_run_is_not_read(tmp_path: Path) -> None:
    of = stage_of(tmp_path)
    stage.write_failure(of, "first", "a", "worker died")
    assert stage.read_record(of.record_path("a"), "second") is None
    assert stage.read_record(of.record_path("b"), "first") is None


def test_a_record_that_cannot_be_written_is_no_failure_of_the_shard(tmp_path: Path) -> None:
    of = stage_of(tmp_path, works.spoil_ledger)
    with pytest.raises(CurationError, match="can't write this record: FileExistsError"):
        stage.run_task(of, "run", ("a", works.Shard(3, str(tmp_path))))


@pytest.mark.parametrize("names", [["a", "a"], ["../a"], [""], [".a"], ["a b"], ["é"], ["a" * 300]])
def test_names_are_unique_and_fit_for_files(names: list[str]) -> None:
    with pytest.raises(ValueError, match="task name"):
        stage.check_names(names)
