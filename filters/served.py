"""Ask a model server – OpenAI's, vLLM, SGLang, llama.cpp, Ollama – and pay for no answer twice.

`ask` takes any number of requests from any thread or process and gives an answer or an error for
each, in order; equal ones are sent once, and what is in the cache of `keep_in` not at all. It
never raises for a request: what can go wrong is in `filters.served_errors`.
"""

import asyncio
import atexit
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from filters.served_cache import FILE, Store
from filters.served_errors import (
    BadAnswer,
    BudgetSpent,
    Filtered,
    NotOfSchema,
    NotThere,
    Refused,
    ServedError,
    ServerFailed,
    ServerUnavailable,
    TimedOut,
    TooLong,
    Unauthorized,
    Unsupported,
)
from filters.served_types import Answer, Costs, Request, Server

__all__ = [
    "Answer",
    "BadAnswer",
    "BudgetSpent",
    "Costs",
    "Filtered",
    "NotOfSchema",
    "NotThere",
    "Refused",
    "Request",
    "ServedError",
    "Server",
    "ServerFailed",
    "ServerUnavailable",
    "TimedOut",
    "TooLong",
    "Unauthorized",
    "Unsupported",
    "ask",
    "dry_run",
    "keep_in",
    "recall",
]
_CLOSING_S = 2.0
_RUNS = 2  # in which a server fails at a request before that is said to be the request's fault


def ask(
    requests: Sequence[Request], server: Server, names: Sequence[bytes | None] = ()
) -> list[Answer | ServedError]:
    """An answer or an error for each request, in order. Blocks until all have theirs.

    Only answers are stored: a request that failed is sent again by the next call. Where they are,
    a request at which the server failed, or was late, is retriable once: it may have been the
    server, and a NULL would stay. When it fails in the next run, too, that is about the request.
    `names`, one for each request, are by what `recall` finds the answers later.
    """
    here = _here()
    keys = [request.key(server.model) for request in requests]
    wanted = dict(zip(keys, requests, strict=True))
    store = here.store()
    found: dict[bytes, Answer | ServedError] = {**store.recall(list(wanted))}
    rest = {key: request for key, request in wanted.items() if key not in found}
    if rest:
        found |= _put_off(here.answer_all(rest, server, store), store)
    named = zip(names, keys, strict=True) if names else ()
    store.name({n: key for n, key in named if n is not None and isinstance(found[key], Answer)})
    return [found[key] for key in keys]


def recall(names: Sequence[bytes]) -> dict[bytes, Answer]:
    """The answers that are stored under these names; nothing is asked."""
    return _here().store().recall_named(names)


def _put_off(
    found: dict[bytes, Answer | ServedError], store: Store
) -> dict[bytes, Answer | ServedError]:
    """The same, with failures of the server retriable that have not been seen in a run before."""
    failed = {
        key: error
        for key, error in found.items()
        if isinstance(error, ServerFailed | TimedOut) and not error.retriable
    }
    times = store.note_failures(list(failed))
    for key, error in failed.items():
        if times.get(key, _RUNS) < _RUNS:
            again = type(error)(f"{error}; run again, and it is asked once more")
            again.retriable = again.is_alone = True
            found[key] = again
    return found


def dry_run(requests: Sequence[Request], server: Server) -> Costs:
    """What `ask` would send now, without sending anything."""
    wanted = {request.key(server.model): request for request in requests}
    cached = _here().store().recall(list(wanted))
    rest = [request for key, request in wanted.items() if key not in cached]
    return Costs(
        requests=len(rest),
        cached=len(cached),
        repeated=len(requests) - len(wanted),
        tokens_in=sum(request.tokens_in for request in rest),
        tokens_out=sum(request.tokens_out for request in rest),
    )


def keep_in(folder: str | None) -> None:
    """Store answers in `folder`/requests.sqlite from now on, in this process and those it forks.

    Several processes may name the same folder. With None, nothing is stored any more.
    """
    _Kept.path = None if folder is None else os.path.join(folder, FILE)


class _Kept:
    """Where answers are kept: one place for a process, as its scorers share one build."""

    path: str | None = None


class _Here:
    """What a process needs to ask: an event loop on a thread, lines to servers, the store.

    A class because all of it is made at first use. A forked process makes its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: Any = None
        self._lines: dict[Server, Any] = {}
        self._stores: dict[str | None, Store] = {}

    def store(self) -> Store:
        path = _Kept.path
        with self._lock:
            return self._stores.setdefault(path, Store(path))

    def answer_all(
        self, requests: dict[bytes, Request], server: Server, store: Store
    ) -> dict[bytes, Answer | ServedError]:
        """An answer or an error for each; an interrupt ends the requests under way."""
        from filters.served_calls import Line  # takes half a second: not on the loop
        from filters.served_http import new_session

        async def work() -> dict[bytes, Answer | ServedError]:
            self._session = self._session or new_session()
            line = self._lines.get(server) or Line(server, self._session)
            self._lines[server] = line
            answers: dict[bytes, Answer | ServedError] = await line.answer_all(requests, store)
            return answers

        future = asyncio.run_coroutine_threadsafe(work(), self._running_loop())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                name = "filters.served"
                threading.Thread(target=self._loop.run_forever, name=name, daemon=True).start()
                atexit.register(self.close)
            return self._loop

    def close(self) -> None:
        """Close connections, so that the end of a process is a quiet one."""
        if _here() is not self:  # inherited over a fork
            return
        if self._loop is not None and self._session is not None:
            closing = asyncio.run_coroutine_threadsafe(self._session.close(), self._loop)
            with suppress(TimeoutError):
                closing.result(_CLOSING_S)
        for store in self._stores.values():
            store.close()


_PROCESSES: dict[int, _Here] = {}


def _here() -> _Here:
    """Of this process, by its id: after a fork threads and connections are the parent's."""
    return _PROCESSES.setdefault(os.getpid(), _Here())
