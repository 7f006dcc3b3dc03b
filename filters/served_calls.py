"""Requests on their way: which endpoint, how often, how long, and when to give a server up.

Every wait is bounded, so that a run ends: an attempt by the server's `timeout`, however slowly
bytes trickle; a request by its attempts; and a server that answers nobody is given up, so that
further requests end at once and only one in half a minute tries again.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import aiohttp

from filters import served_kinds as kinds
from filters.served_cache import Store
from filters.served_errors import (
    MAX_WAIT_S,
    Again,
    BadAnswer,
    BudgetSpent,
    NotOfSchema,
    ServedError,
    ServerFailed,
    ServerUnavailable,
    TimedOut,
    beginning,
    failure,
)
from filters.served_http import Call, Reply, exchange, headers_for
from filters.served_types import Answer, Request, Server

GIVE_UP = 3  # attempts of every lane that fail in a row, with no answer between them
GIVEN_UP_S = 30.0
TOLD_S = 5.0  # a rest as long as this is told of: else a run seems to hang
_LOG = logging.getLogger(__name__)


@dataclass
class Endpoint:
    """What is known of one address: how busy it is, how it fared, what it wants."""

    url: str
    open: int = 0
    sent: int = 0
    failures: int = 0  # in a row, those of one moment counted once
    refusals: int = 0  # of them the last ones, if nobody was there or it was busy
    rest_until: float = 0.0
    told_until: float = 0.0
    trouble: str = "not tried"
    kind: str | None = None
    model: str | None = None
    finding: "asyncio.Task[str] | None" = None
    habits: frozenset[str] = frozenset()


class Line:
    """The way to one server for all threads of a process.

    A class because it counts what is under way and what failed, which decides who is asked next.
    Lives on one event loop.
    """

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self.server, self.session = server, session
        self.endpoints = [Endpoint(url) for url in server.endpoints]
        self.gate = asyncio.Semaphore(server.concurrency)
        self.failed = self.timed_out = 0  # attempts in a row
        self.is_given_up = self.has_answered = False
        self.given_up_until = 0.0
        self.under_way: dict[bytes, asyncio.Task[Answer | ServedError]] = {}

    async def answer_all(
        self, requests: Mapping[bytes, Request], store: Store
    ) -> dict[bytes, Answer | ServedError]:
        """An answer or an error for each request; answers are stored as they come."""
        asked = (self._once(key, request, store) for key, request in requests.items())
        return dict(zip(requests, await asyncio.gather(*asked), strict=True))

    async def _once(self, key: bytes, request: Request, store: Store) -> Answer | ServedError:
        """What a request comes to; of calls that want the same at a time, one asks."""
        while (other := self.under_way.get(key)) is not None:
            await asyncio.wait([other])
            if not other.cancelled():  # an interrupt of that call is none of this one
                return other.result()
        task = self.under_way[key] = asyncio.ensure_future(self._answer(key, request, store))
        try:
            return await task
        finally:
            del self.under_way[key]

    async def _answer(self, key: bytes, request: Request, store: Store) -> Answer | ServedError:
        try:
            headers = headers_for(self.server)
            try:
                return await self._attempts(key, request, store, headers)
            except NotOfSchema:
                if request.temperature == 0:
                    raise
            other = replace(request, seed=(request.seed or 0) + 1)
            return await self._attempts(key, other, store, headers)
        except ServedError as error:
            error.__cause__ = error.__context__ = None  # these hold on to pictures
            return error.with_traceback(None)

    async def _attempts(
        self, key: bytes, request: Request, store: Store, headers: dict[str, str]
    ) -> Answer:
        """Try until there is an answer, an error that stays, or no attempt left."""
        limit = max(self.server.attempts, len(self.endpoints))
        wait = 0.0
        for attempt in range(1, limit + 1):
            await asyncio.sleep(wait)
            async with self.gate:
                known = await asyncio.to_thread(store.recall, [key])
                if key in known:  # stored for another call or process meanwhile
                    return known[key]
                self._check_given_up()
                endpoint = self._freest()
                endpoint.open += 1
                endpoint.sent += 1
                try:
                    await asyncio.sleep(endpoint.rest_until - self._now())
                    answer, *cost = await self._attempt(endpoint, request, store, headers)
                except Again as again:
                    wait = self._back_off(again, endpoint, attempt, key)
                    if attempt == limit or self._is_hopeless(again, attempt):
                        raise self._loss(again.error, attempt) from again
                    continue
                finally:
                    endpoint.open -= 1
                # within the gate: a kill loses no more answers than may be under way
                await asyncio.to_thread(store.keep, key, self._model, answer, *cost)
                return answer
        raise AssertionError("a request has one attempt at least")

    async def _attempt(
        self, endpoint: Endpoint, request: Request, store: Store, headers: dict[str, str]
    ) -> tuple[Answer, int, int]:
        """One attempt, paid from the budget: the answer, requests and tokens yet to be counted."""
        kind = await self._kind(endpoint, headers)
        kinds.check(request, kind)
        estimate = request.tokens_in + request.tokens_out
        requests, tokens = await self._reserve(estimate, store)
        billed = 0
        try:
            body = await self._chat(endpoint, request, kind, headers)
            billed = estimate
            self.failed = self.timed_out = endpoint.failures = endpoint.refusals = 0
            self.is_given_up, self.has_answered = False, True
            answer = kinds.answer_of(body, request, kind)
            answer = replace(answer, model=endpoint.model or answer.model)
        except Again as again:
            sent = int(again.was_sent)
            billed = estimate if isinstance(again.error, TimedOut) else 0  # it may have been
            await asyncio.to_thread(store.count, self._model, sent - requests, billed - tokens)
            raise
        except ServedError:
            await asyncio.to_thread(store.count, self._model, 1 - requests, billed - tokens)
            raise
        return answer, 1 - requests, answer.tokens_in + answer.tokens_out - tokens

    async def _reserve(self, estimate: int, store: Store) -> tuple[int, int]:
        """Requests and tokens counted in advance, if there is a budget. Raises BudgetSpent."""
        server = self.server
        if server.max_requests is None and server.max_tokens is None:
            return 0, 0
        granted = await asyncio.to_thread(store.reserve, server, estimate)
        if granted is None:
            raise BudgetSpent(f"the budget can't be kept: {store.problem or store.path}")
        if not granted:
            requests, tokens = await asyncio.to_thread(store.spent, server.model)
            raise BudgetSpent(
                f"budget of {server.model}: {requests} requests of {_limit(server.max_requests)}"
                f" and {tokens} tokens of {_limit(server.max_tokens)} are spent, {estimate} more"
                " were needed"
            )
        return 1, estimate

    @property
    def _model(self) -> str:
        return self.server.model

    # Which endpoint, and how it fared

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _freest(self) -> Endpoint:
        """The endpoint with least to do, of those that don't rest; else the first to wake up.

        One that failed is tried by a single request first, if there is another.
        """
        now = self._now()

        def order(endpoint: Endpoint) -> tuple[float, bool, int, int]:
            rest = max(endpoint.rest_until - now, 0.0)
            is_tried = endpoint.failures > 0 and endpoint.open > 0
            return rest, is_tried, endpoint.open, endpoint.sent

        return min(self.endpoints, key=order)

    def _check_given_up(self) -> None:
        """Raises ServerUnavailable while the server is given up, except for one probe at a time."""
        if not self.is_given_up:
            return
        now = self._now()
        if now < self.given_up_until:
            raise self._unavailable()
        self.given_up_until = now + GIVEN_UP_S

    def _back_off(self, again: Again, endpoint: Endpoint, attempt: int, key: bytes) -> float:
        """Note a failure; seconds until the next attempt, drawn by the request's own digest."""
        now, unit = self._now(), self.server.backoff * (0.5 + key[attempt % len(key)] / 510)
        endpoint.trouble = str(again)
        self.failed += 1
        self.timed_out += isinstance(again.error, TimedOut)
        if now >= endpoint.rest_until:
            endpoint.failures += 1
            endpoint.refusals = endpoint.refusals + 1 if again.rests else 0
        others_do = any(e.failures == 0 for e in self.endpoints)
        if not again.rests and not (others_do and endpoint.failures >= GIVE_UP):
            return _grown(unit, attempt)
        # connections that broke together are many failures: none of them makes a rest longer
        times = endpoint.refusals if again.rests else endpoint.failures
        rest = _grown(unit, times) if again.wait_s is None else again.wait_s
        endpoint.rest_until = max(endpoint.rest_until, now + rest)
        self._tell_of_rest(endpoint, now)
        if min(e.refusals for e in self.endpoints) >= max(self.server.attempts, GIVE_UP):
            self._give_up()
        return 0.0

    def _tell_of_rest(self, endpoint: Endpoint, now: float) -> None:
        """Say, once for each rest that is a long one, how long an endpoint is left alone."""
        rest = endpoint.rest_until - now
        if rest < TOLD_S or endpoint.rest_until < endpoint.told_until + TOLD_S:
            return
        endpoint.told_until = endpoint.rest_until
        until = datetime.now().astimezone() + timedelta(seconds=rest)
        others = any(e.rest_until <= now for e in self.endpoints)
        goes_on = "others are asked meanwhile" if others else "the run goes on then"
        _LOG.warning(
            "%s: %s; asked again in %.0f s, at %s: %s",
            endpoint.url,
            endpoint.trouble,
            rest,
            until.strftime("%H:%M:%S"),
            goes_on,
        )

    def _give_up(self) -> None:
        self.is_given_up, self.given_up_until = True, self._now() + GIVEN_UP_S

    def _is_hopeless(self, again: Again, attempt: int) -> bool:
        """Whether a further attempt is not worth its time.

        A server that keeps nobody's time limit is given up. One that fails at everything is not:
        each request has one attempt, and what they end with is retriable.
        """
        many = GIVE_UP * self.server.concurrency
        if self.timed_out >= many:
            self._give_up()
        return self.failed >= many or (isinstance(again.error, TimedOut) and attempt > 1)

    def _loss(self, error: ServedError, attempts: int) -> ServedError:
        """What a request ends with that no attempt is left for.

        It is about this request only if others fare better: a server that is too late for all it
        was ever asked, or that failed at so many in a row, may be asked again another day.
        """
        if self.is_given_up or isinstance(error, ServerUnavailable):
            return self._unavailable()
        lost = type(error)(f"{error} ({attempts} attempt{'s' if attempts > 1 else ''})")
        is_late = isinstance(error, TimedOut) and not self.has_answered
        is_down = self.failed >= GIVE_UP * self.server.concurrency
        lost.retriable = is_late or (is_down and isinstance(error, ServerFailed))
        return lost

    def _unavailable(self) -> ServerUnavailable:
        known = ", ".join(f"{e.url} ({e.trouble})" for e in self.endpoints)
        return ServerUnavailable(f"no endpoint answers: {known}")

    # HTTP

    async def _kind(self, endpoint: Endpoint, headers: dict[str, str]) -> str:
        """The kind of server, found out once by what it lists as its models."""
        if self.server.kind != "auto":
            return self.server.kind
        if endpoint.kind is None:
            if endpoint.finding is None:
                endpoint.finding = asyncio.ensure_future(self._find_kind(endpoint, headers))
            finding = endpoint.finding
            try:  # one question for all that wait; an interrupt of one is none of the others
                endpoint.kind = await asyncio.shield(finding)
            finally:
                if endpoint.finding is finding and finding.done():
                    endpoint.finding = None
        return endpoint.kind

    async def _find_kind(self, endpoint: Endpoint, headers: dict[str, str]) -> str:
        url = endpoint.url
        reply = await exchange(self.session, Call(f"{url}/models", headers), self.server)
        if reply.status >= 500 or reply.status == 429:
            raise self._failure(reply)
        found = kinds.kind_of_models(_json(reply), reply.headers, self.server.model)
        endpoint.model = kinds.model_of_models(_json(reply), self.server.model)
        if found is None and url.endswith("/v1"):
            call = Call(f"{url.removesuffix('/v1')}/api/version", headers)
            reply = await exchange(self.session, call, self.server)
            version = _json(reply) if reply.status == 200 else None
            found = "ollama" if isinstance(version, dict) and "version" in version else None
        return found or "openai"

    async def _chat(
        self, endpoint: Endpoint, request: Request, kind: str, headers: dict[str, str]
    ) -> Any:
        """The JSON of a response with status 200; raises Again or ServedError for others."""
        for _ in range(3):  # a server may want two things otherwise
            habits = endpoint.habits
            body = json.dumps(kinds.body_of(request, self.server.model, kind, habits)).encode()
            call = Call(kinds.path_of(kind, endpoint.url, request), headers, body)
            reply = await exchange(self.session, call, self.server)
            if reply.status == 400 and kind == "openai":
                habit = kinds.habit_of(reply.text, request, habits)
                if habit is not None:
                    endpoint.habits |= {habit}
                    continue
            break
        if reply.status != 200:
            raise self._failure(reply)
        found = _json(reply)
        if found is None:
            plain = BadAnswer(f"no JSON: {beginning(reply.text)}")
            # a page of some gateway stays what it is; half an answer does not
            raise plain if "html" in reply.headers.get("Content-Type", "") else Again(plain)
        wrapped = kinds.error_in(found)
        if wrapped is not None:
            status, text = wrapped
            raise self._failure(Reply(status or 500, reply.headers, text.encode()))
        return found

    def _failure(self, reply: Reply) -> ServedError | Again:
        return failure(reply.status, reply.text, reply.headers, self.server.api_key_env)


def _grown(unit: float, times: int) -> float:
    """Seconds to wait the nth time: each twice the one before, up to a limit."""
    return min(unit * 2.0 ** min(times - 1, 16), MAX_WAIT_S)


def _json(reply: Reply) -> Any:
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError):
        return None


def _limit(number: int | None) -> str:
    return "any" if number is None else str(number)
