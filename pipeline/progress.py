"""Tell how far a stage is: a bar on a terminal, otherwise one line per shard through logging.

Both show count, rate and time left. Nothing here changes what a stage does.
"""

import logging
import sys
import time
from datetime import timedelta
from typing import IO, Any, Protocol

_LOGGER = logging.getLogger(__name__)


class Progress(Protocol):
    """Is told when a stage begins, when each of its tasks has ended, and when it is over."""

    def begin(self, stage: str, total: int) -> None: ...

    def ended(self, task: str, record: dict[str, Any]) -> None: ...

    def finish(self) -> None: ...


def choose_progress(stream: IO[str] | None = None) -> Progress:
    """A bar when the stream (standard error by default) is a terminal, log lines otherwise."""
    stream = stream if stream is not None else sys.stderr
    return BarProgress(stream) if stream.isatty() else LogProgress()


class LogProgress:
    """One line per task at INFO, at WARNING when it failed. Mutable: it counts."""

    def __init__(self) -> None:
        self._stage, self._total, self._count, self._started = "", 0, 0, 0.0

    def begin(self, stage: str, total: int) -> None:
        self._stage, self._total, self._count = stage, total, 0
        self._started = time.monotonic()

    def ended(self, task: str, record: dict[str, Any]) -> None:
        self._count += 1
        level = logging.WARNING if record["status"] == "failed" else logging.INFO
        _LOGGER.log(level, "%s: %s %s (%s)", self._stage, task, outcome(record), self._rate())

    def finish(self) -> None:
        return

    def _rate(self) -> str:
        per_second = self._count / max(time.monotonic() - self._started, 1e-3)
        left = timedelta(seconds=round((self._total - self._count) / per_second))
        return f"{self._count} of {self._total}, {_per_minute(per_second)}, {left} left"


class BarProgress:
    """A bar of `rich` that leaves failed tasks standing above it. Mutable: it owns the bar."""

    def __init__(self, stream: IO[str]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._stage, self._started, self._count = "", 0.0, 0
        self._stream = stream
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(file=stream),
        )

    def begin(self, stage: str, total: int) -> None:
        self._stage, self._count, self._started = stage, 0, time.monotonic()
        self._row = self._bar.add_task(stage, total=total, rate="")
        self._bar.start()
        _redirect_logs(self._stream, sys.stderr)

    def ended(self, task: str, record: dict[str, Any]) -> None:
        self._count += 1
        if record["status"] == "failed":
            text = f"{self._stage}: {task} {outcome(record)}"
            self._bar.console.print(text, markup=False, highlight=False)
        per_second = self._count / max(time.monotonic() - self._started, 1e-3)
        self._bar.update(self._row, advance=1, rate=_per_minute(per_second))

    def finish(self) -> None:
        _redirect_logs(sys.stderr, self._stream)
        self._bar.stop()


def _redirect_logs(old: IO[str], new: IO[str]) -> None:
    """Have log lines go to another stream: while a bar is shown, `sys.stderr` writes above it."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is old:
            handler.setStream(new)


def outcome(record: dict[str, Any]) -> str:
    """How one task ended, in a few words."""
    if record["status"] == "failed":
        return f"failed: {record['error']}"
    stats = record["stats"]
    if "wait_s" not in stats:
        return f"done in {record['wall_s']:.1f} s"
    parts = f"loading {stats['load_s']:.1f} s, waiting for data {stats['wait_s']:.1f} s"
    return f"done in {record['wall_s']:.1f} s, of which {parts}"


def _per_minute(per_second: float) -> str:
    return f"{60 * per_second:,.{0 if per_second > 1 else 1}f} a minute"
