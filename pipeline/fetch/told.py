"""Says now and then how far a fetch is, and what it waits for."""

import logging
import time
from dataclasses import dataclass

from pipeline.fetch.engine import Progress

_EVERY_S = 10.0
_LOGGER = logging.getLogger(__name__)


@dataclass
class Told:
    """Tells of one piece of work through logging. Mutable: it knows when it told last."""

    label: str
    what: str = "URLs"
    at: float = 0.0

    def tell(self, progress: Progress) -> None:
        """A line at most every ten seconds; nothing of what ends before."""
        now = time.monotonic()
        if not self.at:
            self.at = now
        elif now - self.at >= _EVERY_S:
            waiting = f"; waiting for {progress.waiting}" if progress.waiting else ""
            shown = self.label, progress.done, progress.total, self.what, waiting
            _LOGGER.info("%s: %d of %d %s%s", *shown)
            self.at = now
