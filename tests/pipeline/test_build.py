"""Stages of a build: what a part does about the failures of others, and about vanishing records."""

import os
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline import storage
from pipeline.build import Build, Part
from pipeline.errors import CurationError, ShardsFailed
from tests.conftest import MakeBuild
from tests.pipeline import works

Tasks = list[tuple[str, works.Shard]]


def run(build: Build, work: Any, tasks: Tasks) -> None:
    build.stage("test of parts", work, tasks, lambda shard: shard.path.exists())


def bad(folder: Path, number: int) -> Any:
    """Work that fails at one shard."""
    return partial(works.fail_at, number=number, error=partial(ValueError, "bad luck"))


def test_a_part_ends_when_another_has_failed(make_build: MakeBuild, tmp_path: Path) -> None:
    tasks = works.shards(tmp_path, 4)
    waiting = make_build(part=Part(0, 2, wait_s=60, poll_s=0.02))
    failing = make_build(part=Part(1, 2, wait_s=60, poll_s=0.02))

    def fail() -> None:
        with pytest.raises(ShardsFailed, match="bad luck"):
            run(failing, bad(tmp_path, 3), tasks)

    thread = threading.Thread(target=fail)
    started = time.monotonic()
    thread.start()
    with pytest.raises(CurationError, match="00003, a task of another part, failed: ValueError"):
        run(waiting, works.write_file, tasks)
    thread.join()
    assert time.monotonic() - started < 50
    assert len(works.contents(tmp_path)) == 3


def test_a_failure_of_an_earlier_run_is_waited_for_to_be_mended(
    make_build: MakeBuild, tmp_path: Path
) -> None:
    tasks = works.shards(tmp_path, 4)
    with pytest.raises(ShardsFailed, match="bad luck"):
        run(make_build(part=Part(1, 2)), bad(tmp_path, 3), tasks)
    record = tmp_path / "out" / "ledger" / "test-of-parts" / "00003.json"
    os.utime(record, (1, 1))
    waiting = make_build(part=Part(0, 2, wait_s=0))
    with pytest.raises(CurationError, match="1 tasks of other parts are not done after 0 s"):
        run(waiting, works.write_file, tasks)
    with pytest.raises(CurationError, match="not done after 0 s"):  # its own are, and stay so
        run(make_build(part=Part(0, 2, wait_s=0)), works.spin, tasks)
    run(make_build(part=Part(1, 2)), works.write_file, tasks)
    run(waiting, works.spin, tasks)


def test_a_record_may_vanish_while_it_is_read(
    make_build: MakeBuild, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = make_build()
    assert build.record("test-of-parts", "00000") is None
    run(build, works.write_file, works.shards(tmp_path, 1))
    assert build.has_record("test-of-parts", "00000")
    assert build.stats("test-of-parts", "00000")["size_bytes"] == 3200
    path = storage.join(build.ledger("test-of-parts"), "00000.json")
    Path(path).write_text("{")
    assert build.record("test-of-parts", "00000") is None
    Path(path).unlink()
    monkeypatch.setattr(storage, "exists", lambda _: True)  # as it was a moment ago
    assert build.record("test-of-parts", "00000") is None
    with pytest.raises(CurationError, match="the record of 00000 is missing"):
        build.stats("test-of-parts", "00000")
