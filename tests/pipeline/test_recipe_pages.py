from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pipeline.crawl.rows import RowOptions
from pipeline.crawl.rules import PageRules
from pipeline.errors import RecipeError
from pipeline.recipe import parse_recipe
from pipeline.schema import recipe_schema
from pipeline.yaml_reader import parse_yaml

SCHEMA = recipe_schema({})
ASKS = 'fetch: {contact: "mailto:a@b.org"}'
FULL = f"""\
sources:
  arch: {{warc: "x/*.warc.gz", texts: [figcaption, alt], pairs: each, needs_text: false, wit: true,
    rules: {{refuse: [ads], only: ["[.]jpg"], icons: true, icon_side: 16, min_side: 200,
    max_ratio: 3, max_url: 500}}, {ASKS}}}
  links: {{wat: "x/*.wat.gz", {ASKS}}}
  saved: {{pages: folder, site: "https://example.org/"}}
  site: {{crawl: ["https://example.org/", "http://b.org"], depth: 0, max_pages: 9, max_hosts: 2,
    stay: any, only: [/en/], refuse: [print], {ASKS}}}
"""
TEXTS = (
    "'alt', 'figcaption', 'figure_title', 'title', 'aria_label', 'heading', 'text_before',"
    " 'text_after', 'link_text', 'section_text', 'attribution', 'page_title', 'page_description'"
    " or 'page_lead'"
)


def refusal(section):
    with pytest.raises(RecipeError) as caught:
        parse_recipe(f"sources:\n  s: {{{section}}}\n", "r.yaml")
    return str(caught.value)


def test_sources_of_pages_are_read_as_written():
    sources = parse_recipe(FULL).sources
    arch = sources["arch"]
    assert (arch.texts, arch.pairs, arch.needs_text, arch.wit) == (
        ("figcaption", "alt"),
        "each",
        False,
        True,
    )
    assert arch.rules.made() == PageRules(
        refuse=("ads",),
        only=("[.]jpg",),
        icons=True,
        icon_side=16,
        min_side=200,
        max_ratio=3,
        max_url=500,
    )
    site = sources["site"]
    assert site.crawl == ("https://example.org/", "http://b.org")
    assert (site.depth, site.max_pages, site.max_hosts, site.stay) == (0, 9, 2, "any")
    assert (site.only, site.refuse) == (("/en/",), ("print",))


def test_what_is_not_said_is_as_the_packages_have_it():
    links = parse_recipe(FULL).sources["links"]
    usual = RowOptions()
    assert RowOptions(links.texts, links.pairs, links.needs_text) == usual
    assert links.rules.made() == usual.rules
    one = parse_recipe(f"sources: {{s: {{crawl: 'https://e.org', {ASKS}}}}}").sources["s"]
    assert one.crawl == ("https://e.org",)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            f"warc: x, texts: [altt], {ASKS}",
            f"2:24: sources.s.texts: expected {TEXTS}, found the text 'altt'; did you mean 'alt'?",
        ),
        (f"warc: x, texts: [], {ASKS}", "2:16: sources.s.texts: expected at least one entry"),
        (
            f"warc: x, rules: {{refuse: [a, '(']}}, {ASKS}",
            "2:36: sources.s.rules.refuse: '(' is no regular expression: missing ), unterminated"
            " subpattern at position 0",
        ),
        (
            f"warc: x, rules: {{min_side: 0}}, {ASKS}",
            "2:34: sources.s.rules.min_side: expected at least 1, found the number 0",
        ),
        (
            f"warc: x, rules: {{max_side: 9}}, {ASKS}",
            "2:24: sources.s.rules: unknown key 'max_side'; did you mean 'min_side'? known: refuse,"
            " only, icons, icon_side, min_side, max_ratio, max_url",
        ),
        (
            "warc: x, fetch: {engine: img2dataset}",
            "2:3: sources.s: fetch.engine: img2dataset fetches the images of a `table:` alone",
        ),
        (
            "pages: x, site: e.org",
            "2:23: sources.s.site: 'e.org' is no address; it begins with http:// or https:// and a"
            " host",
        ),
        (
            f"crawl: ['https://e.org', 'ftp://e.org'], {ASKS}",
            "2:7: sources.s.crawl: 'ftp://e.org' is no address; it begins with http:// or https://"
            " and a host",
        ),
        (
            f"crawl: https://e.org, only: ['['], {ASKS}",
            "2:36: sources.s.only: '[' is no regular expression: unterminated character set at"
            " position 0",
        ),
        (
            f"crawl: https://e.org, stay: hosts, {ASKS}",
            "2:35: sources.s.stay: expected 'host', 'site' or 'any', found the text 'hosts'; did"
            " you mean 'host'?",
        ),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(section, message):
    assert refusal(section) == f"r.yaml:{message}"


def test_who_asks_must_be_said_unless_nobody_needs_be_asked():
    for section in ("warc: x", "wat: x", "crawl: https://e.org"):
        assert "contact" in refusal(section)
    parse_recipe("sources: {s: {pages: x}}")


@pytest.mark.parametrize(
    "text",
    [
        FULL,
        f"sources: {{s: {{warc: x, texts: [altt], {ASKS}}}}}",
        f"sources: {{s: {{warc: x, texts: [], {ASKS}}}}}",
        f"sources: {{s: {{warc: x, wat: x, {ASKS}}}}}",
        f"sources: {{s: {{wat: x, pairs: all, {ASKS}}}}}",
        f"sources: {{s: {{crawl: [], {ASKS}}}}}",
        f"sources: {{s: {{crawl: https://e.org, max_pages: 0, {ASKS}}}}}",
    ],
)
def test_the_schema_accepts_what_is_read_and_refuses_what_is_not(text):
    data: Any = parse_yaml(text, "r.yaml").data
    try:
        is_read = bool(parse_recipe(text))
    except RecipeError:
        is_read = False
    assert Draft202012Validator(SCHEMA).is_valid(data) == is_read
