"""When a fetch leaves room for another one beside it: as soon as it waits more than it works."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.fetch.engine import Progress

_FOR_S = 3.0  # long enough for hosts that are new to have answered
_CPU = 0.75  # seconds of this process a second


@dataclass
class Room:
    """Calls `found` when there is room, at a look at the progress. Mutable: it remembers since when
    there may be."""

    found: Callable[[], None]
    _looks: deque[tuple[float, float]] = field(default_factory=deque)  # time, CPU time till then

    def look(self, progress: Progress) -> None:
        """There is room when neither hosts nor this process were busy for some seconds."""
        now, worked = time.monotonic(), time.process_time()
        if progress.is_busy:
            self._looks.clear()
        while len(self._looks) > 1 and now - self._looks[1][0] >= _FOR_S:
            self._looks.popleft()
        self._looks.append((now, worked))
        since, before = self._looks[0]
        if now - since >= _FOR_S and worked - before < _CPU * (now - since):
            self.found()
