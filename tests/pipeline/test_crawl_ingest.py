"""A recipe that begins with a crawl, up to its pool; and what an erasure leaves of it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import pool, takedown_record
from pipeline.build import Build
from pipeline.erasing import erase
from pipeline.plan import estimate
from pipeline.recipe import parse_recipe
from pipeline.takedown_match import bring_up
from pipeline.takedown_record import Entry
from tests import pictures
from tests.fetch.server import Server, http, serving

RECIPE = """\
sources:
  site:
    crawl: ["http://127.0.0.1:%d/"]
    texts: [alt, title]
    fetch: {allow_hosts: [127.0.0.1], per_host_per_second: 1000}
"""
PAGES = {
    "/": '<a href="/a.html">a</a> <a href="/gone.html">b</a> <img src="logo.png" alt="logo">',
    "/a.html": '<h1>A</h1><img src="/1.jpg" alt="one thing"><img src="/2.jpg" title="two things">',
}
ASKED = 3 + 3 + 2 * 2


@pytest.fixture
def server():
    with serving() as running:
        for path, body in PAGES.items():
            page = f"<html><body>{body}</body></html>".encode()
            running.answers[path] = http(200, page, "Content-Type: text/html")
        for number in (1, 2):
            running.answers[f"/{number}.jpg"] = http(200, pictures.jpeg(number))
        yield running


def build_of(folder: Path, server: Server) -> Build:
    path = folder / "recipe.yaml"
    path.write_text(RECIPE % server.port)
    return Build(parse_recipe(path.read_text(), str(path)), str(folder / "out"))


def test_a_crawl_becomes_a_pool_and_every_page_has_its_rows(tmp_path, server, caplog):
    caplog.set_level("INFO")
    build = build_of(tmp_path, server)
    made = build.ingest()
    (shard,) = made.shards
    rows = pool.read_base(made.root, shard).to_pylist()
    found = {(row["caption"], row["failed"]) for row in rows}
    assert found == {
        ("one thing", None), ("two things", None), ("logo", "http_status"), (None, "http_status"),
    }  # fmt: skip
    assert len(set(server.paths())) == 3 + 3 + 2  # pages, images, manners
    assert len(server.asked) == ASKED  # manners by the crawl and by the fetch
    assert "3 asked for" in caplog.text
    build_of(tmp_path, server).ingest()
    assert len(server.asked) == ASKED
    assert "sources have changed" not in caplog.text


def test_a_crawl_that_is_not_made_yet_is_no_error_of_the_plan(tmp_path, server):
    build_of(tmp_path, server)
    text = estimate(str(tmp_path / "recipe.yaml"), str(tmp_path / "out"))
    assert "an unknown number of rows; they must be fetched" in text
    assert not server.asked


def test_a_plan_tells_apart_what_must_be_fetched(tmp_path, server):
    build_of(tmp_path, server)
    recipe = tmp_path / "recipe.yaml"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(pictures.jpeg(1))
    pq.write_table(pa.table({"url": ["http://127.0.0.1/x"] * 5}), tmp_path / "urls.parquet")
    fetch = "fetch: {allow_hosts: [127.0.0.1]}"
    photos, table = "a: {folder: photos}", f"b: {{table: urls.parquet, url: url, {fetch}}}"
    crawl = f"c: {{crawl: ['http://127.0.0.1/'], {fetch}}}"
    for others, count in (([table], "about 5"), ([table, crawl], "an unknown number of")):
        recipe.write_text("\n  ".join(["sources:", photos, *others]))
        told = estimate(str(recipe), str(tmp_path / "out")).splitlines()
        assert told[0].startswith("ingest   about 1 rows, about 0.0 MB")
        assert told[1] == f"ingest   {count} rows; they must be fetched, which a plan does not try"
    assert not server.asked


@pytest.mark.slow
def test_erasing_a_row_removes_the_pages_that_named_it(tmp_path, server, caplog):
    build = build_of(tmp_path, server)
    made = build.ingest()
    crawled = Path(build.root, "pool", "crawl", "site")
    assert crawled.exists()
    takedown_record.append(build.root, [Entry("url", server.url("/1.jpg"))])
    bring_up(build, made)
    erase(made)
    assert not crawled.exists()
    again = build_of(tmp_path, server).ingest()
    assert again.rows == made.rows
    assert len(server.asked) == ASKED
