"""How to fetch: who we say we are, how fast, how much, and what is not fetched at all."""

import re
from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import unquote

from pipeline.urls import canonical

Kind = Literal["image", "page", "any"]
SIGNALS = frozenset(
    {"noai", "noimageai", "noindex", "noimageindex", "noml", "none", "tdm", "aipref", "rsl"}
)
_TOKEN = re.compile(r"[A-Za-z_-]+")  # RFC 9309, 2.2.1
_CONTACT = re.compile(r"(?:https?://[^\s@]+|mailto:[^\s@]+@[^\s@]+)")
_POSITIVE = (
    "per_host_per_second",
    "at_once",
    "per_host_at_once",
    "dns_s",
    "connect_s",
    "read_s",
    "request_s",
    "host_s",
    "shard_s",
    "give_up_after",
    "max_bytes",
    "max_header_bytes",
    "held_bytes",
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A URL, and what the list knows of its bytes: hexadecimal hashes that are verified."""

    url: str
    md5: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class OptOut:
    """Whose content is not used: domains with all below them, patterns that are searched in
    URLs with and without their escapes, URLs as `canonical` has them, SHA-256 of bytes."""

    domains: frozenset[str] = frozenset()
    patterns: tuple[re.Pattern[str], ...] = ()
    sha256: frozenset[bytes] = frozenset()
    urls: frozenset[str] = frozenset()

    def names(self, url: str, host: str) -> str | None:
        """What of the list names this URL; None if nothing does."""
        labels = host.split(".")
        for start in range(len(labels)):
            domain = ".".join(labels[start:])
            if domain in self.domains:
                return f"domain {domain}"
        if self.urls and canonical(url)[0] in self.urls:
            return f"URL {url}"
        texts = {url, unquote(url)}  # as it is asked for, and as a person writes it
        found = next((one for one in self.patterns if any(map(one.search, texts))), None)
        return None if found is None else f"pattern {found.pattern}"


@dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """All that a fetch depends on. Raises ValueError for what can't be meant.

    `contact` is a URL or `mailto:` address, and may only be missing when every host is in
    `allow_hosts`. Those are `host` or `host:port`; their addresses and ports are not checked.
    `per_host_per_second` holds for a registered domain with all its hosts. `request_s` is the time
    of one attempt with its redirects, `host_s` that of a host beyond what the pace alone takes,
    `shard_s` that of the call. `longest_wait_s` is the longest Retry-After that is waited for.
    `held_bytes` bounds the bodies that are held at a time, whatever `at_once`.
    """

    agent: str = "pairmill"
    contact: str | None = None
    kind: Kind = "image"
    per_host_per_second: float = 2.0
    at_once: int = 256
    per_host_at_once: int = 2
    dns_s: float = 5.0
    connect_s: float = 5.0
    read_s: float = 10.0
    request_s: float = 30.0
    host_s: float = 300.0
    shard_s: float = 3600.0
    longest_wait_s: float = 60.0
    back_off_s: float = 1.0
    retries: int = 2
    give_up_after: int = 3
    min_bytes: int = 0
    max_bytes: int = 50_000_000
    max_header_bytes: int = 65_536
    held_bytes: int = 512_000_000
    max_redirects: int = 5
    allow_hosts: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset({80, 443})
    robots_ignored: frozenset[str] = frozenset()
    refuse: frozenset[str] = SIGNALS
    agents: tuple[str, ...] = ()
    opt_out: OptOut = field(default_factory=OptOut)
    ca_file: str | None = None

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.agent):
            raise ValueError(f"agent is {self.agent!r}, must be letters, '-' and '_'")
        if self.contact is not None and not _is_contact(self.contact):
            raise ValueError(f"contact is {self.contact!r}, must be a URL or mailto:name@host")
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind is {self.kind!r}, must be one of {', '.join(get_args(Kind))}")
        unknown = sorted(self.refuse - SIGNALS)
        if unknown:
            raise ValueError(f"refuse names {unknown}, known are {sorted(SIGNALS)}")
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, must be more than 0")
        for name in ("retries", "max_redirects", "min_bytes", "longest_wait_s", "back_off_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, must not be negative")

        if self.min_bytes > self.max_bytes:
            raise ValueError(f"min_bytes is {self.min_bytes}, max_bytes {self.max_bytes}")

    @property
    def user_agent(self) -> str:
        """What every request says of us."""
        return f"{self.agent}/1.0 (+{self.contact})" if self.contact else f"{self.agent}/1.0"

    def allows(self, host: str, port: int) -> bool:
        """Whether the host is allowed by name, at this port."""
        return host in self.allow_hosts or f"{host}:{port}" in self.allow_hosts


def _is_contact(text: str) -> bool:
    return bool(_CONTACT.fullmatch(text)) and text.isascii() and text.isprintable()
