"""Pace, pauses and patience, counted at the server."""

import asyncio
import time
from email.utils import formatdate

import pytest

from pipeline.fetch.bodies import Budget
from pipeline.fetch.door import opened
from pipeline.fetch.hosts import Hosts
from pipeline.fetch.journey import retry_after
from pipeline.fetch.options import FetchOptions
from pipeline.fetch.pace import Pace, Past
from pipeline.fetch.sites import site_of
from pipeline.fetch.target import parse_target
from tests import pictures
from tests.fetch.asking import all_of, one, quick
from tests.fetch.server import Server, Writer, http

JPEG = pictures.jpeg(0)


def most_in(times: list[float], seconds: float) -> int:
    """The largest number of moments in any span of so many seconds."""
    return max(sum(start <= at < start + seconds for at in times) for start in times)


async def unsteady(writer: Writer) -> None:
    await asyncio.sleep((id(writer) >> 4) % 7 * 0.02)
    writer.write(http(200, JPEG))


@pytest.mark.slow
def test_no_second_at_the_server_has_more_requests_than_the_limit(server: Server) -> None:
    server.otherwise = unsteady
    hosts = [f"h{n}.one.test" for n in range(3)] + ["two.test"]
    urls = [server.url(f"/{n}", host) for n in range(4) for host in hosts]
    outcomes = all_of(urls, quick(*hosts, per_host_per_second=10, host_s=30, shard_s=30))
    assert all(outcome.data for outcome in outcomes)
    for site in ("one.test", "two.test"):
        times = [asked.at for asked in server.asked if asked.host.endswith(site)]
        assert 1 < most_in(times, 1.0) <= 10


@pytest.mark.slow
def test_a_crawl_delay_lies_between_any_two_requests(server: Server) -> None:
    server.answers["/robots.txt"] = http(200, b"User-agent: *\nCrawl-delay: 0.3\n")
    server.otherwise = http(200, JPEG)
    assert all(one.data for one in all_of([server.url(f"/{n}") for n in range(3)], quick()))
    times = [asked.at for asked in server.asked]
    assert len(times) == 5
    assert most_in(times, 0.29) == 1


@pytest.mark.slow
def test_what_is_paced_comes_back_a_period_after_it_was_given_back() -> None:
    async def run() -> list[float]:
        pace, loop = Pace(4), asyncio.get_running_loop()
        started, times = loop.time(), []
        for _ in range(5):
            taken = await pace.take()
            times.append(loop.time() - started)
            pace.give_back(taken)
        return times

    times = asyncio.run(run())
    assert max(times[:4]) < 0.5
    assert times[4] >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize("second", [{}, {"per_host_per_second": 5}])
def test_doors_one_after_the_other_keep_the_pace_together(
    server: Server, second: dict[str, int]
) -> None:
    server.otherwise = http(200, JPEG)
    past: dict[str, Past] = {}
    for changes in ({}, second):
        with opened(quick(**{"per_host_per_second": 4} | changes), past=past) as door:
            assert all(one.data for _, one in door.fetched([server.url(f"/{n}") for n in "abcd"]))
    times = [asked.at for asked in server.asked]
    assert len(times) == 12
    assert most_in(times, 1.0) <= max(4, second.get("per_host_per_second", 0))


@pytest.mark.slow
def test_a_crawl_delay_outlasts_a_door(server: Server) -> None:
    server.answers["/robots.txt"] = http(200, b"User-agent: *\nCrawl-delay: 0.7\n")
    server.otherwise = http(200, JPEG)
    past: dict[str, Past] = {}
    for _ in range(2):
        with opened(quick(refuse=frozenset()), past=past) as door:
            assert all(one.data for _, one in door.fetched([server.url("/a")]))
    times = [asked.at for asked in server.asked]
    assert len(times) == 4
    assert most_in(times, 0.69) == 1
    assert list(past) == ["127.0.0.1"]


def test_slow_paces_have_long_periods() -> None:
    assert Pace(0.25).interval_s == 4
    assert Pace(2.9).interval_s == 0.5


def test_one_who_gives_up_waiting_leaves_no_gap() -> None:
    async def run() -> None:
        pace = Pace(1000)
        pace.slow_down(0.05)
        waiting = asyncio.create_task(pace.take())
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait_for(pace.take(), 0.5)

    asyncio.run(run())


@pytest.mark.slow
@pytest.mark.parametrize("status", [429, 503])
def test_a_short_retry_after_is_waited_for_by_the_whole_host(server: Server, status: int) -> None:
    times: list[float] = []

    async def busy_once(writer: Writer) -> None:
        times.append(time.monotonic())
        busy = http(status, b"", "Retry-After: 1", "Connection: close")
        writer.write(busy if len(times) == 1 else http(200, JPEG, "Connection: close"))

    server.otherwise = busy_once
    found = all_of([server.url("/a"), server.url("/b")], quick(per_host_at_once=1))
    assert [outcome.attempts for outcome in found] == [2, 1]
    assert all(outcome.data == JPEG for outcome in found)
    assert times[1] - times[0] >= 0.99


@pytest.mark.parametrize("status", [429, 503])
def test_a_long_retry_after_ends_the_host_at_once(server: Server, status: int) -> None:
    server.otherwise = http(status, b"", "Retry-After: 3600")
    found = all_of([server.url(f"/{n}") for n in range(9)], quick(per_host_at_once=1))
    assert {(one.failed, one.retriable) for one in found} == {("rate_limited", True)}
    assert len([path for path in server.paths() if path[1:].isdigit()]) == 1


def test_who_says_429_all_the_time_is_left_alone(server: Server) -> None:
    server.otherwise = http(429)
    found = all_of([server.url(f"/{n}") for n in range(30)], quick())
    assert {one.failed for one in found} == {"rate_limited"}
    assert len(server.asked) < 15


def test_a_503_without_a_time_is_a_fault_and_is_tried_again(server: Server) -> None:
    server.answers["/image"] = http(503)
    outcome = one(server, "/image")
    assert (outcome.failed, outcome.attempts, outcome.status) == ("server_error", 2, 503)
    assert server.paths().count("/image") == 2


def test_a_host_that_fails_in_a_row_is_given_up(server: Server) -> None:
    server.otherwise = http(500)
    found = [one.failed for one in all_of([server.url(f"/{n}") for n in range(50)], quick())]
    assert set(found) == {"server_error", "host_gave_up"}
    assert len(server.asked) < 10


def test_a_host_that_fails_now_and_then_is_not(server: Server) -> None:
    server.otherwise = http(200, JPEG)
    server.answers |= {f"/{n}": http(500) for n in range(0, 20, 2)}
    urls = [server.url(f"/{n}") for n in range(20)]
    found = [one.failed for one in all_of(urls, quick(retries=0, per_host_at_once=1))]
    assert found == ["server_error", None] * 10


@pytest.mark.parametrize("lanes", [1, 2])
def test_one_broken_url_does_not_condemn_its_host(server: Server, lanes: int) -> None:
    server.otherwise = http(200, JPEG)
    server.answers["/0"] = http(500)
    urls = [server.url(f"/{n}") for n in range(9)]
    found = all_of(urls, quick(retries=5, per_host_at_once=lanes))
    assert [one.failed for one in found] == ["server_error"] + [None] * 8
    assert found[0].attempts == 6


def test_what_cannot_be_cured_is_tried_once(server: Server) -> None:
    server.answers["/html"] = http(200, pictures.HTML)
    assert (one(server, "/image").attempts, one(server, "/html").attempts) == (1, 1)


def test_retry_after_in_both_forms() -> None:
    assert retry_after("12") == 12
    assert retry_after("-3") == 0
    assert retry_after("soon") is None
    assert retry_after("9" * 5000) is None
    assert retry_after("9" * 400) == 10**9
    assert retry_after(f"Wed, 21 Oct 2015 07:28:00 +{'9' * 20}") is None
    soon = retry_after(formatdate(time.time() + 60, usegmt=True))
    assert soon is not None
    assert 50 < soon <= 60
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("img.example.co.uk", "example.co.uk"),
        ("a.github.io", "a.github.io"),
        ("x.d1.cloudfront.net", "d1.cloudfront.net"),
        ("93.184.216.34", "93.184.216.34"),
        ("::1", "::1"),
        ("a.site.test", "site.test"),
        ("github.io", "github.io"),
        ("intranet", "intranet"),
    ],
)
def test_the_site_that_a_pace_holds_for(host: str, site: str) -> None:
    assert site_of(host) == site


def test_bodies_beyond_the_budget_wait_but_one_always_goes_on() -> None:
    async def run() -> int:
        budget, highest = Budget(100), 0

        async def read() -> None:
            nonlocal highest
            async with budget.body() as share:
                for _ in range(8):
                    await share.grow(10)
                    highest = max(highest, budget.held)
                    await asyncio.sleep(0)

        async with asyncio.timeout(5):
            await asyncio.gather(*(read() for _ in range(20)))
        assert budget.held == 0
        return highest

    assert asyncio.run(run()) <= 180


def test_hosts_of_long_ago_are_forgotten_but_not_those_that_are_gone() -> None:
    now = [1000.0]
    hosts = Hosts(FetchOptions(), lambda: now[0])
    targets = [
        parse_target(f"http://{name}.test", FetchOptions()) for name in ("old", "gone", "slow")
    ]
    old, gone, slow = (hosts.of(target) for target in targets)
    for host in (old, gone, slow):
        host.used = now[0]
    gone.gone = 3000.0, "rate_limited", "to be left alone"
    slow.site.pace.interval_s = 5000.0
    now[0] = 1500.0
    hosts.begin()
    assert [hosts.of(target) for target in targets] == [old, gone, slow]
    now[0] = 2500.0
    hosts.begin()
    assert hosts.of(targets[0]) is not old
    assert [hosts.of(target) for target in targets[1:]] == [gone, slow]
