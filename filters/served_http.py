"""One HTTP exchange with a model server, bounded in time and size; nothing else here talks HTTP.

Redirects are not followed; proxies, cookies and .netrc of the environment are not used; what is
compressed is not unpacked. A key that a server repeats is taken out of all it says.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import NamedTuple

import aiohttp

from filters.served_errors import (
    Again,
    BadAnswer,
    ServerFailed,
    ServerUnavailable,
    TimedOut,
    Unauthorized,
    beginning,
)
from filters.served_types import Server

MAX_BYTES = 16 << 20  # of a body; 4,096 tokens with 20 log probabilities each take some 6 MB
ERROR_BYTES = 1 << 16  # of the body of an error, of which a line is quoted
CONNECT_S = 10.0
SECRET = 8  # characters; a shorter key, "EMPTY" or "x", is none
IDLE_S = 4.0  # uvicorn, under vLLM and SGLang, closes idle connections after 5


class Call(NamedTuple):
    """What is sent: a POST if there is a body, else a GET."""

    url: str
    headers: Mapping[str, str]
    body: bytes | None = None


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


def new_session() -> aiohttp.ClientSession:
    """A session that uses nothing of the environment; to be called on the event loop."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        headers={"User-Agent": "pairmill"},
    )


def headers_for(server: Server) -> dict[str, str]:
    """What is sent with every request. Raises Unauthorized if there should be a key and is none."""
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    secret = _secret(server)
    if secret is None:
        return headers
    if not secret or not secret.isascii() or not secret.isprintable():
        what = "holds no key" if secret else "is not set"
        raise Unauthorized(f"the environment variable {server.api_key_env} {what}")
    return headers | {"Authorization": f"Bearer {secret}"}


def _secret(server: Server) -> str | None:
    name = server.api_key_env
    return None if name is None else os.environ.get(name, "").strip()


async def exchange(session: aiohttp.ClientSession, call: Call, server: Server) -> Reply:
    """The reply, within the time limit. Raises Again; BadAnswer for one that is too large."""
    method = "GET" if call.body is None else "POST"
    limit = min(server.timeout, CONNECT_S) if call.body is None else server.timeout
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=min(CONNECT_S, limit))
    request = session.request(
        method,
        call.url,
        headers=call.headers,
        data=call.body,
        allow_redirects=False,
        timeout=timeout,
    )
    try:
        async with asyncio.timeout(limit), request as response:
            body = await _read(response)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        reason = beginning(f"can't connect: {error}")
        raise Again(ServerUnavailable(reason), rests=True, was_sent=False) from error
    except TimeoutError as error:
        raise Again(TimedOut(f"no whole answer in {limit:g} s")) from error
    except (aiohttp.ClientError, OSError) as error:
        reason = beginning(f"the connection broke: {type(error).__name__}: {error}")
        raise Again(ServerFailed(reason)) from error
    secret = _secret(server)
    if secret and len(secret) >= SECRET:  # some servers and proxies repeat what they were sent
        body = body.replace(secret.encode(), b"[key]")
    return Reply(response.status, response.headers, body)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body. Raises BadAnswer for one above the cap; of an error, the beginning is enough."""
    found = bytearray()
    async for part in response.content.iter_chunked(1 << 16):
        found += part
        if response.status != 200 and len(found) > ERROR_BYTES:
            break
        if len(found) > MAX_BYTES:
            raise BadAnswer(f"an answer of more than {MAX_BYTES >> 20} MiB")
    return bytes(found)
