import pytest

from pipeline.crawl.page import Limits, parse

URL = "https://e.org/dir/page.html"


def page(html, **more):
    data = html if isinstance(html, bytes) else html.encode()
    return parse(data, more.pop("url", URL), more.pop("content_type", None), **more)


def only(html, **more):
    (candidate,) = page(html, **more).candidates
    return candidate


def test_an_image_has_its_own_texts_and_size():
    found = only(
        '<img src=a.jpg alt=" A  red\nboat " title=Boat aria-label=B width=640 height=48px>'
    )
    assert (found.url, found.found_in, found.is_data) == ("https://e.org/dir/a.jpg", "img", False)
    assert (found.alt, found.title, found.aria_label) == ("A red boat", "Boat", "B")
    assert (found.width, found.height) == (640, 48)


def test_a_text_that_is_empty_is_none():
    found = only('<img src=a.jpg alt="" title="  " aria-label width=100% height=0>')
    assert (found.alt, found.title, found.aria_label) == (None, None, None)
    assert (found.width, found.height) == (None, None)
    assert (found.figcaption, found.heading, found.text_before, found.link_text) == (None,) * 4


def test_labels_are_looked_up_by_id():
    html = "<p id=one>A  boat</p><p id=two>at sea</p><img src=a aria-labelledby='one no two'>"
    assert only(html).aria_label == "A boat at sea"


def test_the_largest_of_a_srcset_is_taken_and_all_are_kept():
    found = only('<img src=s.jpg srcset="m.jpg 640w, l.jpg 1280w" sizes=50vw>')
    assert found.url.endswith("/l.jpg")
    assert [(v.url[-5:], v.origin, v.width) for v in found.variants] == [
        ("m.jpg", "srcset", 640),
        ("l.jpg", "srcset", 1280),
        ("s.jpg", "src", None),
    ]


@pytest.mark.parametrize(
    "name", ["data-src", "data-original", "data-lazy-src", "data-lazy", "data-original-src"]
)
def test_a_lazy_image_is_not_its_placeholder(name):
    assert only(f"<img src=blank.gif {name}=real.jpg>").url.endswith("/real.jpg")
    assert only(f"<img src='data:image/gif;base64,R0' {name}=real.jpg>").url.endswith("/real.jpg")


def test_a_lazy_srcset_counts_as_one():
    html = "<img src=b.gif data-srcset='a.jpg 1x, b.jpg 2x'>"
    assert only(html).url.endswith("/b.jpg")


def test_a_noscript_fallback_is_a_candidate_only_where_nothing_else_names_the_file():
    lazy = "<img class=lazy data-src=a.jpg><noscript>on <img src=a.jpg alt=A></noscript>"
    assert [c.found_in for c in page(lazy).candidates] == ["img"]
    found = only("<p>x</p><noscript>words<img src=a.jpg alt=A></noscript>y")
    assert (found.found_in, found.alt, found.text_before) == ("noscript", "A", "x")
    assert found.text_after == "y"


def test_sources_of_a_picture_are_variants():
    html = (
        "<picture><source srcset='w.webp 800w' type=image/webp>"
        "<source data-srcset='h.jpg 1600w'><img src=a.jpg alt=A></picture><img src=b.jpg>"
    )
    first, second = page(html).candidates
    assert (first.found_in, first.url[-6:], first.alt) == ("picture", "/h.jpg", "A")
    assert [v.origin for v in first.variants] == ["source", "data-srcset", "src"]
    assert second.found_in == "img"


def test_a_linked_file_is_the_full_size_and_a_wiki_page_about_it_is_not():
    found = only("<a href=/full/a.JPG?x=1>See <img src=t.jpg> it</a>")
    assert found.url == found.link == "https://e.org/full/a.JPG?x=1"
    assert found.link_text == "See it"
    wiki = only("<a href=/wiki/File:A.jpg><img src=t.jpg></a>")
    assert (wiki.url, wiki.link) == ("https://e.org/dir/t.jpg", "https://e.org/wiki/File:A.jpg")


def test_a_link_ends_where_its_element_does():
    first, second = page("<a href=x>one <img src=a></a> two <img src=b>").candidates
    assert (first.link_text, second.link_text) == ("one", None)


def test_a_figure_gives_its_caption_to_every_image_in_it():
    html = "<figure><img src=a><img src=b><figcaption>Two <b>b</b>oats</figcaption></figure>"
    html += "<img src=c>"
    assert [c.figcaption for c in page(html).candidates] == ["Two boats", "Two boats", None]


def test_older_markup_has_captions_too():
    docbook = (
        "<div class=figure><p class=title>Figure 1</p><div class=mediaobject><img src=a>"
        "<div class=caption><p>One</p></div></div><div class=mediaobject><img src=b></div></div>"
    )
    first, second = page(docbook).candidates
    assert (first.figcaption, first.figure_title) == ("One", "Figure 1")
    assert (second.figcaption, second.figure_title) == (None, "Figure 1")
    wiki = "<div class='thumb tright'><img src=a><div class=thumbcaption>A mill</div></div>"
    assert only(wiki).figcaption == "A mill"
    press = "<div class=wp-caption><img src=a><p class=wp-caption-text>A press</p></div>"
    assert only(press).figcaption == "A press"


def test_headings_stand_above_an_image_from_the_outermost():
    html = "<h1>P</h1>lead<h2>A</h2><h3>B</h3>x<h2>C <i>d</i></h2><p>text</p><img src=a><h2>E</h2>"
    found = only(html)
    assert (found.heading, found.headings) == ("C d", ("P", "C d"))
    assert found.section_text == "text"
    assert page(html).lead == "lead"


def test_text_around_an_image_has_whole_words_and_no_scripts():
    html = "<p>one two</p>three<script>no()</script> <img src=a> four<style>no</style><p>five"
    found = only(html)
    assert (found.text_before, found.text_after) == ("one two three", "four five")
    found = only("aaaa " * 100 + "<img src=a>" + " bbbb" * 100, limits=Limits(context=12))
    assert (found.text_before, found.text_after) == ("aaaa aaaa", "bbbb bbbb")


def test_blocks_part_words_and_inline_elements_do_not():
    found = only("<div>a</div>b<b>c</b><br>d<table><tr><td>e</table><ul><li>f<li>g</ul><img src=x>")
    assert found.text_before == "a bc d e f g"


@pytest.mark.parametrize(
    "html",
    [
        "<h1>a</h1>b",
        "<h1>a</h1><i><b>b</b></i>",
        "<div>a</div><a href=x>b</a>",
        "<a href=x><div>a</div></a>b",
        "<i><a href=x><p>a</p></a></i><b>b</b>",
        "<figure><figcaption>a</figcaption></figure><a href=x>b</a>",
    ],
)
def test_a_block_parts_words_whatever_inline_elements_stand_around(html):
    assert only(f"{html}<img src=x>").text_before == "a b"


def test_the_title_of_the_page_is_no_text_before_an_image():
    html = "<title>Ti</title>{}<svg><title>Icon</title></svg><img src=a>"
    assert only(html.format("")).text_before is None
    assert only(html.format("<p>a")).text_before == "a"
    assert page(html.format("")).title == "Ti"


def test_a_data_url_is_told_apart_and_cut():
    found = only(f"<img src='DATA:image/png;base64,{'A' * 5000}' alt=dot>")
    assert found.is_data
    assert len(found.url) == len(found.variants[0].url) == 64


def test_open_graph_and_twitter_images_come_last_and_once():
    html = """<meta property=og:image content=/a.jpg><meta property=og:image:alt content="An A">
    <meta property=og:image:width content=1200><meta name=twitter:image content=/b.jpg>
    <link rel=image_src href=/c.jpg><img src=/b.jpg>"""
    first, second, third = page(html).candidates
    assert (first.found_in, first.url, first.is_main) == ("img", "https://e.org/b.jpg", True)
    assert (second.found_in, second.url, second.alt) == ("meta", "https://e.org/a.jpg", "An A")
    assert (second.width, third.url) == (1200, "https://e.org/c.jpg")


def test_the_main_image_is_known_only_where_the_page_tells():
    assert only("<img src=a>").is_main is None
    html = "<table class='infobox x'><tr><td><img src=a></table><img src=b>"
    assert [c.is_main for c in page(html).candidates] == [True, False]


def test_base_and_odd_links():
    html = (
        "<base href=//cdn.org/x/><img src=a.jpg><img src=javascript:x()><img src=' ../b c.jpg#f '>"
    )
    assert [c.url for c in page(html).candidates] == [
        "https://cdn.org/x/a.jpg",
        "https://cdn.org/b%20c.jpg",
    ]


def test_the_page_has_title_description_and_language():
    html = "<html lang=de_AT><title> Ti\ntle</title><meta name=Description content='De  s'>"
    found = page(html)
    assert (found.title, found.description, found.language) == ("Ti tle", "De s", "de-AT")
    assert page("<meta http-equiv=content-language content='fr, en'>").language == "fr"
    assert page("<meta property=og:locale content=pt_BR>").language == "pt-BR"
    assert page("<p>", headers=(("Content-Language", "nl"),)).language == "nl"
    assert page("<html lang='no such thing'>").language is None


def test_licences_of_a_page():
    html = """<a rel="nofollow license" href=/terms>t</a>
    <a href=https://creativecommons.org/licenses/by/4.0/>cc</a>
    <span itemscope><meta itemprop=license content=https://l.org/x></span>
    <script type=application/ld+json>{"@type": "Article", "license": "https://l.org/y"}</script>"""
    assert set(page(html).licences) == {
        "https://e.org/terms",
        "https://creativecommons.org/licenses/by/4.0/",
        "https://l.org/x",
        "https://l.org/y",
    }


def test_licence_and_credit_of_one_image():
    html = """<script type="application/ld+json">[{"@graph": [{"@type": ["ImageObject"],
    "contentUrl": "/a.jpg", "license": "https://l.org/a", "acquireLicensePage": "/buy",
    "creator": {"@type": "Person", "name": "Ann"}, "caption": "Seen by Ann"}]}]</script>
    <img src=a.jpg><img src=/a.jpg><figure><img src=b><figcaption>
    <a rel=license href=https://l.org/b>CC</a></figcaption></figure>"""
    other, first, third = page(html).candidates
    assert first.licences == ("https://l.org/a", "https://e.org/buy")
    assert (first.credit, first.attribution) == ("Ann", "Seen by Ann")
    assert (other.licences, other.credit, third.licences) == ((), None, ("https://l.org/b",))


def test_opt_out_signals_are_kept_raw():
    html = """<meta name=robots content="noindex, noai"><meta name=GPTBot content=noml>
    <meta name=tdm-reservation content=1><meta name=robots content=noimageai>
    <meta name=x content=y>"""
    headers = (("X-Robots-Tag", "noai"), ("x-robots-tag", "bot: noindex"), ("Server", "x"))
    assert page(html, headers=headers).signals == {
        "meta:robots": "noindex, noai, noimageai",
        "meta:gptbot": "noml",
        "meta:tdm-reservation": "1",
        "header:x-robots-tag": "noai | bot: noindex",
    }


@pytest.mark.parametrize(
    "html", [b"", b" ", b"\0\0", b"<", b"<!--", b"plain", b"\xff\xfe", b"<img"]
)
def test_what_is_hardly_html_is_a_page_without_images(html):
    found = page(html)
    assert (found.candidates, found.failed) == ((), None)


def test_limits_count_what_they_leave_out():
    found = page("<img src=a>" * 30, limits=Limits(max_images=10, max_bytes=220))
    assert (len(found.candidates), found.notes) == (10, {"bytes_cut": 110, "images_left_out": 10})
    found = only("<img src=a alt='" + "x" * 9000 + "'>", limits=Limits(max_text=50))
    assert len(found.alt) == 50


def test_nuls_surrogates_and_broken_bytes_do_no_harm():
    found = only(b"<p title='\xff'>\xed\xa0\x80a\0b<img src=a alt='x\0y &#xD800; \xc3\xa4'>")
    assert "\0" not in found.alt
    found.alt.encode()
    found.text_before.encode()


def test_what_goes_with_every_image_is_bounded_and_no_opt_out_for_all_is_lost():
    metas = "".join(f"<meta name=a{i}bot content={'x' * 400}>" for i in range(500))
    found = page(f"{metas}<meta name=robots content=noai><meta name=tdm-reservation content=1>")
    assert len(found.signals) == 34
    assert (found.signals["meta:robots"], found.signals["meta:tdm-reservation"]) == ("noai", "1")
    links = f"<a rel=license href=/{'l' * 2000}></a><a rel=license href=/l></a>"
    assert page(links).licences == ("https://e.org/l",)


def test_variants_of_very_long_addresses_are_bounded_together():
    variants = ", ".join(f"{i}.jpg {i + 1}w" for i in range(60))
    html = f"<base href='/{'b' * 7000}/'>" + f"<img srcset='{variants}'>" * 100
    found = page(html)
    assert len(found.candidates) == 100
    assert {one.url[-6:] for one in found.candidates} == {"59.jpg"}
    assert sum(len(v.url) for one in found.candidates for v in one.variants) < 11_000_000
    assert found.notes == {"variants_left_out": 59 * 77}
