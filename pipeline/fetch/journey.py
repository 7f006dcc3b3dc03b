"""A request from its first URL to the last of its redirects, each at its own host's turn."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from pipeline.fetch.client import Answer, Ask, Client
from pipeline.fetch.hosts import Hosts
from pipeline.fetch.options import FetchOptions
from pipeline.fetch.outcome import Refusal
from pipeline.fetch.target import Target, redirected

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LONGEST_S = 10**9  # of a Retry-After; more is never
Before = Callable[[Target], Awaitable[None]]


@dataclass(slots=True)
class Journey:
    """Where a request has been; not frozen, because it goes on. `spent_s` is the time of requests
    alone, without waiting for turns."""

    target: Target
    seen: list[str] = field(default_factory=list)
    status: int | None = None
    spent_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Road:
    """What every request needs: the rules, the turns and the connections."""

    options: FetchOptions
    hosts: Hosts
    client: Client

    async def visit(self, journey: Journey, ask: Ask, seconds: float) -> Answer:
        """One request at its host's turn. Raises Refusal; the host's record is kept."""
        left = seconds - journey.spent_s
        if left <= 0:
            raise Refusal("timeout", f"no end after {seconds:.1f} s, redirects included")
        async with self.hosts.turn(journey.target) as host:
            started = time.monotonic()
            try:
                answer = await self.client.get(journey.target, ask, left)
            except Refusal as refusal:
                host.failed(refusal, journey.target.url, self.hosts.clock())
                raise
            finally:
                took = time.monotonic() - started
                journey.spent_s += took
            journey.status = answer.status
            self._judge(answer, journey.target, took)
        return answer

    def _judge(self, answer: Answer, target: Target, took: float) -> None:
        """What a status says about the host. Raises Refusal for those that speak of it alone."""
        host, now = self.hosts.of(target), self.hosts.clock()
        after = retry_after(answer.headers.get("Retry-After"))
        if answer.status == 429 or (answer.status == 503 and after is not None):
            host.forgive()
            host.leave(after, now)
            raise Refusal("rate_limited", f"status {answer.status}")
        if answer.status >= 500:
            refusal = Refusal("server_error", f"status {answer.status}")
            host.failed(refusal, target.url, now)
            raise refusal
        host.answered(took)

    async def travel(self, journey: Journey, ask: Ask, before: Before | None, most: int) -> Answer:
        """The answer at the end of all redirects. Raises Refusal."""
        while True:
            if before is not None:
                await before(journey.target)
            answer = await self.visit(journey, ask, self.options.request_s)
            if answer.status not in _REDIRECTS:
                return answer
            journey.seen.append(journey.target.url)
            location = answer.headers.get("Location")
            following = redirected(journey.target, location, self.options)
            if following.url in journey.seen:
                raise Refusal("redirect_loop", f"again to {following.url}")
            if len(journey.seen) > most:
                raise Refusal("too_many_redirects", f"more than {most}")
            journey.target = following


def retry_after(text: str | None) -> float | None:
    """The seconds of a Retry-After, given so or as a date; None if there is none to read."""
    if text is None:
        return None
    try:
        return float(min(max(int(text.strip()), 0), _LONGEST_S))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max((date - datetime.now(UTC)).total_seconds(), 0.0)
