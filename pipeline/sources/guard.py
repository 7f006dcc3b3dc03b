"""Keeps the process that fetches to the public web: http and https, public addresses, limits.

Installed for the whole process, so that it also holds for what the fetching program may do
by ways of its own. Proxies named in the environment are not used.
"""

import http.client
import socket
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from types import TracebackType
from typing import Any, Self

from pipeline.sources.addresses import is_public

_CHUNK = 1 << 16
_here = threading.local()  # the host this thread connects to, and the download it is at


@dataclass(frozen=True)
class Limits:
    """What a download may do: hosts whose address need not be public, bytes, and seconds."""

    allow_hosts: frozenset[str]
    max_bytes: int
    attempt_s: float


class Refused(Exception):
    """A download that is not made; the message is a reason code, a colon and the detail."""


class Attempt:
    """One request with its redirects. A class, because a timer shuts its connections.

    A time limit of sockets is for each read; a server that sends a byte now and then never
    meets it. So after `attempt_s` the connections are shut from outside.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.expired = False
        self._connections: list[socket.socket] = []
        self._timer = threading.Timer(limits.attempt_s, self._expire)
        self._timer.daemon = True
        self._timer.start()
        _here.attempt = self

    def watch(self, connection: socket.socket) -> None:
        """Shut this connection too when time is up, also after TLS has wrapped it."""
        self._connections.append(connection.dup())
        if self.expired:
            self._expire()

    def _expire(self) -> None:
        self.expired = True
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def check(self) -> None:
        if self.expired:
            raise TimeoutError(f"timed out: no end after {self.limits.attempt_s:g} s")

    def end(self) -> None:
        self._timer.cancel()
        _here.attempt = None
        while self._connections:
            self._connections.pop().close()


class Response:
    """What is used of an HTTP response; the body is read within the limits, or not at all."""

    def __init__(self, attempt: Attempt, response: http.client.HTTPResponse) -> None:
        self._attempt, self._response = attempt, response

    @property
    def headers(self) -> Message:
        return self._response.headers

    def read(self) -> bytes:
        """The whole body; raises Refused when it is too large, TimeoutError when too slow."""
        limit = self._attempt.limits.max_bytes
        if (self._response.length or 0) > limit:
            raise Refused(f"too_large: {self._response.length} bytes, limit {limit}")
        parts, size = [], 0
        while part := self._response.read(_CHUNK):
            size += len(part)
            if size > limit:
                raise Refused(f"too_large: more than {limit} bytes")
            parts.append(part)
        self._attempt.check()
        if self._response.length:  # the end came before the length that was promised
            raise http.client.IncompleteRead(b"", self._response.length)
        return b"".join(parts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._response.close()
        self._attempt.end()
        if error is not None and kind is not TimeoutError:
            self._attempt.check()


def install(limits: Limits) -> None:
    """From now on this process connects to public addresses and `allow_hosts` only.

    `urllib.request.urlopen` gives a Response, and follows redirects to http and https alone.
    """
    opener = _opener()

    def open_url(request: urllib.request.Request, timeout: float) -> Response:
        attempt = Attempt(limits)
        try:
            return Response(attempt, opener.open(request, timeout=timeout))
        except Exception:
            attempt.end()
            attempt.check()
            raise

    urllib.request.urlopen = open_url  # type: ignore[assignment]
    _guard_connections(limits.allow_hosts)


def _opener() -> urllib.request.OpenerDirector:
    """Knows http and https: no files, no FTP, no data URLs, no proxies, no cookies."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener


def _guard_connections(allow_hosts: frozenset[str]) -> None:
    create, connect, connect_ex = (
        socket.create_connection,
        socket.socket.connect,
        socket.socket.connect_ex,
    )

    def create_guarded(address: tuple[str, int], *arguments: Any, **options: Any) -> socket.socket:
        _here.host = address[0]
        try:
            return create(address, *arguments, **options)
        finally:
            _here.host = None

    def guarded(plain: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def connect_guarded(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6):
                _check_address(address[0], allow_hosts)
                attempt: Attempt | None = getattr(_here, "attempt", None)
                if attempt is not None:
                    attempt.watch(self)
            return plain(self, address)

        return connect_guarded

    socket.create_connection = create_guarded  # type: ignore[assignment]
    socket.socket.connect = guarded(connect)  # type: ignore[method-assign]
    socket.socket.connect_ex = guarded(connect_ex)  # type: ignore[method-assign]


def _check_address(address: str, allow_hosts: frozenset[str]) -> None:
    """Raises Refused; the address is the one connected to, after DNS and redirects."""
    host = getattr(_here, "host", None) or address
    if host.lower() not in allow_hosts and not is_public(address):
        raise Refused(f"blocked_address: {address} is not public")
