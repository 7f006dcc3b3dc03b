"""Images, captions and archives as the web has them, through whole builds: kept, or said why not.

Each build here ends with `verify`: nothing is lost, and what is written holds together.
"""

import io
import json
import os
import tarfile
from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from pipeline.shards import read_shard
from tests.commands import done, pairmill
from tests.conftest import write_pair
from tests.pictures import HTML, bomb_png, every_kind, jpeg

RECIPE = """\
pool: pool/
sources:
  photos: {folder: photos/}
score:
  image: {}
  caption: {}
select:
  - readable: {where: width is not null}
export: {samples_per_shard: 20, json: [caption_words, captions], image: original}
ingest: {rows_per_shard: 25}
"""
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


def exported(out):
    """The members of every sample by its source key, the json decoded."""
    found = {}
    for path in sorted((out / "shards").glob("*.tar")):
        for sample in read_shard(str(path)):
            assert sample.failed is None, sample.detail
            fields = json.loads(sample.parts["json"])
            name = json.loads(fields["provenance"])["source_key"]
            found[name] = sample.parts | {"json": fields}
    return found


def ledger(out):
    return json.loads((out / "shards" / "manifest.json").read_text())["ledger"]


def test_every_row_that_came_in_is_accounted_for(world):
    found = ledger(world / "original")
    good = len(every_kind()) + len(WORDS) + len(FLAGGED) + len(JSON_FILES) + 4
    reasons = Counter(reason for _, reason in BROKEN.values()) + Counter(unreadable_file=3)
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
    assert "not a regular file" in done("explain", "odd/endless.jpg", "--out", out)
    assert "not written: no_caption" in done("explain", "odd/mute.jpg", "--out", out)
    assert pairmill("explain", "\udcff", "--out", out)[0] == 1


# archives


def _member(name, data=b"", **fields):
    header = tarfile.TarInfo(name)
    header.size = len(data)
    for field, value in fields.items():
        setattr(header, field, value)
    return header.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)


def _pair(key, number, text="a pair in a tar"):
    return _member(f"{key}.jpg", jpeg(number)) + _member(f"{key}.txt", text.encode())


END = bytes(1024)
ARCHIVES = {
    "keys.tar": b"".join(_pair(key, n) for n, key in enumerate(("a", "b/c", "ü/é", "x y"))) + END,
    "dots.tar": _member("v1.2/a.b.jpg", jpeg(5)) + _member("v1.2/a.txt", b"of a") + END,
    "outside.tar": _pair("/etc/passwd", 6) + _pair("../../up", 7) + END,
    "links.tar": _member("to.jpg", type=b"2", linkname="/etc/passwd")
    + _member("hard.jpg", type=b"1", linkname="to.jpg")
    + _member("pipe.jpg", type=b"6")
    + _pair("fine", 8)
    + END,
    "twice.tar": _pair("one", 9) * 2 + _pair("two", 10) + END,
    "upper.tar": _member("UP.JPG", jpeg(16)) + _member("UP.TXT", b"in capitals") + END,
    "bytes.tar": _member("\udcff.jpg", jpeg(17)) + _member("\udcff.txt", b"x y") + END,
    "blank.tar": END,
    "cut.tar": _pair("whole", 12) + _pair("cut_off", 20)[:-1300],
    "cut_between.tar": _pair("uncut", 21),
    "joined.tar": _pair("first", 22) + END + _pair("second", 23) + END,
    "damaged.tar": _pair("before", 13)
    + _pair("unsure", 14)
    + b"?" * 512
    + _pair("after", 15)
    + END,
    "liar.tar": _pair("true", 24) + _member("big.jpg", b"few", size=1 << 50),
    "hole.tar": _pair("left", 25) + _member("hole.jpg", b"x", type=b"S", size=1 << 40),
    "page.tar": HTML,
    "empty.tar": b"",
    "noise.tar": bytes(range(256)) * 40,
}
WHOLE = [
    "a",
    "b/c",
    "ü/é",
    "x y",
    "fine",
    "two",
    "whole",
    "uncut",
    "first",
    "before",
    "true",
    "left",
]
REASONS = {
    "not_a_file": 3,
    "duplicate_member": 1,
    "truncated_sample": 4,  # cut_off, unsure, big, hole
    "truncated_archive": 8,  # cut, damaged, liar, hole, page, empty, noise, zipped_cut
    "no_end_of_archive": 1,
    "data_after_end": 1,
}


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """A build from tars that try what tars can try."""
    folder = tmp_path_factory.mktemp("archives")
    (folder / "tars").mkdir()
    for name, data in ARCHIVES.items():
        (folder / "tars" / name).write_bytes(data)
    text = io.BytesIO()
    with tarfile.open(fileobj=text, mode="w:gz") as tar:
        header = tarfile.TarInfo("zipped.jpg")
        header.size = len(jpeg(18))
        tar.addfile(header, io.BytesIO(jpeg(18)))
    (folder / "tars" / "zipped.tar.gz").write_bytes(text.getvalue())
    (folder / "tars" / "zipped_cut.tar.gz").write_bytes(text.getvalue()[:-400])
    recipe = RECIPE.replace("folder: photos/", "webdataset: tars/").replace("pool: pool/\n", "")
    (folder / "recipe.yaml").write_text(recipe)
    done("build", folder / "recipe.yaml", "--out", folder / "out")
    return folder / "out"


def test_an_archive_gives_a_sample_or_a_reason_for_each_of_its_groups(archives):
    done("verify", "--out", archives)
    samples = exported(archives)
    for key in WHOLE:
        assert samples[key]["txt"] == b"a pair in a tar", key
    assert samples["UP"]["txt"] == b"in capitals"
    assert samples["\ufffd"]["txt"] == b"x y"
    found = ledger(archives)
    assert found["failed"] == REASONS
    assert found["rows_in"] == found["kept"] + sum(REASONS.values())


def test_nothing_of_an_archive_is_written_where_it_wants(archives):
    names = {path.name for path in archives.parent.rglob("*")}
    assert not names & {"passwd", "passwd.jpg", "up.jpg", "to.jpg", "hard.jpg"}
    assert exported(archives)["/etc/passwd"]["txt"] == b"a pair in a tar"  # a name, no path


# little or nothing


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


# scorers of a user


@dataclass(frozen=True)
class Odd:
    """Writes columns whose names need care, and long texts; fails for one caption."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption",)
    writes: ClassVar[pa.Schema] = pa.schema(
        [("group", pa.int32()), ('a "b" c', pa.float32()), ("it's <b>", pa.string())]
    )

    def __call__(self, batch: dict[str, list[str]]) -> dict[str, list[Any]]:
        if "picture 1" in batch["caption"]:
            raise ValueError("\x1b[31mnot this one\x1b[0m")
        count = len(batch["caption"])
        return {"group": [1] * count, 'a "b" c': [0.5] * count, "it's <b>": ["x" * 100_000] * count}


@dataclass(frozen=True)
class Whole:
    """Looks at all rows, and answers as `answer` says."""

    answer: str = "well"
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption",)
    writes: ClassVar[pa.Schema] = pa.schema([("whole", pa.float64())])
    gathers_by: ClassVar[str | None] = None

    def reduce(self, rows: pa.Table) -> Any:
        answers: dict[str, Any] = {
            "short": pa.table({"whole": [1.0]}),
            "other": pa.table({"other": [1.0] * len(rows)}),
            "nothing": None,
            "nan": pa.table({"whole": [float("nan")] * len(rows)}),
        }
        return answers[self.answer]


SCORED = """\
sources: {photos: {folder: photos/}}
score:
  odd: {scorer: "tests.test_bad_input:Odd"}
  image: {only: odd_error is null and "group" = 1}
select:
  - sound: {where: odd_error is null}
  - best:  {top: 'a "b" c', fraction: 1.0, per: group}
  - named: {where: '"it''s <b>" like ''x%'' and "a ""b"" c" < 1'}
export: {json: ["it's <b>", odd_error, 'a "b" c']}
"""


@pytest.fixture
def three(tmp_path):
    for number in range(3):
        write_pair(tmp_path / "photos", f"{number}", jpeg(number), f"picture {number}")
    return tmp_path


def test_columns_may_have_any_name_and_reasons_are_columns_too(three):
    (three / "recipe.yaml").write_text(SCORED)
    text = done("build", three / "recipe.yaml", "--out", three / "out")
    assert "2 samples" in text
    done("verify", "--out", three / "out")
    story = done("explain", "1.jpg", "--out", three / "out")
    assert "dropped by sound" in story
    assert "\\x1b[31mnot this one" in story
    assert "width=NULL" in story
    page = (three / "out" / "report.html").read_text()
    assert "it's <b>" not in page


def test_forty_scorers_in_one_pass_have_a_ledger(three):
    scorers = "".join(
        f"  mine_{n}: {{scorer: '{__name__}:Odd', columns: {{group: g{n}, 'a \"b\" c': a{n},"
        f' "it\'s <b>": i{n}}}}}\n'
        for n in range(40)
    )
    (three / "recipe.yaml").write_text(f"sources: {{p: {{folder: photos/}}}}\nscore:\n{scorers}")
    done("ingest", three / "recipe.yaml", "--out", three / "out")
    done("score", three / "recipe.yaml", "--out", three / "out")
    assert len(list((three / "out" / "columns").iterdir())) == 40


ANSWERS = {
    "short": "returned 1 rows for 3",
    "other": "returned no column 'whole'",
    "nothing": "returned NoneType, expected a table",
    "nan": "holds NaN or infinity",
    "unheard of": "KeyError: 'unheard of'",
}


def test_a_global_scorer_that_breaks_its_promise_writes_nothing(three):
    for answer, message in ANSWERS.items():
        scorer = f"{{scorer: '{__name__}:Whole', answer: {answer}}}"
        recipe = f"sources: {{p: {{folder: photos/}}}}\nscore: {{whole: {scorer}}}\n"
        (three / "recipe.yaml").write_text(recipe)
        done("ingest", three / "recipe.yaml", "--out", three / "out")
        code, text = pairmill("score", three / "recipe.yaml", "--out", three / "out")
        assert code == 1
        assert message in text
        assert not list((three / "out" / "columns").rglob("*.parquet"))
