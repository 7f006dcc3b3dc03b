import pytest

from pipeline.crawl.page import Candidate
from pipeline.crawl.rules import REASONS, PageRules


def refusal(url="https://e.org/a.jpg", width=None, height=None, is_data=False, **rules):
    image = Candidate(url, (), "img", is_data, width=width, height=height)
    found = PageRules(**rules).refusal(image)
    assert found is None or found[0] in REASONS
    return found and found[0]


@pytest.mark.parametrize(
    "url",
    [
        "https://e.org/favicon.ico", "https://e.org/icons/a.png", "https://e.org/x/icon-32.png",
        "https://e.org/img/spacer.gif", "https://e.org/1x1.gif?x", "https://e.org/a_sprite.png",
        "https://e.org/loading.gif", "https://e.org/Blank.GIF", "https://e.org/icon16x16.png",
        "https://e.org/pixel", "https://e.org/i/bullet-2.png", "https://e.org/ajax-loading.gif",
    ],
)  # fmt: skip
def test_names_of_furniture_are_icons(url):
    assert refusal(url) == "icon"
    assert refusal(url, icons=True) is None


@pytest.mark.parametrize(
    "url",
    ["https://icon.org/a.jpg", "https://e.org/iconic.jpg", "https://e.org/pixels.jpg",
     "https://e.org/bullet-train.jpg", "https://e.org/google-pixel-7.jpg",
     "https://e.org/ship_loading.jpg", "https://e.org/loading/a.jpg",
     "https://e.org/a.jpg?icon=1", "https://e.org/blanket.jpg", "https://e.org/lexicon/a.jpg"],
)  # fmt: skip
def test_names_that_only_look_so_are_not(url):
    assert refusal(url) is None


def test_declared_sizes_are_compared_at_their_limits():
    assert refusal(width=32, height=32) == "icon"
    assert refusal(width=32, height=33) is None
    assert refusal(width=16) is None
    assert refusal(width=199, min_side=200) == "declared_too_small"
    assert refusal(width=200, height=200, min_side=200) is None
    assert refusal(min_side=200) is None
    assert refusal(width=600, height=200, max_ratio=3) is None
    assert refusal(width=601, height=200, max_ratio=3) == "declared_too_long"
    assert refusal(width=601, max_ratio=3) is None


def test_patterns_refuse_and_ask():
    assert refusal("https://e.org/A.SVG", refuse=(r"\.svg$",)) == "url_pattern"
    assert refusal(refuse=(r"\.svg$",)) is None
    assert refusal(only=(r"\.png$", r"/b")) == "url_not_allowed"
    assert refusal(only=(r"\.jpg$",)) is None
    with pytest.raises(ValueError, match=r"'\('"):
        PageRules(refuse=("(",))


def test_data_and_long_urls():
    assert refusal("data:image/png;base64,", is_data=True) == "data_url"
    url = "https://e.org/".ljust(2000, "a")
    assert refusal(url) is None
    assert refusal(url + "a") == "url_too_long"
