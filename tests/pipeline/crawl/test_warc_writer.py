import gzip
import random
from itertools import pairwise

import pytest
from fastwarc import ArchiveIterator

from pipeline.crawl.archive import Tally
from pipeline.crawl.warc import responses
from pipeline.crawl.warc_writer import WarcWriter
from pipeline.fetch.outcome import Outcome

DATE = "2026-01-02T03:04:05Z"


def answer(path="", body=b"<p>", *headers):
    return Outcome(
        body,
        final_url=f"http://e.org/{path}",
        status=200,
        date=DATE,
        headers=(("Content-Type", "text/html"), *headers),
    )


def written(folder, *answers, **options):
    with WarcWriter(str(folder), "pairmill/1.0", **options) as archive:
        places = [archive.write(one) for one in answers]
    return places, archive.files


def read(folder):
    found = []
    for path in sorted(folder.glob("*")):
        tally = Tally()
        found += [(path.name, one) for one in responses(str(path), tally, verify=True)]
        assert (tally.damaged, sum(tally.skipped.values())) == (0, 0)
    return found


def test_pages_come_back_as_they_were(tmp_path):
    answers = [
        answer("1", b"<p>gr\xf6\xdfe\r\n\r\n\0", ("X-Robots-Tag", "a"), ("X-Robots-Tag", "b")),
        answer("2", b"x" * 100_000, ("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked")),
    ]
    places, files = written(tmp_path, *answers)
    first, second = read(tmp_path)
    assert [(name, one.offset) for name, one in (first, second)] == places
    assert [one.html for _, one in (first, second)] == [one.data for one in answers]
    assert (first[1].url, first[1].content_type, first[1].date) == (
        *("http://e.org/1", "text/html"),
        DATE,
    )
    assert [value for name, value in first[1].headers if name == "X-Robots-Tag"] == ["a", "b"]
    assert dict(second[1].headers) == {"Content-Type": "text/html", "Content-Length": "100000"}
    assert files == {"pages-00000.warc.gz": (tmp_path / "pages-00000.warc.gz").stat().st_size}


def test_others_find_every_record_and_its_digests_are_right(tmp_path):
    written(tmp_path, *(answer(str(n), b"<p>%d" % n) for n in range(3)))
    with open(tmp_path / "pages-00000.warc.gz", "rb") as stream:
        kinds = []
        for record in ArchiveIterator(stream, parse_http=False):
            kinds.append(record.headers["WARC-Type"])
            record.freeze()
            assert record.verify_block_digest()
            if kinds[-1] == "response":
                record.parse_http()
                assert record.verify_payload_digest()
    assert kinds == ["warcinfo", *["response"] * 3]


def test_every_record_is_a_member_and_has_its_own_name(tmp_path):
    places, _ = written(tmp_path, answer("1"), answer("2"), answer("2", b"<b>"))
    data = (tmp_path / "pages-00000.warc.gz").read_bytes()
    starts = [0, *(offset for _, offset in places), len(data)]
    texts = [gzip.decompress(data[a:b]) for a, b in pairwise(starts)]
    assert all(text.startswith(b"WARC/1.1\r\n") for text in texts)
    assert all(text.endswith(b"\r\n\r\n") for text in texts)
    names = [line for text in texts for line in text.split(b"\r\n") if b"Record-ID" in line]
    assert len(set(names)) == 4


def test_equal_pages_are_equal_bytes(tmp_path):
    for folder in ("a", "b"):
        written(tmp_path / folder, answer("1"), answer("2", b"<b>" * 1000))
    name = "pages-00000.warc.gz"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_new_file_begins_when_one_is_full(tmp_path):
    noise = random.Random(0)
    answers = [answer(str(n), noise.randbytes(1000)) for n in range(7)]
    places, files = written(tmp_path, *answers, roll_bytes=2500)
    assert [(name, one.offset) for name, one in read(tmp_path)] == places
    assert list(files) == [f"pages-{n:05d}.warc.gz" for n in range(4)]
    assert [name for name, _ in places].count("pages-00000.warc.gz") == 2
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == files


def test_a_header_can_not_write_records(tmp_path):
    written(tmp_path, answer("", b"<p>", ("Link", "a\r\n\r\nWARC/1.1\r\nX: y\nz")))
    ((_, found),) = read(tmp_path)
    assert found.html == b"<p>"
    assert ("Link", "a    WARC/1.1  X: y z") in found.headers


def test_without_pages_there_is_no_file(tmp_path):
    assert written(tmp_path) == ([], {})
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_not_finished_has_no_name(tmp_path):
    def fail():
        with WarcWriter(str(tmp_path), "a", roll_bytes=1) as archive:
            archive.write(answer("1"))
            archive.write(answer("2"))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["pages-00000.warc.gz"]
