"""Archives as strangers make them: each group of members is a sample, or is said why not."""

import io
import tarfile

import pytest

from tests.commands import done
from tests.outputs import exported, ledger
from tests.pictures import HTML, jpeg

RECIPE = """\
sources: {tars: {webdataset: tars/}}
score: {image: {}}
select:
  - readable: {where: width is not null}
ingest: {rows_per_shard: 25}
"""


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
    (folder / "recipe.yaml").write_text(RECIPE)
    done("build", folder / "recipe.yaml", "--out", folder / "out")
    return folder / "out"


@pytest.mark.slow
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


@pytest.mark.slow
def test_nothing_of_an_archive_is_written_where_it_wants(archives):
    names = {path.name for path in archives.parent.rglob("*")}
    assert not names & {"passwd", "passwd.jpg", "up.jpg", "to.jpg", "hard.jpg"}
    assert exported(archives)["/etc/passwd"]["txt"] == b"a pair in a tar"  # a name, no path
