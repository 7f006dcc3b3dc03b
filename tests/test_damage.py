"""Files of a build damaged, deleted or foreign; disks that are full; places that are odd.

Damage ends in one clear message or is mended by the verb that writes the file, to the same bytes.
"""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.errors import CurationError
from tests.commands import done, pairmill
from tests.conftest import PROMISED, RECIPE, tree, write_pair
from tests.pictures import jpeg

ROOT = Path(__file__).parent.parent
VERBS = ("ingest", "score", "select", "export")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder with photos, a recipe, and its build in `out`."""
    folder = tmp_path_factory.mktemp("damage")
    for number in range(8):
        write_pair(folder / "photos", f"{number}", jpeg(number), f"picture number {number}")
    (folder / "recipe.yaml").write_text(RECIPE)
    done("build", folder / "recipe.yaml", "--out", folder / "out")
    return folder


@pytest.fixture(scope="module")
def expected(original):
    return tree(original / "out", *PROMISED)


@pytest.fixture
def out(original, tmp_path):
    """A copy of the build that may be damaged."""
    return Path(shutil.copytree(original / "out", tmp_path / "out"))


def one(out, pattern):
    return next(iter(sorted(out.glob(pattern))))


def flip(path):
    data = bytearray(path.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 8] = bytes(byte ^ 0x55 for byte in data[middle : middle + 8])
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def other(path):
    path.write_text('{"other": []}')


def readers(out):
    """What the verbs that only read say: exit code and text."""
    commands = (["verify"], ["explain", "0.jpg"], ["report"])
    said = {words[0]: pairmill(*words, "--out", out) for words in commands}
    return said | {"diff": pairmill("diff", out, out)}


@pytest.mark.parametrize("harm", [cut, other])
@pytest.mark.parametrize("name", ["build.json", "verdicts/index.json", "shards/manifest.json"])
def test_a_damaged_index_is_named_and_written_again(original, out, expected, name, harm):
    harm(out / name)
    for verb, (code, text) in readers(out).items():
        if (verb, name) != ("diff", "shards/manifest.json"):
            assert code == 1, verb
            assert f"{out}/{name}: is damaged" in text, verb
    for verb in ("select", "export"):
        done(verb, original / "recipe.yaml", "--out", out)
    assert tree(out, *PROMISED) == expected
    assert {code for code, _ in readers(out).values()} == {0}


@pytest.mark.parametrize("harm", [flip, cut, empty])
def test_a_damaged_pool_index_is_named_and_made_again_when_it_is_removed(
    original, out, expected, harm
):
    harm(out / "pool" / "index.json")
    commands = [["build", original / "recipe.yaml"], ["plan", original / "recipe.yaml"]]
    for words in [*commands, ["verify"], ["explain", "0.jpg"]]:
        code, text = pairmill(*words, "--out", out)
        assert code == 1
        assert f"{out}/pool/index.json: is damaged, remove it" in text
    if harm is flip:
        (out / "pool" / "index.json").unlink()
        done("ingest", original / "recipe.yaml", "--out", out)
        assert tree(out, *PROMISED) == expected


@pytest.mark.parametrize("harm", [flip, cut, Path.unlink])
@pytest.mark.parametrize("pattern", ["verdicts/00000.parquet", "columns/image/*/00000.parquet"])
def test_a_damaged_table_is_noticed_and_made_again(original, out, expected, pattern, harm):
    path = one(out, pattern)
    harm(path)
    code, text = pairmill("verify", "--out", out)
    assert code == 1
    assert str(path) in text
    assert str(path) in pairmill("explain", "0.jpg", "--out", out)[1]
    if harm is flip:  # whether that is seen before it is read depends on where it fell
        path.unlink(missing_ok=True)
    for verb in VERBS[1:]:
        done(verb, original / "recipe.yaml", "--out", out)
    assert tree(out, *PROMISED) == expected


def test_a_column_file_of_other_parameters_is_not_taken_for_the_right_one(original, out, expected):
    path = one(out, "columns/image/*/00000.parquet")
    wrong = one(out, "columns/caption/*/00000.parquet")
    path.write_bytes(wrong.read_bytes())
    assert "about other rows" in pairmill("verify", "--out", out)[1]
    done("score", original / "recipe.yaml", "--out", out)
    assert tree(out, *PROMISED) == expected


@pytest.mark.parametrize(
    ("name", "harm"), [("00000.tar", cut), ("00000.tar", empty), ("00001.tar", Path.unlink)]
)
def test_shards_that_are_gone_or_cut_are_noticed_and_written_again(
    original, out, expected, name, harm
):
    harm(out / "shards" / name)
    assert f"shards/{name}" in pairmill("verify", "--out", out)[1]
    assert pairmill("explain", "0.jpg", "--out", out)[0] == 0
    done("export", original / "recipe.yaml", "--out", out)
    assert tree(out, *PROMISED) == expected
    done("verify", "--out", out)


@pytest.mark.parametrize("name", ["manifest.json", "sizes.json", "README.md", "croissant.json"])
def test_a_deleted_description_is_written_again(original, out, expected, name):
    (out / "shards" / name).unlink()
    code, text = pairmill("verify", "--out", out)
    assert (code, name in text) == (1, True)
    done("export", original / "recipe.yaml", "--out", out)
    assert tree(out, *PROMISED) == expected


@pytest.mark.parametrize("name", ["ledger", "work", "verdicts", "columns", "shards"])
def test_a_deleted_folder_is_made_again(original, out, expected, name):
    shutil.rmtree(out / name)
    for words in (["verify"], ["explain", "0.jpg"], ["report"], ["diff", out]):
        target = [out] if words[0] == "diff" else ["--out", out]
        pairmill(*words, *target)  # whatever it says, it is no traceback
    for verb in VERBS:
        done(verb, original / "recipe.yaml", "--out", out)
    assert tree(out, *PROMISED) == expected
    done("verify", "--out", out)


def test_a_damaged_record_of_a_task_is_no_record(original, out, expected):
    shutil.rmtree(out / "shards")
    for path in (out / "ledger").rglob("*.json"):
        other(path)
    done("export", original / "recipe.yaml", "--out", out)
    assert tree(out, *PROMISED) == expected


@pytest.mark.parametrize(
    ("name", "harm", "message"),
    [
        ("pool/00000.tar", cut, "can't be read after byte"),
        ("pool/00000.tar", flip, "pool/00000.tar"),
        ("pool/00000.tar", Path.unlink, "pool/00000.tar"),
        ("pool/00000.parquet", cut, "can't be read"),
        ("pool/00000.parquet", Path.unlink, "can't be read"),
    ],
)
def test_a_damaged_pool_is_named_and_nothing_is_made_of_it(original, out, name, harm, message):
    harm(out / name)
    code, text = pairmill("verify", "--out", out)
    assert code == 1
    assert message in text
    shutil.rmtree(out / "shards")
    code, text = pairmill("export", original / "recipe.yaml", "--out", out)
    assert code == 1
    assert name in text
    assert not (out / "shards" / "manifest.json").exists()


def test_an_image_that_was_changed_in_the_pool_is_never_exported(original, out):
    """The tar is as long as before and every header is fine: only the bytes of a picture differ."""
    path = out / "pool" / "00000.tar"
    data = bytearray(path.read_bytes())
    data[900] ^= 0xFF
    path.write_bytes(data)
    shutil.rmtree(out / "shards")
    code, text = pairmill("export", original / "recipe.yaml", "--out", out)
    assert code == 1
    assert "is not the one that came in" in text
    assert "another sha256" in pairmill("verify", "--out", out)[1]


def test_verify_finds_what_is_too_many_and_what_was_changed(out):
    tar = out / "shards" / "00000.tar"
    data = bytearray(tar.read_bytes())
    place = data.index(b'{"caption"')
    data[place : place + 2] = b"[["
    tar.write_bytes(data)
    shutil.copy(tar, out / "shards" / "00009.tar")
    text = pairmill("verify", "--out", out)[1]
    assert "00000.tar: has another sha256" in text
    assert "is damaged" in text
    assert "00009.tar: is not in the manifest" in text


# half a build


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


def test_a_reader_that_goes_away_ends_no_build_and_leaves_no_traceback(original, tmp_path):
    process = program("build", original / "recipe.yaml", "--out", tmp_path, "--engine", "local")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read().decode()
    assert process.wait(60) == 0, errors
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors
    done("verify", "--out", tmp_path)


def test_what_a_terminal_cant_show_is_escaped(original):
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    process = program("build", "ü\udcff\x1b[31m.yaml", "--out", original / "out", env=environment)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors == b"pairmill: \\xfc\\udcff\\x1b[31m.yaml: there is no such file\n"


def test_the_manifest_says_what_the_ledger_of_a_repaired_build_says(original, out):
    before = json.loads((out / "shards" / "manifest.json").read_text())["ledger"]
    (out / "shards" / "00000.tar").unlink()
    done("export", original / "recipe.yaml", "--out", out)
    assert json.loads((out / "shards" / "manifest.json").read_text())["ledger"] == before


@pytest.mark.parametrize("text", ["[]", "{}", '{"sources": "", "inputs": "", "shards": [1]}'])
def test_a_pool_index_that_is_none_is_named(original, out, text):
    (out / "pool" / "index.json").write_text(text)
    code, said = pairmill("verify", "--out", out)
    assert code == 1
    assert "index.json" in said
