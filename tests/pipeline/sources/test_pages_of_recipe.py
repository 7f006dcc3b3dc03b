"""Recipes with sources of pages, down to the pool they give."""

import json

import pytest

from pipeline import ingest, pool
from pipeline.crawl.rows import RowOptions
from pipeline.crawl.rules import PageRules
from pipeline.errors import RecipeError
from pipeline.fetch.options import FetchOptions
from pipeline.ingest import IngestJob
from pipeline.recipe import parse_recipe
from pipeline.sources.of_recipe import all_units, make_sources
from pipeline.sources.page_rows import PageOptions
from pipeline.sources.saved_pages import SavedPages
from pipeline.sources.web_pages import ArchivedPages, CrawledPages
from tests import pictures
from tests.pipeline.crawl.archives import members, response
from tests.pipeline.sources.server import ok, serving

ASKS = 'fetch: {contact: "mailto:a@b.org", refuse: [noai], ca_file: ca.pem}'
EVERY = f"""\
sources:
  a: {{warc: "x/*.warc.gz", texts: [figcaption], pairs: each, needs_text: false, wit: true,
    rules: {{min_side: 200}}, {ASKS}}}
  b: {{wat: "s3://bucket/*.wat.gz", {ASKS}}}
  c: {{pages: folder, site: "https://e.org"}}
  d: {{crawl: "https://e.org", {ASKS}}}
"""
FETCH = FetchOptions(contact="mailto:a@b.org", refuse=frozenset({"noai"}), ca_file="/data/ca.pem")


def made(text, folder="/data", root=None):
    return make_sources(parse_recipe(text, f"{folder}/recipe.yaml"), root)


def test_sources_of_pages_are_made_as_the_recipe_says():
    rows = RowOptions(("figcaption",), "each", False, PageRules(min_side=200))
    usual = PageOptions(fetch=FETCH)
    assert made(EVERY, root="/out") == {
        "a": ArchivedPages(
            "a", "/data/x/*.warc.gz", "warc", PageOptions(rows=rows, wit=True, fetch=FETCH)
        ),
        "b": ArchivedPages("b", "s3://bucket/*.wat.gz", "wat", usual),
        "c": SavedPages("c", "/data/folder", "https://e.org", PageOptions()),
        "d": CrawledPages("d", "/out/pool/crawl/d", usual),
    }


def test_who_fetches_is_the_same_behind_preferred_captions():
    plain = made(EVERY)
    preferred = made(EVERY + "captions: {prefer: [figcaption]}")
    assert [s.web for s in preferred.values()] == [s.web for s in plain.values()]
    assert [s.fetches for s in preferred.values()] == [True, True, False, True]


@pytest.mark.parametrize("root", [None, "out"])
def test_what_is_not_crawled_is_an_error_that_points_into_the_recipe(tmp_path, root):
    text = f"sources:\n  d: {{crawl: 'https://e.org', {ASKS}}}\n"
    recipe = parse_recipe(text, str(tmp_path / "recipe.yaml"))
    with pytest.raises(RecipeError, match="are not crawled yet") as error:
        all_units(recipe, make_sources(recipe, root and str(tmp_path / root)))
    assert str(error.value).startswith(f"{tmp_path}/recipe.yaml:2:")


@pytest.mark.parametrize("start", ["http://10.0.0.1/", "http://u:p@e.org/", "http://e.org:81/"])
def test_where_no_crawl_can_start_is_told_before_anything_is_planned(tmp_path, start):
    text = f"sources:\n  d: {{crawl: '{start}', {ASKS}}}\n"
    with pytest.raises(RecipeError, match=f":2:14: start names '{start}'"):
        make_sources(parse_recipe(text, str(tmp_path / "recipe.yaml")))


def pool_of(tmp_path, text):
    """The base rows of the pool that a recipe makes, by their source keys."""
    recipe = parse_recipe(text, str(tmp_path / "recipe.yaml"))
    sources = make_sources(recipe)
    job = IngestJob(str(tmp_path / "out"), "plan", sources)
    units = all_units(recipe, sources)
    for task in enumerate(units):
        ingest.survey_unit(task, job)
    tasks = ingest.plan_writes(job, units)
    for task in tasks:
        ingest.write_task(task, job)
    made_pool = ingest.finish(job, "sources", tasks, "inputs")
    return {
        row["source_key"]: row
        for shard in made_pool.shards
        for row in pool.read_base(made_pool.root, shard).to_pylist()
    }


def test_images_of_archived_and_of_saved_pages_come_into_the_pool(tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "here.jpg").write_bytes(pictures.jpeg(1))
    with serving({"a.jpg": ok(pictures.jpeg(2)), "m/there.jpg": ok(pictures.jpeg(3))}) as server:
        html = "<img src=here.jpg alt=here><img src=there.jpg alt=there>"
        (tmp_path / "saved" / "p.html").write_text(html)
        html = f"<img src={server.url('a.jpg')} alt=a><img src={server.url('no.jpg')} alt=no>"
        html += "<img src=http://e.org/b.jpg alt=b><img src=data:x alt=d>"
        items = [
            response("http://e.org/", html),
            response("http://e.org/2", html, "TDM-Reservation: 1"),
        ]
        (tmp_path / "a.warc.gz").write_bytes(members(*items))
        allowed = "fetch: {allow_hosts: [127.0.0.1], per_host_per_second: 100}"
        text = f"""\
sources:
  w: {{warc: "*.warc.gz", {allowed}}}
  p: {{pages: saved, site: "{server.url("m")}", {allowed}}}
"""
        rows = pool_of(tmp_path, text)
        asked = dict(server.asked)
    second = f"a.warc.gz:{len(members(items[0]))}"
    assert {
        name: (row["failed"], row["image_sha256"] is not None) for name, row in rows.items()
    } == {
        "a.warc.gz:0#0": (None, True),
        "a.warc.gz:0#1": ("http_status", False),
        "a.warc.gz:0#2": ("no_contact", False),
        "a.warc.gz:0#3": ("data_url", False),
        **{f"{second}#{i}": ("noai", False) for i in range(4)},
        "p.html#0": (None, True),
        "p.html#1": (None, True),
    }
    assert {path: asked[path] for path in asked if path.endswith("jpg")} == {
        "a.jpg": 1,
        "no.jpg": 1,
        "m/there.jpg": 1,
    }
    assert rows["p.html#0"]["url"] == server.url("m/here.jpg")
    assert json.loads(rows[f"{second}#0"]["meta"])["signals"] == {"header:tdm-reservation": "1"}
