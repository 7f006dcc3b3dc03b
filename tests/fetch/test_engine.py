"""A call always ends, with one outcome for each URL, and dead hosts cost little."""

import asyncio
import gc
import socket
import threading
import time
from contextlib import ExitStack

import pytest

from pipeline.fetch.door import fetched, opened
from pipeline.fetch.engine import Progress, Web, fetch
from pipeline.fetch.outcome import Outcome
from tests import pictures
from tests.fetch.asking import all_of, loopback, quick
from tests.fetch.server import Server, Writer, http

JPEG = pictures.jpeg(0)


async def silent(_: Writer) -> None:
    await asyncio.sleep(20)


@pytest.fixture
def site(server: Server) -> Server:
    server.otherwise = http(200, JPEG)
    return server


def test_nothing_wanted_gives_nothing(leaks: list[object]) -> None:
    assert list(fetched([], quick())) == []


@pytest.mark.parametrize("mine", [(0, 10, 10), (700, 10, 10), (900_000, 5, 5)])
def test_garbage_is_looked_for_less_often_unless_that_is_so(mine: tuple[int, int, int]) -> None:
    before = gc.get_threshold()
    try:
        gc.set_threshold(*mine)
        list(fetched([], quick()))
        assert gc.get_threshold() == ((10_000, 10, 10) if mine[0] == 700 else mine)
    finally:
        gc.set_threshold(*before)


def test_the_asynchronous_door_gives_the_same(site: Server) -> None:
    urls = [site.url("/a"), "data:,x", site.url("/b")]

    async def run() -> dict[int, str | None]:
        web = Web(quick(), loopback)
        try:
            return {n: one.failed async for n, one in fetch(urls, web)}
        finally:
            await web.close()

    assert asyncio.run(run()) == {0: None, 1: "bad_scheme", 2: None}


def test_the_call_has_a_deadline(site: Server) -> None:
    site.answers["slow.test/robots.txt"] = silent
    urls = [site.url(f"/{n}", host) for n in range(5) for host in ("a.test", "slow.test")]
    options = quick("a.test", "slow.test", read_s=9, request_s=9, shard_s=0.6)
    started = time.monotonic()
    outcomes = all_of(urls, options)
    assert time.monotonic() - started < 1.5
    assert [one.failed for one in outcomes] == [None, "deadline"] * 5
    assert outcomes[1].retriable


@pytest.mark.slow
def test_a_host_has_a_deadline(site: Server) -> None:
    site.answers["/robots.txt"] = http(200, b"User-agent: *\nCrawl-delay: 0.2\n")

    async def slow(writer: Writer) -> None:
        await asyncio.sleep(0.4)
        writer.write(http(200, JPEG))

    site.otherwise = slow
    urls = [site.url(f"/{n}") for n in range(4)]
    found = [one.failed for one in all_of(urls, quick(host_s=0.1, read_s=2, request_s=2))]
    assert found[0] is None
    assert found[-1] == "deadline"


@pytest.mark.slow
def test_time_in_which_nobody_takes_outcomes_does_not_count(site: Server) -> None:
    options = quick(shard_s=0.5, per_host_at_once=1)
    taken = []
    for number, outcome in fetched([site.url(f"/{n}") for n in range(3)], options):
        time.sleep(0.3)
        taken.append((number, outcome.failed))
    assert sorted(taken) == [(0, None), (1, None), (2, None)]


def test_outcomes_that_nobody_takes_hold_up_the_fetch(site: Server) -> None:
    options = quick(held_bytes=2 * len(JPEG), per_host_at_once=1)
    run = fetched([site.url(f"/{n}") for n in range(50)], options)
    next(run)
    time.sleep(0.3)
    assert len(site.asked) < 10
    assert len(list(run)) == 49


def bytes_of_outcomes() -> int:
    known = (one for one in gc.get_objects() if type(one) is Outcome)
    return sum(len(one.data or b"") for one in known)


def test_what_was_taken_is_held_by_nobody(site: Server) -> None:
    hosts = [f"h{n}.test" for n in range(9)]
    site.answers["/slow"] = silent
    urls = [site.url(path, host) for host in hosts for path in ("/a", "/slow")]
    options = quick(*hosts, per_host_at_once=1, retries=0)
    run = fetched(urls, options, lookup=loopback)
    for _ in hosts:
        next(run)
    assert bytes_of_outcomes() <= len(JPEG)
    assert {one.failed for _, one in run} == {"timeout"}


def test_bodies_count_until_more_is_asked_for(site: Server) -> None:
    site.otherwise = http(200, JPEG + bytes(100_000))
    options = quick(held_bytes=400_000, per_host_at_once=2)
    run = fetched([site.url(f"/{n}") for n in range(20)], options)
    for _ in range(20):
        assert next(run)[1].data
        time.sleep(0.02)
        assert bytes_of_outcomes() <= 400_000 + 2 * 102_000  # those two that were begun


def test_what_is_known_of_hosts_is_known_in_the_next_call(site: Server) -> None:
    site.answers["bad.test/robots.txt"] = http(500)
    hosts = ("a.test", "bad.test")
    with opened(quick(*hosts), loopback) as door:
        for _ in range(3):
            urls = [site.url("/x", host) for host in hosts]
            found = {number: one.failed for number, one in door.fetched(urls)}
            assert found == {0: None, 1: "robots_unreachable"}
    assert site.paths("a.test").count("/robots.txt") == 1
    assert site.paths("bad.test") == ["/robots.txt"] * 2


def test_who_leaves_early_ends_the_fetch(site: Server) -> None:
    before = threading.active_count()
    site.answers["/slow"] = silent
    run = fetched([site.url("/a"), site.url("/slow")], quick(read_s=9, request_s=9))
    next(run)
    run.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


@pytest.mark.slow
def test_progress_says_what_is_waited_for(site: Server) -> None:
    site.answers["slow.test/x"] = silent
    seen: list[Progress] = []
    urls = [site.url("/x", "slow.test"), site.url("/x", "a.test")]
    options = quick("slow.test", "a.test", read_s=1.3, request_s=3, retries=0)
    for _ in fetched(urls, options, seen.append, loopback):
        pass
    assert seen[0] == Progress(1, 2, "slow.test (an answer)")
    assert seen[-1] == Progress(2, 2, "")


def test_many_hosts_are_fetched_side_by_side(site: Server) -> None:
    hosts = [f"h{n}.test" for n in range(200)]
    started = time.monotonic()
    options = quick(*hosts, per_host_per_second=3, refuse=frozenset(), read_s=5, request_s=5)
    outcomes = all_of([site.url("/x", host) for host in hosts], options)
    assert all(outcome.data for outcome in outcomes)
    assert time.monotonic() - started < 5


def test_a_host_that_accepts_no_connection_is_too_slow(leaks: list[object]) -> None:
    """A full queue of connections: what comes after gets no answer at all."""
    with ExitStack() as held:
        full = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        urls = [f"http://127.0.0.1:{full.getsockname()[1]}/{n}" for n in range(20)]
        started = time.monotonic()
        outcomes = all_of(urls, quick(connect_s=0.2, dns_s=0.1, request_s=5))
    assert {(one.failed, one.retriable) for one in outcomes} == {("timeout", True)}
    assert time.monotonic() - started < 1.5


def test_names_that_lead_nowhere_cost_one_look_up(site: Server) -> None:
    asked = []

    async def lookup(host: str) -> list[str]:
        asked.append(host)
        if host == "none.test":
            return []
        if host == "slow.test":
            await asyncio.sleep(9)
        return ["127.0.0.1"]

    hosts = ("none.test", "slow.test", "a.test")
    urls = [site.url(f"/{n}", host) for n in range(5) for host in hosts]
    outcomes = all_of(urls, quick(*hosts, dns_s=0.2), lookup)
    assert [(one.failed, one.retriable) for one in outcomes[:3]] == [
        ("dns", False),
        ("dns", True),
        (None, None),
    ]
    assert {one.failed for one in outcomes} == {"dns", None}
    assert asked.count("none.test") == 1
    assert asked.count("slow.test") <= 2


@pytest.mark.slow
def test_hosts_that_are_dead_or_slow_three_of_ten_cost_little(site: Server) -> None:
    good = [f"g{n}.test" for n in range(28)]
    bad = [f"b{n}.test" for n in range(12)]
    site.answers |= {f"{host}/robots.txt": silent for host in bad[:6]}
    site.answers |= {f"{host}/{n}": silent for host in bad[6:9] for n in range(12)}

    async def lookup(host: str) -> list[str]:
        if host in bad[9:]:
            raise OSError("nowhere")
        return ["127.0.0.1"]

    def seconds(hosts: list[str]) -> float:
        options = quick(
            *hosts, per_host_per_second=4, host_s=20, shard_s=30, at_once=8, read_s=0.25
        )
        started = time.monotonic()
        outcomes = all_of(
            [site.url(f"/{n}", host) for n in range(12) for host in hosts], options, lookup
        )
        fine = sum(outcome.failed is None for outcome in outcomes)
        assert fine == 12 * len([host for host in hosts if host in good])
        return time.monotonic() - started

    assert seconds(good + bad) <= 1.3 * seconds(good)
