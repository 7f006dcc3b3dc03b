"""Files of a build that are damaged, deleted or of another build.

Damage ends in one clear message or is mended by the verb that writes the file, to the same bytes.
"""

import json
import shutil
from pathlib import Path

import pytest

from tests.commands import done, pairmill
from tests.conftest import PROMISED, tree

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
VERBS = ("ingest", "score", "select", "export")


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
