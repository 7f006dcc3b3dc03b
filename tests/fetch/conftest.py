"""While these tests run nothing but loopback is connected to: a hole in the fetcher fails a test,
and sends nothing."""

import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fetch.server import Server, serving


def is_loopback(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # a socket of the file system
    try:
        return ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return False  # a name, which would be looked up


@pytest.fixture(autouse=True)
def leaks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Addresses other than loopback that were tried, and names that were looked up: none."""
    tried: list[Any] = []

    def guard(name: str) -> None:
        plain = getattr(socket.socket, name)

        def guarded(self: socket.socket, *arguments: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(arguments[-1]):
                tried.append(arguments[-1])
                raise OSError(f"a test tried to reach {arguments[-1]}")
            return plain(self, *arguments)

        monkeypatch.setattr(socket.socket, name, guarded)

    for name in ("connect", "connect_ex", "sendto"):
        guard(name)
    look_up = socket.getaddrinfo

    def guarded_look_up(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None and name != "localhost" and not is_loopback((name,)):
            tried.append(host)
            raise socket.gaierror(socket.EAI_NONAME, f"a test looked up {host}")
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)
    yield tried
    assert not tried, f"beyond loopback: {tried}"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running
