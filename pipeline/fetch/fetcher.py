"""One wanted URL to its outcome: manners before every request, attempts, and what is accepted."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from pipeline.decoding import read_header
from pipeline.fetch import signals
from pipeline.fetch.bodies import ENCODINGS
from pipeline.fetch.client import Answer, Ask, Headers
from pipeline.fetch.journey import Journey, Road
from pipeline.fetch.manners import Manners
from pipeline.fetch.options import FetchOptions, Kind, Wanted
from pipeline.fetch.outcome import Outcome, Refusal
from pipeline.fetch.target import Target
from pipeline.unreadable import Unreadable

_ACCEPT: Mapping[Kind, str] = {
    "image": "image/avif,image/webp,image/png,image/jpeg,image/*;q=0.8,*/*;q=0.1",
    "page": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.1",
    "any": "*/*",
}
_PAGES = ("text/html", "application/xhtml+xml")
_PAGE_STARTS = (b"<!doctype html", b"<html", b"<head", b"<?xml")
# What a page says of itself and its use in headers; cookies and the like are nobody's concern.
_KEPT = frozenset(
    [
        "content-type",
        "content-language",
        "last-modified",
        "etag",
        "link",
        "refresh",
        "license",
        "x-robots-tag",
        "tdm-reservation",
        "tdm-policy",
        "content-usage",
    ]
)
_LONGEST, _LONGEST_KEPT = 500, 4000
_IN_PLACE = 1 << 20  # bytes that are hashed without a thread


@dataclass(slots=True)
class _Story:
    """What is known so far; not frozen, because it grows until the outcome is told."""

    attempts: int = 0
    journey: Journey | None = None
    signals: dict[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Fetches one URL after the other, any number at a time."""

    options: FetchOptions
    road: Road
    manners: Manners

    async def fetch(self, wanted: Wanted, target: Target) -> Outcome:
        """The outcome of a URL, after as many attempts as the options and the reason allow."""
        story = _Story()
        try:
            answer = await self._attempts(wanted, target, story)
            outcome = await self._accepted(answer, wanted, story)
        except Refusal as refusal:
            outcome = failure(refusal)
        if self.options.kind == "page":
            outcome = replace(outcome, headers=kept(story.headers))
        return _told(outcome, story)

    async def _accepted(self, answer: Answer, wanted: Wanted, story: _Story) -> Outcome:
        arguments, size = (answer, wanted, self.options, story.signals), len(answer.body or b"")
        if size <= _IN_PLACE:
            return accepted(*arguments)
        budget = self.road.client.budget
        budget.free(-size)  # the body waits for a thread
        try:
            return await asyncio.to_thread(accepted, *arguments)
        finally:
            budget.free(size)

    async def _attempts(self, wanted: Wanted, target: Target, story: _Story) -> Answer:
        while True:
            story.attempts += 1
            try:
                return await self._attempt(wanted, target, story)
            except Refusal as refusal:
                last = refusal.final or not refusal.retriable
                if last or story.attempts > self.options.retries:
                    raise

    async def _attempt(self, wanted: Wanted, target: Target, story: _Story) -> Answer:
        story.journey = journey = Journey(target)

        async def before(where: Target) -> None:
            urls = (where.url, wanted.url) if where is target else (where.url,)
            found = (self.options.opt_out.names(url, where.host) for url in urls)
            named = next(filter(None, found), None)
            if named is not None:
                raise Refusal("opted_out", named, final=True)
            story.signals = await self.manners.signals(where)
            self._heed(story.signals)

        def check(status: int, headers: Headers) -> None:
            journey.status, story.headers = status, headers
            found = signals.of_headers(headers.items())
            story.signals.update({name: clean(text) for name, text in found.items()})
            self._heed({**story.signals, **found})

        encodings = "identity" if self.options.kind == "image" else ENCODINGS
        ask = Ask(_ACCEPT[self.options.kind], encodings, self.options.max_bytes, check)
        answer = await self.road.travel(journey, ask, before, self.options.max_redirects)
        if answer.body is None:
            story.headers = answer.headers
            retriable = answer.status in (408, 425)
            raise Refusal("http_status", f"status {answer.status}", retriable=retriable)
        return answer

    def _heed(self, found: Mapping[str, str]) -> None:
        forbidding = signals.forbidden(found, self.options)
        if forbidding is not None:
            raise Refusal("noai", forbidding, final=True)


def accepted(
    answer: Answer, wanted: Wanted, options: FetchOptions, found: dict[str, str]
) -> Outcome:
    """The body as an outcome, if it is what was wanted; `found` gets the signals of a page.

    Raises Refusal.
    """
    data = answer.body or b""
    if not data:
        raise Refusal("empty", f"status {answer.status} without a body")
    digest = hashlib.sha256(data)
    outcome = Outcome(size_bytes=len(data), sha256=digest.digest())
    try:
        if digest.digest() in options.opt_out.sha256:
            raise Refusal("opted_out", f"sha256 {digest.hexdigest()}")
        if len(data) < options.min_bytes:
            raise Refusal("too_small", f"{len(data)} bytes, limit {options.min_bytes}")
        _verify(data, digest.hexdigest(), wanted)
        if options.kind == "image":
            _check_image(data)
        elif options.kind == "page" or _is_page(answer, data):
            _check_page(answer, data, options, found)
    except Refusal as refusal:
        return replace(failure(refusal), size_bytes=outcome.size_bytes, sha256=outcome.sha256)
    return replace(outcome, data=data)


def _verify(data: bytes, sha256: str, wanted: Wanted) -> None:
    if wanted.sha256 is not None and wanted.sha256.lower() != sha256:
        raise Refusal("hash_mismatch", f"sha256 {sha256}, the list has {wanted.sha256}")
    if wanted.md5 is not None:
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if wanted.md5.lower() != md5:
            raise Refusal("hash_mismatch", f"md5 {md5}, the list has {wanted.md5}")


def _check_image(data: bytes) -> None:
    """Damage further on is for the decoder to find; bytes of another kind are refused here."""
    try:
        read_header(data)
    except Unreadable as error:
        if error.reason in ("not_an_image", "unsupported"):
            raise Refusal("not_an_image", error.detail) from None


def _is_page(answer: Answer, data: bytes) -> bool:
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind in _PAGES or (not kind and data[:200].lstrip().lower().startswith(_PAGE_STARTS))


def _check_page(answer: Answer, data: bytes, options: FetchOptions, found: dict[str, str]) -> None:
    if not _is_page(answer, data):
        kind = answer.headers.get("Content-Type")
        said = "no content type, and not the beginning of HTML"
        raise Refusal("not_a_page", said if kind is None else f"content type {kind!r}")
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = data[: 1 << 18].decode("utf-16" if wide else "utf-8", "replace")
    metas = signals.of_page(text, signals.named(options))
    found.update({name: clean(content) for name, content in metas.items()})
    forbidding = signals.forbidden({**found, **metas}, options)
    if forbidding is not None:
        raise Refusal("noai", forbidding)


def failure(refusal: Refusal) -> Outcome:
    return Outcome(failed=refusal.reason, detail=clean(refusal.detail), retriable=refusal.retriable)


def _told(outcome: Outcome, story: _Story) -> Outcome:
    """The outcome with all that is known of how it came about."""
    journey, headers = story.journey, story.headers
    if journey is None:
        return outcome
    visited = [*journey.seen, journey.target.url]
    return replace(
        outcome,
        attempts=story.attempts,
        redirects=tuple(dict.fromkeys(visited[1:])),
        final_url=journey.target.url,
        status=journey.status,
        content_type=_header(headers, "Content-Type"),
        etag=_header(headers, "ETag"),
        last_modified=_header(headers, "Last-Modified"),
        signals=dict(story.signals),
        date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def _header(headers: Mapping[str, str], name: str) -> str | None:
    value = headers.get(name)
    return None if value is None else clean(value)


def kept(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The headers of a page that matter, in their order; a repeated one stays repeated.

    Names are written in one way, whatever the server or a parser makes of them.
    """
    return tuple(
        (name.title(), clean(value, _LONGEST_KEPT))
        for name, value in headers.items()
        if name.lower() in _KEPT
    )


def clean(text: str, longest: int = _LONGEST) -> str:
    """Text that can be stored, of a length that can be too."""
    return text[:longest].encode("utf-8", "replace").decode().replace("\0", " ")
