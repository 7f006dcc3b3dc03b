import gzip
import zlib
from collections import Counter

import brotli
import pytest

from pipeline.crawl.archive import Tally
from pipeline.crawl.warc import responses
from tests.pipeline.crawl.archives import digest, members, record, response

HTML = b"<p>" + b"words " * 200 + b"<img src=a.jpg alt=A>"


def read(tmp_path, *items, **options):
    path = tmp_path / "a.warc.gz"
    path.write_bytes(members(*items))
    tally = Tally()
    return list(responses(str(path), tally, **options)), tally.skipped


def test_a_page_has_its_address_headers_and_place(tmp_path):
    first = response("<http://e.org/x/>", "<img src=a.jpg>", "X-Robots-Tag: noai")
    (one, two), skipped = read(tmp_path, first, response("http://e.org/2", "x", kind="None"))
    assert (one.url, one.html, one.date) == (
        "http://e.org/x/",
        b"<img src=a.jpg>",
        "2026-01-02T03:04:05Z",
    )
    assert (one.content_type, one.offset) == ("text/html; charset=utf-8", 0)
    assert two.offset == len(members(first))
    page = one.page()
    assert page.candidates[0].url == "http://e.org/x/a.jpg"
    assert page.signals == {"header:x-robots-tag": "noai"}
    assert not skipped


def test_what_is_no_page_is_counted_by_reason(tmp_path):
    found, skipped = read(
        tmp_path,
        response("http://e.org/", "x", status="404 Not Found"),
        response("http://e.org/", "x", status="301 Moved"),
        response("http://e.org/", "x", kind="image/png"),
        response("dns:e.org", "x"),
        record("response", "http://e.org/", b"no answer", "application/http; msgtype=response"),
        record("request", "http://e.org/", b"GET / HTTP/1.1\r\n\r\n", "application/http"),
        record("resource", "http://e.org/r", b"<p>", "text/html"),
    )
    assert [item.url for item in found] == ["http://e.org/r"]
    assert skipped == Counter(http_status=2, not_html=1, no_url=1, no_answer=1)


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(HTML)),
        ("deflate", zlib.compress(HTML)),
        ("deflate", zlib.compress(HTML)[2:-4]),
        ("br", brotli.compress(HTML)),
        ("gzip", HTML),  # many archives unpack and keep the header
    ],
    ids=["gzip", "deflate", "bare deflate", "br", "unpacked"],
)
def test_packed_bodies_are_unpacked_up_to_the_limit(tmp_path, coding, packed):
    item = response("http://e.org/", packed, f"Content-Encoding: {coding}")
    (found,), _ = read(tmp_path, item)
    assert found.html == HTML
    (found,), _ = read(tmp_path, item, max_bytes=500)
    assert found.html[:500] == HTML[:500]
    assert len(found.html) in (501, len(HTML))


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_a_packed_bomb_stays_small(tmp_path, coding):
    data = b"\0" * 30_000_000
    packed = gzip.compress(data) if coding == "gzip" else brotli.compress(data, quality=1)
    item = response("http://e.org/", packed, f"Content-Encoding: {coding}")
    (found,), _ = read(tmp_path, item, max_bytes=10_000)
    assert len(found.html) == 10_001


def test_bodies_that_can_not_be_unpacked_are_counted(tmp_path):
    items = [
        response("http://e.org/", "?" * 9, f"Content-Encoding: {c}") for c in ("br", "gzip", "x")
    ]
    assert read(tmp_path, *items) == ([], Counter(content_encoding=3))


def test_chunks_are_joined(tmp_path):
    chunks = b"5\r\n<p>ab\r\n3\r\ncde\r\n0\r\n\r\n"
    (found,), _ = read(tmp_path, response("http://e.org/", chunks, "Transfer-Encoding: chunked"))
    assert found.html == b"<p>abcde"


def test_a_cut_file_counts_its_last_page(tmp_path):
    items = [response(f"http://e.org/{i}", HTML) for i in range(2)]
    path = tmp_path / "a.warc"
    path.write_bytes(b"".join(items)[:-300])
    tally = Tally()
    assert len(list(responses(str(path), tally))) == 1
    assert tally.skipped == Counter(cut=1)


def test_digests_are_checked_when_asked(tmp_path):
    plain = response("http://e.org/", "x")
    block = plain.partition(b"\r\n\r\n")[2][:-4]
    good = response("http://e.org/1", "x", more=(f"WARC-Block-Digest: {digest(block)}",))
    bad = response("http://e.org/2", "y", more=(f"WARC-Block-Digest: {digest(block)}",))
    found, skipped = read(tmp_path, plain, good, bad, verify=True)
    assert [(item.url[-1], item.html) for item in found] == [("/", b"x"), ("1", b"x")]
    assert skipped == Counter(digest=1)
    assert len(read(tmp_path, plain, good, bad)[0]) == 3
