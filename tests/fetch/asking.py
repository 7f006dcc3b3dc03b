"""How these tests ask: hosts under `.test` lead to loopback, and nothing takes long."""

from collections.abc import Sequence
from typing import Any

from pipeline.fetch.door import fetched
from pipeline.fetch.options import FetchOptions, Wanted
from pipeline.fetch.outcome import REASONS, Outcome
from pipeline.fetch.resolver import Lookup
from tests.fetch.server import Server

QUICK: dict[str, Any] = {
    "per_host_per_second": 1000,
    "dns_s": 1.0,
    "connect_s": 1.0,
    "read_s": 0.3,
    "request_s": 0.6,
    "host_s": 5.0,
    "shard_s": 10.0,
    "longest_wait_s": 1.0,
    "back_off_s": 0.01,
    "retries": 1,
    "max_bytes": 200_000,
}


async def loopback(host: str) -> list[str]:
    return ["127.0.0.1"]


def quick(*hosts: str, **changes: Any) -> FetchOptions:
    """Options with which the hosts are allowed."""
    allowed = frozenset(hosts or ("127.0.0.1",))
    return FetchOptions(**(QUICK | {"allow_hosts": allowed} | changes))


def all_of(
    urls: Sequence[str | Wanted], options: FetchOptions, lookup: Lookup = loopback
) -> list[Outcome]:
    """The outcomes in the order of the list; every reason is one of the documented."""
    found = dict(fetched(urls, options, lookup=lookup))
    assert sorted(found) == list(range(len(urls)))
    for outcome in found.values():
        assert (outcome.data is None) == (outcome.failed is not None)
        assert outcome.failed is None or outcome.failed in REASONS
        assert (outcome.failed is None) == (outcome.retriable is None)
    return [found[number] for number in range(len(urls))]


def one(server: Server, path: str, **changes: Any) -> Outcome:
    """What becomes of a path of 127.0.0.1."""
    return all_of([server.url(path)], quick(**changes))[0]
