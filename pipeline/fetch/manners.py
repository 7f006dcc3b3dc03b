"""What a host asks of its visitors: robots.txt and /.well-known/tdmrep.json, each read once.

RFC 9309: a robots.txt that the host says it has not (4xx) allows all; one that can't be had (5xx,
no answer) forbids all, for a day at most. 429 counts as the latter. Of more than five redirects
it is taken as absent.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pipeline.fetch.bodies import ENCODINGS
from pipeline.fetch.client import Ask
from pipeline.fetch.hosts import GONE_S
from pipeline.fetch.journey import Journey, Road
from pipeline.fetch.outcome import Refusal
from pipeline.fetch.rules import MAX_BYTES, Rules, best_match, parse_rules
from pipeline.fetch.target import Target

KEPT_S = 86_400.0
_MOST_REDIRECTS = 5
_ATTEMPTS = 2
_ASK = Ask("text/plain,*/*;q=0.5", ENCODINGS, MAX_BYTES, cut=True)
_TDM_ASK = Ask("application/json", ENCODINGS, 1 << 18)
_ABSENT = frozenset(
    {"too_many_redirects", "redirect_loop", "bad_redirect", "blocked_address", "port_not_allowed"}
)
_IN_PLACE = 1 << 15
_MOST_RULES = 10_000
_MOST_KNOWN = 20_000

Known = TypeVar("Known")


@dataclass(slots=True)
class _Entry(Generic[Known]):
    task: "asyncio.Task[Known]"
    since: float


class Once(Generic[Known]):
    """One answer for each origin, however many ask for it at a time; for a day.

    A class, because it remembers. What is asked once is not given up when one who asks is.
    """

    def __init__(
        self, ask: Callable[[Target], Awaitable[Known]], clock: Callable[[], float]
    ) -> None:
        self._ask, self._clock = ask, clock
        self._known: dict[str, _Entry[Known]] = {}

    async def of(self, target: Target) -> Known:
        entry = self._known.pop(target.origin, None)
        if entry is None or self._is_over(entry):
            task = asyncio.ensure_future(self._ask(target))
            entry = _Entry(task, self._clock())
        self._known[target.origin] = entry  # the last of them: used last
        if entry.task.done():
            return entry.task.result()
        return await asyncio.shield(entry.task)

    def begin(self) -> None:
        """Forget those that were used least recently, beyond a number."""
        for origin in list(self._known)[:-_MOST_KNOWN]:
            if self._known[origin].task.done():
                del self._known[origin]

    def _is_over(self, entry: _Entry[Known]) -> bool:
        """A day has passed, or some minutes since the host itself could not be had."""
        if not entry.task.done():
            return False
        if entry.task.cancelled():
            return True
        found = entry.task.result()
        brief = isinstance(found, Refusal) and found.reason != "robots_unreachable"
        return self._clock() - entry.since > (GONE_S if brief else KEPT_S)

    async def close(self) -> None:
        tasks = [entry.task for entry in self._known.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Manners:
    """The rules of all hosts met. A class, because it remembers them."""

    def __init__(self, road: Road) -> None:
        self._road = road
        self._robots: Once[Rules | Refusal] = Once(self._ask_robots, road.hosts.clock)
        self._tdm: Once[tuple[tuple[str, str], ...]] = Once(self._ask_tdm, road.hosts.clock)

    async def signals(self, target: Target) -> dict[str, str]:
        """What the host says of this path's use. Raises Refusal if robots.txt forbids to ask."""
        found: dict[str, str] = {}
        file, may_ask = target.at("/.well-known/tdmrep.json"), True
        if target.host not in self._road.options.robots_ignored:
            rules = await self._robots.of(target)
            if isinstance(rules, Refusal):
                raise rules.for_good()  # one that is raised again keeps the frames of each time
            if not rules.allow(target.url):
                raise Refusal("robots", f"{target.origin}/robots.txt", final=True)
            found, may_ask = rules.signals(target.path), rules.allow(file.url)
        if may_ask and "tdm" in self._road.options.refuse:
            reserved = best_match(await self._tdm.of(file), target.path)
            if reserved is not None:
                found["tdmrep.json tdm-reservation"] = reserved
        return found

    def begin(self) -> None:
        self._robots.begin()
        self._tdm.begin()

    async def close(self) -> None:
        """End what is being asked."""
        await self._robots.close()
        await self._tdm.close()

    async def _ask_robots(self, target: Target) -> Rules | Refusal:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._read_robots(target)
            except Refusal as refusal:
                last = refusal
            if last.final or not last.retriable or attempt == _ATTEMPTS:
                break
        return _unreachable(last)

    async def _read_robots(self, target: Target) -> Rules:
        journey = Journey(target.at("/robots.txt"))
        try:
            answer = await self._road.travel(journey, _ASK, None, _MOST_REDIRECTS)
        except Refusal as refusal:
            if journey.seen and refusal.reason in _ABSENT:
                return Rules()
            raise
        if answer.body is None:
            return Rules()
        options = self._road.options
        if len(answer.body) > _IN_PLACE:
            rules = await asyncio.to_thread(parse_rules, answer.body, options)
        else:
            rules = parse_rules(answer.body, options)
        if rules.delay_s is not None:
            self._road.hosts.of(target).site.pace.slow_down(rules.delay_s)
        return rules

    async def _ask_tdm(self, target: Target) -> tuple[tuple[str, str], ...]:
        """Pairs of path pattern and reservation; a file that can't be had reserves nothing."""
        try:
            journey = Journey(target)
            answer = await self._road.travel(journey, _TDM_ASK, None, _MOST_REDIRECTS)
        except Refusal:
            return ()
        return () if answer.body is None else reservations(answer.body)


def _unreachable(refusal: Refusal) -> Refusal:
    """A host that can't be reached at all keeps its own reason."""
    own = refusal.unsent or refusal.reason in ("rate_limited", "host_gave_up", "deadline")
    if own:
        return refusal.for_good()
    detail = f"{refusal.reason}: {refusal.detail}"
    return Refusal("robots_unreachable", detail, final=True)


def reservations(data: bytes) -> tuple[tuple[str, str], ...]:
    """The rules of a tdmrep.json as pairs of path pattern and `0` or `1`; none if it is no such.

    Where several fit a path the longest pattern counts, as in robots.txt.
    """
    try:
        read: Any = json.loads(data)
    except (ValueError, RecursionError):
        return ()
    rules = []
    for rule in read[:_MOST_RULES] if isinstance(read, list) else []:
        location = rule.get("location") if isinstance(rule, dict) else None
        reserved = rule.get("tdm-reservation") if isinstance(rule, dict) else None
        if isinstance(location, str) and reserved in (0, 1, "0", "1"):
            path = location if location.startswith(("/", "*")) else f"/{location}"
            rules.append((path, str(int(reserved))))
    return tuple(rules)
