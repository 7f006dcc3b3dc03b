import gzip
import json
import logging
import os
import pickle
from collections import Counter

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.crawl import crawl_record
from pipeline.crawl.archive import Tally
from pipeline.crawl.rows import RowOptions
from pipeline.crawl.rules import PageRules
from pipeline.crawl.warc_writer import WarcWriter
from pipeline.errors import RecipeError
from pipeline.fetch.options import FetchOptions
from pipeline.fetch.outcome import Outcome
from pipeline.places import crawl_folder
from pipeline.sources.page_rows import PageOptions
from pipeline.sources.web_pages import ArchivedPages, CrawledPages
from tests.pipeline.crawl.archives import members, record, response, wat

FETCH = FetchOptions(contact="mailto:a@b.org")
OPTIONS = PageOptions(fetch=FETCH)
FIGURE = "<figure><img src=a.jpg alt=Alt title=T><figcaption>Caption</figcaption></figure>"
FIVE = [
    response(f"http://e.org/{i}", f"<p>{i}<img src=/{i}.jpg alt='picture {i}'>") for i in range(5)
]


def written(path, data):
    path.write_bytes(data)
    return str(path)


def warc(tmp_path, *items, name="a.warc.gz", options=OPTIONS):
    return ArchivedPages("s", written(tmp_path / name, members(*items)), "warc", options)


def rows_of(source):
    return [row for unit in source.units() for row in source.read(unit)]


def test_an_image_of_an_archived_page_is_a_row(tmp_path):
    (row,) = rows_of(warc(tmp_path, response("http://e.org/x/", FIGURE)))
    assert (row.source_key, row.url, row.failed) == (
        "a.warc.gz:0#0",
        "http://e.org/x/a.jpg",
        None,
    )
    assert [(c["origin"], c["text"]) for c in row.captions] == [
        ("alt", "Alt"),
        ("figcaption", "Caption"),
        ("title", "T"),
    ]
    assert row.meta["page_url"] == "http://e.org/x/"
    assert row.meta["page_date"] == "2026-01-02T03:04:05Z"
    assert row.image is None


def test_texts_come_in_the_order_that_is_asked_for_or_one_to_a_row(tmp_path):
    item = response("http://e.org/", FIGURE)
    options = PageOptions(rows=RowOptions(("figcaption", "alt")), fetch=FETCH)
    (row,) = rows_of(warc(tmp_path, item, options=options))
    assert [c["text"] for c in row.captions] == ["Caption", "Alt"]
    assert row.meta["title"] == "T"
    options = PageOptions(rows=RowOptions(("figcaption", "alt"), "each"), fetch=FETCH)
    rows = rows_of(warc(tmp_path, item, options=options))
    assert [(r.source_key, r.caption) for r in rows] == [
        ("a.warc.gz:0#0:figcaption", "Caption"),
        ("a.warc.gz:0#0:alt", "Alt"),
    ]
    assert len({r.key("s") for r in rows}) == 2


def test_what_the_rules_refuse_stays_a_row(tmp_path):
    options = PageOptions(rows=RowOptions(rules=PageRules(refuse=("a[.]jpg",))), fetch=FETCH)
    (row,) = rows_of(warc(tmp_path, response("http://e.org/", FIGURE), options=options))
    assert (row.failed, row.url, row.caption) == ("url_pattern", "http://e.org/a.jpg", "Alt")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.warc", b"".join(FIVE)),
        ("a.warc.gz", members(*FIVE)),
        ("a.warc.gz", gzip.compress(b"".join(FIVE))),
    ],
    ids=["plain", "members", "whole"],
)
def test_all_kinds_of_archives_give_the_same_pairs_with_names_of_their_own(tmp_path, name, data):
    rows = rows_of(ArchivedPages("s", written(tmp_path / name, data), "warc", OPTIONS))
    assert [row.url for row in rows] == [f"http://e.org/{i}.jpg" for i in range(5)]
    assert len({row.source_key for row in rows}) == 5
    same = rows_of(warc(tmp_path, *FIVE, name="other.warc.gz"))
    assert [row.key("s") for row in rows] == [row.key("s") for row in same]


def test_every_read_gives_the_same_units_and_rows_in_any_order(tmp_path):
    for name, some in {"b.warc.gz": FIVE[:2], "a.warc": FIVE[2:4], "sub/c.warc.gz": FIVE}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        data = members(*some) if name.endswith("gz") else b"".join(some)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "notes.txt").write_text("x")
    source = pickle.loads(pickle.dumps(ArchivedPages("s", str(tmp_path), "warc", OPTIONS)))
    units = source.units()
    names = [os.path.relpath(unit.path, tmp_path) for unit in units]
    assert names == ["a.warc", "b.warc.gz", "sub/c.warc.gz"]
    assert units == source.units()
    forward = {unit.path: list(source.read(unit)) for unit in units}
    backward = {unit.path: list(source.read(unit)) for unit in reversed(units)}
    assert forward == backward
    assert [len(rows) for rows in forward.values()] == [2, 2, 5]
    assert source.fetches
    assert source.web == FETCH


def test_a_unit_changes_with_its_file(tmp_path):
    (before,) = warc(tmp_path, *FIVE).units()
    (after,) = warc(tmp_path, *FIVE[:4]).units()
    assert before.path == after.path
    assert before.stamp != after.stamp


def test_damage_costs_itself_and_is_a_row(tmp_path, caplog):
    data = members(*FIVE[:2]) + b"junk" * 99 + members(*FIVE[2:])
    source = ArchivedPages("s", written(tmp_path / "a.warc.gz", data), "warc", OPTIONS)
    rows = rows_of(source)
    assert [row.url for row in rows[:-1]] == [f"http://e.org/{i}.jpg" for i in range(5)]
    last = rows[-1]
    assert (last.source_key, last.url, last.failed) == ("a.warc.gz", None, "unread_records")
    assert (last.detail, last.retriable) == ("1 damaged stretches", False)
    (line,) = caplog.records
    assert line.levelno == logging.WARNING
    assert rows == rows_of(source)


def test_a_cut_archive_says_so(tmp_path):
    path = written(tmp_path / "a.warc", b"".join(FIVE)[:-20])
    rows = rows_of(ArchivedPages("s", path, "warc", OPTIONS))
    assert [row.failed for row in rows] == [None] * 4 + ["unread_records"]
    assert rows[-1].detail == "1 records: cut"


def test_what_is_no_archive_gives_no_page_and_a_reason(tmp_path, caplog):
    path = written(tmp_path / "a.warc.gz", b"<html>not found</html>" * 50)
    (row,) = rows_of(ArchivedPages("s", path, "warc", OPTIONS))
    assert row.failed == "unread_records"
    path = written(tmp_path / "b.warc.gz", b"")
    assert rows_of(ArchivedPages("s", path, "warc", OPTIONS)) == []
    assert [line.levelno for line in caplog.records] == [logging.WARNING] * 2


def test_a_file_that_can_not_be_opened_is_one_row(tmp_path):
    os.mkfifo(tmp_path / "a.warc.gz")
    (row,) = rows_of(ArchivedPages("s", str(tmp_path / "a.warc.gz"), "warc", OPTIONS))
    assert (row.source_key, row.failed, row.retriable) == ("a.warc.gz", "unreadable_file", True)
    assert row.detail == "not a regular file"


def test_what_is_no_page_is_counted_and_told(tmp_path, caplog):
    items = [
        response("http://e.org/", FIGURE),
        response("http://e.org/1", "x", status="404 Not Found"),
        response("http://e.org/2", "x", status="301 Moved"),
        response("http://e.org/3", "x", kind="image/png"),
    ]
    source = warc(tmp_path, *items)
    (unit,) = source.units()
    tally = Tally()
    with caplog.at_level(logging.INFO):
        assert len(list(source.counted(unit, tally))) == 1
    assert tally.skipped == Counter(http_status=2, not_html=1)
    (line,) = caplog.records
    text = "s: a.warc.gz: 1 pages of 4 records, http_status 2, not_html 1"
    assert (line.levelno, line.getMessage()) == (logging.INFO, text)


def test_images_beyond_the_limit_of_a_page_are_counted(tmp_path):
    html = "".join(f"<img src={i}.jpg alt=x>" for i in range(2003))
    source = warc(tmp_path, response("http://e.org/", html))
    tally = Tally()
    assert len(list(source.counted(source.units()[0], tally))) == 2000
    assert tally.skipped == Counter(images_left_out=3)


def test_signals_of_an_archived_answer_count(tmp_path):
    items = [
        response("http://e.org/1", FIGURE, "X-Robots-Tag: noai"),
        response("http://e.org/2", "<meta name=pairmill content=noai>" + FIGURE),
        response("http://e.org/3", FIGURE),
    ]
    rows = rows_of(warc(tmp_path, *items))
    assert [row.failed for row in rows] == ["noai", "noai", None]
    assert [row.detail for row in rows[:2]] == ["X-Robots-Tag: noai", "meta pairmill: noai"]
    assert rows[0].meta["signals"] == {"header:x-robots-tag": "noai"}
    assert rows[0].url == "http://e.org/a.jpg"


def test_what_nobody_may_be_asked_for_fails_alone(tmp_path):
    html = "<img src=http://127.0.0.1/a.jpg alt=A><img src=http://e.org/b.jpg alt=B>"
    options = PageOptions(fetch=FetchOptions(allow_hosts=frozenset({"127.0.0.1"})))
    rows = rows_of(warc(tmp_path, response("http://e.org/", html), options=options))
    assert [row.failed for row in rows] == [None, "no_contact"]


def test_wat_files_give_rows_named_by_the_number_of_the_record(tmp_path):
    image = [{"path": "IMG@/src", "url": "a.jpg", "alt": "A"}]
    bodies = [
        wat("http://e.org/0", []),
        wat("http://e.org/1", image),
        wat("http://e.org/1", image, headers={"X-Robots-Tag": "noai"}),
        b"IMG@ no json",
    ]
    items = [record("metadata", "http://e.org/", body, "application/json") for body in bodies]
    path = written(tmp_path / "a.warc.wat.gz", members(*items))
    source = ArchivedPages("s", path, "wat", OPTIONS)
    first, second, lost = rows_of(source)
    assert (first.source_key, first.url) == ("a.warc.wat.gz:1#0", "http://e.org/a.jpg")
    assert (first.caption, first.failed) == ("A", None)
    assert (second.source_key, second.failed) == ("a.warc.wat.gz:2#0", "noai")
    assert (lost.failed, lost.detail) == ("unread_records", "1 records: bad_record")
    assert first.key("s") == second.key("s")


def test_archives_may_lie_behind_any_file_system():
    url = "memory://crawls/x/a.warc.gz"
    with fsspec.open(url, "wb") as stream:
        stream.write(members(*FIVE))
    source = ArchivedPages("s", "memory://crawls/x/*.warc.gz", "warc", OPTIONS)
    assert len(rows_of(source)) == 5


@pytest.mark.parametrize("pattern", ["nowhere", "*.warc.gz", "{0..2}.warc.gz", "a.warc.gz"])
def test_what_is_not_there_is_an_error(tmp_path, pattern):
    with pytest.raises(RecipeError, match="source 's': there is no"):
        ArchivedPages("s", str(tmp_path / pattern)).units()


# What a crawl has left


def crawled(folder, pages, failed):
    """What the crawler writes, without a crawl."""
    with WarcWriter(str(folder), "agent") as archive:
        for url, html in pages.items():
            headers = (("Content-Type", "text/html"),)
            date = "2026-01-02T03:04:05Z"
            page = Outcome(html.encode(), final_url=url, headers=headers, date=date, status=200)
            archive.write(page)
    table = [{"url": url, "status": 200} for url in pages]
    table += [{"url": url, "failed": why, "detail": "d", "depth": 1} for url, why in failed.items()]
    pq.write_table(pa.Table.from_pylist(table, crawl_record.SCHEMA), folder / crawl_record.PAGES)
    (folder / "done.json").write_text(json.dumps({}))


def test_a_crawl_gives_the_rows_of_its_archives_and_of_its_failures(tmp_path):
    folder = tmp_path / "pool" / "crawl" / "site"
    folder.mkdir(parents=True)
    pages = {"http://e.org/": FIGURE, "http://e.org/2": "<img src=b.jpg alt=B>"}
    crawled(folder, pages, {"http://e.org/x": "robots", "http://e.org/y": "dns"})
    source = CrawledPages("site", crawl_folder(str(tmp_path), "site"), OPTIONS)
    rows = rows_of(source)
    assert [(row.url, row.caption, row.failed) for row in rows] == [
        ("http://e.org/a.jpg", "Alt", None),
        ("http://e.org/b.jpg", "B", None),
        (None, None, "robots"),
        (None, None, "dns"),
    ]
    assert rows[0].source_key.startswith("http://e.org/#")
    assert (rows[2].source_key, rows[2].retriable) == ("http://e.org/x", False)
    assert rows[2].meta == {"page_url": "http://e.org/x", "depth": 1}
    assert rows == rows_of(pickle.loads(pickle.dumps(source)))
    same = rows_of(ArchivedPages("w", str(folder), "warc", OPTIONS))
    assert [row.key("w") for row in same] == [row.key("site") for row in rows[:2]]


@pytest.mark.parametrize("folder", [None, "nowhere", ""])
def test_a_crawl_that_has_not_been_made_is_an_error(tmp_path, folder):
    folder = folder if folder is None else str(tmp_path / folder)
    with pytest.raises(RecipeError, match="source 'site': its pages are not crawled yet"):
        CrawledPages("site", folder).units()
