"""So many requests in any second and never more, counted where the server counts."""

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass

from pipeline.fetch.gate import PLACES, Gate

Limit = tuple[asyncio.Semaphore, float]
_MOST = 10_000  # in a second: nobody is that fast, and every one of them is remembered
_LONGEST_S, _SHORTEST_S = 1.0, 0.0005  # between two looks at a gate


@dataclass(frozen=True, slots=True)
class Taken:
    """What a request holds: places of limits, and that of a gate with its period."""

    limits: list[Limit]
    place: int | None
    period_s: float


@dataclass(frozen=True, slots=True)
class Shared:
    """The gate of all processes, and the name of the site there."""

    gate: Gate
    site: str


@dataclass(frozen=True, slots=True)
class Past:
    """When the last requests to a site ended, by time.monotonic, and the delay it has asked for."""

    ended: tuple[float, ...] = ()
    delay_s: float = 0.0
    until: float = 0.0  # when nothing of it counts any more


class Pace:
    """The limit of one site; a class, because it counts what is under way.

    What is taken comes back one period after it was given back. A request arrives after it was
    taken and before it is given back, so between two arrivals by the same place lies a period.
    Requests of the `past`, by another event loop of this process, count as well, and those of
    all who share a gate.
    """

    def __init__(
        self, per_second: float, past: Past | None = None, shared: Shared | None = None
    ) -> None:
        self._shared, self._common = shared, _common(per_second)
        count = min(max(math.floor(per_second), 1), _MOST)
        period = 1.0 if per_second >= 1 else 1 / per_second
        self.interval_s = period / count
        self._delay = 0.0
        self._ended: deque[float] = deque(past.ended if past else (), maxlen=count)
        ages = [time.monotonic() - moment for moment in self._ended]
        waiting = [period - age for age in ages if age < period]
        self._limits: list[Limit] = [(_places(count - len(waiting), waiting), period)]
        if past is not None and past.delay_s:
            self.slow_down(past.delay_s, min(ages, default=past.delay_s))

    def slow_down(self, delay_s: float, age_s: float = 0.0) -> None:
        """One request in `delay_s` from now on, the last one included, which was `age_s` ago."""
        if delay_s <= max(self.interval_s, self._delay):
            return
        self._delay = self.interval_s = delay_s
        self._common = 1, delay_s
        self._limits.append((_places(0, [max(delay_s - age_s, 0.0)]), delay_s))

    def past(self) -> Past:
        """What another pace of this site has to know; what is under way has ended now."""
        longest = max(period for _, period in self._limits)
        return Past(tuple(self._ended), self._delay, max(self._ended, default=0.0) + longest)

    async def take(self) -> Taken:
        taken: list[Limit] = []
        try:
            for limit in self._limits:  # one that is added meanwhile is met too
                await limit[0].acquire()
                taken.append(limit)
            place = await self._through()
        except BaseException:
            for semaphore, _ in taken:
                semaphore.release()
            raise
        return Taken(taken, place, self._common[1])

    async def _through(self) -> int | None:
        """The place that the gate of all processes gives."""
        if self._shared is None:
            return None
        while True:
            found = self._shared.gate.take(self._shared.site, self._common[0])
            if isinstance(found, int):
                return found
            await asyncio.sleep(min(max(found.seconds, _SHORTEST_S), _LONGEST_S))

    def give_back(self, taken: Taken) -> None:
        loop = asyncio.get_running_loop()
        self._ended.append(time.monotonic())
        if self._shared is not None and taken.place is not None:
            self._shared.gate.give_back(taken.place, taken.period_s)
        for semaphore, period_s in taken.limits:
            loop.call_later(period_s, semaphore.release)


def _common(per_second: float) -> tuple[int, float]:
    """How many places of a gate, and for how long each, that no second has more requests.

    A gate has so many places and no more; beyond that each is for a part of a second.
    """
    if per_second < 1:
        return 1, 1 / per_second
    each = per_second / PLACES
    return min(math.floor(per_second), PLACES), 1 / (each - 1) if each >= 2 else 1.0


def _places(free: int, waiting: list[float]) -> asyncio.Semaphore:
    """So many places, and one more after each of these seconds."""
    made = asyncio.Semaphore(free)
    for seconds in waiting:
        asyncio.get_running_loop().call_later(seconds, made.release)
    return made
