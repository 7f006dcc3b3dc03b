"""A retry that is killed anywhere: the pool is whole at any time, and the next one goes on."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline import pool, retry_record
from pipeline.retry import Retried
from tests.pipeline.retries import (
    DOWN,
    DUE,
    FETCH,
    HOSTS,
    ROWS,
    again,
    asked,
    base_of,
    build_of,
    current,
    flaky,
    lines,
    mend,
    pool_of,
    write,
)

ROOT = Path(__file__).parents[2]
KILLED = """
import os, signal, sys
from pipeline import retry
from pipeline.build import Build
from pipeline.recipe import load_recipe
recipe, out, at = sys.argv[1], sys.argv[2], int(sys.argv[3])
build = Build(load_recipe(recipe), out)
replace, count = os.replace, 0
def counted(*names):
    global count
    count += 1
    if count == at:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*names)
os.replace = counted
retry.retry(build)
"""


@pytest.fixture
def server():
    with flaky() as running:
        yield running


def timeless(made: pool.Pool) -> list[dict[str, object]]:
    return [row | {"fetched_at": None} for row in base_of(made)]


def tars(made: pool.Pool) -> list[bytes]:
    return [Path(pool.tar_path(made.root, shard.name)).read_bytes() for shard in made.shards]


def is_whole(made: pool.Pool) -> bool:
    return made.rows_in == ROWS == len(current(made))


def files_of(out: Path) -> list[str]:
    """What is in the pool, but for what is swept when a verb begins."""
    return sorted(p.name for p in (out / "pool").iterdir() if p.suffix != ".tmp")


def killed_at(recipe: Path, out: str, place: int) -> bool:
    """Whether a retry was killed at its so manieth rename; False when it ended before."""
    words = [sys.executable, "-c", KILLED, str(recipe), str(recipe.parent / out), str(place)]
    code = subprocess.run(words, cwd=ROOT, capture_output=True).returncode
    assert code in (0, -signal.SIGKILL)
    return code != 0


@pytest.mark.slow
def test_killed_at_any_rename_the_pool_is_whole_and_the_next_retry_goes_on(tmp_path, server):
    recipe = write(tmp_path, lines(server))
    build_of(recipe, "first").ingest()
    mend(server, 0)
    shutil.copytree(tmp_path / "first", tmp_path / "whole")
    once = again(recipe, "whole")
    whole = pool_of(recipe, "whole")
    for place in range(1, 100):
        shutil.copytree(tmp_path / "first", tmp_path / "out")
        before = asked(server)
        ended = not killed_at(recipe, "out", place)
        assert is_whole(pool_of(recipe))
        if not ended:
            assert again(recipe) == once
            assert max((asked(server) - before).values()) <= 2  # what was under way at the kill
        made = pool_of(recipe)
        assert made.shards[: len(whole.shards) - 2] == whole.shards[:-2]
        assert timeless(made) == timeless(whole)
        assert tars(made) == tars(whole)
        assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
        shutil.rmtree(tmp_path / "out")
        if ended:
            break
    assert 15 < place < 100  # so many files does a retry write


def start(recipe: Path, *options: str) -> "subprocess.Popen[bytes]":
    words = ["ingest", str(recipe), "--out", str(recipe.parent / "out"), "--retry", *options]
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        process_group=0,
    )


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "procs", "beam", "dask"])
def test_what_was_killed_goes_on_and_asks_for_nothing_twice(tmp_path, server, engine, options_of):
    options = options_of(engine)
    each = 40
    rows = [
        f"{server.url(f'/{DOWN[0]}.jpg?{number}', host)},{number} of {host},,"
        for host in HOSTS
        for number in range(each)
    ]
    server.otherwise = server.answers[f"/{DOWN[0]}.jpg"]
    recipe = write(tmp_path, [*rows, *lines(server)])
    build_of(recipe).ingest()
    left = DUE + each * len(HOSTS)
    assert sum(row["failed"] is not None for row in base_of(pool_of(recipe))) == left
    shutil.copytree(tmp_path / "out", tmp_path / "whole")
    mend(server)
    server.otherwise = server.answers[f"/{DOWN[0]}.jpg"]
    server.asked.clear()
    slow = FETCH.replace("1000", "12").replace("retries", "per_host_at_once: 1, retries")
    recipe = write(tmp_path, [], slow)
    for number in range(3):
        process = start(recipe, *options)
        enough = len(server.asked) + 30 + 7 * number
        deadline = time.monotonic() + 60
        while len(server.asked) < enough and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() in (-signal.SIGKILL, 0)
        time.sleep(1.0 if engine == "dask" else 0.3)  # its workers go on for a moment
    recipe = write(tmp_path, [])
    if pool_of(recipe).rows_in == pool_of(recipe).rows:
        assert again(recipe) == Retried(left)
    made = pool_of(recipe)
    counts = [one.path for one in server.asked if ".jpg" in one.path]
    hosts = [one.host for one in server.asked if ".jpg" in one.path]
    both = list(zip(hosts, counts, strict=True))
    assert len(set(both)) == left
    assert len(both) - left <= 3 * len(HOSTS)  # those under way at each kill: one a host
    again(recipe, "whole")
    whole = pool_of(recipe, "whole")
    assert timeless(made) == timeless(whole)
    assert tars(made) == tars(whole)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["procs", "beam", "dask"])
def test_engines_make_the_same_generation(tmp_path, server, engine, options_of):
    recipe = write(tmp_path, lines(server))
    build_of(recipe).ingest()
    shutil.copytree(tmp_path / "out", tmp_path / "local")
    mend(server, 0)
    again(recipe, "local")
    process = start(recipe, *options_of(engine))
    assert process.communicate()[0] is None
    assert process.returncode == 0
    one, two = pool_of(recipe, "local"), pool_of(recipe)
    assert timeless(one) == timeless(two)
    assert tars(one) == tars(two)


@pytest.mark.slow
def test_a_plain_ingest_between_keeps_what_a_killed_retry_has_done(tmp_path, server):
    recipe = write(tmp_path, lines(server))
    build_of(recipe).ingest()
    mend(server)
    survey = tmp_path / "out" / "pool" / "survey"
    assert killed_at(recipe, "out", 11)  # when the second shard is about to get its name
    there = sorted(path.name for path in survey.iterdir())
    assert {"retry.json", "sites-000000.spool"} <= set(there)
    build_of(recipe).ingest()
    assert sorted(path.name for path in survey.iterdir()) == there
    server.asked.clear()
    assert again(recipe) == Retried(DUE)
    assert sum(asked(server).values()) < DUE
    assert not survey.exists()
    assert is_whole(pool_of(recipe))


def test_a_kill_just_behind_the_index_is_no_reason_to_try_once_more(tmp_path, server):
    recipe = write(tmp_path, lines(server))
    first = build_of(recipe).ingest()
    once = again(recipe)
    made, requests = pool_of(recipe), len(server.asked)
    names = tuple(shard.name for shard in made.shards[len(first.shards) :])
    retry_record.write_open(made.root, retry_record.OpenRetry("plan", names))
    assert again(recipe) == once
    assert pool_of(recipe) == made
    assert len(server.asked) == requests
    assert not (tmp_path / "out" / "pool" / "survey").exists()
    retry_record.write_open(made.root, retry_record.OpenRetry("plan", names))
    build_of(recipe).ingest()
    assert not (tmp_path / "out" / "pool" / "survey").exists()


def test_what_another_retry_left_is_cleared_away(tmp_path, server):
    recipe = write(tmp_path, lines(server))
    made = build_of(recipe).ingest()
    folder = tmp_path / "out" / "pool"
    last = f"{int(made.shards[-1].name) + 9:05d}"
    retry_record.write_open(made.root, retry_record.OpenRetry("other", ("00000", last)))
    (folder / f"{last}.tar").write_bytes(b"of a row that is taken down by now")
    mend(server)
    assert again(recipe) == Retried(DUE)
    assert not (folder / f"{last}.tar").exists()
    assert is_whole(pool_of(recipe))
