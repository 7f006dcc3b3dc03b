"""The way in for code that knows no event loop: fetching goes on in a thread of its own."""

import asyncio
import gc
import resource
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.errors import CurationError
from pipeline.fetch.engine import Batch, Numbered, Progress, Run, Web
from pipeline.fetch.gate import Gate
from pipeline.fetch.options import FetchOptions, Wanted
from pipeline.fetch.outcome import Refusal
from pipeline.fetch.pace import Past
from pipeline.fetch.resolver import Lookup
from pipeline.fetch.target import parse_target

Value = TypeVar("Value")
_EVERY_S = 1.0
_FILES = 1 << 14  # connections and all else
_GARBAGE = 10_000  # new objects between two looks for cycles; 700 cost a fifth of the time


@dataclass(frozen=True, slots=True)
class Door:
    """Fetches lists, one after the other, with one memory of hosts: robots.txt, pace, failures."""

    web: Web
    loop: asyncio.AbstractEventLoop

    def fetched(
        self,
        urls: Sequence[str | Wanted],
        progress: Callable[[Progress], None] | None = None,
    ) -> Iterator[Numbered]:
        """The outcome of every URL with its number in the list, in order of completion.

        `progress` is told about once a second, and at the end. Raises CurationError when no contact
        is named for hosts that are not allowed by name.
        """
        _check_contact(urls, self.web.options)
        run = _done(self.loop, _started(urls, self.web))
        told = time.monotonic()
        try:
            while True:
                batch: Batch = _done(self.loop, run.batch(_EVERY_S))
                batch.outcomes.reverse()
                while batch.outcomes:
                    yield batch.outcomes.pop()  # kept no longer than it is of use
                if progress and (batch.is_last or time.monotonic() - told >= _EVERY_S):
                    progress(batch.progress)
                    told = time.monotonic()
                if batch.is_last:
                    return
        finally:
            _done(self.loop, run.close())


@contextmanager
def opened(
    options: FetchOptions,
    lookup: Lookup | None = None,
    past: dict[str, Past] | None = None,
    gate: Gate | None = None,
) -> Iterator[Door]:
    """A door for as long as the context lasts; `lookup` stands in for the system's names.

    Doors that are given the same `past`, one after the other, keep the pace of each site together;
    so do those at the same `gate`, at a time, in any process.
    From then on this process may open as many files as the system lets it, and looks for garbage
    in cycles less often.
    """
    _allow_files()
    _collect_less()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fetch", daemon=True)
    thread.start()
    try:
        web = _done(loop, _web(options, lookup, past, gate))
        try:
            yield Door(web, loop)
        finally:
            _done(loop, web.close())
            if past is not None:
                _remember(past, web.road.hosts.past())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def fetched(
    urls: Sequence[str | Wanted],
    options: FetchOptions,
    progress: Callable[[Progress], None] | None = None,
    lookup: Lookup | None = None,
) -> Iterator[Numbered]:
    """One list through a door of its own: see Door.fetched."""
    with opened(options, lookup) as door:
        yield from door.fetched(urls, progress)


def _allow_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    many = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < many:
        with suppress(OSError, ValueError):  # less than it says, as on some systems
            resource.setrlimit(resource.RLIMIT_NOFILE, (many, hard))


def _collect_less() -> None:
    first, *others = gc.get_threshold()
    if 0 < first < _GARBAGE:  # 0: never
        gc.set_threshold(_GARBAGE, *others)


def _done(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Value]) -> Value:
    return asyncio.run_coroutine_threadsafe(work, loop).result()


async def _web(
    options: FetchOptions,
    lookup: Lookup | None,
    past: dict[str, Past] | None,
    gate: Gate | None,
) -> Web:
    return Web(options, lookup, past, gate)


def _remember(past: dict[str, Past], asked: dict[str, Past]) -> None:
    past.update(asked)
    now = time.monotonic()
    for name in [name for name, one in past.items() if one.until < now]:
        del past[name]


async def _started(urls: Iterable[str | Wanted], web: Web) -> Run:
    return Run(urls, web)


def _check_contact(urls: Iterable[str | Wanted], options: FetchOptions) -> None:
    if options.contact is not None:
        return
    for url in urls:
        try:
            target = parse_target(url if isinstance(url, str) else url.url, options)
        except Refusal:
            continue
        if not target.allowed:
            raise CurationError(
                f"{target.host}: no contact is named, and it is not among allow_hosts; hosts "
                "have to know whom to ask: contact: a URL or mailto: address"
            )
