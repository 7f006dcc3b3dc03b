"""kill -9 in the middle of a captioning run: nothing is paid for twice, the bytes are the same."""

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests import commands, pictures
from tests.conftest import tree, write_pair
from tests.filters.model_server import Action, ModelServer, serve

ROOT = Path(__file__).parents[2]
PAIRS, AT_ONCE = 40, 4
RECIPE = """\
sources:
  photos: {{folder: photos/}}
ingest: {{rows_per_shard: 8}}
score:
  told:
    scorer: 'recaption.captioner:Captioner'
    kinds: [short, long]
    server: {{endpoints: ['{url}'], model: tiny, kind: openai, concurrency: {n}, timeout: 120}}
"""


def _named(body: dict) -> str:
    """What is asked, by its content."""
    return hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()[:12]


TELLS = Action(lambda body: f"A thing called {_named(body)}.", usage=(100, 7))


def _stored(folder: Path) -> int:
    """Answers that are kept; none while there is no file, or no table in it yet."""
    paths = list(folder.rglob("requests.sqlite"))
    try:
        with sqlite3.connect(paths[0]) as connection:
            return int(connection.execute("select count(*) from answers").fetchone()[0])
    except (sqlite3.OperationalError, IndexError):
        return 0


def _wait_until(is_so, process) -> None:
    deadline = time.monotonic() + 90
    while not is_so():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def _start(folder: Path, out: str) -> "subprocess.Popen[str]":
    words = ["score", "recipe.yaml", "--out", out, "--engine", "local"]
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _whole(folder: Path, model: ModelServer, out: str) -> dict[str, bytes]:
    (folder / "recipe.yaml").write_text(RECIPE.format(url=model.url, n=AT_ONCE))
    commands.done("ingest", folder / "recipe.yaml", "--out", folder / out)
    process = _start(folder, out)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0, text
    return tree(folder / out, "columns/**/*.parquet")


@pytest.mark.slow
def test_a_killed_run_pays_for_no_answer_twice_and_ends_with_the_same_bytes(tmp_path):
    for i in range(PAIRS):
        write_pair(tmp_path / "photos", f"{i:02d}", pictures.jpeg(i), f"picture {i}")
    with serve(TELLS) as model:
        expected = _whole(tmp_path, model, "expected")
        assert len(model.asked) == 2 * PAIRS
    answered = 0
    with serve() as model:
        (tmp_path / "recipe.yaml").write_text(RECIPE.format(url=model.url, n=AT_ONCE))
        commands.done("ingest", tmp_path / "recipe.yaml", "--out", tmp_path / "killed")
        for more in (9, 26):  # answers, and then four requests under way for good
            model.actions = [TELLS] * (len(model.asked) + more) + [Action(wait_s=60)]
            process = _start(tmp_path, "killed")
            answered += more
            _wait_until(lambda n=answered: _stored(tmp_path / "killed") == n, process)
            whole = len(model.actions) - 1 + AT_ONCE
            _wait_until(lambda n=whole: len(model.asked) == n, process)
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        model.actions = [TELLS]
        found = _whole(tmp_path, model, "killed")
        assert len(model.asked) == 2 * PAIRS + 2 * AT_ONCE  # those under way at a kill, no more
        times = Counter(_named(body) for body in model.asked)
        assert len(times) == 2 * PAIRS
    assert found == expected
    assert _stored(tmp_path / "killed") == 2 * PAIRS
