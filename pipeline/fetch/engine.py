"""Many URLs of many hosts at once, in order of completion; always ends, with an outcome for each.

No host waits for another: every host has its own line, and slow or dead ones keep no places from
those that answer.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.fetch.client import Client
from pipeline.fetch.fetcher import Fetcher, failure
from pipeline.fetch.gate import Gate
from pipeline.fetch.hosts import Host, Hosts
from pipeline.fetch.journey import Road
from pipeline.fetch.manners import Manners
from pipeline.fetch.options import FetchOptions, Wanted
from pipeline.fetch.outcome import Outcome, Refusal
from pipeline.fetch.pace import Past
from pipeline.fetch.resolver import Lookup, Resolver
from pipeline.fetch.target import Target, parse_target

Numbered = tuple[int, Outcome]
Line = deque[tuple[int, Wanted, Target]]
_SHOWN = 3
_BUSY = 0.25  # of `at_once`, by hosts that answer
_LINES = 8  # times `at_once`: hosts that are begun; more would leave connections idle too long
_TURNS = 4  # in which all the bytes that may be held are handed over
_FOR_ANOTHER = 4  # URLs of a host that are worth another connection


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call is: URLs with an outcome, all of them, and what the rest waits for.

    `is_busy` when the hosts that answer in good time take much of what may be asked at once.
    """

    done: int
    total: int
    waiting: str
    is_busy: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """What is ready now; `is_last` when there will be no more."""

    outcomes: list[Numbered] = field(repr=False)
    progress: Progress
    is_last: bool


class Web:
    """What is known of hosts, and connections to them, for any number of calls after each other.

    A class, because it remembers; it belongs to the event loop it was made on.
    """

    def __init__(
        self,
        options: FetchOptions,
        lookup: Lookup | None = None,
        past: Mapping[str, Past] | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.options = options
        self.loop = asyncio.get_running_loop()
        self.idle_s = 0.0
        hosts = Hosts(options, self.clock, past, gate)
        self.resolver = Resolver(options, lookup)
        self.road = Road(options, hosts, Client(options, self.resolver))
        self.manners = Manners(self.road)
        self.fetcher = Fetcher(options, self.road, self.manners)

    def clock(self) -> float:
        """Seconds, without those in which nobody took what was ready."""
        return self.loop.time() - self.idle_s

    def begin(self) -> None:
        """A new call: the time of every host starts again, and what is old is forgotten."""
        self.road.hosts.begin()
        self.manners.begin()
        self.resolver.begin()

    async def close(self) -> None:
        await self.manners.close()
        await self.road.client.close()


class Run:
    """One call, on the running event loop. A class, because it holds lines and results.

    Time in which nobody takes results does not count against the limits of host and call.
    """

    def __init__(self, urls: Iterable[str | Wanted], web: Web) -> None:
        self._web, self._options = web, web.options
        self._budget = web.road.client.budget
        self._left_at, self._started = web.loop.time(), web.clock()
        self._ready: deque[Numbered] = deque()
        self._handed = 0  # bytes of the last batch
        self._open: set[int] = set()
        self._news = asyncio.Event()
        self._error: BaseException | None = None
        self._later: deque[Line] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._start([Wanted(url) if isinstance(url, str) else url for url in urls])

    def _start(self, wanted: Sequence[Wanted]) -> None:
        self._total = len(wanted)
        self._web.begin()
        lines: dict[Host, Line] = {}
        for number, one in enumerate(wanted):
            try:
                target = parse_target(one.url, self._options)
            except Refusal as refusal:
                self._ready.append((number, failure(refusal)))
                continue
            host = self._web.road.hosts.of(target)
            lines.setdefault(host, deque()).append((number, one, target))
            self._open.add(number)
        for host, line in lines.items():
            host.site.planned += len(line)
            lanes = min(self._options.per_host_at_once, -(-len(line) // _FOR_ANOTHER))
            self._later.extend([line] * lanes)
        for _ in range(min(_LINES * self._options.at_once, len(self._later))):
            self._start_line()

    def _start_line(self) -> None:
        task = self._web.loop.create_task(self._line(self._later.popleft()))
        task.add_done_callback(self._ended)
        self._tasks.add(task)

    async def _line(self, line: Line) -> None:
        """The URLs of one host, one after the other; several tasks share a line."""
        while line:
            await self._budget.room()
            if not line:
                break
            number, wanted, target = line.popleft()
            # Not under a name here, which would hold the body until the next one is there.
            self._tell(number, await self._web.fetcher.fetch(wanted, target))

    def _tell(self, number: int, outcome: Outcome) -> None:
        self._budget.free(-len(outcome.data or b""))
        self._open.discard(number)
        self._ready.append((number, outcome))
        self._news.set()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if self._later:
            self._start_line()
        if not task.cancelled() and task.exception() is not None:
            self._error = self._error or task.exception()
        self._news.set()

    async def batch(self, wait_s: float = 1.0) -> Batch:
        """What is ready, after at most `wait_s`. Raises what went wrong in this program."""
        self._web.idle_s += self._web.loop.time() - self._left_at
        self._budget.free(self._handed)
        self._handed = 0
        await self._wait(wait_s)
        if self._error is not None:
            raise self._error
        if self._open and self._time_left() <= 0:
            await self._stop()
            late = Refusal("deadline", f"no outcome after {self._options.shard_s:g} s")
            for number in sorted(self._open):
                self._tell(number, failure(late))
        batch = Batch(self._taken(), self.progress(), not self._open and not self._ready)
        self._left_at = self._web.loop.time()
        return batch

    def _taken(self) -> list[Numbered]:
        """What is handed over, and held until more is asked for: some of it, so that others come
        meanwhile."""
        taken = []
        while self._ready and self._handed < self._options.held_bytes / _TURNS:
            taken.append(self._ready.popleft())
            self._handed += len(taken[-1][1].data or b"")
        return taken

    def _time_left(self) -> float:
        return self._started + self._options.shard_s - self._web.clock()

    async def _wait(self, wait_s: float) -> None:
        self._news.clear()
        if self._ready or not self._open or self._error is not None:
            return
        try:
            async with asyncio.timeout(max(min(wait_s, self._time_left()), 0.0)):
                await self._news.wait()
        except TimeoutError:
            return

    def progress(self) -> Progress:
        waiting = self._web.road.hosts.waiting
        shown = [f"{host.name} ({what})" for host, what in list(waiting.items())[:_SHOWN]]
        more = len(waiting) - len(shown)
        text = ", ".join([*shown, *([f"{more} more hosts"] if more else [])])
        busy = self._web.road.hosts.answering() > _BUSY * self._options.at_once
        return Progress(self._total - len(self._open), self._total, text, busy)

    async def close(self) -> None:
        """End what is under way, and forget what nobody took."""
        await self._stop()
        self._budget.free(self._handed + sum(len(one.data or b"") for _, one in self._ready))
        self._handed = 0
        self._ready.clear()

    async def _stop(self) -> None:
        self._later.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def fetch(urls: Iterable[str | Wanted], web: Web) -> AsyncIterator[Numbered]:
    """The outcome of every URL with its number in the list, in order of completion."""
    run = Run(urls, web)
    try:
        while True:
            batch = await run.batch()
            for numbered in batch.outcomes:
                yield numbered
            if batch.is_last:
                return
    finally:
        await run.close()
