"""One request and its answer within all limits; redirects are the caller's to follow.

TLS is verified. No cookies are kept, no proxies or passwords of the environment used, and nothing
is repeated behind the caller's back.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from pipeline.fetch.bodies import Budget, unpack
from pipeline.fetch.failures import FAILURES, refusal_of
from pipeline.fetch.options import FetchOptions
from pipeline.fetch.outcome import Refusal
from pipeline.fetch.resolver import Blocked, Resolver, dns_refusal
from pipeline.fetch.target import Target

Headers = CIMultiDictProxy[str]
_LINE = 8190  # bytes of one header
_MOST_HEADERS = 128
_BUFFER = 1 << 16
_IDLE_S = 4.0  # short, for every host leaves a connection
_REST = 1 << 14  # bytes of an unwanted body that are read to keep the connection
_LEAST_BYTES_S = 1000  # of a body
_IN_PLACE = 1 << 16  # bytes that are unpacked without a thread


@cache
def _trust(ca_file: str | None) -> ssl.SSLContext:
    """Whom to trust, read once: the authorities of the system, or those of a file."""
    return ssl.create_default_context(cafile=ca_file)


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked for. `check` sees status and headers before the body of a success is read, and
    may raise Refusal; a body of more than `max_bytes` is refused, or `cut`."""

    accept: str
    encodings: str
    max_bytes: int
    check: Callable[[int, Headers], None] | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is unpacked, and None unless the status is one of success."""

    status: int
    headers: Headers
    body: bytes | None


@dataclass(slots=True)
class _Speed:
    """How fast a body comes; mutable, because it counts. Time in which nobody reads is no matter.

    Who sends a byte now and then meets every limit between two of them.
    """

    every_s: float
    left_s: float = 0.0
    bytes: int = 0
    at: float = 0.0

    def __post_init__(self) -> None:
        self.left_s, self.at = self.every_s, time.monotonic()

    def check(self, count: int) -> None:
        """Note what came. Raises Refusal when it was too little for a whole period."""
        now = time.monotonic()
        self.left_s -= now - self.at
        self.bytes += count
        self.at = now
        if self.left_s > 0:
            return
        if self.bytes < _LEAST_BYTES_S * self.every_s:
            raise Refusal("timeout", f"{self.bytes} bytes in {self.every_s - self.left_s:.1f} s")
        self.left_s, self.bytes = self.every_s, 0

    def resume(self) -> None:
        """Reading goes on after what may have been a wait."""
        self.at = time.monotonic()


class Client:
    """Connections kept open for a while; a class, because they are closed at the end."""

    def __init__(self, options: FetchOptions, resolver: Resolver) -> None:
        self._options, self._resolver = options, resolver
        self.budget = Budget(options.held_bytes)
        connector = aiohttp.TCPConnector(
            limit=0,
            resolver=cast(aiohttp.abc.AbstractResolver, resolver),
            use_dns_cache=False,
            keepalive_timeout=_IDLE_S,
            ssl=_trust(options.ca_file),
            socket_factory=self._socket,
        )
        line = min(_LINE, options.max_header_bytes)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            requote_redirect_url=False,
            read_bufsize=_BUFFER,
            max_line_size=line,
            max_field_size=line,
            max_headers=_MOST_HEADERS,
            headers={"User-Agent": options.user_agent},
            timeout=aiohttp.ClientTimeout(
                total=None,
                connect=options.connect_s + options.dns_s,
                sock_connect=options.connect_s,
                sock_read=options.read_s,
            ),
        )
        # A request sent twice would count once for the pace of its host.
        self._session._retry_connection = False

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        """The last door: no socket for an address that was not checked."""
        family, kind, protocol, _, address = info
        if not self._resolver.may_connect(address[0]):
            raise Blocked(f"{address[0]} is not public")
        return socket.socket(family, kind, protocol)

    async def close(self) -> None:
        await self._session.close()

    async def get(self, target: Target, ask: Ask, seconds: float) -> Answer:
        """The answer to a GET. Raises Refusal."""
        url = URL(target.url, encoded=True)
        if url.raw_host != target.host or url.port != target.port:
            raise Refusal("bad_url", f"{url.host}:{url.port} is another host to the client")
        headers = {"Accept": ask.accept, "Accept-Encoding": ask.encodings}
        try:
            async with asyncio.timeout(seconds):
                await self._find(target)
                asked = self._session.get(url, headers=headers, allow_redirects=False)
                async with asked as response:
                    return await self._answer(response, ask)
        except TimeoutError as error:
            if str(error):
                raise refusal_of(error) from None
            raise Refusal("timeout", f"no end after {seconds:.1f} s") from None
        except FAILURES as error:
            raise refusal_of(error) from None

    async def _find(self, target: Target) -> None:
        """Look up the host, whatever other names take: no limit of the connection counts it."""
        if not target.is_address:
            try:
                await self._resolver.resolve(target.host, target.port)
            except OSError as error:
                raise dns_refusal(error) from None

    async def _answer(self, response: aiohttp.ClientResponse, ask: Ask) -> Answer:
        size = sum(len(name) + len(value) + 4 for name, value in response.raw_headers)
        if size > self._options.max_header_bytes:
            limit = self._options.max_header_bytes
            raise Refusal("header_flood", f"{size} bytes of headers, limit {limit}")
        status, headers = response.status, response.headers
        if not 200 <= status < 300:
            await _read_rest(response)
            return Answer(status, headers, None)
        if ask.check is not None:
            ask.check(status, headers)
        body = await self._body(response, ask)
        encoding = headers.get("Content-Encoding", "")
        if encoding and len(body) > _IN_PLACE:
            body = await asyncio.to_thread(unpack, body, encoding, ask.max_bytes)
        elif encoding:
            body = unpack(body, encoding, ask.max_bytes)
        return Answer(status, headers, body)

    async def _body(self, response: aiohttp.ClientResponse, ask: Ask) -> bytes:
        length, limit = response.content_length, ask.max_bytes
        if length is not None and length > limit and not ask.cut:
            raise Refusal("too_large", f"{length} bytes are announced, limit {limit}")
        parts, size = [], 0
        speed = _Speed(self._options.read_s)
        async with self.budget.body() as share:
            async for part in response.content.iter_any():
                speed.check(len(part))
                await share.grow(len(part))
                speed.resume()
                parts.append(part)
                size += len(part)
                if size > limit:
                    break
        if size > limit and not ask.cut:
            raise Refusal("too_large", f"more than {limit} bytes")
        return b"".join(parts)[:limit] if ask.cut else b"".join(parts)


async def _read_rest(response: aiohttp.ClientResponse) -> None:
    """Read a small body that nobody wants; with a large one the connection ends."""
    length = response.content_length
    if length is not None and length <= _REST:
        try:
            await response.read()
        except aiohttp.ClientPayloadError:
            response.close()
    else:
        response.close()
