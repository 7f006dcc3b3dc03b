"""So many requests in any second and never more, counted where the server counts."""

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass

Taken = list[tuple[asyncio.Semaphore, float]]
_MOST = 10_000  # in a second: nobody is that fast, and every one of them is remembered


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
    Requests of the `past`, by another event loop of this process, count as well.
    """

    def __init__(self, per_second: float, past: Past | None = None) -> None:
        count = min(max(math.floor(per_second), 1), _MOST)
        period = 1.0 if per_second >= 1 else 1 / per_second
        self.interval_s = period / count
        self._delay = 0.0
        self._ended: deque[float] = deque(past.ended if past else (), maxlen=count)
        ages = [time.monotonic() - moment for moment in self._ended]
        waiting = [period - age for age in ages if age < period]
        self._limits: Taken = [(_places(count - len(waiting), waiting), period)]
        if past is not None and past.delay_s:
            self.slow_down(past.delay_s, min(ages, default=past.delay_s))

    def slow_down(self, delay_s: float, age_s: float = 0.0) -> None:
        """One request in `delay_s` from now on, the last one included, which was `age_s` ago."""
        if delay_s <= max(self.interval_s, self._delay):
            return
        self._delay = self.interval_s = delay_s
        self._limits.append((_places(0, [max(delay_s - age_s, 0.0)]), delay_s))

    def past(self) -> Past:
        """What another pace of this site has to know; what is under way has ended now."""
        longest = max(period for _, period in self._limits)
        return Past(tuple(self._ended), self._delay, max(self._ended, default=0.0) + longest)

    async def take(self) -> Taken:
        taken: Taken = []
        try:
            for limit in self._limits:  # one that is added meanwhile is met too
                await limit[0].acquire()
                taken.append(limit)
        except asyncio.CancelledError:
            for semaphore, _ in taken:
                semaphore.release()
            raise
        return taken

    def give_back(self, taken: Taken) -> None:
        loop = asyncio.get_running_loop()
        self._ended.append(time.monotonic())
        for semaphore, period_s in taken:
            loop.call_later(period_s, semaphore.release)


def _places(free: int, waiting: list[float]) -> asyncio.Semaphore:
    """So many places, and one more after each of these seconds."""
    made = asyncio.Semaphore(free)
    for seconds in waiting:
        asyncio.get_running_loop().call_later(seconds, made.release)
    return made
