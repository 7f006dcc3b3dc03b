"""Erasure: nothing of a row is left, nothing else changes, and it can be cut off anywhere."""

import errno
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline import erasing, packs, storage
from pipeline.errors import CurationError
from pipeline.pool import open_pool, open_stored
from tests import pictures
from tests.commands import done, pairmill
from tests.conftest import tree
from tests.pipeline.takedowns import caption, everything, key, shards, take_down, url, write_web

GONE = (1, 2, 9)
LIST = "\n".join(key(n) for n in GONE)
PROMISED = ("pool/*", "columns/**/*", "verdicts/*", "shards/*", "takedown/*")
ROOT = Path(__file__).parents[2]
_KILLED = """
import os, signal, sys
from pipeline import erasing, pool
root, at = sys.argv[1], int(sys.argv[2])
replace, count = os.replace, 0
def counted(*names):
    global count
    count += 1
    if count == at:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*names)
os.replace = counted
erasing.erase(pool.open_stored(root))
"""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build with rows taken down, not erased yet: to be copied."""
    folder = tmp_path_factory.mktemp("erase")
    recipe = write_web(folder)
    done("build", recipe, "--out", folder / "out")
    take_down(folder / "out", LIST, "--reason", "asked to")
    return folder


@pytest.fixture
def out(before: Path, tmp_path: Path) -> Path:
    shutil.copytree(before, tmp_path / "copy")
    return tmp_path / "copy" / "out"


@pytest.fixture(scope="module")
def erased(before: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, erased without a stop."""
    folder = tmp_path_factory.mktemp("erased")
    shutil.copytree(before, folder / "copy")
    take_down(folder / "copy" / "out", LIST, "--erase")
    return folder / "copy" / "out"


def write_answers(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "create table answers (key blob primary key, answer text, crc int);"
            "create table spent (model text primary key, requests int, tokens int);"
            "insert into answers values (x'00', 'what a model said of it', 0);"
            "insert into spent values ('model', 3, 30);"
        )
        connection.commit()


def test_nothing_of_the_rows_is_left_and_all_else_stays(out: Path, erased: Path) -> None:
    write_answers(out / "requests" / "requests.sqlite")
    (out / "requests" / "requests.damaged-1.sqlite").write_bytes(b"what a model said of it")
    exported, there = shards(out), everything(out)
    assert all(pictures.jpeg(number) in there for number in GONE)
    take_down(out, LIST, "--erase")
    left = everything(out)
    for number in GONE:
        assert pictures.jpeg(number) not in left
        assert url(number).encode() not in left
        assert caption(number).encode() + b"\0" not in left
    for number in set(range(12)) - set(GONE):
        assert pictures.jpeg(number) in left
    assert b"what a model said" not in left
    with closing(sqlite3.connect(out / "requests" / "requests.sqlite")) as connection:
        assert connection.execute("select * from spent").fetchall() == [("model", 3, 30)]
    assert shards(out) == exported == shards(erased)
    done("verify", "--out", out)
    told = done("explain", key(1), "--out", out)
    assert "failed: taken_down (asked to)" in told
    assert "by key, 2026-01-31, asked to" in told


def test_tombstones_say_what_was_there(erased: Path) -> None:
    stones = pq.read_table(erased / "takedown" / "tombstones.parquet").to_pylist()
    assert {stone["key"].hex() for stone in stones} == {key(n) for n in GONE}
    assert {(stone["reason"], stone["date"]) for stone in stones} == {("asked to", "2026-01-31")}
    assert all(len(stone["digest"]) == 32 for stone in stones)


def test_verify_finds_what_an_erased_row_left_behind(before: Path, erased: Path, out: Path) -> None:
    stones = erased / "takedown" / "tombstones.parquet"
    shutil.copy(stones, out / "takedown" / "tombstones.parquet")
    code, text = pairmill("verify", "--out", out)
    assert code == 1
    assert text.count("is not erased") == 2 * len(GONE)
    assert "'phash' holds values of rows that were erased" in text


@pytest.mark.slow
def test_columns_are_not_scored_anew_but_for_those_that_see_all_rows(out: Path) -> None:
    ledger = out / "ledger"
    stamps = {path: path.stat().st_mtime_ns for path in ledger.glob("score-image*/*")}
    assert stamps
    take_down(out, LIST, "--erase")
    assert {path: path.stat().st_mtime_ns for path in ledger.glob("score-image*/*")} == stamps
    hashes = [pq.read_table(path) for path in sorted((out / "columns" / "hashes").rglob("*.par*"))]
    assert sum(table["phash"].null_count for table in hashes) == len(GONE)


@pytest.mark.slow
def test_the_packs_of_a_large_pool_are_emptied_too(
    erased: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "PACK_FROM", 2)
    out = tmp_path / "web" / "out"
    done("build", write_web(tmp_path / "web"), "--out", out)
    packed = sorted(path.relative_to(out) for path in out.rglob("packed.parquet"))
    assert len(packed) > 3
    take_down(out, LIST, "--reason", "asked to", "--erase")
    assert shards(out) == shards(erased)
    done("verify", "--out", out)
    for path in packed:
        table = pq.read_table(out / path)
        assert not any(caption(number) in str(table.to_pylist()) for number in (2, 9))
        if path.parts[1] == "caption":
            assert table["caption_words"].null_count == len(GONE)
    assert url(1).encode() not in everything(out / "pool")


@contextmanager
def full_after(writes: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A disk that takes so many files more."""
    real, left = os.replace, [writes]

    def replace(*names: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*names)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", replace)
        yield


@pytest.mark.slow
def test_a_full_disk_stops_it_and_it_is_finished_by_running_it_again(
    before: Path, erased: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for writes in (0, 1, 2, 3, 5, 8, 13):
        out = tmp_path / str(writes)
        shutil.copytree(before / "out", out)
        made = open_stored(str(out))
        assert made is not None
        with full_after(writes, monkeypatch), pytest.raises(OSError, match="No space"):
            erasing.erase(made)
        is_begun = (out / "takedown" / "erasing.json").exists()
        assert is_begun == (writes > 1)
        if is_begun:
            with pytest.raises(CurationError, match="has not come to its end"):
                open_pool(str(out))
        erasing.erase(made)
        assert tree(out, "pool/*") == tree(erased, "pool/*")
        assert open_pool(str(out)) is not None
        again = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
        erasing.erase(made)
        assert {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()} == again


@pytest.mark.slow
def test_killed_at_every_file_and_run_again(before: Path, erased: Path, tmp_path: Path) -> None:
    for at in range(1, 100):
        root = tmp_path / str(at)
        shutil.copytree(before, root)
        out = root / "out"
        words = [sys.executable, "-c", _KILLED, str(out), str(at)]
        code = subprocess.run(words, cwd=ROOT, capture_output=True).returncode
        if code == 0:
            break
        assert code == -signal.SIGKILL
        if at % 10 == 1:
            take_down(out, LIST, "--erase")
            assert tree(out, *PROMISED[:-1]) == tree(erased, *PROMISED[:-1])
            done("verify", "--out", out)
        else:
            made = open_stored(str(out))
            assert made is not None
            erasing.erase(made)
            assert tree(out, "pool/*") == tree(erased, "pool/*")
        shutil.rmtree(root)
    assert at > 12


class Killed(BaseException):
    """An end at a place of our choice."""


@pytest.mark.slow
def test_an_end_behind_the_manifest_is_gone_on_with(
    before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(before, tmp_path / "copy")
    out = tmp_path / "copy" / "out"
    remove = storage.remove

    def removed(path: str) -> None:
        if path.endswith("/shards"):
            raise Killed
        remove(path)

    with monkeypatch.context() as patched:
        patched.setattr(storage, "remove", removed)
        with pytest.raises(Killed):
            take_down(out, LIST, "--erase")
    assert (out / "shards").exists()
    assert not (out / "shards" / "manifest.json").exists()
    take_down(out, LIST, "--erase")
    done("verify", "--out", out)


@pytest.mark.slow
def test_the_whole_verb_killed_at_random_moments_and_run_again(
    before: Path, erased: Path, tmp_path: Path
) -> None:
    shutil.copytree(before, tmp_path / "copy")
    out = tmp_path / "copy" / "out"
    rng = random.Random(0)
    (out.parent / "list.txt").write_text(LIST)
    words = ["takedown", "list.txt", "--out", "out", "--erase", "--engine", "local"]
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *words],
            cwd=out.parent,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(rng.uniform(1, 8))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    take_down(out, LIST, "--erase")
    assert tree(out, *PROMISED[:-1]) == tree(erased, *PROMISED[:-1])
    assert not storage.exists(str(out / "takedown" / "erasing.json"))
    done("verify", "--out", out)
