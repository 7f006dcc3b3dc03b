"""Builds that are half done, disks that are full, doors that are closed, names that are odd.

What stands in the way is named in one clear message, and nothing that was there is lost.
"""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.errors import CurationError
from tests.commands import done, pairmill
from tests.conftest import PROMISED, RECIPE, VERBS, tree

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


def test_a_build_that_is_half_done_says_what_is_missing(original, tmp_path):
    recipe, out = original / "recipe.yaml", tmp_path / "out"
    known = {"ingest": "no build here", "score": "no build here", "select": "no manifest.json"}
    for verb, missing in known.items():
        done(verb, recipe, "--out", out)
        code, text = pairmill("verify", "--out", out)
        assert code == 1
        assert missing in text
        assert "export   to do" in done("plan", recipe, "--out", out)
        for words in (["explain", "0.jpg"], ["report"]):
            code, text = pairmill(*words, "--out", out)
            assert code == (0 if verb == "select" else 1), text
        assert pairmill("diff", out, original / "out")[0] == (0 if verb == "select" else 1)
    assert "not exported" in done("explain", "0.jpg", "--out", out)
    code, text = pairmill("export", recipe, "--out", tmp_path / "nothing")
    assert (code, "run `pairmill ingest`" in text) == (1, True)


def test_a_source_that_changes_between_survey_and_writing_is_named(original, tmp_path, make_build):
    photos = tmp_path / "vanishing"
    shutil.copytree(original / "photos", photos)
    recipe = RECIPE.replace("photos/", "vanishing/")

    class Vandal:
        """Told when a stage begins, it removes a file of the source before the second."""

        def begin(self, stage, total):
            if stage == "ingest":
                (photos / "3.jpg").unlink(missing_ok=True)

        def ended(self, task, record): ...

        def finish(self): ...

    with pytest.raises(CurationError, match="has changed since it was surveyed; ingest again"):
        make_build(recipe, progress=Vandal()).ingest()
    assert make_build(recipe).ingest().rows == 8  # the caption is left: a row without an image
    assert not list((tmp_path / "out").rglob("*.tmp"))


# full disks and closed doors


@contextmanager
def mounted(folder, *arguments):
    """A file system of its own; skips where that is not allowed."""
    folder.mkdir()
    done = subprocess.run(["mount", *arguments, str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("may not mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_disk_that_fills_up_in_any_verb_is_said_so_and_loses_nothing(
    original, tmp_path, expected, verb
):
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=4m", "tmpfs") as disk:
        for before in VERBS[: VERBS.index(verb)]:
            done(before, original / "recipe.yaml", "--out", disk / "out")
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        (disk / "filler").write_bytes(bytes(free - 8192))
        code, text = pairmill(verb, original / "recipe.yaml", "--out", disk / "out")
        assert code == 1
        assert "disk full" in text.lower() or "no space" in text.lower()
        (disk / "filler").unlink()
        for after in VERBS[VERBS.index(verb) :]:
            done(after, original / "recipe.yaml", "--out", disk / "out")
        assert tree(disk / "out", *PROMISED) == expected


def test_a_place_that_may_not_be_written_is_named(original, tmp_path):
    (tmp_path / "real").mkdir()
    if os.geteuid() == 0:
        with mounted(tmp_path / "closed", "-t", "tmpfs", "-o", "ro", "tmpfs") as closed:
            code, text = pairmill("build", original / "recipe.yaml", "--out", closed / "out")
    else:
        (tmp_path / "real").chmod(0o500)
        code, text = pairmill("build", original / "recipe.yaml", "--out", tmp_path / "real" / "out")
    assert code == 1
    assert "can't be written to" in text


@pytest.mark.slow
def test_a_source_that_may_only_be_read_is_enough(original, tmp_path, expected):
    options = ["--bind", "-o", "ro", str(original / "photos")]
    with mounted(tmp_path / "photos", *options):
        (tmp_path / "recipe.yaml").write_text(RECIPE)
        done("build", tmp_path / "recipe.yaml", "--out", tmp_path / "out")
    assert tree(tmp_path / "out", *PROMISED) == expected


# places


def test_names_with_every_sign_relative_paths_and_links(original, tmp_path, monkeypatch, expected):
    name = "sp ace 'single' \"double\" ü # ? % & [x] {a,b} *"
    (tmp_path / name).mkdir()
    shutil.copytree(original / "photos", tmp_path / name / "photos")
    (tmp_path / name / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path / "real")
    done("build", f"../{name}/recipe.yaml", "--out", f"../link/{name}/deep/out")
    found = tmp_path / "real" / name / "deep" / "out"
    assert tree(found, *PROMISED) == expected
    monkeypatch.chdir("/")
    for out in (found, tmp_path / "link" / name / "deep" / "out", f"file://{found}"):
        done("verify", "--out", out)
        done("report", "--out", out)


@pytest.mark.slow
def test_a_pool_is_found_through_links_and_when_it_is_the_output_directory(original, tmp_path):
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to("far/away")
    source = RECIPE.replace("photos/", f"{original}/photos/")
    (tmp_path / "recipe.yaml").write_text(f"pool: ./x/../pool\n{source}")
    done("build", tmp_path / "recipe.yaml", "--out", tmp_path / "link" / "out")
    done("verify", "--out", tmp_path / "link" / "out")
    done("verify", "--out", tmp_path / "far" / "away" / "out")
    (tmp_path / "recipe.yaml").write_text(f"pool: link/../far/away/out\n{source}")
    done("ingest", tmp_path / "recipe.yaml", "--out", tmp_path / "link" / "same")
    (tmp_path / "recipe.yaml").write_text(f"pool: ./x/../one\n{source}")
    done("ingest", tmp_path / "recipe.yaml", "--out", tmp_path / "one")


@pytest.mark.parametrize("name", ["shards/00000.tar", "pool/00000.tar", "shards/notes.txt"])
def test_what_others_put_there_is_never_written_over(original, tmp_path, name):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"dear to somebody")
    code, text = pairmill("build", original / "recipe.yaml", "--out", tmp_path / "out")
    assert code == 1
    assert "files that this build did not write" in text
    assert path.read_bytes() == b"dear to somebody"


# the program itself


def program(*words, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *map(str, words)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_no_build_and_leaves_no_traceback(original, out):
    shutil.rmtree(out / "columns")
    process = program("build", original / "recipe.yaml", "--out", out, "--engine", "local")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read().decode()
    assert process.wait(60) == 0, errors
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors
    done("verify", "--out", out)


def test_what_a_terminal_cant_show_is_escaped(original):
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    process = program("build", "ü\udcff\x1b[31m.yaml", "--out", original / "out", env=environment)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors == b"pairmill: \\xfc\\udcff\\x1b[31m.yaml: there is no such file\n"
