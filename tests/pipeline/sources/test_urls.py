import json
import uuid

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import RecipeError
from pipeline.fetch.options import FetchOptions
from pipeline.sources.base import Incoming
from pipeline.sources.urls import UrlTable
from tests.pipeline.sources.server import ok, serving


def table(path, lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def rows(source):
    return [row for unit in source.units() for row in source.read(unit)]


def test_columns_of_any_name(tmp_path):
    path = table(
        tmp_path / "t.csv",
        [
            "LINK,TITLE,ALT,id,width",
            "http://e.org/1,größe,,7,640",
            "http://e.org/2,t,a,8,",
        ],
    )
    one, two = rows(UrlTable("s", path, "LINK", ("ALT", "TITLE"), "id"))
    assert (one.source_key, one.url, one.meta) == ("7", "http://e.org/1", {"width": "640"})
    assert [(c["origin"], c["text"]) for c in one.captions] == [("TITLE", "größe")]
    assert [(c["origin"], c["text"]) for c in two.captions] == [("ALT", "a"), ("TITLE", "t")]
    assert two.meta == {"width": None}


def test_rows_without_a_usable_url_say_why(tmp_path):
    lines = [
        {"u": "http://e.org/1", "t": "x"},
        {"u": None, "t": "null"},
        {"u": "", "t": "empty"},
        {"t": "absent"},
        "broken",
        {"u": "file:///etc/passwd"},
        {"u": "http://10.0.0.1/x", "t": ["a", "b"]},
        {"u": "http://e.org/\ud800", "t": "\ud800"},
    ]
    path = table(tmp_path / "t.jsonl", [x if x == "broken" else json.dumps(x) for x in lines])
    found = rows(UrlTable("s", path, "u", ("t",)))
    assert [r.failed for r in found] == [
        None,
        "no_url",
        "no_url",
        "no_url",
        "bad_row",
        "bad_scheme",
        "blocked_address",
        "bad_url",
    ]
    assert [r.source_key for r in found] == [f"t.jsonl:{i}" for i in range(8)]
    assert all(r.retriable is False and r.detail for r in found if r.failed)
    assert (found[7].url, found[7].caption) == ("http://e.org/?", "?")
    assert [c["text"] for c in found[6].captions] == ["a", "b"]
    assert len({r.key("s") for r in found}) == 8


def test_one_column_may_be_key_and_meta_keeps_the_rest(tmp_path):
    path = table(tmp_path / "t.tsv", ["url\ttext\tscore", "http://e.org/1\tx\t0.5"])
    (row,) = rows(UrlTable("s", path, "url", ("text",), "url"))
    assert (row.source_key, row.url, row.meta) == (row.url, "http://e.org/1", {"score": "0.5"})


def test_missing_columns_are_an_error_with_those_that_are_there(tmp_path):
    path = table(tmp_path / "t.csv", ["link,text"])
    for source in (
        UrlTable("s", path, "url"),
        UrlTable("s", path, "link", ("alt",)),
        UrlTable("s", path, "link", (), "id"),
    ):
        with pytest.raises(RecipeError, match="its columns are 'link', 'text'"):
            source.units()


def test_a_table_in_an_object_store():
    root = f"memory://{uuid.uuid4().hex}"
    with fsspec.open(f"{root}/0.csv", "wb") as stream:
        stream.write(b"url\nhttp://e.org/1\n")
    assert [r.url for r in rows(UrlTable("s", f"{root}/*.csv", "url"))] == ["http://e.org/1"]


@pytest.mark.slow
def test_rows_come_back_in_order_with_their_images_and_each_url_is_asked_once():
    with serving({f"{i}": ok(b"%d" % i) for i in range(30)}) as server:
        source = UrlTable("s", "", "url", threads=8, timeout_s=2, allow_hosts=("127.0.0.1",))
        failed = Incoming(source_key="bad", failed="bad_row")
        incoming = [Incoming(url=server.url(f"{i % 30}"), meta={"i": i}) for i in range(40)]
        incoming += [failed, Incoming(url=server.url("missing"))]
        found = list(source.fetch(iter(incoming)))
        assert set(server.asked.values()) - {2} == {1}, "only the missing one was tried again"
    assert [r.image for r in found[:40]] == [b"%d" % (i % 30) for i in range(40)]
    assert [r.meta for r in found[:40]] == [{"i": i} for i in range(40)]
    assert found[40] is failed
    assert (found[41].failed, found[41].retriable) == ("fetch_failed", False)
    assert found[0].key("s") == incoming[0].key("s")


def test_rows_that_failed_are_not_fetched():
    rows = [Incoming(failed="no_url"), Incoming(url="http://10.0.0.1/", failed="blocked_address")]
    assert list(UrlTable("s", "", "url").fetch(rows)) == rows


def test_a_url_of_bytes_is_one_if_it_is_unicode_and_a_list_is_none(tmp_path):
    good = "http://e.org/ü"
    for name, cells in (("b", [good.encode(), b"http://e.org/\xff"]), ("l", [[good], []])):
        pq.write_table(pa.table({"u": cells}), tmp_path / f"{name}.parquet")
    found = rows(UrlTable("s", str(tmp_path / "b.parquet"), "u", web=FetchOptions()))
    assert [(row.url == good, row.failed, row.detail) for row in found] == [
        (True, None, None),
        (False, "bad_url", "holds what is no Unicode"),
    ]
    found = rows(UrlTable("s", str(tmp_path / "l.parquet"), "u", web=FetchOptions()))
    assert {row.detail for row in found} == {"holds a list or an object, not one URL"}
