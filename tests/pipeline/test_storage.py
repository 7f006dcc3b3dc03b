import multiprocessing
import os

import fsspec
import pytest

from pipeline import storage
from pipeline.errors import BusyBuild


def test_a_file_is_complete_or_absent(tmp_path):
    path = str(tmp_path / "a" / "file")

    def write_half():
        with storage.writing(path) as temporary:
            with open(temporary, "w") as stream:
                stream.write("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert os.listdir(tmp_path / "a") == []


def test_what_was_there_stays_when_writing_fails(tmp_path):
    path = str(tmp_path / "file")
    storage.write_atomic(path, b"old")
    with pytest.raises(RuntimeError), storage.writing(path):
        raise RuntimeError
    assert storage.read_bytes(path) == b"old"


def test_memory_url_is_written_and_read():
    path = "memory://folder/file.json"
    storage.write_json(path, {"b": 1, "a": "ü"})
    assert storage.exists(path)
    assert storage.read_bytes(path) == '{\n "a": "ü",\n "b": 1\n}\n'.encode()
    assert storage.size(path) == 24
    assert storage.files_below("memory://folder") == ["file.json"]
    storage.remove("memory://folder")
    assert not storage.exists(path)


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        storage.write_json(str(tmp_path / "x.json"), float("nan"))


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("{00..02}.tar", ["00.tar", "01.tar", "02.tar"]),
        ("{a,b}{1..2}", ["a1", "a2", "b1", "b2"]),
        ("plain", ["plain"]),
        ("{9..11}", ["10", "11", "9"]),
    ],
)
def test_braces_expand_as_in_webdataset(pattern, names):
    assert storage.expand(pattern) == names


def test_globs_expand_sorted_on_disk_and_in_memory(tmp_path):
    for name in ("b.tar", "a.tar", "c.txt"):
        (tmp_path / name).write_bytes(b"x")
        with fsspec.open(f"memory://globs/{name}", "wb") as stream:
            stream.write(b"x")
    assert storage.expand(f"{tmp_path}/*.tar") == [f"{tmp_path}/a.tar", f"{tmp_path}/b.tar"]
    assert storage.expand("memory://globs/*.tar") == [
        "memory:///globs/a.tar",
        "memory:///globs/b.tar",
    ]


def test_hidden_files_are_left_out(tmp_path):
    (tmp_path / ".git").mkdir()
    for name in (".git/x", ".hidden", "seen"):
        (tmp_path / name).write_bytes(b"x")
    assert storage.files_below(str(tmp_path)) == ["seen"]


def _hold(folder, held, release):
    with storage.lock(folder):
        held.set()
        release.wait(20)


def test_two_builds_in_one_directory_are_refused(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(str(tmp_path), held, release))
    process.start()
    try:
        assert held.wait(20)
        with pytest.raises(BusyBuild, match="another pairmill"), storage.lock(str(tmp_path)):
            pass
    finally:
        release.set()
        process.join()
    with storage.lock(str(tmp_path), shared=True), storage.lock(str(tmp_path), shared=True):
        pass


def test_sweep_removes_what_a_kill_left_and_nothing_else(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / f"x.parquet.{'0a' * 16}.tmp").write_bytes(b"half")
    for name in ("x.parquet", "user.tmp"):
        (tmp_path / "deep" / name).write_bytes(b"whole")
    storage.sweep(str(tmp_path))
    assert sorted(os.listdir(tmp_path / "deep")) == ["user.tmp", "x.parquet"]
