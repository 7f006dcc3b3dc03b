"""robots.txt as RFC 9309 says, and what stands beside the rules."""

import asyncio

import pytest

from pipeline.fetch.door import opened
from pipeline.fetch.options import FetchOptions, OptOut
from pipeline.fetch.outcome import Refusal
from pipeline.fetch.rules import best_match, fits, parse_rules
from tests import pictures
from tests.fetch.asking import all_of, one, quick
from tests.fetch.server import Server, Wire, Writer, http, to

JPEG = pictures.jpeg(0)
FORBIDS = b"User-agent: *\nDisallow: /\n"


async def silent(_: Writer) -> None:
    await asyncio.sleep(5)


async def hang_up(writer: Writer) -> None:
    writer.close()


@pytest.fixture
def site(server: Server) -> Server:
    server.otherwise = http(200, JPEG)
    return server


@pytest.mark.parametrize(
    ("robots", "reason"),
    [
        (http(200, FORBIDS), "robots"),
        (http(200, b"\xef\xbb\xbf" + FORBIDS), "robots"),
        (http(200, b"User-agent: PairMill\nDisallow: /image\n"), "robots"),
        (http(200, b"User-agent: *\nDisallow: /\n\nUser-agent: pairmill\nAllow: /\n"), None),
        (http(200, b"User-agent: other\nDisallow: /\n"), None),
        (http(200, b"Disallow: /im*e$\nUser-agent: *\nDisallow: /im*e$\nAllow: /i\n"), "robots"),
        (http(200, b"#" * 600_000 + b"\nUser-agent: *\nDisallow: /\n"), None),
        (http(200, pictures.HTML), None),
        (http(200, bytes(range(256)) * 8), None),
        (http(200), None),
        (http(404), None),
        (http(403), None),
        (http(401), None),
        (http(429), "rate_limited"),
        (http(500), "robots_unreachable"),
        (http(503), "robots_unreachable"),
        (silent, "robots_unreachable"),
        (hang_up, "robots_unreachable"),
        (b"what?\r\n\r\n", "robots_unreachable"),
        (to("/rules"), "robots"),
        (to("/robots.txt"), None),
        (to("file:///etc/passwd"), None),
        (to("http://169.254.169.254/"), None),
    ],
)
def test_robots_txt_is_obeyed(site: Server, robots: Wire, reason: str | None) -> None:
    site.answers |= {"/robots.txt": robots, "/rules": http(200, FORBIDS)}
    outcome = one(site, "/image", give_up_after=9)
    assert outcome.failed == reason, outcome
    assert site.paths().count("/image") == (reason is None)
    assert outcome.retriable == (None if reason is None else reason != "robots")


def test_more_than_five_redirects_mean_there_is_none(site: Server) -> None:
    site.answers |= {f"/{n}": to(f"/{n + 1}") for n in range(9)} | {"/9": http(200, FORBIDS)}
    site.answers["/robots.txt"] = to("/5")
    assert one(site, "/image").failed == "robots"
    site.answers["/robots.txt"] = to("/0")
    assert one(site, "/image").failed is None


def test_robots_txt_is_asked_for_once_for_each_host_and_port(site: Server) -> None:
    hosts = ("a.test", "b.test")
    urls = [site.url(f"/{n}", host) for n in range(5) for host in hosts]
    assert all(outcome.data for outcome in all_of(urls, quick(*hosts)))
    for path in ("/robots.txt", "/.well-known/tdmrep.json"):
        assert sorted(one.host for one in site.asked if one.path == path) == list(hosts)


def test_a_redirect_to_another_host_asks_that_host_first(site: Server) -> None:
    site.answers["a.test/image"] = to(site.url("/image", "b.test"))
    site.answers["b.test/robots.txt"] = http(200, FORBIDS)
    outcome = all_of([site.url("/image", "a.test")], quick("a.test", "b.test"))[0]
    assert (outcome.failed, outcome.detail) == ("robots", site.url("/robots.txt", "b.test"))
    assert "/image" not in site.paths("b.test")


def test_robots_of_named_hosts_may_be_ignored(site: Server) -> None:
    site.answers["/robots.txt"] = http(200, FORBIDS)
    assert one(site, "/image", robots_ignored=frozenset({"127.0.0.1"})).data == JPEG
    assert "/robots.txt" not in site.paths()


def test_hosts_and_patterns_and_bytes_that_opted_out(site: Server) -> None:
    digest = one(site, "/image").sha256
    assert digest is not None
    import re

    opt_out = OptOut(domains=frozenset({"b.test"}), patterns=(re.compile("/private/"),))
    options = quick("a.b.test", "xb.test", opt_out=opt_out)
    urls = [
        site.url("/x", "a.b.test"),
        site.url("/private/x", "xb.test"),
        site.url("/x", "xb.test"),
    ]
    found = [(one.failed, one.detail) for one in all_of(urls, options)]
    assert found[:2] == [("opted_out", "domain b.test"), ("opted_out", "pattern /private/")]
    assert found[2] == (None, None)
    assert one(site, "/x", opt_out=OptOut(sha256=frozenset({digest}))).failed == "opted_out"


@pytest.mark.parametrize("pattern", ["größe", "/gr%C3%B6", "//bücher", "//xn--bcher-", "UPPER"])
def test_patterns_find_urls_as_they_are_written_and_as_they_are_asked(
    site: Server, pattern: str
) -> None:
    import re

    options = quick("xn--bcher-kva.test", opt_out=OptOut(patterns=(re.compile(pattern),)))
    (found,) = all_of([site.url("/größe#UPPER", "bücher.test")], options)
    assert (found.failed, found.detail) == ("opted_out", f"pattern {pattern}")
    assert not site.asked


def rules(text: str, agent: str = "pairmill"):  # type: ignore[no-untyped-def]
    return parse_rules(text.encode(), FetchOptions(agent=agent))


def test_pace_is_read_from_both_spellings_and_bounded() -> None:
    assert rules("User-agent: *\nCrawl-delay: 2.5").delay_s == 2.5
    assert rules("User-agent: *\nRequest-rate: 1/10").delay_s == 10
    assert rules(f"User-agent: *\nRequest-rate: 1/{'9' * 400}").delay_s == 86_400
    assert rules("User-agent: *\nCrawl-delay: 1e9").delay_s == 86_400
    assert rules("User-agent: *\nCrawl-delay: -3").delay_s is None
    assert rules("User-agent: *\nCrawl-delay: 0").delay_s is None


def test_preferences_belong_to_groups_and_paths_and_licences_to_the_host() -> None:
    text = """\
License: https://a.test/all.xml
User-agent: other
Content-Usage: train-ai=y
User-agent: *
User-agent: more
Content-Usage: train-ai=n
Content-Usage: /open/ train-ai=y   # but here
Allow: /
"""
    found = rules(text)
    licence = {"robots.txt License": "https://a.test/all.xml"}
    assert found.signals("/x") == {"robots.txt Content-Usage": "train-ai=n"} | licence
    assert found.signals("/open/x") == {"robots.txt Content-Usage": "train-ai=y"} | licence
    assert rules(text, "other").signals("/x")["robots.txt Content-Usage"] == "train-ai=y"


@pytest.mark.parametrize(
    ("pattern", "path", "does"),
    [
        ("/", "/a", True),
        ("/a", "/b", False),
        ("/*.jpg", "/x/y.jpg?z", True),
        ("/*.jpg$", "/x/y.jpg?z", False),
        ("/*.jpg$", "/x/y.jpg", True),
        ("/a$", "/a", True),
        ("/a$", "/ab", False),
        ("/a*b*c", "/a1c1b", False),
        ("/a**b", "/ab", True),
        ("*/x*", "/y/x", True),
    ],
)
def test_patterns_of_paths(pattern: str, path: str, does: bool) -> None:
    assert fits(pattern, path) is does


def test_the_longest_pattern_counts() -> None:
    assert best_match((("/", "1"), ("/a", "0"), ("/b/c", "1")), "/a/x") == "0"
    assert best_match((), "/") is None


def test_a_robots_txt_made_to_cost_time_costs_none() -> None:
    many = "User-agent: *\n" + "Disallow: /" + "*a" * 400 + "\n" * 2
    assert rules(many * 500).allow("http://a.test/" + "a" * 8000) is False


def test_a_host_without_rules_costs_its_urls_no_memory(server: Server) -> None:
    """An exception that is raised again and again keeps the frames of each time."""
    server.answers["/robots.txt"] = http(500)
    with opened(quick()) as door:
        found = [one.failed for _, one in door.fetched([server.url(f"/{n}") for n in range(9)])]
        (known,) = door.web.manners._robots._known.values()
        rules = known.task.result()
    assert set(found) == {"robots_unreachable"}
    assert isinstance(rules, Refusal)
    assert rules.__traceback__ is None
