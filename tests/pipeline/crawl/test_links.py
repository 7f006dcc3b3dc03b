from urllib.parse import urljoin

import pytest

from pipeline.crawl.links import MAX_URL, Base, names_image

PAGE = "https://e.org:8443/a/b/c.html?q=1"


@pytest.mark.parametrize(
    "link",
    [
        "x.jpg", "./x.jpg", "../x.jpg", "../../../x.jpg", "/x/y.jpg", "//h.org/x.jpg", "x/../y.jpg",
        "?p=1", "http://h.org", "HTTP://h.org/x", "https://h.org/a/../b", "/a/./b", ".x.jpg", "a/.",
    ],
)  # fmt: skip
def test_short_ways_agree_with_the_long_one(link):
    assert Base(PAGE).resolve(link) == urljoin(PAGE, link)


@pytest.mark.parametrize(
    "link",
    [None, "", " ", "#x", "javascript:x", "mailto:a@b", "file:///etc/passwd", "ftp://h/x", "//",
     "http://", "http://[::1", "https:///x", "x" * (MAX_URL + 1), "about:blank", "blob:https://x/1"],
)  # fmt: skip
def test_what_is_no_address_of_the_web_is_none(link):
    assert Base(PAGE).resolve(link) is None


def test_white_space_and_fragments_go():
    assert Base(PAGE).resolve(" /a\n/b c.jpg#top") == "https://e.org:8443/a/b%20c.jpg"
    assert Base(PAGE).resolve("\\x\\y.jpg") == "https://e.org:8443/x/y.jpg"


def test_a_base_is_relative_to_the_page_and_a_bad_one_is_none():
    assert Base(PAGE, "../z/").resolve("x") == "https://e.org:8443/a/z/x"
    assert Base(PAGE, "javascript:x").resolve("x") == "https://e.org:8443/a/b/x"


def test_a_page_without_an_address_knows_only_whole_links():
    base = Base("file:///a.html")
    assert base.resolve("x.jpg") is None
    assert base.resolve("/x.jpg") is None
    assert base.resolve("http://h.org/x.jpg") == "http://h.org/x.jpg"


def test_names_of_image_files():
    assert names_image("https://e.org/a.JPEG?x=.html")
    assert not names_image("https://e.org/a.html?x=.jpg")
    assert not names_image("https://e.org/wiki/Datei:A.jpg")
