"""Whose turn it is: the pace of every site, the places at every host, and when a host is given up.

A request holds one of its site's places from before it is sent until a second after it is
answered; so a server never meets more than so many in any second, whatever the network does.
"""

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from pipeline.fetch.gate import Gate
from pipeline.fetch.options import FetchOptions
from pipeline.fetch.outcome import Refusal
from pipeline.fetch.pace import Pace, Past, Shared
from pipeline.fetch.sites import site_of
from pipeline.fetch.target import Target

_KEPT_S = 600.0
GONE_S = 600.0  # for which a host is not asked that failed too often in a row
# Reasons that speak of the host, not of one URL.
TROUBLE = frozenset({"dns", "refused", "reset", "timeout", "tls", "bad_answer", "server_error"})
_SLOW = 0.5  # of read_s: who takes longer to answer waits with those not met yet


class Host:
    """What is known of one host and port; a class, because it learns."""

    def __init__(self, options: FetchOptions, site: "Site", name: str) -> None:
        self.options, self.site, self.name = options, site, name
        self.places = asyncio.Semaphore(options.per_host_at_once)
        self.started: float | None = None
        self.paused_until = 0.0
        self.failures = 0  # in a row
        self.faulty: set[str] = set()  # URLs of these that had a server_error
        self.pushed_back = 0  # 429 and the like, in a row
        self.inside = 0  # requests under way or waiting
        self.used = 0.0
        self.is_quick = False
        self.gone: tuple[float, str, str] | None = None  # until when, reason, detail

    def begin(self) -> None:
        """A new call: the time of the host starts again."""
        self.started, self.site.planned = None, 0

    def is_forgotten(self, now: float) -> bool:
        """Whether nothing of it is of use: not asked for long, not gone, no pace to keep."""
        kept = max(_KEPT_S, self.site.pace.interval_s, self.gone[0] - self.used if self.gone else 0)
        return not self.inside and now - self.used > kept

    def answered(self, seconds: float) -> None:
        self.pushed_back = 0
        self.forgive()
        self.is_quick = seconds < _SLOW * self.options.read_s

    def failed(self, refusal: Refusal, url: str, now: float) -> None:
        """Count what speaks against the host; after some in a row it is not asked any more.

        A server_error of a URL counts once: a page may be broken on a host that is well.
        """
        if refusal.reason not in TROUBLE:
            self.answered(0.0)
            return
        self.is_quick = False
        if url not in self.faulty or refusal.reason != "server_error":
            self.failures += 1
        if refusal.reason == "server_error":
            self.faulty.add(url)
        if self.failures >= self.options.give_up_after:
            detail = f"{self.failures} failures in a row, last {refusal.reason}"
            self.gone = now + GONE_S, "host_gave_up", detail
            self.forgive()
        elif self.failures > 1 or refusal.reason != "reset":  # idle connections end so, too
            self.pause(self.options.back_off_s * 2 ** (self.failures - 1), now)

    def forgive(self) -> None:
        """Failures in a row begin anew."""
        self.failures = 0
        self.faulty.clear()

    def pause(self, seconds: float, now: float) -> None:
        self.paused_until = max(self.paused_until, now + seconds)

    def leave(self, seconds: float | None, now: float) -> None:
        """Retry-After: wait if it is short, longer each time if nothing is said.

        Raises Refusal if it is too long, or said too often in a row.
        """
        self.pushed_back += 1
        if seconds is None:
            seconds = self.options.back_off_s * 2 ** min(self.pushed_back, 16)
        limit, most = self.options.longest_wait_s, 2 * self.options.give_up_after
        detail = None
        if seconds > limit:
            detail = f"to be left alone for {seconds:.0f} s, limit {limit:g} s"
        elif self.pushed_back >= most:
            detail = f"asked {most} times in a row to be left alone"
        if detail is not None:
            self.gone = now + max(seconds, GONE_S), "rate_limited", detail
            raise Refusal("rate_limited", detail, final=True)
        self.pause(seconds, now)

    def check(self, now: float) -> None:
        """Raises Refusal if the host is asked no more."""
        if self.gone is not None and now < self.gone[0]:
            raise Refusal(self.gone[1], self.gone[2], final=True)
        if now > self.deadline(now):
            raise Refusal("deadline", f"{self.name}: time of the host is over", final=True)

    def deadline(self, now: float) -> float:
        """`host_s` after the first request, and what the pace takes for all that is wanted."""
        started = now if self.started is None else self.started
        return started + self.options.host_s + self.site.planned * self.site.pace.interval_s


class Site:
    """A registered domain, whose hosts share one pace; a class, because it counts."""

    def __init__(self, options: FetchOptions, past: Past | None, shared: Shared | None) -> None:
        self.pace = Pace(options.per_host_per_second, past, shared)
        self.planned = 0


class Hosts:
    """All hosts of a call, or of many calls; a class, because it remembers them.

    Hosts that are not known to answer in good time wait for places of their own, so that dead
    ones don't keep places from the living. `past` tells what others have just asked of a site;
    those at the same `gate` keep the pace of each site together.
    """

    def __init__(
        self,
        options: FetchOptions,
        clock: Callable[[], float] = time.monotonic,
        past: Mapping[str, Past] | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.options, self.clock, self._past, self._gate = options, clock, past or {}, gate
        places = min(options.at_once, _most_connections())
        self._quick, self._unknown = asyncio.Semaphore(places), asyncio.Semaphore(places)
        self._answering = 0
        self._sites: dict[str, Site] = {}
        self._hosts: dict[tuple[str, int], Host] = {}
        self.waiting: dict[Host, str] = {}

    def of(self, target: Target) -> Host:
        key = target.host, target.port
        found = self._hosts.get(key)
        if found is None:
            name = site_of(target.host)
            site = self._sites.get(name)
            if site is None:
                shared = None if self._gate is None else Shared(self._gate, name)
                site = self._sites[name] = Site(self.options, self._past.get(name), shared)
            found = self._hosts[key] = Host(self.options, site, target.host)
        return found

    def past(self) -> dict[str, Past]:
        """What others have to know before they ask these sites."""
        return {name: site.pace.past() for name, site in self._sites.items()}

    def begin(self) -> None:
        """A new call: the time of every host starts again; those of long ago are forgotten."""
        now = self.clock()
        kept = {key: host for key, host in self._hosts.items() if not host.is_forgotten(now)}
        sites = {id(host.site) for host in kept.values()}
        self._hosts = kept
        self._sites = {name: site for name, site in self._sites.items() if id(site) in sites}
        for host in kept.values():
            host.begin()

    @asynccontextmanager
    async def turn(self, target: Target) -> AsyncIterator[Host]:
        """The right to send one request. Raises Refusal when the host is asked no more."""
        host = self.of(target)
        host.check(self.clock())
        if host.started is None:
            host.started = self.clock()
        host.inside += 1
        held: list[Callable[[], None]] = []
        try:
            async with asyncio.timeout(host.deadline(self.clock()) - self.clock()) as limit:
                await self._wait(host, held)
            yield host
        except TimeoutError:
            if not limit.expired():
                raise
            host.check(self.clock())
            raise Refusal("deadline", f"{host.name}: no turn in time", final=True) from None
        finally:
            for give_back in reversed(held):
                give_back()
            host.inside -= 1
            host.used = self.clock()
            if not host.inside:
                self.waiting.pop(host, None)

    async def _wait(self, host: Host, held: list[Callable[[], None]]) -> None:
        """For everything that a request needs; what is held is to be given back."""
        self.waiting[host] = "a place"
        await host.places.acquire()
        held.append(host.places.release)
        await self._wait_out(host)
        self.waiting[host] = "its pace"
        taken = await host.site.pace.take()
        held.append(lambda: host.site.pace.give_back(taken))
        self.waiting[host] = "an answer"
        pool = self._quick if host.is_quick else self._unknown
        await pool.acquire()
        held.append(pool.release)
        await self._wait_out(host)
        if pool is self._quick:
            self._answering += 1
            held.append(self._answered)

    def answering(self) -> int:
        """Requests under way to hosts that are known to answer in good time."""
        return self._answering

    def _answered(self) -> None:
        self._answering -= 1

    async def _wait_out(self, host: Host) -> None:
        """Until the host is not paused any more."""
        host.check(self.clock())
        while (left := host.paused_until - self.clock()) > 0:
            self.waiting[host] = "the end of a pause it asked for or needs"
            await asyncio.sleep(left)
            host.check(self.clock())


def _most_connections() -> int:
    """An eighth of the files this process may open: two pools, idle connections and look-ups share
    them, and there may be more doors than one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 256 if soft == resource.RLIM_INFINITY else max(soft // 8, 1)
