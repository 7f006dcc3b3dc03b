"""How the program ends: its exit code, what it says, and that nobody is left working."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import RECIPE, write_pair
from tests.pictures import jpeg

ROOT = Path(__file__).parents[2]


@pytest.fixture
def start(tmp_path):
    """Starts a verb that has far more to do than it gets time for."""
    for number in range(400):
        write_pair(tmp_path / "photos", f"{number}", jpeg(number % 9), f"picture {number}")
    (tmp_path / "recipe.yaml").write_text(RECIPE)

    def start(verb, *options):
        words = [verb, str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "out"), *options]
        return subprocess.Popen(
            # SIGINT may be ignored here. No `preexec_fn`: to fork beside gRPC may abort.
            ["env", "--default-signal=INT", sys.executable, "-m", "pipeline", *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )

    return start


def end(process, sign):
    """Exit code and what was said after a signal; everything it had started must be gone."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(sign)
    said = process.communicate(timeout=60)[1].decode()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]
    return process.returncode, said


def wait_for(path, process):
    deadline = time.monotonic() + 60
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.poll() is None


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "procs"])
def test_an_interrupt_ends_with_one_line(start, tmp_path, engine):
    process = start("build", "--engine", engine, "--workers", "2")
    wait_for(tmp_path / "out" / "pool" / "00000.tar", process)
    code, said = end(process, signal.SIGINT)
    assert code == 1
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "pairmill: interrupted; what is done stays done"


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "procs"])
def test_who_ends_the_program_ends_its_workers(start, tmp_path, engine):
    process = start("build", "--engine", engine, "--workers", "2")
    wait_for(tmp_path / "out" / "pool" / "00000.tar", process)
    code, said = end(process, signal.SIGTERM)
    assert code == -signal.SIGTERM
    assert "Traceback" not in said


def test_the_end_of_the_program_waits_for_no_thread(tmp_path):
    program = (
        "import sys, threading, time; from pipeline import cli;"
        " threading.Thread(target=time.sleep, args=(60,)).start();"
        f" sys.argv = ['pairmill', 'verify', '--out', {str(tmp_path)!r}]; cli.main()"
    )
    started = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True)
    assert ended.returncode == 1
    assert b"there is no build here" in ended.stderr
    assert time.monotonic() - started < 50


@pytest.mark.slow
def test_what_was_printed_arrives_before_the_end():
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "schema"], cwd=ROOT, capture_output=True, check=True
    )
    assert done.stdout.rstrip().endswith(b"}")


def test_a_reader_that_goes_away_is_no_traceback():
    ours, theirs = os.pipe()
    os.close(ours)
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "--help"], cwd=ROOT, stdout=theirs, stderr=-1
    )
    os.close(theirs)
    assert b"Traceback" not in process.communicate()[1]
