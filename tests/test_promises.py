"""The promises to a user, on whole builds: same bytes from every engine, whatever is killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.run import Engine
from tests.conftest import PROMISED, RECIPE, built, tree, write_pair
from tests.pictures import jpeg
from tests.pipeline.cluster import Cluster

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
WHOLE = RECIPE.replace(
    "  caption: {}\n",
    "  caption: {}\n  hashes: {}\n  duplicates: {merge_captions: true}\n  frequency: {}\n",
).replace(
    "export:",
    "  - unique: {one_per: dup_group, best: short_side}\n  - some:   {draw: 0.9, seed: 1}\nexport:",
)


@pytest.fixture
def many(tmp_path, photos):
    """Sixty pairs in twelve pool shards, so that a kill falls in the middle of something."""
    for i in range(40, 84):
        write_pair(photos, f"{i}", jpeg(i, (320, 240)), f"a picture of number {i}")
    (tmp_path / "recipe.yaml").write_text(WHOLE)
    return tmp_path


def whole_build(build):
    return tree(built(build).out, *PROMISED)


def start(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(folder, *arguments):
    process = start(folder, *arguments)
    output, _ = process.communicate(timeout=280)
    return process.returncode, output


def test_every_engine_writes_the_same_bytes_also_when_a_worker_is_killed(many, make_build):
    expected = whole_build(make_build(WHOLE, "local"))
    assert len([name for name in expected if name.endswith(".tar")]) > 20
    assert whole_build(make_build(WHOLE, "procs", engine=Engine("procs", 2))) == expected
    folder = many / "cluster"
    folder.mkdir()
    cluster = Cluster(folder)
    try:
        cluster.add_worker()
        cluster.add_worker()
        cluster.wait_for_workers()
        build = make_build(WHOLE, "dask", engine=Engine("dask", scheduler=cluster.address))
        build.ingest()
        victim = cluster.workers[0]
        os.kill(victim.pid, signal.SIGKILL)
        assert whole_build(build) == expected
    finally:
        cluster.stop()


@pytest.mark.parametrize("engine", ["local", "procs"])
def test_the_whole_program_killed_at_random_moments_and_run_again(many, make_build, engine):
    expected = whole_build(make_build(WHOLE, "expected"))
    rng = random.Random(engine)
    arguments = ("build", "recipe.yaml", "--out", "killed", "--engine", engine, "--workers", "2")
    for _ in range(6):
        process = start(many, *arguments)
        time.sleep(rng.uniform(1.5, 9))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    code, output = run(many, *arguments)
    assert code == 0, output
    assert tree(many / "killed", *PROMISED) == expected
    assert not list((many / "killed").rglob("*.tmp"))
    code, output = run(many, "verify", "--out", "killed")
    assert code == 0, output


def test_parts_share_a_build_without_a_coordinator(many, make_build):
    expected = whole_build(make_build(WHOLE, "alone"))
    parts = [
        start(many, "build", "recipe.yaml", "--out", "shared", "--engine", "local", "--part", part)
        for part in ("0/3", "1/3", "2/3")
    ]
    for process in parts:
        output, _ = process.communicate(timeout=280)
        assert process.returncode == 0, output
    assert tree(many / "shared", *PROMISED) == expected


def test_two_builds_in_one_directory_at_once(many):
    first = start(many, "build", "recipe.yaml", "--out", "one", "--engine", "local")
    deadline = time.monotonic() + 60
    while not (many / "one" / "pool").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    code, output = run(many, "build", "recipe.yaml", "--out", "one", "--engine", "local")
    assert code == 1
    assert "another pairmill is building here" in output
    first.communicate(timeout=280)
    assert first.returncode == 0


def test_a_second_run_writes_nothing(make_build, tmp_path):
    build = make_build(WHOLE)
    whole_build(build)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.is_file()}
    whole_build(make_build(WHOLE))
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.is_file()}
    changed = {p.name for p in after if before.get(p) != after[p]}
    assert changed <= {"build.json"}


def test_the_order_of_sources_does_not_change_the_shards(make_build, tmp_path):
    for i in range(100, 104):
        write_pair(tmp_path / "more", f"{i}", jpeg(i), f"more pictures, number {i}")
    write_pair(tmp_path / "more", "same", jpeg(3), "picture number 3 größe")
    one = "  photos: {folder: photos/}\n"
    two = "  more: {folder: more/}\n"
    builds = []
    for name, sources in (("ab", one + two), ("ba", two + one)):
        build = make_build(WHOLE.replace(one, sources), name)
        whole_build(build)
        builds.append(build)
    first, second = (tree(build.out, "shards/*.tar") for build in builds)
    assert first == second
    ledgers = [build.export()["ledger"] for build in builds]
    assert ledgers[0] == ledgers[1]


def test_a_full_disk_loses_nothing_and_the_build_goes_on_after(make_build, tmp_path):
    """A small file system of its own; it needs the right to mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=120k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("may not mount a file system")
    try:
        from pipeline.errors import CurationError

        build = make_build(WHOLE, "disk/out")
        with pytest.raises((CurationError, OSError), match=r"(?i)disk full|no space"):
            whole_build(build)
        grown = subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], capture_output=True)
        assert grown.returncode == 0
        assert whole_build(make_build(WHOLE, "disk/out")) == whole_build(make_build(WHOLE, "fine"))
    finally:
        subprocess.run(["umount", "-l", str(disk)], capture_output=True, check=False)
