"""Names are judged by where they lead, each time; what was checked is what is connected to."""

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from pipeline.fetch import resolver
from pipeline.fetch.door import fetched, opened
from pipeline.fetch.options import FetchOptions
from pipeline.fetch.resolver import Blocked, Resolver, SystemLookup
from tests import pictures
from tests.fetch.asking import all_of, quick
from tests.fetch.server import Server, http, to

CONTACT = "https://example.org/about"


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["fe80::1%lo"],
        ["93.184.216.34", "10.0.0.1"],
    ],
)
def test_a_name_that_leads_inside_is_blocked(server: Server, addresses: list[str]) -> None:
    async def lookup(host: str) -> list[str]:
        return addresses

    server.answers["/image"] = http(200, pictures.jpeg(0))
    options = quick("other.test", contact=CONTACT, ports=frozenset({server.port}))
    outcome = all_of([server.url("/image", "inside.test")], options, lookup)[0]
    assert (outcome.failed, outcome.retriable) == ("blocked_address", False)
    assert not server.asked


def test_a_redirect_to_a_name_that_leads_inside_is_blocked(server: Server) -> None:
    async def lookup(host: str) -> list[str]:
        return ["127.0.0.1"]

    server.answers["a.test/image"] = to(server.url("/image", "inside.test"))
    options = quick("a.test", contact=CONTACT, ports=frozenset({server.port}))
    outcome = all_of([server.url("/image", "a.test")], options, lookup)[0]
    assert outcome.failed == "blocked_address"
    assert not server.paths("inside.test")


def test_an_answer_that_changes_is_checked_each_time_it_is_used(server: Server) -> None:
    """The first answer is public and can't be reached here; the second leads inside."""
    answers: Iterator[list[str]] = iter([["93.184.216.34"], ["127.0.0.1"]])

    async def lookup(host: str) -> list[str]:
        return next(answers)

    async def run() -> None:
        options = FetchOptions(contact=CONTACT)
        resolver = Resolver(options, lookup)
        first = await resolver.resolve("a.test", 80)
        again = await resolver.resolve("a.test", 80)
        assert [found["host"] for found in first + again] == ["93.184.216.34"] * 2
        resolver._known.clear()
        with pytest.raises(Blocked):
            await resolver.resolve("a.test", 80)
        assert not resolver.may_connect("127.0.0.1")

    asyncio.run(run())


def test_a_name_that_changes_between_requests_is_not_followed_inside(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """127.0.0.3, where nobody listens, plays the public internet."""
    monkeypatch.setattr("pipeline.fetch.resolver.is_public", lambda found: found == "127.0.0.3")
    answers = iter([["127.0.0.3"], *[["127.0.0.1"]] * 9])

    async def lookup(host: str) -> list[str]:
        return next(answers)

    server.otherwise = http(200, pictures.jpeg(0))
    options = quick("other.test", contact=CONTACT, ports=frozenset({server.port}))
    urls = [server.url(f"/{n}", "turns.test") for n in range(3)]
    with opened(options, lookup) as door:
        first = [one.failed for _, one in door.fetched(urls)]
        door.web.resolver._known.clear()
        door.web.road.hosts._hosts.clear()
        door.web.manners._robots._known.clear()
        second = [one.failed for _, one in door.fetched(urls)]
    assert (set(first), set(second)) == ({"refused"}, {"blocked_address"})
    assert not server.asked


def test_an_allowed_host_opens_its_address_and_port_alone() -> None:
    async def lookup(host: str) -> list[str]:
        return ["127.0.0.3"]

    async def run() -> None:
        resolver = Resolver(FetchOptions(allow_hosts=frozenset({"a.test:8080"})), lookup)
        with pytest.raises(Blocked):
            await resolver.resolve("a.test", 80)
        assert not resolver.may_connect("127.0.0.3")
        await resolver.resolve("a.test", 8080)
        assert resolver.may_connect("127.0.0.3")
        assert not resolver.may_connect("127.0.0.1")

    asyncio.run(run())


def test_the_look_up_of_the_system(leaks: list[object]) -> None:
    async def run() -> list[str]:
        lookup = SystemLookup(5.0)
        with pytest.raises(socket.gaierror):
            await lookup("nowhere.invalid")
        return await lookup("localhost")

    assert "127.0.0.1" in asyncio.run(run())
    assert leaks == ["nowhere.invalid"]
    leaks.clear()


@pytest.mark.slow
def test_a_name_that_waits_for_others_has_its_time_all_the_same(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        time.sleep(0.4)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(resolver, "_AT_ONCE", 1)
    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    server.otherwise = http(200, pictures.jpeg(0))
    hosts = [f"{letter}.test" for letter in "abcd"]
    limits = quick(*hosts, dns_s=0.9, connect_s=0.1, request_s=9, retries=0)
    found = dict(fetched([server.url("/image", host) for host in hosts], limits))
    assert [one.failed for one in found.values()] == [None] * 4


def test_punycode_and_unicode_name_the_same_host(server: Server) -> None:
    server.otherwise = http(200, pictures.jpeg(0))
    urls = [
        server.url("/ü", host) for host in ("bücher.test", "xn--bcher-kva.test", "BÜCHER.test.")
    ]
    outcomes = all_of(urls, quick("xn--bcher-kva.test"))
    assert all(outcome.data for outcome in outcomes)
    assert {asked.host for asked in server.asked} == {"xn--bcher-kva.test"}
    assert server.paths().count("/%C3%BC") == 3
