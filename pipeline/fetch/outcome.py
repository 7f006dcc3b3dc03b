"""What became of a URL: its bytes, or one reason of a documented list why there are none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Reason:
    """A word of the list: what it says, and whether trying again later makes sense."""

    says: str
    retriable: bool


REASONS: Mapping[str, Reason] = MappingProxyType(
    {
        "bad_url": Reason("the URL can't be read, or its host can't be a name", False),
        "bad_scheme": Reason("neither http: nor https:", False),
        "credentials_in_url": Reason("the URL names a user or a password", False),
        "port_not_allowed": Reason("a port that is not fetched from", False),
        "blocked_address": Reason("the host leads to an address that is not public", False),
        "opted_out": Reason("the opt-out list names the domain, the URL or the bytes", False),
        "robots": Reason("robots.txt forbids it", False),
        "robots_unreachable": Reason("robots.txt could not be had, so all is forbidden", True),
        "noai": Reason("a signal of the host or of the answer forbids the use", False),
        "dns": Reason("the name of the host leads nowhere", True),
        "refused": Reason("no connection: refused, or no way to the host", True),
        "reset": Reason("the connection was closed before there was an answer", True),
        "timeout": Reason("the host was too slow for one request", True),
        "deadline": Reason("the time for this host, or for the whole call, was over", True),
        "host_gave_up": Reason("the host failed too often in a row; not asked any more", True),
        "tls": Reason("the host could not prove who it is, or spoke no TLS", False),
        "http_status": Reason("an answer of another status than success", False),
        "rate_limited": Reason("the host asked to come later than there is time for", True),
        "server_error": Reason("the host has a fault: status 500 and above", True),
        "redirect_loop": Reason("redirects lead in a circle", False),
        "too_many_redirects": Reason("more redirects than the limit", False),
        "bad_redirect": Reason("a redirect to nowhere, or to what is not fetched", False),
        "header_flood": Reason("more bytes of headers than the limit", False),
        "bad_answer": Reason("not HTTP as far as it can be read", False),
        "truncated": Reason("the body ended before its announced end", True),
        "bad_encoding": Reason("the body is not encoded as it says, or in an unknown way", False),
        "too_large": Reason("more bytes than the limit, as sent or unpacked", False),
        "too_small": Reason("fewer bytes than the limit", False),
        "not_an_image": Reason("the bytes do not start like an image that is read here", False),
        "not_a_page": Reason("the answer is no HTML", False),
        "hash_mismatch": Reason("not the bytes that the list's hash speaks of", False),
        "empty": Reason("an answer without a body", True),
    }
)
_DETAIL = 300


@dataclass(frozen=True, slots=True)
class Outcome:
    """Bytes, or `failed` with a word of REASONS; the rest as far as the fetch came.

    `redirects` are the URLs after the first; `size_bytes` and `sha256` are those of the body after
    content decoding; `signals` are raw texts about the use of the content, by where they stood;
    `date` is the second of the answer, ISO 8601 in UTC; `headers` are those of a page that matter
    to its readers, and empty for other kinds.
    """

    data: bytes | None = field(default=None, repr=False)
    failed: str | None = None
    detail: str | None = None
    retriable: bool | None = None
    attempts: int = 0
    redirects: tuple[str, ...] = ()
    final_url: str | None = None
    status: int | None = None
    content_type: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    size_bytes: int | None = None
    sha256: bytes | None = None
    signals: Mapping[str, str] = field(default_factory=dict)
    date: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Refusal(Exception):
    """A URL gives no bytes; `reason` is a word of REASONS.

    `retriable` None stands for what is usual of the reason. A `final` one is not tried again in
    this call. `unsent`: the request never reached the host.
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        retriable: bool | None = None,
        final: bool = False,
        unsent: bool = False,
    ) -> None:
        usual = REASONS[reason].retriable
        self.reason, self.detail = reason, detail.replace("\0", " ")[:_DETAIL]
        self.retriable = usual if retriable is None else retriable
        self.final, self.unsent = final, unsent
        super().__init__(reason, detail)

    def for_good(self) -> "Refusal":
        """The same, not to be tried again in this call."""
        return Refusal(self.reason, self.detail, retriable=self.retriable, final=True)
