import pytest

from pipeline.crawl.links import Base
from pipeline.crawl.variants import Variant, largest, of_set, pixels

BASE = Base("https://e.org/")


def entries(text):
    return [(v.url[14:], v.width, v.density) for v in of_set(text, "srcset", BASE)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a.jpg", [("a.jpg", None, None)]),
        (" a.jpg 1x ,b.jpg 2.5x", [("a.jpg", None, 1.0), ("b.jpg", None, 2.5)]),
        ("a,b.jpg 100w, c.jpg 200w", [("a,b.jpg", 100, None), ("c.jpg", 200, None)]),
        ("a.jpg, b.jpg", [("a.jpg", None, None), ("b.jpg", None, None)]),
        ("a.jpg 100w 50h,,, b.jpg 7q", [("a.jpg", 100, None), ("b.jpg", None, None)]),
        ("", []),
        (",, ,", []),
        ("javascript:x 1x, a.jpg 2x", [("a.jpg", None, 2.0)]),
    ],
)
def test_a_srcset_is_read_as_browsers_do(text, found):
    assert entries(text) == found


def test_a_srcset_of_data_urls_keeps_its_commas():
    (found,) = of_set("data:image/png;base64,AAAA 1x", "srcset", BASE)
    assert (found.url, found.density) == ("data:image/png;base64,AAAA", 1.0)


def test_an_endless_srcset_is_cut():
    assert len(entries("a.jpg 1x, " * 10_000)) == 64


def test_order_of_trust():
    small, large = Variant("http://a", "srcset", 100), Variant("http://b", "srcset", 900)
    full, data = Variant("http://c", "link"), Variant("data:x", "data-src")
    plain, lazy = Variant("http://d", "src"), Variant("http://e", "data-src")
    dense = Variant("http://f", "srcset", None, 2.0)
    assert largest([small, large, plain, data]) == large
    assert largest([large, full]) == full
    assert largest([plain, lazy, data]) == lazy
    assert largest([lazy, dense]) == dense
    assert largest([data]) == data
    assert largest([plain, Variant("http://g", "src")]) == plain
    assert largest([]) is None


def test_declared_sizes():
    texts = ("640", " 640px", "12.5", "100%", "0", "auto", "", None, "9999999")
    assert [pixels(t) for t in texts] == [640, 640, 12, None, None, None, None, None, None]
