"""When a fetch leaves room for another one beside it: as soon as it waits more than it works."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.fetch.engine import Progress

_FOR_S = 5.0  # long enough for hosts that are new to have answered
_CPU = 0.5  # seconds of this process a second


@dataclass
class Room:
    """Calls `found` when there is room, at a look at the progress. Mutable: it remembers since when
    there may be."""

    found: Callable[[], None]
    _since: tuple[float, float] | None = None  # the time, and the CPU time of this process

    def look(self, progress: Progress) -> None:
        """There is room when neither hosts nor this process were busy for some seconds."""
        now = time.monotonic(), time.process_time()
        if self._since is None or progress.is_busy:
            self._since = now
            return
        passed, worked = now[0] - self._since[0], now[1] - self._since[1]
        if passed >= _FOR_S:
            self._since = now
            if worked < _CPU * passed:
                self.found()
