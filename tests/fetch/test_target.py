"""What is not fetched whatever happens, in every way of writing it."""

import pytest

from pipeline.errors import CurationError
from pipeline.fetch.door import fetched
from pipeline.fetch.options import FetchOptions
from pipeline.fetch.outcome import Refusal
from pipeline.fetch.target import parse_target, redirected
from tests import pictures
from tests.fetch.asking import all_of, loopback, quick
from tests.fetch.server import Server, http, to

OPTIONS = FetchOptions(contact="https://example.org/about")
REFUSED = {
    "": "bad_scheme",
    "no url": "bad_scheme",
    "ftp://example.org/": "bad_scheme",
    "file:///etc/passwd": "bad_scheme",
    "data:image/png;base64,AAAA": "bad_scheme",
    "javascript:x()": "bad_scheme",
    "http://": "bad_url",
    "http:///path": "bad_url",
    "http://[::1": "bad_url",
    "http://a..b/": "bad_url",
    "http://exa mple.org/": "bad_url",
    "http://%31%32%37.0.0.1/": "bad_url",
    "http://example.org:99999/": "bad_url",
    "http://example.org:x/": "bad_url",
    "http://example.org\\@127.0.0.1/": "credentials_in_url",
    "http://example.org\\path/": "bad_url",
    "http://" + "a" * 64 + ".org/": "bad_url",
    "http://example.org/\ud800": "bad_url",
    "http://example.org/" + "a" * 9000: "bad_url",
    "http://user@example.org/": "credentials_in_url",
    "http://user:word@example.org/": "credentials_in_url",
    "http://:@example.org/": "credentials_in_url",
    "http://example.org:22/": "port_not_allowed",
    "https://example.org:8443/": "port_not_allowed",
}
INSIDE = [
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1",
    "127.0.0.1.", "１２７.０.０.１", "127。0。0。1", "①②⑦.0.0.1", "localhost", "LOCALHOST.",
    "a.localhost", "0", "0.0.0.0", "10.0.0.1", "172.16.3.4", "192.168.0.1", "169.254.169.254",
    "2852039166", "0xa9fea9fe", "100.100.100.200", "168.63.129.16", "192.0.0.192", "224.0.0.1",
    "240.0.0.1", "255.255.255.255", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[::ffff:0a00:1]", "[2002:7f00:1::]", "[64:ff9b::7f00:1]", "[64:ff9b::169.254.169.254]",
    "[2001:0:7f00:1::]", "[fe80::1]", "[fe80::1%25eth0]", "[fe80::1%eth0]", "[2600::1%25lo]",
    "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]", "[2001:db8::1]", "[::127.0.0.1]",
]  # fmt: skip


@pytest.mark.parametrize("url", REFUSED)
def test_a_url_that_is_not_fetched_says_why(url: str) -> None:
    with pytest.raises(Refusal) as met:
        parse_target(url, OPTIONS)
    assert met.value.reason == REFUSED[url]


@pytest.mark.parametrize("host", INSIDE)
@pytest.mark.parametrize("scheme", ["http", "HTTPS"])
def test_an_address_that_is_not_public_is_known_in_every_notation(host: str, scheme: str) -> None:
    with pytest.raises(Refusal) as met:
        parse_target(f"{scheme}://{host}/", OPTIONS)
    assert met.value.reason == "blocked_address"


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("http://Example.ORG", "http://example.org/"),
        ("  https://example.org.:443/a b?c=ü#part ", "https://example.org/a%20b?c=%C3%BC"),
        ("http://bücher.example/ß", "http://xn--bcher-kva.example/%C3%9F"),
        ("http://xn--bcher-kva.example/", "http://xn--bcher-kva.example/"),
        ("http://i❤.ws/", "http://xn--i-7iq.ws/"),
        ("http://a_b.example.org/%7Ex?", "http://a_b.example.org/%7Ex"),
        ("http://0x01010101/", "http://1.1.1.1/"),
        ("http://[2606:4700::1111]/", "http://[2606:4700::1111]/"),
        ("ht\ntp://example.org/a\tb", "http://example.org/ab"),
    ],
)
def test_a_url_is_asked_for_in_one_way_of_writing(url: str, written: str) -> None:
    assert parse_target(url, OPTIONS).url == written


def test_allowed_hosts_are_allowed_at_any_port_or_at_theirs() -> None:
    options = FetchOptions(allow_hosts=frozenset({"127.0.0.1", "site.test:8080"}))
    assert parse_target("http://127.1:9999/", options).allowed
    assert parse_target("http://site.test:8080/", options).allowed
    with pytest.raises(Refusal):
        parse_target("http://site.test:8081/", options)
    with pytest.raises(Refusal):
        parse_target("http://127.0.0.2/", options)


def test_a_redirect_away_from_allowed_hosts_needs_a_contact() -> None:
    start = parse_target("http://127.0.0.1:9/", quick())
    with pytest.raises(Refusal, match="contact"):
        redirected(start, "https://example.org/", quick())
    assert redirected(start, "//example.org/", quick(contact="mailto:a@b.c")).host == "example.org"


def test_a_redirect_may_be_written_in_any_bytes(server: Server) -> None:
    server.answers |= {
        "/old": to("/gr\xfc\xdfe x.jpg"),
        "/new": to("/grüße".encode().decode("latin-1")),
    }
    for path in ("/gr%FC%DFe%20x.jpg", "/gr%C3%BC%C3%9Fe"):
        server.answers[path] = http(200, pictures.jpeg(0))
    found = all_of([server.url("/old"), server.url("/new")], quick())
    assert [one.failed for one in found] == [None, None]


def test_hosts_beyond_the_allowed_need_a_contact() -> None:
    with pytest.raises(CurationError, match=r"example\.org: no contact"):
        list(fetched(["nothing", "http://example.org/"], quick()))


def test_no_such_url_is_sent_anywhere(server: Server, leaks: list[object]) -> None:
    server.answers["/"] = http(200, b"x")
    urls = [*REFUSED, *(f"http://{host}:{server.port}/" for host in INSIDE)]
    outcomes = all_of(urls, quick("none.test"), loopback)
    assert {one.failed for one in outcomes} == {*REFUSED.values(), "blocked_address"}
    assert all(one.retriable is False and one.attempts == 0 for one in outcomes)
    assert not server.asked
    assert not leaks


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("agent", "pair mill"),
        ("contact", "me"),
        ("contact", "https://a.b/\r\nX: y"),
        ("kind", "video"),
        ("refuse", frozenset({"noia"})),
        ("per_host_per_second", 0),
        ("request_s", float("nan")),
        ("retries", -1),
    ],
)
def test_options_that_cannot_be_meant_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        FetchOptions(**{field: value})  # type: ignore[arg-type]
