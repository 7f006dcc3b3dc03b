import re
from dataclasses import replace

import pytest

from pipeline.crawl.crawl_options import CrawlOptions
from pipeline.fetch.options import FetchOptions, OptOut

PLAIN = CrawlOptions(start=("http://e.org/",))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"start": ()}, "start is empty"),
        ({"start": ("http://e.org/", "ftp://e.org/")}, "'ftp://e.org/'"),
        ({"start": ("http://127.0.0.1/",)}, "not public"),
        ({"start": ("http://\udc00/",)}, "start names"),
        ({"depth": -1}, "depth is -1"),
        ({"max_pages": 0}, "max_pages is 0"),
        ({"max_pages_per_host": 0}, "max_pages_per_host is 0"),
        ({"max_hosts": 0}, "max_hosts is 0"),
        ({"stay": "here"}, "host, site, any"),
        ({"only": ("(",)}, "no regular expression"),
        ({"refuse": ("[",)}, "no regular expression"),
    ],
)
def test_what_can_not_be_meant_is_refused(changes, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        replace(PLAIN, **changes)


def test_pages_have_limits_of_their_own():
    web = FetchOptions(min_bytes=1000, max_bytes=100_000_000, retries=1, give_up_after=4)
    pages = replace(PLAIN, web=web).for_pages
    assert (pages.kind, pages.min_bytes, pages.max_bytes) == ("page", 0, 5_000_000)
    assert pages.give_up_after == 8
    assert replace(PLAIN, web=FetchOptions(max_bytes=10)).for_pages.max_bytes == 10


def test_the_digest_is_that_of_all_that_decides_about_pages():
    changes = [
        {"start": ("http://e.org/x",)},
        {"depth": 2},
        {"max_pages": 7},
        {"max_pages_per_host": 7},
        {"max_hosts": 7},
        {"stay": "any"},
        {"only": ("x",)},
        {"refuse": ("x",)},
        {"web": FetchOptions(agent="other")},
        {"web": FetchOptions(refuse=frozenset())},
        {"web": FetchOptions(robots_ignored=frozenset({"e.org"}))},
        {"web": FetchOptions(opt_out=OptOut(domains=frozenset({"e.org"})))},
        {"web": FetchOptions(opt_out=OptOut(patterns=(re.compile("x"),)))},
        {"web": FetchOptions(opt_out=OptOut(sha256=frozenset({b"x"})))},
        {"web": FetchOptions(max_bytes=1000)},
    ]
    digests = [replace(PLAIN, **change).digest for change in changes]
    assert len({PLAIN.digest, *digests}) == len(changes) + 1


def test_pace_and_deadlines_may_change_within_a_crawl():
    web = FetchOptions(per_host_per_second=9, host_s=1, retries=0, kind="any", at_once=1)
    assert replace(PLAIN, web=web).digest == PLAIN.digest


def test_the_digest_is_the_same_in_every_process():
    opt_out = OptOut(domains=frozenset({"a.org", "b.org"}), patterns=(re.compile("x", re.I),))
    options = replace(PLAIN, web=FetchOptions(opt_out=opt_out, ports=frozenset({443, 80})))
    assert options.digest.startswith("1c17c85c563ce84d")
