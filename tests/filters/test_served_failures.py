"""Servers that are slow, refuse, break off or talk nonsense: each costs itself, and a run ends."""

import email.utils
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from filters import served_calls, served_errors, served_http
from filters.served import (
    Answer,
    BadAnswer,
    BudgetSpent,
    Filtered,
    NotThere,
    Refused,
    Request,
    Server,
    ServerFailed,
    ServerUnavailable,
    TimedOut,
    TooLong,
    Unauthorized,
    Unsupported,
    ask,
)
from tests.filters.model_server import Action, ModelServer, failing, prompt_of, serve, unused_port

pytestmark = pytest.mark.slow

ECHO = Action(text=prompt_of)


def of(*models: ModelServer, **options: object) -> Server:
    known = {"backoff": 0.01, "timeout": 5.0, "kind": "openai"}
    return Server(tuple(model.url for model in models), "tiny", **{**known, **options})


def one(server: Server, prompt: str = "q", **options: object) -> object:
    (found,) = ask([Request(prompt, **options)], server)
    return found


@contextmanager
def raw(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does what no HTTP library does, at every connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1 << 16)
                    answer(connection)

        threading.Thread(target=run, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        listening.shutdown(socket.SHUT_RDWR)


PASSING = [
    failing(500, "engine"),
    failing(502, "gateway"),
    failing(503, "loading"),
    failing(408),
    failing(409),
    failing(425),
    failing(429, "slow down"),
    Action(cut=20),
    Action(cut=0),
    Action(body='{"choices": [{"mess'),
    Action(body=""),
    Action(body=json.dumps({"error": {"message": "upstream", "code": 502}})),
    Action(body=json.dumps({"error": "overloaded"})),
]


@pytest.mark.slow
@pytest.mark.parametrize("action", PASSING)
def test_what_may_pass_is_tried_again(action):
    with serve(action, action, ECHO) as model:
        assert one(of(model)).text == "q"
        assert len(model.asked) == 3


STAYING = [
    (failing(400, "bad image"), Refused, "400: bad image"),
    (failing(401, "no key"), Unauthorized, "401: no key; no key was sent: `api_key_env`"),
    (failing(403, "not yours"), Unauthorized, "403: not yours"),
    (failing(404, "no such model"), NotThere, "404: no such model; are the endpoint's path"),
    (failing(413, "large"), Refused, "413: large"),
    (failing(422, "shape"), Refused, "422: shape"),
    (failing(501, "never"), Refused, "501: never"),
    (Action(status=204, body=""), Refused, "204: "),
    (failing(400, "x", code="context_length_exceeded"), TooLong, "400: x"),
    (failing(400, "maximum context length is 4096 tokens"), TooLong, "4096"),
    (failing(400, "longer than the maximum model length of 16"), TooLong, "16"),
    (failing(500, "Context size has been exceeded."), TooLong, "500: Context size"),
    (failing(400, "x", type="exceed_context_size_error"), TooLong, "400: x"),
    (failing(400, "policy", code="content_filter"), Filtered, "400: policy"),
    (failing(500, "image input is not supported - hint: mmproj"), Unsupported, "mmproj"),
    (failing(403, "no logprobs"), Unauthorized, "no logprobs"),
    (failing(400, "logprobs are not available"), Unsupported, "logprobs"),
    (failing(429, "pay first", code="insufficient_quota"), BudgetSpent, "pay first"),
    (Action(finish="content_filter"), Filtered, "withheld: content_filter"),
    (Action(body=json.dumps({"error": {"message": "bad", "code": 400}})), Refused, "400: bad"),
    (Action(body="<html>log in", headers=(("Content-Type", "text/html"),)), BadAnswer, "<html>"),
    (Action(body="[]"), BadAnswer, r"no chat answer: \[\]"),
    (Action(body="null"), BadAnswer, "no JSON: null"),
    (Action(body='{"choices": []}'), BadAnswer, "no chat answer"),
    (Action(body='{"choices": [{"message": "x"}]}'), BadAnswer, "no chat answer"),
    (Action(body='{"choices": [{"message": {"content": 4}}]}'), BadAnswer, "no text: 4"),
    (Action(body='{"choices": 3}'), BadAnswer, "no chat answer"),
]


@pytest.mark.parametrize(("action", "kind", "message"), STAYING)
def test_what_will_not_pass_is_said_plainly(action, kind, message):
    with serve(action) as model:
        error = one(of(model, attempts=3))
        assert type(error) is kind
        assert re.search(message, str(error))
        assert len(model.asked) == (3 if "no JSON" in message else 1)


def test_the_model_s_own_refusal_is_one():
    message = {"role": "assistant", "content": None, "refusal": "I can't look at this"}
    body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]})
    with serve(Action(body=body)) as model:
        error = one(of(model))
    assert isinstance(error, Filtered)
    assert "I can't look at this" in str(error)


def test_reasoning_that_leaves_no_room_for_an_answer_is_said():
    message = {"role": "assistant", "content": "", "reasoning_content": "let me think"}
    body = json.dumps({"choices": [{"message": message, "finish_reason": "length"}]})
    with serve(Action(body=body)) as model:
        error = one(of(model), max_tokens=16)
    assert str(error) == "reasoning without an answer in 16 tokens"


def test_what_a_server_says_is_quoted_in_one_short_line():
    with serve(failing(400, "a\x1b[31m\n\t b" + "é" * 5_000)) as model:
        error = one(of(model))
    assert str(error).startswith("400: a [31m b")
    assert str(error).isprintable()
    assert len(str(error)) < 250


def test_a_bad_request_costs_itself_alone():
    bad = {"bad": failing(400), "broken": Action(cut=3), "odd": failing(500)}
    with serve(ECHO, by_prompt=bad) as model:
        prompts = [f"{i}" if i % 3 else sorted(bad)[i // 3 % 3] + "" for i in range(9)]
        found = ask([Request(prompt) for prompt in prompts], of(model, concurrency=2))
    kinds = {"bad": Refused, "broken": ServerFailed, "odd": ServerFailed}
    assert [type(answer) for answer in found] == [kinds.get(p, Answer) for p in prompts]
    assert "odd" in prompts


def test_a_slow_server_ends_by_the_time_limit_and_gets_one_more_chance():
    with serve(Action(wait_s=5)) as model:
        started = time.monotonic()
        error = one(of(model, timeout=0.3))
        assert time.monotonic() - started < 2
        assert str(error) == "no whole answer in 0.3 s (2 attempts)"
    with serve(Action(wait_s=1), ECHO) as model:
        assert one(of(model, timeout=0.5)).text == "q"


@pytest.mark.slow
def test_what_a_server_is_late_for_is_about_the_request_if_others_are_answered():
    late, failed = {"late": Action(wait_s=2)}, {"late": failing(500, "boom")}
    for by_prompt in (late, failed):
        with serve(ECHO, by_prompt=by_prompt) as model:
            server = of(model, timeout=0.3)
            assert one(server, "q").text == "q"
            assert not one(server, "late").retriable
    with serve(by_prompt=late) as model:  # nobody knows whether it ever answers
        assert one(of(model, timeout=0.3), "late").retriable


def test_bytes_that_trickle_don_t_stretch_the_time_limit():
    with serve(Action(trickle_s=0.05)) as model:
        started = time.monotonic()
        assert isinstance(one(of(model, timeout=0.3)), TimedOut)
        assert time.monotonic() - started < 2


def test_headers_without_end_end_by_the_time_limit():
    def drip(connection: socket.socket) -> None:
        try:
            for _ in range(100):
                connection.sendall(b"HTTP/1.1 200 OK\r\n"[:1] if _ > 16 else b"")
                time.sleep(0.05)
        except OSError:
            return

    with raw(drip) as url:
        error = one(Server((url,), "tiny", kind="openai", timeout=0.3, backoff=0.01))
    assert isinstance(error, TimedOut)


@pytest.mark.parametrize(
    "said", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nA: " + b"a" * 99999]
)
def test_what_is_no_http_is_an_error(said):
    with raw(lambda connection: connection.sendall(said)) as url:
        error = one(Server((url,), "tiny", kind="openai", timeout=2, backoff=0.01, attempts=2))
    assert isinstance(error, ServerFailed)
    assert str(error).startswith("the connection broke")


def test_an_answer_above_the_cap_is_not_read(monkeypatch):
    monkeypatch.setattr(served_http, "MAX_BYTES", 1 << 20)
    with serve(Action(text="a" * (2 << 20))) as model:
        error = one(of(model))
        assert len(model.asked) == 1
    assert str(error) == "an answer of more than 1 MiB"


def test_a_compressed_answer_is_not_unpacked():
    import gzip

    packed = gzip.compress(b" " * 100_000_000)
    with serve(Action(body=packed, headers=(("Content-Encoding", "gzip"),))) as model:
        assert isinstance(one(of(model, attempts=2)), BadAnswer)


def test_nesting_without_end_is_an_error():
    with serve(Action(body="[" * 1_000_000)) as model:
        assert isinstance(one(of(model, attempts=1)), BadAnswer)


def test_redirects_are_not_followed():
    with serve(ECHO) as other:
        to = (("Location", f"{other.url}/chat/completions?token=1"),)
        for status in (301, 302, 307, 308):
            with serve(Action(status=status, body="", headers=to)) as model:
                error = one(of(model))
            assert str(error) == f"{status}: the server redirects; redirects are not followed"
            assert isinstance(error, NotThere)
        assert other.paths == []


def test_the_wait_a_server_asks_for_is_kept():
    date = email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    for value, least in (("0.4", 0.4), (date, 0.4)):
        with serve(failing(429, "later", ("Retry-After", value)), ECHO) as model:
            started = time.monotonic()
            assert one(of(model)).text == "q"
            assert least <= time.monotonic() - started < 4


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("1e9", 60.0),
        ("inf", 60.0),
        ("-3", 0.0),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2999 07:28:00 GMT", 60.0),
    ],
)
def test_retry_after_is_a_number_or_a_date_and_capped(value, seconds):
    assert served_errors.retry_after({"Retry-After": value}) == seconds


def test_waits_grow_and_are_drawn_by_the_request():
    times = []
    slow = Action(text=lambda _: times.append(time.monotonic()) or "x", cut=0)
    with serve(slow) as model:
        one(of(model, backoff=0.1, attempts=4))
    gaps = [after - before for before, after in pairwise(times)]
    for gap, unit in zip(gaps, (0.1, 0.2, 0.4), strict=True):
        assert unit / 2 <= gap < unit + 0.25


def test_endpoints_share_by_load():
    with serve(Action(wait_s=0.02)) as quick, serve(Action(wait_s=0.2)) as slow:
        found = ask([Request(f"{i}") for i in range(40)], of(quick, slow, concurrency=4))
        assert all(isinstance(answer, Answer) for answer in found)
        assert len(quick.asked) + len(slow.asked) == 40
        assert len(quick.asked) > 2 * len(slow.asked) > 0


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["gone", "busy", "broken"])
def test_an_endpoint_that_fails_is_rested_and_costs_no_answer(trouble):
    action = failing(503) if trouble == "busy" else failing(500)
    with serve(Action(text=prompt_of, wait_s=0.01)) as good, serve(action) as bad:
        url = f"http://127.0.0.1:{unused_port()}/v1" if trouble == "gone" else bad.url
        server = Server((url, good.url), "tiny", kind="openai", backoff=0.2, concurrency=4)
        found = ask([Request(f"{i}") for i in range(60)], server)
        assert [answer.text for answer in found] == [f"{i}" for i in range(60)]
        assert len(bad.asked) < 12


def test_a_server_that_is_gone_ends_a_run_soon():
    gone = tuple(f"http://127.0.0.1:{unused_port()}/v1" for _ in range(2))
    server = Server(gone, "tiny", backoff=0.05)
    started = time.monotonic()
    first = ask([Request(f"{i}") for i in range(500)], server)
    assert time.monotonic() - started < 10
    started = time.monotonic()
    second = ask([Request(f"{i}") for i in range(500)], server)
    assert time.monotonic() - started < 1
    for error in first + second:
        assert isinstance(error, ServerUnavailable)
        assert error.retriable
        assert all(url in str(error) for url in gone)
        assert "can't connect" in str(error)


def test_a_server_that_comes_back_is_found(monkeypatch):
    monkeypatch.setattr(served_calls, "GIVEN_UP_S", 0.2)
    busy = [failing(503, "loading")] * 5
    with serve(*busy, ECHO) as model:
        server = of(model, backoff=0.001)
        assert isinstance(one(server, "a"), ServerUnavailable)
        assert isinstance(one(server, "b"), ServerUnavailable)
        assert len(model.asked) == 5
        time.sleep(0.25)
        assert one(server, "c").text == "c"
        assert one(server, "d").text == "d"


def test_a_server_that_hangs_ends_a_run_too():
    with serve(Action(wait_s=30)) as model:
        started = time.monotonic()
        server = of(model, timeout=0.15, concurrency=4)
        found = ask([Request(f"{i}") for i in range(400)], server)
        assert time.monotonic() - started < 6
        assert len(model.asked) < 40
    assert isinstance(found[-1], ServerUnavailable)
    assert "no whole answer in 0.15 s" in str(found[-1])


@pytest.mark.slow
def test_a_server_that_fails_at_everything_is_not_asked_five_times_for_each():
    with serve(failing(500, "engine died")) as model:
        found = ask([Request(f"{i}") for i in range(60)], of(model, concurrency=2))
        assert {type(error) for error in found} == {ServerFailed}
        assert len(model.asked) < 60 + 2 * 4 * 4
        assert all(error.retriable for error in found)  # NULL would stay when it is up again


def test_a_try_that_fails_leaves_the_lane_to_others():
    bad = {"bad": failing(500)}
    with serve(ECHO, by_prompt=bad) as model:
        server = of(model, concurrency=1, backoff=0.2)
        done: list[str] = []
        thread = threading.Thread(
            target=lambda: ask([Request("bad")], server) and done.append("bad")
        )
        thread.start()
        while not model.asked:
            time.sleep(0.01)
        ask([Request("good")], server)
        assert done == []
        thread.join()


def test_the_kind_of_a_server_that_hangs_is_not_waited_for_by_each():
    with raw(lambda _: time.sleep(30)) as url:
        server = Server((url,), "tiny", timeout=0.3, concurrency=8, backoff=0.01)
        started = time.monotonic()
        found = ask([Request(f"{i}") for i in range(8)], server)
        assert time.monotonic() - started < 3
    assert {type(error) for error in found} == {TimedOut}


def test_an_error_holds_on_to_no_picture():
    with serve(failing(500)) as model:
        error = one(of(model, attempts=2))
    assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)
