import json
from collections import Counter

import pytest

from pipeline.crawl.archive import Tally
from pipeline.crawl.wat import pages, read_record
from tests.pipeline.crawl.archives import members, record, wat

URL = "http://e.org/dir/"


def test_links_of_images_are_candidates_with_what_the_record_has():
    links = [
        {"path": "IMG@/src", "url": "a.jpg", "alt": " A  boat ", "title": "T"},
        {"path": "A@/href", "url": "https://creativecommons.org/licenses/by/4.0/", "text": "CC"},
        {"path": "A@/href", "url": "/own", "rel": "license"},
        {"path": "IMG@/src", "url": "data:image/gif;base64," + "A" * 200},
        {"path": "IMG@/src", "alt": "no address"},
        {"path": "FORM@/action", "url": "x"},
        "nonsense",
    ]
    head = {
        "Title": "The  title",
        "Base": "http://cdn.org/",
        "Metas": [
            {"name": "robots", "content": "noai"},
            {"property": "og:image", "content": "/og.jpg"},
            {"property": "og:locale", "content": "de_DE"},
            {"name": "description", "content": "D"},
        ],
    }
    page = read_record(wat(URL, links, head, {"X-Robots-Tag": "noindex"}))
    first, second, third = page.candidates
    assert (first.url, first.alt, first.title) == ("http://cdn.org/a.jpg", "A boat", "T")
    assert second.is_data
    assert len(second.url) == len(second.variants[0].url) == 64
    assert (third.url, third.found_in) == ("http://cdn.org/og.jpg", "meta")
    assert (page.title, page.description, page.language) == ("The title", "D", "de-DE")
    assert page.signals == {"meta:robots": "noai", "header:x-robots-tag": "noindex"}
    assert page.licences == (
        "https://creativecommons.org/licenses/by/4.0/",
        "http://cdn.org/own",
    )


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b"[" * 100_000, b'{"Envelope": []}', b'{"Envelope": {"x": 1}}', b"\xff"],
)
def test_what_is_no_record_is_none(data):
    assert read_record(data) is None


@pytest.mark.parametrize("value", [None, 1, "x", [], [1], {"Links": 5}, {"Head": [], "Links": {}}])
def test_odd_shapes_are_a_page_without_images(value):
    envelope = json.loads(wat(URL))
    envelope["Envelope"]["Payload-Metadata"]["HTTP-Response-Metadata"]["HTML-Metadata"] = value
    assert read_record(json.dumps(envelope).encode()).candidates == ()


def test_a_file_gives_pages_with_images_and_counts_the_others(tmp_path):
    image = [{"path": "IMG@/src", "url": "a.jpg"}]
    bodies = [wat(URL, image), wat(URL, [{"path": "A@/href", "url": "x"}]), b"IMG@ no json"]
    items = [record("metadata", URL, body, "application/json") for body in bodies]
    path = tmp_path / "a.wat.gz"
    path.write_bytes(members(*items))
    tally = Tally()
    assert [page.candidates[0].url for page in pages(str(path), tally)] == [URL + "a.jpg"]
    assert (tally.records, tally.skipped) == (3, Counter(no_image=1, bad_record=1))
