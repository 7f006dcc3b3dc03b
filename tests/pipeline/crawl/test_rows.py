import pickle

import pytest

from pipeline.crawl.page import Page, parse
from pipeline.crawl.rows import TEXTS, RowOptions, rows, wit_fields
from pipeline.crawl.rules import PageRules

HTML = b"""<html lang=en><title>T</title><meta name=robots content=noai>
<h1>Mill</h1><p>Lead.<h2>Wheel</h2><figure><img src=a.jpg alt=Alt title=Alt width=640 height=480>
<figcaption>Caption</figcaption></figure><img src=none.jpg><img src=favicon.ico alt=Icon>"""
PAGE = parse(HTML, "https://e.org/p")


def test_captions_come_in_the_order_of_the_recipe_with_their_origin():
    first, none, icon = rows(PAGE, RowOptions(("figcaption", "alt", "title")))
    assert [(c["origin"], c["text"]) for c in first.captions] == [
        ("figcaption", "Caption"),
        ("alt", "Alt"),
    ]
    assert (first.url, first.source_key) == ("https://e.org/a.jpg", "https://e.org/p#0")
    assert (first.failed, none.failed, icon.failed) == (None, "no_text", "icon")
    assert (icon.caption, icon.detail, icon.retriable) == ("Icon", "favicon", False)


def test_what_is_no_caption_is_meta():
    row = next(rows(PAGE, RowOptions(("alt",))))
    for name, value in {
        "title": "Alt",
        "figcaption": "Caption",
        "heading": "Wheel",
        "headings": ["Mill", "Wheel"],
        "page_title": "T",
        "page_language": "en",
        "signals": {"meta:robots": "noai"},
        "width": 640,
        "found_in": "img",
    }.items():
        assert row.meta[name] == value
    assert row.meta["variants"][0]["url"] == row.url
    assert "alt" not in row.meta
    assert None not in row.meta.values()


def test_each_text_can_be_a_pair_of_its_own():
    found = [row for row in rows(PAGE, RowOptions(("alt", "figcaption"), "each")) if row.captions]
    assert [(row.caption, len(row.captions), row.source_key) for row in found] == [
        ("Alt", 1, "https://e.org/p#0:alt"),
        ("Caption", 1, "https://e.org/p#0:figcaption"),
        ("Icon", 1, "https://e.org/p#2:alt"),
    ]
    assert len({row.key("s") for row in found}) == 3


def test_an_image_without_a_text_may_pass():
    found = list(rows(PAGE, RowOptions(("alt",), needs_text=False, rules=PageRules(icons=True))))
    assert [(row.failed, row.caption) for row in found] == [
        (None, "Alt"),
        (None, None),
        (None, "Icon"),
    ]


def test_every_text_can_be_asked_for():
    for row in rows(PAGE, RowOptions(tuple(TEXTS), "each")):
        assert row.captions


def test_a_page_that_failed_is_a_row():
    (row,) = rows(Page("u", "u", failed="not_html"), RowOptions())
    assert (row.failed, row.source_key) == ("not_html", "u")


@pytest.mark.parametrize("options", [{"texts": ("alt", "x")}, {"texts": ()}, {"pairs": "all"}])
def test_options_that_are_none_are_refused(options):
    with pytest.raises(ValueError, match="choose from"):
        RowOptions(**options)


def test_options_can_be_sent_to_workers():
    options = RowOptions(rules=PageRules(refuse=("x",)))
    assert pickle.loads(pickle.dumps(options)) == options


def test_fields_of_wit():
    found = wit_fields(PAGE, PAGE.candidates[0])
    assert found["page_title"] == "Mill"
    assert (found["section_title"], found["hierarchical_section_title"]) == (
        "Wheel",
        "Mill / Wheel",
    )
    assert found["caption_reference_description"] == "Caption"
    assert found["caption_alt_text_description"] == "Alt"
    assert found["caption_attribution_description"] is None
    assert found["context_page_description"] == "Lead."
    assert found["context_section_description"] == "Caption"
