"""A server on loopback that answers in every way a fetcher must survive.

It is an asyncio server in a thread of its own; an answer is bytes as they go over the wire, or a
function that writes them.
"""

import asyncio
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Writer = asyncio.StreamWriter
Wire = bytes | Callable[[Writer], Awaitable[None]]


@dataclass(frozen=True)
class Asked:
    """One request as the server saw it."""

    at: float
    host: str
    path: str
    headers: dict[str, str]


@dataclass
class Server:
    """Answers by `host/path`, else by `/path`, else 404; keeps all that was asked."""

    port: int = 0
    answers: dict[str, Wire] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    otherwise: Wire | None = None
    greeting: bytes = b""

    def url(self, path: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def paths(self, host: str | None = None) -> list[str]:
        return [one.path for one in self.asked if host in (None, one.host)]

    async def talk(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.write(self.greeting)
            while not self.greeting:
                head = await reader.readuntil(b"\r\n\r\n")
                answer = self._answer(head.decode("latin-1"))
                if isinstance(answer, bytes):
                    writer.write(answer)
                    await writer.drain()
                else:
                    await answer(writer)
                    break
        writer.close()

    def _answer(self, head: str) -> Wire:
        first, *lines = head.strip().split("\r\n")
        pairs = [line.partition(":")[::2] for line in lines]
        headers = {name.lower(): value.strip() for name, value in pairs}
        host, path = headers["host"].partition(":")[0], first.split(" ")[1]
        self.asked.append(Asked(time.monotonic(), host, path, headers))
        usual = None if path in WELL_KNOWN else self.otherwise
        found = self.answers.get(host + path, self.answers.get(path, usual))
        return http(404, b"none") if found is None else found


WELL_KNOWN = {"/robots.txt", "/.well-known/tdmrep.json"}


def http(status: int, body: bytes = b"", *headers: str) -> bytes:
    """An answer of this status; a length is announced unless a header does so."""
    lines = [f"HTTP/1.1 {status} Any", *headers]
    if not any(line.lower().startswith(("content-length", "transfer-enc")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def to(location: str, status: int = 302) -> bytes:
    return http(status, b"", f"Location: {location}")


@contextmanager
def serving(
    context: ssl.SSLContext | None = None, addresses: tuple[str, ...] = ("127.0.0.1",)
) -> Iterator[Server]:
    """A server at addresses of loopback, with one port for all of them."""
    server = Server()
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    kept: list[asyncio.Server] = []

    async def start() -> None:
        for address in addresses:
            listening = await asyncio.start_server(server.talk, address, server.port, ssl=context)
            server.port = listening.sockets[0].getsockname()[1]
            kept.append(listening)
        ready.set()

    def run() -> None:
        loop.set_exception_handler(lambda *_: None)  # resets are what it is for
        keep = loop.create_task(start())
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks))
        del keep
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
