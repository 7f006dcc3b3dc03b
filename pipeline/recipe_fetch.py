"""The `fetch:` section of a source: who asks, how fast, and what is not fetched at all."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from pipeline.errors import RecipeError
from pipeline.fetch.options import SIGNALS, FetchOptions, OptOut
from pipeline.fetch.outcome import Refusal
from pipeline.fetch.target import host_name
from pipeline.recipe_values import Count, Path, Section, Text, TextList, not_empty
from pipeline.sources.addresses import written_address
from pipeline.storing import Store
from pipeline.takedown_list import read_list
from pipeline.urls import canonical

_OF_IMG2DATASET = frozenset({"engine", "threads", "timeout_s", "retries", "allow_hosts"})
_ONLY_IMG2DATASET = frozenset({"threads", "timeout_s"})
_SAME = (
    "agent",
    "contact",
    "per_host_per_second",
    "at_once",
    "per_host_at_once",
    "connect_s",
    "read_s",
    "request_s",
    "host_s",
    "shard_s",
    "min_bytes",
    "max_bytes",
    "max_redirects",
)
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_ANY_DAY = "2000-01-01"  # of entries without a date, which no fetch asks for
_MOST_BYTES = 200_000_000  # of one image; a spool takes no more than 1 << 28
Seconds = Annotated[float, Field(gt=0)]


def _host(text: str) -> str:
    """A host in the form that URLs are compared in; ValueError when no URL can have it."""
    try:
        host = host_name(text.strip("."))
    except Refusal:
        host = ""
    if not host or (":" in host and written_address(host) is None):
        raise ValueError(f"{text!r} is no host; give its name alone, such as example.org")
    return host


def _host_with_port(text: str) -> str:
    """The same of a host or `host:port`."""
    is_bare = text.count(":") > 1 and "[" not in text  # an address of IPv6
    try:
        parts = urlsplit(f"//[{text}]" if is_bare else f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or port == 0 or re.search(r"[/?#@\s]", text):
        raise ValueError(f"{text!r} is neither a host nor host:port")
    return _host(host) if port is None else f"{_host(host)}:{port}"


def _agent(text: str) -> str:
    if re.search(r"[\s:,]", text):
        raise ValueError(f"{text!r} is no name of an agent, which has no space, ':' or ','")
    return text


def _our_agent(text: str) -> str:
    FetchOptions(agent=text)
    return text


def _contact(text: str) -> str:
    FetchOptions(contact=text)
    return text


_Domains = tuple[Annotated[Text, AfterValidator(_host)], ...]
_Hosts = tuple[Annotated[Text, AfterValidator(_host_with_port)], ...]
_Agents = tuple[Annotated[Text, AfterValidator(_agent)], ...]


class OptOutSection(Section):
    """Whose content is not used."""

    domains: Annotated[_Domains, Field(strict=False)] = ()
    """Registered domains or hosts, with all below them."""
    patterns: TextList = ()
    """Regular expressions that are searched in whole URLs."""
    sha256: TextList = ()
    """SHA-256 of images, hexadecimal."""
    lists: Annotated[tuple[Path, ...], Field(strict=False)] = ()
    """Files of domains, URLs and SHA-256, one a line, or tables of them; relative to the recipe."""

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        for text in self.sha256:
            if not _SHA256.fullmatch(text):
                raise ValueError(f"{text!r} is no SHA-256 in 64 hexadecimal digits")
        for text in self.patterns:
            try:
                re.compile(text)
            except re.error as error:
                raise ValueError(f"{text!r} is no regular expression: {error}") from None
        return self

    def options(self, resolve: Callable[[str], str] | None) -> OptOut:
        """All of it; the lists are only read when `resolve` makes paths of theirs.

        Raises RecipeError for a list that can't be read, or names what is not known of an image
        before it is there.
        """
        names: dict[str, set[str]] = {"domain": set(), "url": set(), "sha256": set()}
        for path in self.lists if resolve is not None else ():
            assert resolve is not None
            for entry in read_list(resolve(path), None, _ANY_DAY):
                if entry.kind not in names:
                    known = ", ".join(names)
                    what = f"names a {entry.kind}; what can be told before is: {known}"
                    raise RecipeError(f"{resolve(path)}: {what}")
                is_url = entry.kind == "url"
                names[entry.kind].add(canonical(entry.value)[0] if is_url else entry.value)
        return OptOut(
            domains=frozenset(names["domain"]).union(self.domains),
            patterns=tuple(re.compile(text) for text in self.patterns),
            sha256=frozenset(map(bytes.fromhex, names["sha256"].union(self.sha256))),
            urls=frozenset(names["url"]),
        )


class StoreSection(Section):
    """What the pool keeps of an image that was fetched."""

    max_side: Count | None = None
    """Pixels of the longest side; larger images are made smaller, smaller ones keep their size."""
    format: Literal["original", "jpg", "webp"] = "original"
    """The format that images are kept in; `original` is the one they came in, or jpg where an
    image has to change and is neither JPEG nor WebP. What needs no change keeps its bytes."""
    quality: Annotated[int, Field(ge=1, le=100)] = 90
    """The quality of images that are encoded anew."""
    colour: Literal["full", "half"] | None = None
    """The resolution of colour in JPEGs that are encoded anew: full is 4:4:4, half is 4:2:0, which
    takes a quarter less room; by default full from quality 90 on. A webp always has half."""

    @model_validator(mode="after")
    def _can_be_kept(self) -> Self:
        idle = self.model_fields_set & {"quality", "colour"}
        if self.made() is None and idle:
            what = "nothing is encoded anew without max_side or another format"
            raise ValueError(f"{', '.join(sorted(idle))}: {what}")
        return self

    def made(self) -> Store | None:
        """None when every image keeps its bytes."""
        if self.max_side is None and self.format == "original":
            return None
        return Store(self.max_side, self.format, self.quality, self.colour)


class FetchSection(Section):
    """How images are fetched; it changes how long that takes, not which pool this is."""

    engine: Literal["pairmill", "img2dataset"] = "pairmill"
    """The program that fetches; img2dataset knows `threads`, `timeout_s`, `retries` and
    `allow_hosts` alone, and does not read robots.txt."""
    contact: Annotated[Text, AfterValidator(_contact)] | None = None
    """Whom hosts can ask: a URL, or mailto:name@host. Not needed for `allow_hosts` alone."""
    agent: Annotated[Text, AfterValidator(_our_agent)] = "pairmill"
    """What the program calls itself, to hosts and in robots.txt."""
    per_host_per_second: Annotated[float, Field(gt=0)] = 2.0
    """Requests in a second to a registered domain with all its hosts, whatever the workers."""
    at_once: Annotated[int, Field(ge=1, le=4096)] = 256
    """Requests under way at a time, for each process."""
    per_host_at_once: Annotated[int, Field(ge=1, le=64)] = 2
    """Requests under way at a time to one host."""
    connect_s: Seconds = 5.0
    """Seconds until a connection is given up."""
    read_s: Seconds = 10.0
    """Seconds in which some bytes must arrive."""
    request_s: Seconds = 30.0
    """Seconds of one request with its redirects."""
    host_s: Seconds = 300.0
    """Seconds of one host, beyond what its pace takes."""
    shard_s: Seconds = 3600.0
    """Seconds after which shards that are fetched together are closed."""
    retries: Annotated[int, Field(ge=0, le=10)] | None = None
    """How often a request that may succeed later is sent again; 2, of img2dataset 1."""
    min_bytes: Annotated[int, Field(ge=0)] = 0
    """Smaller files are refused."""
    max_bytes: Annotated[int, Field(ge=1, le=_MOST_BYTES)] = 50_000_000
    """Larger files are refused, as sent or unpacked."""
    max_redirects: Annotated[int, Field(ge=0, le=20)] = 5
    """Redirects that are followed."""
    allow_hosts: Annotated[_Hosts, Field(strict=False)] = ()
    """Hosts (`host` or `host:port`) that are fetched from though their address is private."""
    ports: Annotated[
        tuple[Annotated[int, Field(ge=1, le=65535)], ...],
        Field(strict=False, json_schema_extra={"minItems": 1}),
        AfterValidator(not_empty),
    ] = (80, 443)
    """Ports that are fetched from."""
    robots_ignored: Annotated[_Domains, Field(strict=False)] = ()
    """Hosts that have agreed to be fetched from whatever their robots.txt says."""
    refuse: Annotated[
        tuple[Literal[tuple(sorted(SIGNALS))], ...],  # type: ignore[valid-type]
        Field(strict=False),
    ] = tuple(sorted(FetchOptions().refuse))
    """Signals that forbid the use of an image."""
    agents: Annotated[_Agents, Field(strict=False)] = ()
    """Names of agents whose signals count as well as those for all."""
    opt_out: OptOutSection = OptOutSection()
    """Whose content is not used."""
    ca_file: Path | None = None
    """Certificates that are trusted in place of the system's, relative to the recipe."""
    store: StoreSection = StoreSection()
    """What the pool keeps of an image; by default the bytes as they came."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """img2dataset: downloads at the same time, for each process; 32."""
    timeout_s: Seconds | None = None
    """img2dataset: seconds until a download is given up; 10."""

    @model_validator(mode="after")
    def _fits_engine(self) -> Self:
        foreign = self.model_fields_set - _OF_IMG2DATASET
        if self.engine == "img2dataset" and foreign:
            raise ValueError(f"engine img2dataset does not know {', '.join(sorted(foreign))}")
        foreign = self.model_fields_set & _ONLY_IMG2DATASET
        if self.engine == "pairmill" and foreign:
            raise ValueError(f"{', '.join(sorted(foreign))}: only with `engine: img2dataset`")
        if self.engine == "pairmill":
            self._web({}, None)
        return self

    def options(self, resolve: Callable[[str], str] = str) -> FetchOptions | None:
        """How our own fetcher is to fetch; None when img2dataset does.

        `resolve` makes a path of the recipe one that can be opened.
        """
        if self.engine == "img2dataset":
            return None
        more = {"ca_file": None if self.ca_file is None else resolve(self.ca_file)}
        return self._web(more, resolve)

    def _web(self, more: dict[str, Any], resolve: Callable[[str], str] | None) -> FetchOptions:
        same = {name: getattr(self, name) for name in _SAME}
        return FetchOptions(
            **same,
            retries=2 if self.retries is None else self.retries,
            allow_hosts=frozenset(self.allow_hosts),
            ports=frozenset(self.ports),
            robots_ignored=frozenset(self.robots_ignored),
            refuse=frozenset(self.refuse),
            agents=self.agents,
            opt_out=self.opt_out.options(resolve),
            **more,
        )


class FetchingSource(Section):
    """What every source can be given whose images are fetched."""

    fetch: FetchSection = FetchSection()
    """How the images are fetched."""

    @property
    def says_who_asks(self) -> bool:
        """Whether hosts that are asked learn whom they can turn to."""
        fetch = self.fetch
        return fetch.engine != "pairmill" or bool(fetch.contact or fetch.allow_hosts)
