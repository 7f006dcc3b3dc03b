"""Servers that fail in every way a host can, each at addresses of loopback of its own.

    python -m benchmarks.failing PORT KIND:ADDRESS [KIND:ADDRESS ...]

Says `ready` when all listen. A kind with `-later` behind it answers what is asked of a host first
(robots.txt and the like) as one that has none, and fails at its images.
"""

import argparse
import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

Writer = asyncio.StreamWriter
LATER = "-later"
FIRST = (b"/robots.txt", b"/.well-known/")
NONE = b"HTTP/1.1 404 None\r\nContent-Length: 0\r\n\r\n"
HEAD = b"HTTP/1.1 200 Fine\r\nContent-Type: image/jpeg\r\nContent-Length: 60000\r\n\r\n"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n%b\r\n"
_EVER_S = 3600.0


async def silent(writer: Writer) -> None:
    """Accepts, and never says a word."""
    await asyncio.sleep(_EVER_S)


async def stalls(writer: Writer) -> None:
    """The headers and the first bytes, and nothing more."""
    writer.write(HEAD + b"\xff\xd8\xff\xe0")
    await asyncio.sleep(_EVER_S)


async def trickles(writer: Writer) -> None:
    """A byte a second."""
    writer.write(HEAD)
    while not writer.is_closing():
        writer.write(b"\xff")
        await asyncio.sleep(1.0)


async def resets(writer: Writer) -> None:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


async def says(answer: bytes, writer: Writer) -> None:
    writer.write(answer)


KINDS: dict[str, Callable[[Writer], Awaitable[None]] | None] = {
    "refuses": None,
    "swallows": None,
    "silent": silent,
    "stalls": stalls,
    "trickles": trickles,
    "resets": resets,
    "503": partial(says, BUSY % b""),
    "503 in 5 s": partial(says, BUSY % b"Retry-After: 5\r\n"),
    "503 in 600 s": partial(says, BUSY % b"Retry-After: 600\r\n"),
}
"""What a host does when it is asked; `refuses` has no listener, and `swallows` a queue of
connections that is full, so that no packet is answered."""


async def talk(kind: str, reader: asyncio.StreamReader, writer: Writer) -> None:
    """One connection: requests until one of them is failed at."""
    fail = KINDS[kind.removesuffix(LATER)]
    assert fail is not None
    with suppress(OSError, asyncio.IncompleteReadError):
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            is_first = request.split(b" ", 2)[1].startswith(FIRST)
            if kind.endswith(LATER) and is_first:
                writer.write(NONE)
                continue
            await fail(writer)
            await writer.drain()
            if fail in (silent, stalls, trickles, resets):
                break
    writer.close()


def swallow(address: str, port: int) -> list[socket.socket]:
    """A listener whose queue is full: further packets are dropped, as by a firewall."""
    full = socket.create_server((address, port), backlog=0)
    held = [full]
    for _ in range(4):
        waiting = socket.socket()
        waiting.setblocking(False)
        waiting.connect_ex((address, port))
        held.append(waiting)
    return held


async def serve(port: int, hosts: list[tuple[str, str]]) -> None:
    kept: list[object] = []
    for kind, address in hosts:
        if kind == "swallows":
            kept.append(swallow(address, port))
        elif kind != "refuses":
            kept.append(await asyncio.start_server(partial(talk, kind), address, port))
    print("ready", flush=True)
    await asyncio.sleep(_EVER_S * 24)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("hosts", nargs="+")
    options = parser.parse_args()
    pairs = [host.rpartition(":")[::2] for host in options.hosts]
    asyncio.run(serve(options.port, pairs))


if __name__ == "__main__":
    main()
