"""A URL as it is asked for: checked, in the one way of writing that both check and request use."""

import re
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from pipeline.fetch.options import FetchOptions
from pipeline.fetch.outcome import Refusal
from pipeline.sources.addresses import is_public, written_address
from pipeline.urls import in_ascii

MAX_URL = 8192
_SAFE = "%/:=&?~+!$,;'@()*[]|"  # what a browser leaves as it is in a path or a query
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_RAW = re.compile(r"[\udc80-\udcff]")  # bytes of a header that are no UTF-8; browsers escape them
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """`path` includes the query; `host` is lower-case ASCII, an address in its usual form;
    `origin` is scheme, host and port, what a robots.txt speaks of.

    `allowed`: the host is allowed by name, whatever its address.
    """

    scheme: str
    host: str
    port: int
    path: str
    allowed: bool
    origin: str

    @property
    def url(self) -> str:
        return self.origin + self.path

    @property
    def is_address(self) -> bool:
        """Whether the host is an address, so that there is no name to look up."""
        return ":" in self.host or self.host.rpartition(".")[2][:1].isdigit()

    def at(self, path: str) -> "Target":
        """Another path of the same origin."""
        return replace(self, path=path)


def parse_target(url: str, options: FetchOptions) -> Target:
    """The target of a URL. Raises Refusal for what is not fetched whatever happens."""
    parts, port = _parts(url)
    if parts.scheme not in _PORTS:
        scheme = f"{parts.scheme}:"[:40] if parts.scheme else "no scheme"
        raise Refusal("bad_scheme", f"{scheme}; only http: and https: are fetched")
    if "@" in parts.netloc:
        raise Refusal("credentials_in_url", "a user is named before the host")
    host = host_name(parts.hostname or "")
    if port is None:
        port = _PORTS[parts.scheme]
    allowed = options.allows(host, port)
    path = quote(parts.path, safe=_SAFE) or "/"
    if parts.query:
        path += "?" + quote(parts.query, safe=_SAFE)
    target = Target(parts.scheme, host, port, path, allowed, _origin(parts.scheme, host, port))
    if not allowed:
        _check(target, options)
    return target


def _origin(scheme: str, host: str, port: int) -> str:
    written = f"[{host}]" if ":" in host else host
    return f"{scheme}://{written}" if _PORTS[scheme] == port else f"{scheme}://{written}:{port}"


def _parts(url: str) -> tuple[SplitResult, int | None]:
    if len(url) > MAX_URL:
        raise Refusal("bad_url", f"{len(url)} characters, limit {MAX_URL}")
    try:
        parts = urlsplit(url.strip())
        quote(parts.path + parts.query)  # lone surrogates can't be sent
        return parts, parts.port
    except ValueError as error:
        raise Refusal("bad_url", str(error)) from None


def _check(target: Target, options: FetchOptions) -> None:
    address = _address(target.host)
    if address is not None and not is_public(address):
        raise Refusal("blocked_address", f"{address} is not public")
    if target.host == "localhost" or target.host.endswith(".localhost"):
        raise Refusal("blocked_address", f"{target.host} is this machine")
    if target.port not in options.ports:
        raise Refusal("port_not_allowed", f"port {target.port}, allowed {sorted(options.ports)}")


def host_name(text: str) -> str:
    """A host in the one form that is used: IDNA, lower case, no last dot, addresses as such.

    Raises Refusal when it can't be a host, or is an address with a zone.
    """
    if "%" in text and ":" in text:
        raise Refusal("blocked_address", f"{text} lies in a zone of this machine's network")
    host = text if text.isascii() else _ascii(text)
    host = host.lower().removesuffix(".")
    if ":" in host:
        return _address(host) or host
    if not _HOST.fullmatch(host) or len(host) > 253:
        raise Refusal("bad_url", f"{host[:80]!r} is no host" if host else "no host")
    return _address(host) or host


def _address(host: str) -> str | None:
    """The address that a host spells out; one without colons ends in a number."""
    if ":" not in host and not host.rpartition(".")[2][:1].isdigit():
        return None
    return written_address(host)


def _ascii(text: str) -> str:
    try:
        return in_ascii(text)
    except UnicodeError as error:
        raise Refusal("bad_url", f"{text[:80]!r}: {error}") from None


def redirected(target: Target, location: str | None, options: FetchOptions) -> Target:
    """Where a redirect leads. Raises Refusal when that is not fetched."""
    if not location:
        raise Refusal("bad_redirect", "a redirect without a Location")
    location = _RAW.sub(lambda found: f"%{ord(found[0]) - 0xDC00:02X}", location.strip())
    try:
        found = parse_target(urljoin(target.url, location), options)
    except ValueError as error:
        raise Refusal("bad_redirect", str(error)) from None
    except Refusal as refusal:
        if refusal.reason in ("blocked_address", "port_not_allowed"):
            raise
        raise Refusal("bad_redirect", f"{refusal.reason}: {refusal.detail}") from None
    if options.contact is None and not found.allowed:
        detail = f"{found.host} is not in allow_hosts, and no contact is named"
        raise Refusal("bad_redirect", detail)
    return found
