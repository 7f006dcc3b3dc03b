import hashlib
import logging
import os
import pickle
import re
from urllib.parse import quote

import pytest

from pipeline.crawl.archive import Tally
from pipeline.crawl.rows import RowOptions
from pipeline.errors import DamagedFile, RecipeError
from pipeline.fetch.options import FetchOptions, OptOut
from pipeline.sources import saved_pages
from pipeline.sources.base import Incoming
from pipeline.sources.page_rows import PageOptions
from pipeline.sources.saved_pages import SavedPages

FETCH = FetchOptions(contact="mailto:a@b.org")
SAVED = "<!-- saved from url=(0021)https://e.org/x/y.html -->\n"


def page(tmp_path, html, *files, name="p.html"):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(html)
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(file.encode())
    return str(tmp_path)


def source_of(folder, site=None, wit=False, **fetch):
    options = PageOptions(wit=wit, fetch=FetchOptions(**fetch))
    return SavedPages("s", folder, site, options)


def asking(folder, site=None, **fetch):
    return source_of(folder, site, contact="mailto:a@b.org", **fetch)


def rows_of(source):
    return [row for unit in source.units() for row in source.read(unit)]


def image(name, alt="A"):
    return f"<img src='{name}' alt='{alt}'>"


def test_images_of_a_mirror_are_read_from_the_folder_and_others_fetched(tmp_path):
    html = image("../i/a.jpg") + image("gone.jpg") + image("https://cdn.net/b.jpg")
    folder = page(tmp_path, html, "i/a.jpg", name="en/p.html")
    source = asking(folder, "https://e.org/m/")
    assert source.web == FETCH
    here, gone, other = rows = rows_of(source)
    assert (here.source_key, here.url, here.held) == (
        "en/p.html#0",
        "https://e.org/m/i/a.jpg",
        "i/a.jpg",
    )
    assert (gone.url, gone.held, gone.failed) == ("https://e.org/m/en/gone.jpg", None, None)
    assert (other.url, other.held, other.failed) == ("https://cdn.net/b.jpg", None, None)
    keys = [row.key("s") for row in rows]
    assert [row.image for row in source.fetch(rows)] == [b"i/a.jpg", None, None]
    assert [row.key("s") for row in rows] == keys


def test_without_a_contact_nobody_is_asked(tmp_path):
    html = image("a.jpg") + image("gone.jpg") + image("https://cdn.net/b.jpg")
    folder = page(tmp_path, html, "a.jpg")
    source = source_of(folder, "https://e.org")
    assert (source.web, source.fetches) == (None, False)
    here, gone, other = rows_of(source)
    assert (here.held, here.failed) == ("a.jpg", None)
    assert (gone.failed, gone.detail, gone.retriable) == (
        "no_file",
        "not in the folder, and `fetch:` names no contact",
        False,
    )
    assert other.failed == "no_file"
    assert source_of(folder, allow_hosts=frozenset({"h"})).fetches


@pytest.mark.parametrize("fetch", [{}, {"contact": "mailto:a@b.org"}])
def test_pages_without_an_address_and_their_images_are_files(tmp_path, fetch):
    html = image("i/a.jpg") + image("/sub/i/a.jpg") + image("gone.jpg")
    html += image("../../../../etc/passwd") + f"<a href=x.html>{image('i/a.jpg', 'B')}</a>"
    folder = page(tmp_path, html, "sub/i/a.jpg", name="sub/p.html")
    rows = rows_of(source_of(folder, wit=True, **fetch))
    assert [row.url for row in rows] == [
        "file:///s/sub/i/a.jpg",
        "file:///s/sub/i/a.jpg",
        "file:///s/sub/gone.jpg",
        "file:///s/etc/passwd",
        "file:///s/sub/i/a.jpg",
    ]
    assert [row.held for row in rows] == [*["sub/i/a.jpg"] * 2, None, None, "sub/i/a.jpg"]
    assert [(row.failed, row.detail) for row in rows[2:4]] == [("no_file", "not in the folder")] * 2
    meta = rows[4].meta
    assert (meta["page_url"], meta["link"]) == ("file:///s/sub/p.html", "file:///s/sub/x.html")
    assert meta["wit"]["page_url"] == meta["page_url"]
    assert meta["wit"]["image_url"] == meta["variants"][0]["url"] == rows[4].url
    assert "saved.invalid" not in str(rows)


def test_a_page_that_says_where_it_is_from_has_its_images_beside_it(tmp_path):
    html = SAVED + image("./p_files/ü 1.jpg") + image("http://h.org/b.jpg")
    folder = page(tmp_path, html, "p_files/ü 1.jpg")
    source = asking(folder)
    here, other = rows_of(source)
    assert (here.url, here.held) == ("https://e.org/x/p_files/ü%201.jpg", quote("p_files/ü 1.jpg"))
    assert next(source.fetch([here])).image == "p_files/ü 1.jpg".encode()
    assert (other.url, other.held, other.failed) == ("http://h.org/b.jpg", None, None)


def test_of_several_files_of_an_image_one_that_is_there_is_taken_if_nobody_is_asked(tmp_path):
    html = "<img src=a_files/s.jpg srcset='http://cdn.net/l.jpg 2x, gone.jpg 3x' alt=A>"
    folder = page(tmp_path, SAVED + html, "a_files/s.jpg")
    (row,) = rows_of(source_of(folder, wit=True))
    assert (row.url, row.held) == ("https://e.org/x/a_files/s.jpg", "a_files/s.jpg")
    assert row.meta["wit"]["image_url"] == row.url
    (row,) = rows_of(asking(folder))
    assert (row.url, row.held) == ("https://e.org/x/gone.jpg", None)


def test_names_that_are_no_unicode_can_be_read(tmp_path):
    folder = os.fsencode(tmp_path)
    for name, data in {b"\xff.html": b"<img src='%FE.jpg' alt=A>", b"\xfe.jpg": b"jpg"}.items():
        with open(os.path.join(folder, name), "wb") as stream:
            stream.write(data)
    source = source_of(str(tmp_path), "https://e.org")
    (row,) = source.fetch(rows_of(source))
    assert (row.source_key, row.held, row.image) == ("�.html#0", "%FE.jpg", b"jpg")
    row.said.encode()


def test_links_out_of_the_folder_are_not_opened(tmp_path):
    (tmp_path / "out.jpg").write_bytes(b"secret")
    folder = page(tmp_path / "f", image("link.jpg") + image("in.jpg"), "a.jpg")
    (tmp_path / "f" / "link.jpg").symlink_to(tmp_path / "out.jpg")
    (tmp_path / "f" / "in.jpg").symlink_to("a.jpg")
    (tmp_path / "f" / "other.html").symlink_to(tmp_path / "out.jpg")
    source = source_of(folder, "https://e.org")
    out, inside = rows = rows_of(source)
    assert (out.failed, out.held) == ("link_outside", None)
    assert out.detail == "link.jpg is a link that leads out of the folder"
    assert [row.image for row in source.fetch(rows)] == [None, b"a.jpg"]
    assert inside.failed is None


@pytest.mark.parametrize("held", ["../out.jpg", "/etc/passwd", "link.jpg", "a/../../out.jpg", ""])
def test_what_is_held_outside_is_never_read(tmp_path, held):
    (tmp_path / "out.jpg").write_bytes(b"secret")
    folder = page(tmp_path / "f", image("a.jpg"), "a/b.jpg")
    (tmp_path / "f" / "link.jpg").symlink_to(tmp_path / "out.jpg")
    (row,) = source_of(folder).fetch([Incoming("k", "http://e.org/a.jpg", held=held)])
    assert (row.image, row.failed) == (None, "link_outside")


def test_images_come_one_at_a_time_and_failures_as_they_are(tmp_path):
    folder = page(tmp_path, image("a.jpg") + image("b.jpg"), "a.jpg", "b.jpg")
    source = source_of(folder, "https://e.org")
    rows = rows_of(source)
    fetched = source.fetch(rows)
    assert next(fetched).image == b"a.jpg"
    assert rows[1].image is None
    rows[1].failed = "duplicate_key"
    assert next(fetched).image is None
    (tmp_path / "a.jpg").unlink()
    (row,) = source.fetch([Incoming("k", "u", held="a.jpg")])
    assert (row.failed, row.detail, row.retriable) == (
        "unreadable_file",
        "No such file or directory",
        True,
    )


def test_files_that_are_too_large_or_opted_out_are_refused(tmp_path):
    folder = page(tmp_path, image("a.jpg") + image("long.jpg", "B"), "a.jpg", "long.jpg")
    listed = OptOut(sha256=frozenset({hashlib.sha256(b"a.jpg").digest()}))
    source = source_of(folder, "https://e.org", max_bytes=6, opt_out=listed)
    found = [(row.failed, row.image) for row in source.fetch(rows_of(source))]
    assert found == [("opted_out", None), ("too_large", None)]
    listed = OptOut(domains=frozenset({"e.org"}))
    (row,) = rows_of(
        source_of(page(tmp_path / "x", SAVED + image("a.jpg"), "a.jpg"), opt_out=listed)
    )
    assert (row.failed, row.detail) == ("opted_out", "domain e.org")


def test_an_image_in_the_folder_whose_host_has_opted_out_is_refused(tmp_path):
    html = "<base href=https://img.e.org/x/>" + image("a.jpg")
    folder = page(tmp_path, html.replace("<base", SAVED + "<base"), "a.jpg")
    listed = OptOut(domains=frozenset({"img.e.org"}))
    (row,) = rows_of(asking(folder, opt_out=listed))
    assert (row.held, row.failed) == (None, None)  # the fetcher says it
    page(tmp_path, image("a.jpg"))
    listed = OptOut(patterns=(re.compile("a[.]jpg"),))
    (row,) = rows_of(asking(folder, "https://e.org", opt_out=listed))
    assert (row.failed, row.detail) == ("opted_out", "pattern a[.]jpg")


def test_signals_of_a_saved_page_count(tmp_path):
    page(tmp_path, "<meta name=robots content=noai>" + image("a.jpg"), "a.jpg", name="a.html")
    page(tmp_path, "<meta name=pairmill content=noai>" + image("a.jpg"), name="b.html")
    rows = rows_of(source_of(str(tmp_path), "https://e.org"))
    assert [(row.failed, row.held) for row in rows] == [("noai", None)] * 2
    assert [row.detail for row in rows] == ["meta robots: noai", "meta pairmill: noai"]


def test_units_are_groups_of_pages_and_all_reads_are_equal(tmp_path, monkeypatch):
    monkeypatch.setattr(saved_pages, "_UNIT_PAGES", 2)
    for name in ("e", "a", "sub/d", "c", "b"):
        page(tmp_path, image("i.jpg", name), name=f"{name}.html")
    source = pickle.loads(pickle.dumps(source_of(str(tmp_path), "https://e.org")))
    units = source.units()
    assert units == source.units()
    assert [unit.start for unit in units] == [0, 2, 4]
    forward = [list(source.read(unit)) for unit in units]
    backward = [list(source.read(unit)) for unit in reversed(units)]
    assert forward == backward[::-1]
    assert [row.caption for rows in forward for row in rows] == ["a", "b", "c", "e", "sub/d"]


def test_a_folder_that_has_changed_is_noticed(tmp_path):
    folder = page(tmp_path, image("a.jpg"))
    source = source_of(folder)
    (unit,) = source.units()
    page(tmp_path / "out", "x", "shard.tar", name="survey.parquet")
    assert source.units() == [unit]  # a build may lie in the folder
    page(tmp_path, image("a.jpg"), "a.jpg")
    (changed,) = source.units()
    assert changed.stamp != unit.stamp
    with pytest.raises(DamagedFile, match="has changed since its pages were listed"):
        list(source.read(unit))
    (row,) = source.read(changed)
    assert row.held == "a.jpg"


def test_a_page_that_can_not_be_read_is_a_row(tmp_path, caplog):
    folder = page(tmp_path, image("a.jpg"), name="b.html")
    os.mkfifo(tmp_path / "a.html")
    source = source_of(folder, "https://e.org")
    tally = Tally()
    with caplog.at_level(logging.INFO):
        lost, _ = source.counted(source.units()[0], tally)
    assert (lost.source_key, lost.failed, lost.retriable) == ("a.html", "unreadable_file", True)
    text = "s: a.html to b.html: 1 pages of 2 records, unreadable_file 1"
    assert caplog.records[0].getMessage() == text


def test_texts_are_those_that_are_asked_for(tmp_path):
    folder = page(tmp_path, "<title>P</title><h1>H</h1>" + image("a.jpg"))
    options = PageOptions(rows=RowOptions(("heading", "alt"), "each"), fetch=FETCH)
    rows = rows_of(SavedPages("s", folder, "https://e.org", options))
    assert [(row.source_key, row.caption) for row in rows] == [
        ("p.html#0:heading", "H"),
        ("p.html#0:alt", "A"),
    ]


def test_a_folder_without_pages_is_an_error(tmp_path):
    with pytest.raises(RecipeError, match="there is no folder"):
        source_of(str(tmp_path / "nowhere")).units()
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(RecipeError, match="source 's': there are no pages"):
        source_of(str(tmp_path)).units()
