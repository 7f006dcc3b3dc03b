import pytest

from pipeline.crawl.crawl_options import CrawlOptions
from pipeline.crawl.frontier import Frontier, Wish, canonical
from pipeline.fetch.options import FetchOptions
from pipeline.fetch.outcome import Refusal

WEB = FetchOptions(contact="mailto:a@example.org")


def frontier(*start, **changes):
    return Frontier(CrawlOptions(start=start or ("http://e.org/",), web=WEB, **changes))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("HTTP://E.org", "http://e.org/"),
        ("http://e.org:80/a#b", "http://e.org/a"),
        ("https://e.org:443/?q=A&q=b", "https://e.org/?q=A&q=b"),
        ("http://e.org./", "http://e.org/"),
        ("http://größe.org/ä?ö", "http://xn--gre-6ka8i.org/%C3%A4?%C3%B6"),
        ("http://e.org/a/./b/../c", "http://e.org/a/c"),
        ("http://e.org/a/..", "http://e.org/"),
        ("http://e.org/a/.", "http://e.org/a/"),
        ("http://e.org/../../a", "http://e.org/a"),
        ("http://e.org/a/%2E%2e/b", "http://e.org/b"),
        ("http://e.org/a//b/...", "http://e.org/a//b/..."),
        ("http://e.org/a?x=/../y", "http://e.org/a?x=/../y"),
        ("http://e.org/a?", "http://e.org/a"),
    ],
)
def test_a_url_has_one_form(written, expected):
    target = canonical(written, WEB)
    assert target.url == expected
    assert canonical(target.url, WEB) == target


def test_what_is_not_fetched_has_none():
    with pytest.raises(Refusal):
        canonical("http://127.0.0.1/", WEB)


def test_start_urls_are_within_the_limits_too():
    urls = [f"http://{host}.org/{n}" for host in "abc" for n in range(3)]
    one = frontier(*urls, max_pages=4, max_pages_per_host=2, max_hosts=2)
    assert [wish.url for wish in one.start()] == [*urls[:2], *urls[3:5]]
    assert one.cut == {"max_pages": 4, "max_pages_per_host": 1}


def test_a_link_is_followed_once_from_the_first_page_that_has_it():
    one = frontier()
    one.start()
    links = ["http://e.org/1", "http://e.org/#x", "http://E.org/1", "http://e.org/2"]
    assert list(one.follow(links, "http://e.org/", 1)) == [
        Wish("http://e.org/1", "http://e.org/"),
        Wish("http://e.org/2", "http://e.org/"),
    ]
    assert list(one.follow(links, "http://e.org/1", 2)) == []
    assert (one.asked, one.cut) == (3, {})


def test_redirects_are_known():
    one = frontier()
    one.start()
    one.know(["http://e.org/x/../a", "data:,"])
    assert list(one.follow(["http://e.org/a"], "http://e.org/", 1)) == []


def test_customers_of_one_hoster_are_sites_of_their_own():
    one = frontier("http://a.github.io/", stay="site")
    one.start()
    links = ["http://b.github.io/", "http://www.a.github.io/"]
    assert [wish.url for wish in one.follow(links, "http://a.github.io/", 1)] == links[1:]


def test_hosts_that_redirects_lead_to_count():
    one = frontier("http://a.org/", "http://b.org/", stay="any", max_hosts=3)
    first, second = one.start()
    assert one.arrived(first, canonical("http://c.org/", WEB)) is None
    assert one.arrived(second, canonical("http://d.org/", WEB)) == "max_hosts"
    assert list(one.follow(["http://d.org/1"], "http://a.org/", 1)) == []
    assert len(one.pages) == 3


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.PDF", "a.jpeg", "a.svg", "a.mp4", "a.js"])
def test_files_of_other_kinds_are_known_by_name(name):
    one = frontier()
    one.start()
    assert list(one.follow([f"http://e.org/x/{name}?y=1"], "http://e.org/", 1)) == []
    assert one.cut == {"other_kind": 1}
    wiki = f"http://e.org/wiki/File:{name}"
    assert [wish.url for wish in one.follow([wiki], "http://e.org/", 1)] == [wiki]


@pytest.mark.parametrize("name", ["a", "a.html", "a.php", "a.jsp", "v1.2", "zip", "a.zip/", "a.tv"])
def test_other_names_may_be_pages(name):
    one = frontier()
    one.start()
    assert len(list(one.follow([f"http://e.org/x/{name}"], "http://e.org/", 1))) == 1
