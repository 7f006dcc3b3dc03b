"""Images and captions as the web has them, through whole builds: kept, or said why not.

Each build here ends with `verify`: nothing is lost, and what is written holds together.
"""

import json
import os
from collections import Counter

import pytest

from tests.commands import done, pairmill
from tests.conftest import SCORED, write_pair
from tests.outputs import exported, ledger
from tests.pictures import HTML, bomb_png, every_kind, jpeg

pytestmark = pytest.mark.slow

RECIPE = (
    "pool: pool/\n"
    + SCORED
    + """\
select:
  - readable: {where: width is not null}
export: {samples_per_shard: 20, json: [caption_words, captions], image: original}
ingest: {rows_per_shard: 25}
"""
)
WORDS = {
    "huge": b"wort" * 250_000,
    "control": b"a\x00b\x07c\x1b[31mred\x1b[0m\x7f",
    "right_to_left": "שלום \u202eevil\u202c مرحبا".encode(),
    "script": b"<script>alert(1)</script><img src=x onerror=alert(1)>&amp;\"'",
    "lines": b"two\nlines\r\nand\ta tab",
    "separators": "a\u2028b\u2029c\u0085d".encode(),
    "family": "👩‍👩‍👧 eine Familie".encode(),
    "accents": b"a" + "\u0301".encode() * 500,
    "noncharacters": "a\uffff\ufdd0b".encode(),
    "markup": b"| a | b |\n```\n# no heading\n---",
    "statement": b"'; drop table rows; --",
    "formula": b"=cmd|' /C calc'!A0",
    "json": b'{"caption": "not this"}',
}
FLAGGED = {"latin1": "größe".encode("latin-1"), "utf16": "text".encode("utf-16")}
JSON_FILES = {
    "surrogate": b'{"caption": "lone \\ud800 one", "more": "\\udfff", "x": NaN, "y": 1e999}',
    "cut": b'{"caption": ',
    "deep": b"[" * 100_000,
    "many": b'{"caption": ["one", 2, null, {"three": 3}], "url": "not a url \\u0000"}',
}
BROKEN = {
    "empty.png": (b"", "empty"),
    "page.jpg": (HTML, "not_an_image"),
    "bomb.png": (bomb_png(), "too_many_pixels"),
    "huge_header.jpg": (jpeg()[:30], "truncated"),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Photos of every kind with captions of every kind, and three exports of one pool."""
    folder = tmp_path_factory.mktemp("world")
    photos = folder / "photos"
    for number, (name, data) in enumerate(every_kind().items()):
        kind = name.split()[0].replace("jpeg", "jpg")
        (photos / "kinds").mkdir(parents=True, exist_ok=True)
        (photos / "kinds" / f"{number:02d} {name}.{kind}").write_bytes(data)
        (photos / "kinds" / f"{number:02d} {name}.txt").write_text(f"a picture, {name}")
    for number, (name, text) in enumerate((WORDS | FLAGGED).items()):
        write_pair(photos / "words", name, jpeg(number), None)
        (photos / "words" / f"{name}.txt").write_bytes(text)
    for number, (name, text) in enumerate(JSON_FILES.items(), start=50):
        write_pair(photos / "json", name, jpeg(number), None)
        (photos / "json" / f"{name}.json").write_bytes(text)
    _odd_files(photos / "odd")
    for image in ("original", "jpg", "webp"):
        recipe = RECIPE.replace("image: original", f"image: {image}")
        (folder / f"{image}.yaml").write_text(recipe)
    done("build", folder / "original.yaml", "--out", folder / "original")
    return folder


def _odd_files(folder):
    """Names that need care, and things that are no files."""
    write_pair(folder, "a \"name\" of 'signs' <b> ü\n", jpeg(70), "a name of signs")
    write_pair(folder, "mute", jpeg(71), None)
    write_pair(folder, "blank", jpeg(72), " \n ")
    for name, (data, _) in BROKEN.items():
        (folder / name).write_bytes(data)
    raw = os.fsencode(folder)
    for name, data in ((b"\xff\xfe.jpg", jpeg(73)), (b"\xff\xfe.txt", b"a name of bytes")):
        with open(raw + b"/" + name, "wb") as stream:
            stream.write(data)
    os.mkfifo(folder / "pipe.jpg")
    os.symlink("/dev/zero", folder / "endless.jpg")
    os.symlink("/nowhere/at/all", folder / "dangling.jpg")
    (folder / "empty folder").mkdir()


def test_every_row_that_came_in_is_accounted_for(world):
    found = ledger(world / "original")
    good = len(every_kind()) + len(WORDS) + len(FLAGGED) + len(JSON_FILES) + 4
    reasons = Counter(reason for _, reason in BROKEN.values()) + Counter(
        unreadable_file=1, link_outside=2
    )
    assert found["failed"] == dict(reasons)
    assert found["rows_in"] == good + reasons.total()
    assert found["kept"] == good
    assert found["not_exported"] == {"no_caption": 4}  # mute, blank, and two json without a caption
    done("verify", "--out", world / "original")


def test_captions_survive_exactly_or_are_flagged(world):
    samples = exported(world / "original")
    for name, text in WORDS.items():
        assert samples[f"words/{name}.jpg"]["txt"] == text, name
        assert samples[f"words/{name}.jpg"]["json"]["caption"].encode() == text, name
    for name, text in FLAGGED.items():
        assert samples[f"words/{name}.jpg"]["txt"] == text.decode("utf-8", "replace").encode()
        captions = json.loads(samples[f"words/{name}.jpg"]["json"]["captions"])
        assert captions[0]["flags"] == ["not_utf8"]
    surrogate = json.loads(samples["json/surrogate.jpg"]["json"]["captions"])[0]
    assert surrogate["text"] == "lone ? one"
    assert surrogate["flags"] == ["not_unicode"]
    assert samples["json/many.jpg"]["txt"] == b"one"
    assert samples["odd/a \"name\" of 'signs' <b> ü\n.jpg"]["txt"] == b"a name of signs"
    assert samples["odd/\ufffd\ufffd.jpg"]["txt"] == b"a name of bytes"


@pytest.mark.parametrize("image", ["original", "jpg", "webp"])
def test_every_kind_of_image_is_written_and_the_pool_serves_all_exports(world, image):
    before = {p: p.stat().st_mtime_ns for p in (world / "pool").rglob("*.*")}
    assert before
    done("build", world / f"{image}.yaml", "--out", world / image)
    assert {p: p.stat().st_mtime_ns for p in (world / "pool").rglob("*.*")} == before
    done("verify", "--out", world / image)
    samples = exported(world / image)
    extension = "webp" if image == "webp" else "jpg"
    for number, name in enumerate(every_kind()):
        found = [s for n, s in samples.items() if n.startswith(f"kinds/{number:02d} ")]
        assert [set(s) for s in found] == [{extension, "txt", "json"}], name


@pytest.mark.slow
def test_another_selection_over_the_same_pool_leaves_the_first_valid(world):
    stricter = RECIPE.replace("width is not null", "caption_words > 3")
    (world / "strict.yaml").write_text(stricter)
    done("build", world / "strict.yaml", "--out", world / "strict")
    assert ledger(world / "strict")["kept"] < ledger(world / "original")["kept"]
    done("verify", "--out", world / "strict")
    done("verify", "--out", world / "original")
    assert "dropped by readable" in done("diff", world / "original", world / "strict")


def test_the_report_and_the_story_of_a_row_are_not_broken_by_what_captions_hold(world):
    out = world / "original"
    page = (out / "report.html").read_text()
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert not {"\x00", "\x1b", "\x07"} & set(page)
    assert page.count("\u202e") == page.count(
        '<q dir="auto">שלום \u202e'
    )  # it ends with the element
    for name in (*(f"words/{n}.jpg" for n in WORDS), "odd/pipe.jpg", "json/many.jpg"):
        story = done("explain", name, "--out", out)
        assert not [sign for sign in story if not sign.isprintable() and sign != "\n"], name
    assert "not a regular file" in done("explain", "odd/pipe.jpg", "--out", out)
    assert "leads out of the folder" in done("explain", "odd/endless.jpg", "--out", out)
    assert "not written: no_caption" in done("explain", "odd/mute.jpg", "--out", out)
    assert pairmill("explain", "\udcff", "--out", out)[0] == 1


@pytest.mark.parametrize(
    "rest", ["", "select: [{none: {where: width > 9000}}]\nscore: {image: {}}\n"]
)
def test_a_recipe_of_sources_alone_keeps_all_and_one_may_keep_nothing(tmp_path, rest):
    for number in range(3):
        write_pair(tmp_path / "photos", f"{number}", jpeg(number), f"picture {number}")
    (tmp_path / "recipe.yaml").write_text("sources: {photos: {folder: photos/}}\n" + rest)
    text = done("build", tmp_path / "recipe.yaml", "--out", tmp_path / "out")
    written = 0 if rest else 3
    assert f"{written} samples" in text
    assert ledger(tmp_path / "out")["written"] == written
    done("verify", "--out", tmp_path / "out")
    done("report", "--out", tmp_path / "out")


def test_a_source_of_rows_that_all_fail_is_a_build_of_reasons(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "empty.jpg").touch()
    (tmp_path / "photos" / "alone.txt").write_text("no image beside it")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    assert "failed: no_image" in done("build", tmp_path / "recipe.yaml", "--out", tmp_path / "out")
    done("verify", "--out", tmp_path / "out")
    assert ledger(tmp_path / "out")["failed"] == {"empty": 1, "no_image": 1}
