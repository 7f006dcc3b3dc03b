"""So many requests in any second and never more, counted where the server counts."""

import asyncio
import math

Taken = list[tuple[asyncio.Semaphore, float]]


class Pace:
    """The limit of one site; a class, because it counts what is under way.

    What is taken comes back one period after it was given back. A request arrives after it was
    taken and before it is given back, so between two arrivals by the same place lies a period.
    """

    def __init__(self, per_second: float) -> None:
        count = max(math.floor(per_second), 1)
        period = 1.0 if per_second >= 1 else 1 / per_second
        self._limits: Taken = [(asyncio.Semaphore(count), period)]
        self.interval_s = period / count
        self._delay = 0.0

    def slow_down(self, delay_s: float) -> None:
        """One request in `delay_s` from now on, the last one included."""
        if delay_s <= max(self.interval_s, self._delay):
            return
        self._delay = self.interval_s = delay_s
        one = asyncio.Semaphore(0), delay_s
        asyncio.get_running_loop().call_later(delay_s, one[0].release)
        self._limits.append(one)

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
        for semaphore, period_s in taken:
            loop.call_later(period_s, semaphore.release)
