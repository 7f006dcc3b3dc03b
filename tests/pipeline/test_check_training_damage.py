"""check-training on exports whose descriptions are damaged; its processes end with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline.check_training import check
from pipeline.errors import CurationError, DamagedFile

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "",
        '{"shards": 3}',
        '{"shards": [3]}',
        '{"shards": [{}]}',
        '{"shards": [{"name": "a.tar"}]}',
        '{"shards": [{"name": "a.tar", "samples": "3"}]}',
        '{"shards": [{"name": "a.tar", "samples": -1}]}',
        '{"shards": [{"name": ["a.tar"], "samples": 1}]}',
        '{"shards": [{"name": "../a.tar", "samples": 1}]}',
    ],
)
def test_a_damaged_manifest_is_named(tmp_path, text):
    path = tmp_path / "shards" / "manifest.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(DamagedFile, match="is damaged") as error:
        check(str(tmp_path))
    assert str(error.value).startswith(str(path))


def test_an_export_of_other_files_than_tars_is_refused(tmp_path):
    (tmp_path / "shards").mkdir()
    text = '{"shards": [{"name": "00000.parquet", "samples": 1}]}'
    (tmp_path / "shards" / "manifest.json").write_text(text)
    with pytest.raises(CurationError, match="on tars only"):
        check(str(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_readers_end_with_the_process_that_started_them(tmp_path, end):
    program = (
        "import os, subprocess, sys; print(subprocess.Popen([sys.executable,"
        f" '-m', 'pipeline.training_readers', 'sleep', {str(tmp_path)!r}, str(os.getpid())],"
        " start_new_session=True).pid, flush=True); sys.stdin.read()"
    )
    os.mkfifo(tmp_path / "names.json")  # the reader waits here for ever
    pipe = subprocess.PIPE
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdin=pipe, stdout=pipe)
    assert parent.stdout is not None
    reader = psutil.Process(int(parent.stdout.readline()))
    time.sleep(0.5)
    assert reader.is_running()
    parent.send_signal(end)
    parent.communicate()
    _, alive = psutil.wait_procs([reader], timeout=20)
    assert not alive or alive[0].status() == psutil.STATUS_ZOMBIE
