import pytest

from pipeline.crawl.outlinks import MOST_LINKS, outlinks

URL = "http://e.org/a/b?c"


def found(html, **more):
    return outlinks(html.encode(), URL, "text/html; charset=utf-8", **more)


def test_links_come_in_the_order_of_the_page_each_once():
    html = (
        '<link rel="Next" href=2><link rel=prev href=0><iframe src=/f></iframe>'
        "<a href=/x#top>x</a><map><area href='//o.org/y'></map><a href=/x#end>x</a>"
        "<a href=größe>g</a>"
    )
    assert found(html) == [
        "http://e.org/a/2",
        "http://e.org/f",
        "http://e.org/x",
        "http://o.org/y",
        "http://e.org/a/größe",
    ]


def test_frames_are_pages():
    html = "<frameset><frame src=1><frame src=2></frameset>"
    assert found(html) == ["http://e.org/a/1", "http://e.org/a/2"]


def test_the_base_counts():
    assert found("<base href=/z/><a href=1>") == ["http://e.org/z/1"]


@pytest.mark.parametrize(
    "html",
    [
        "<a href=x rel=nofollow>",
        "<a href=x rel='noopener NoFollow'>",
        "<area href=x rel=nofollow>",
        "<a href='#top'>",
        "<a href='mailto:a@b.c'>",
        "<a href='javascript:go()'>",
        "<a href='data:text/html,x'>",
        "<a href='http://['>",
        "<a href=''>",
        "<a>",
        "<link rel=stylesheet href=x>",
        "<img src=x>",
        "<script>'<a href=x>'</script>",
        "<!--<a href=x>-->",
        "",
    ],
)
def test_what_is_no_link_to_a_page_is_none(html):
    assert found(html) == []


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("5; url=x", "x"),
        ("0;URL='x y'", "x%20y"),
        ('3 , url = "x"', "x"),
        ("0 x", "x"),
        (".5;x;y=1", "x;y=1"),
        ("5", None),
        ("5;", None),
        ("5; url=", None),
        ("x", None),
    ],
)
def test_a_refresh_to_another_page_is_a_link(text, link):
    expected = [] if link is None else [f"http://e.org/a/{link}"]
    quoted = text.replace('"', "&quot;")
    assert found(f'<meta http-equiv=REFRESH content="{quoted}">') == expected
    assert found("<p>", refresh=text) == expected


def test_a_page_in_another_charset_is_read_as_it_says():
    html = "<a href=größe>".encode("latin-1")
    assert outlinks(html, URL, "text/html; charset=iso-8859-1") == ["http://e.org/a/größe"]


def test_links_of_one_page_are_limited():
    links = found("".join(f"<a href={n}>" for n in range(MOST_LINKS + 5)))
    assert len(links) == MOST_LINKS
    assert links[-1] == f"http://e.org/a/{MOST_LINKS - 1}"


def test_bytes_that_are_no_page_have_no_links():
    assert outlinks(bytes(range(256)) * 50, URL) == []
