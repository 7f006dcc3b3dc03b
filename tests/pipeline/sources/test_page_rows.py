import re

import pytest

from pipeline.crawl.page import Page, parse
from pipeline.crawl.rows import RowOptions
from pipeline.fetch import signals
from pipeline.fetch.options import SIGNALS, FetchOptions, OptOut
from pipeline.sources.base import Incoming
from pipeline.sources.page_rows import PageOptions, askable, heard, page_rows

HTML = "<h1>Mill</h1><img src=a.jpg alt=A title=T><img src=data:image/gif;base64,R0 alt=D>"


def rows_of(html=HTML, *headers, wit=False, pairs="first", url="https://www.e.org/p", **options):
    fetch = FetchOptions(contact="mailto:a@b.org", **options)
    page = heard(parse(html.encode(), url, headers=headers), html.encode(), fetch)
    made = PageOptions(rows=RowOptions(pairs=pairs), wit=wit, fetch=fetch)
    return list(page_rows(page, "f:1", made))


def meta(name, content):
    return f"<meta name='{name}' content='{content}'>"


def test_rows_are_named_by_the_page_and_the_number_of_the_image():
    first, second = rows_of()
    assert (first.source_key, first.url, first.caption) == ("f:1#0", "https://www.e.org/a.jpg", "A")
    assert (first.failed, second.source_key, second.failed) == (None, "f:1#1", "data_url")


@pytest.mark.parametrize(
    ("head", "detail"),
    [
        (meta("robots", "noai, nofollow"), "meta robots: noai, nofollow"),
        (meta("Robots", "NoImageAI"), "meta robots: NoImageAI"),
        (meta("robots", "noindex"), "meta robots: noindex"),
        (meta("robots", "noml"), "meta robots: noml"),
        (meta("tdm-reservation", "1"), "meta tdm-reservation: 1"),
        (meta("pairmill", "noai"), "meta pairmill: noai"),
        (
            "<meta http-equiv=Content-Usage content='train-ai=n'>",
            "meta content-usage: train-ai=n",
        ),
        ("<meta http-equiv=X-Robots-Tag content=noai>", "meta x-robots-tag: noai"),
    ],
)
def test_a_page_whose_metas_forbid_it_gives_failed_rows(head, detail):
    rows = rows_of(head + HTML)
    assert {(row.failed, row.detail, row.retriable) for row in rows} == {("noai", detail, False)}
    assert all(row.meta["signals"] for row in rows)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-robots-tag", "noindex"),
        ("X-Robots-Tag", "pairmill: noai"),
        ("TDM-Reservation", "1"),
        ("Content-Usage", "train-ai=n"),
    ],
)
def test_a_page_whose_answer_forbids_it_gives_failed_rows(name, value):
    rows = rows_of(HTML, (name, value))
    (failed,) = {(row.failed, row.detail) for row in rows}
    usual = next(known for known in signals.HEADERS if known.lower() == name.lower())
    assert failed == ("noai", f"{usual}: {value}")
    assert rows[0].meta["signals"] == {f"header:{name.lower()}": value}


def test_a_header_for_another_agent_leaves_the_next_one_for_all():
    other, ours = ("X-Robots-Tag", "otherbot: noindex"), ("X-Robots-Tag", "noai")
    assert rows_of(HTML, other, ours)[0].failed == "noai"
    assert rows_of(HTML, ("X-Robots-Tag", "otherbot: noindex, noai"))[0].failed is None


@pytest.mark.parametrize(
    ("head", "headers"),
    [
        (meta("robots", "nofollow, max-image-preview:large"), ()),
        (meta("otherbot", "noai"), ()),
        (meta("tdm-reservation", "0"), ()),
        (meta("tdm-policy", "https://e.org/noai"), ()),
        ("", (("X-Robots-Tag", "otherbot: noai"),)),
        ("", (("Content-Usage", "train-ai=y"),)),
        ("", (("Link", '</terms.html>; rel="license"'),)),
        ("<p>pairmill says noai", ()),
    ],
)
def test_a_page_that_forbids_nothing_of_ours_gives_good_rows(head, headers):
    assert rows_of(head + HTML, *headers)[0].failed is None


def test_what_is_refused_is_up_to_the_options():
    noai = meta("robots", "noai") + HTML
    assert rows_of(noai, refuse=SIGNALS - {"noai"})[0].failed is None
    named = meta("anthropic-ai", "noai") + HTML
    assert rows_of(named)[0].failed is None
    assert rows_of(named, agents=("Anthropic-AI",))[0].detail == "meta anthropic-ai: noai"
    licence = ("Link", '</rsl.xml>; rel="license"; type="application/rsl+xml"')
    assert rows_of(HTML, licence)[0].failed == "noai"
    assert rows_of(HTML, licence, refuse=SIGNALS - {"rsl"})[0].failed is None


def test_pages_of_who_has_opted_out_give_failed_rows():
    by_domain = OptOut(domains=frozenset({"e.org"}))
    assert {(row.failed, row.detail) for row in rows_of(opt_out=by_domain)} == {
        ("opted_out", "domain e.org")
    }
    by_pattern = OptOut(patterns=(re.compile("/p$"),))
    assert rows_of(opt_out=by_pattern)[0].detail == "pattern /p$"
    by_name = OptOut(domains=frozenset({"xn--bcher-kva.de"}))
    assert rows_of(url="https://www.BÜCHER.de/", opt_out=by_name)[0].failed == "opted_out"
    assert rows_of(url="https://[x/", opt_out=by_domain)[-1].failed == "data_url"


def test_a_long_signal_is_cut_in_the_detail():
    (row,) = rows_of(meta("robots", "noai," + "x" * 900) + "<img src=a.jpg alt=A>")
    assert row.detail.startswith("meta robots: noai,xxx")
    assert len(row.detail) == 300


def test_the_fields_of_wit_are_kept_when_asked_for():
    assert "wit" not in rows_of()[0].meta
    found = [row.meta["wit"] for row in rows_of(wit=True, pairs="each")]
    assert [item["caption_alt_text_description"] for item in found] == ["A", "A", "D"]
    assert found[0]["page_title"] == "Mill"
    assert found[0]["image_url"] == "https://www.e.org/a.jpg"
    assert all(value is not None for item in found for value in item.values())


def test_a_page_that_could_not_be_read_is_one_row_with_its_own_reason():
    page = Page("http://e.org", "http://e.org", failed="not_html", signals={"meta:robots": "noai"})
    (row,) = page_rows(page, "n", PageOptions(wit=True))
    assert (row.source_key, row.failed) == ("n", "not_html")


@pytest.mark.parametrize(
    ("url", "failed"),
    [
        ("http://e.org/a.jpg", "no_contact"),
        ("http://127.0.0.1/a.jpg", None),
        ("http://10.0.0.1/a.jpg", None),  # the fetcher says why
    ],
)
def test_without_a_contact_only_allowed_hosts_are_asked(url, failed):
    allowed = FetchOptions(allow_hosts=frozenset({"127.0.0.1"}))
    assert askable(Incoming("k", url), allowed).failed == failed
    assert askable(Incoming("k", url), FetchOptions(contact="mailto:a@b.org")).failed is None
    assert askable(Incoming("k", url, failed="icon"), allowed).failed == "icon"
