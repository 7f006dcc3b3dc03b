"""From a host's name to its addresses, of which every one is public: what is checked here is what
is connected to."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from pipeline.fetch.options import FetchOptions
from pipeline.fetch.outcome import Refusal
from pipeline.sources.addresses import is_public

Lookup = Callable[[str], Awaitable[list[str]]]
_AT_ONCE = 256
_KEPT_S = 300.0
_NOT_NOW = (socket.EAI_AGAIN, socket.EAI_SYSTEM, socket.EAI_MEMORY)


class Blocked(OSError):
    """A host leads to an address that is not fetched from."""


class Resolver:
    """What aiohttp asks for addresses. A class, because it remembers answers for minutes.

    A name is looked up by the system, or by `lookup`, at most once at a time.
    """

    def __init__(self, options: FetchOptions, lookup: Lookup | None = None) -> None:
        self._options = options
        limited = SystemLookup(options.dns_s) if lookup is None else _limited(lookup, options.dns_s)
        self._lookup: Lookup = limited
        self._known: dict[str, tuple[float, list[str]]] = {}
        self._trusted: set[str] = set()
        allowed = options.allow_hosts
        self._named = allowed | {host.rpartition(":")[0] for host in allowed}  # without a port

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        """Addresses of a host. Raises OSError when there are none, Blocked if one is not public."""
        known = self._known.get(host)
        if known is None or time.monotonic() - known[0] > _KEPT_S:
            known = time.monotonic(), await self._look_up(host)
            self._known[host] = known
        if self._options.allows(host, port):
            self._trusted.update(known[1])
        else:
            for address in known[1]:
                if not is_public(address):
                    raise Blocked(f"{host} leads to {address}, which is not public")
        if not known[1]:
            raise socket.gaierror(socket.EAI_NONAME, "no addresses")
        return [_result(host, address, port) for address in known[1]]

    def begin(self) -> None:
        """Forget what is too old to be used."""
        now = time.monotonic()
        self._known = {k: v for k, v in self._known.items() if now - v[0] <= _KEPT_S}

    async def _look_up(self, host: str) -> list[str]:
        try:
            return await self._lookup(host)
        except TimeoutError:  # which aiohttp would take for that of a connection
            seconds = self._options.dns_s
            raise socket.gaierror(socket.EAI_AGAIN, f"no answer in {seconds:g} s") from None

    def may_connect(self, address: str) -> bool:
        """The last check, of the very address of a socket: public, or one of an allowed host."""
        return address in self._trusted or address in self._named or is_public(address)

    async def close(self) -> None:
        """Nothing is held open."""


def _limited(lookup: Lookup, seconds: float) -> Lookup:
    async def look_up(host: str) -> list[str]:
        async with asyncio.timeout(seconds):
            return await lookup(host)

    return look_up


def _result(host: str, address: str, port: int) -> dict[str, Any]:
    return {
        "hostname": host,
        "host": address,
        "port": port,
        "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
        "proto": socket.IPPROTO_TCP,
        "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    }


class SystemLookup:
    """The look-up of the system, each in a thread that no end of the program waits for.

    A class, because it counts its threads: a name server that is slow for some names keeps 256
    threads, and the others wait. Only from then on the time of a name counts; TimeoutError when it
    is over.
    """

    def __init__(self, seconds: float) -> None:
        self._free, self._seconds = asyncio.Semaphore(_AT_ONCE), seconds

    async def __call__(self, host: str) -> list[str]:
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[str]] = loop.create_future()

        def tell(addresses: list[str], error: OSError | UnicodeError | None) -> None:
            self._free.release()
            if found.done():
                return
            if error is None:
                found.set_result(addresses)
            else:
                found.set_exception(error)

        def look_up() -> None:
            addresses: list[str] = []
            error: OSError | UnicodeError | None = None
            try:
                infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
                addresses = list(dict.fromkeys(str(info[4][0]) for info in infos))
            except (OSError, UnicodeError) as met:
                error = met
            if not loop.is_closed():
                loop.call_soon_threadsafe(tell, addresses, error)

        threading.Thread(target=look_up, name=f"lookup {host}", daemon=True).start()
        async with asyncio.timeout(self._seconds):
            return await found


def dns_refusal(error: OSError) -> Refusal:
    """Why a name gave no addresses, and whether that may pass."""
    if isinstance(error, Blocked):
        return Refusal("blocked_address", str(error), unsent=True)
    passing = isinstance(error, socket.gaierror) and error.errno in _NOT_NOW
    return Refusal("dns", str(error), retriable=passing, unsent=True)
