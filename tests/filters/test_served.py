"""Asking: order, repeats, threads and processes, what is sent, what is checked, what is secret."""

import json
import logging
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from filters import served
from filters.served import Answer, Request, Server, Unauthorized, ask, dry_run
from filters.served import keep_in as keep
from tests import pictures
from tests.filters.model_server import Action, ModelServer, failing, prompt_of, serve, unused_port

ROOT = Path(__file__).parents[2]
ECHO = Action(text=prompt_of)


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    yield
    keep(None)


def of(server: ModelServer, **options: object) -> Server:
    known = {"backoff": 0.01, "timeout": 5.0, "kind": "openai"}
    return Server((server.url,), "tiny", **{**known, **options})


def asks(*prompts: str, **options: object) -> list[Request]:
    return [Request(prompt, **options) for prompt in prompts]


def texts(answers: list) -> list[str]:
    return [answer.text for answer in answers]


def test_answers_come_in_the_order_of_requests():
    quick = {f"{i}": Action(text=f"{i}", wait_s=0.05 * (i % 3)) for i in range(12)}
    with serve(by_prompt=quick) as model:
        assert texts(ask(asks(*quick), of(model))) == list(quick)


def test_an_answer_says_what_the_server_said():
    with serve(Action(text="two dogs", finish="length", usage=(11, 5))) as model:
        found = ask(asks("what?"), of(model))
    assert found == [Answer("two dogs", "length", 11, 5)]


def test_a_server_that_counts_no_tokens_gets_an_estimate():
    with serve(Action(text="a" * 40, usage=None)) as model:
        (answer,) = ask(asks("b" * 400), of(model))
    assert answer.tokens_in == 116
    assert answer.tokens_out == 11


def test_equal_requests_are_sent_once_and_others_are_not_confused():
    with serve(ECHO) as model:
        found = ask([*asks("a", "b", "a"), *asks("a", max_tokens=9)], of(model))
        assert texts(found) == ["a", "b", "a", "a"]
        assert model.prompts == {"a": 2, "b": 1}
    assert ask([], of(model)) == []


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "q "},
        {"system": ""},
        {"images": (pictures.jpeg(1),)},
        {"images": (pictures.jpeg(2),)},
        {"images": (pictures.jpeg(1), pictures.jpeg(1))},
        {"max_tokens": 8},
        {"temperature": 0.5},
        {"top_p": 0.5},
        {"seed": 0},
        {"schema": {}},
        {"schema": {"properties": {"a": {}, "b": {}}}},
        {"schema": {"properties": {"b": {}, "a": {}}}},
        {"top_logprobs": 1},
        {"stop": ("x",)},
        {"stop": ("x", "y")},
    ],
)
def test_all_that_decides_about_an_answer_is_in_its_key(other):
    fields = {"prompt": "q", **other}
    seen = {Request("q").key("m"), Request("q").key("other"), Request("q", system="q").key("m")}
    assert Request(**fields).key("m") not in seen
    assert Request(**fields).key("m") == Request(**fields).key("m")


def test_the_order_of_a_schema_s_properties_is_part_of_the_question():
    first, second = {"a": {}, "b": {}}, {"b": {}, "a": {}}
    keys = {Request("q", schema={"properties": p}).key("m") for p in (first, second)}
    assert len(keys) == 2


def test_pictures_come_before_the_prompt_as_data_addresses():
    import base64

    image = pictures.jpeg(1)
    with serve() as model:
        ask([Request("what?", images=(image,), system="be short", seed=4, stop=(".",))], of(model))
        (body,) = model.asked
    system, user = body["messages"]
    assert system == {"role": "system", "content": "be short"}
    picture, text = user["content"]
    prefix, data = picture["image_url"]["url"].split(",")
    assert (prefix, base64.b64decode(data)) == ("data:image/jpeg;base64", image)
    assert text == {"type": "text", "text": "what?"}
    assert (body["seed"], body["stop"], body["temperature"]) == (4, ["."], 0.0)
    assert model.paths == ["/v1/chat/completions"]


def test_what_is_stored_is_not_asked_again(tmp_path):
    keep(str(tmp_path / "new" / "folder"))
    places = [{"Yes": -0.1, "No": -2.5}]
    with serve(Action(text='{"a": [1, "é"]}', logprobs=places)) as model:
        server, request = of(model), Request("q", schema={"type": "object"}, top_logprobs=2)
        first = ask([request], server)
        assert ask([request, request], server) == first * 2
        assert len(model.asked) == 1
        assert first[0].data == {"a": [1, "é"]}
        assert first[0].logprobs == ({"Yes": -0.1, "No": -2.5},)
        others = of(model, concurrency=2, timeout=9.0, kind="vllm")
        assert ask([request], others) == first  # how it was asked is no part of the question
        keep(None)
        ask([request], server)
        assert len(model.asked) == 2


def test_an_answer_without_a_server(tmp_path):
    keep(str(tmp_path))
    with serve() as model:
        server = of(model)
        first = ask(asks("q"), server)
    assert ask(asks("q"), server) == first


def test_a_dry_run_sends_nothing_and_counts_what_would_be_sent(tmp_path):
    keep(str(tmp_path))
    with serve() as model:
        server = of(model)
        ask(asks("a"), server)
        several = [*asks("a", "b", "b"), Request("c" * 400, images=(pictures.jpeg(1),))]
        costs = dry_run(several, server)
        assert len(model.asked) == 1
    assert (costs.requests, costs.cached, costs.repeated) == (2, 1, 1)
    assert costs.tokens_in == sum(request.tokens_in for request in several[2:])
    assert costs.tokens_out == 2 * 256


def test_pictures_are_estimated_by_their_size():
    from io import BytesIO

    from PIL import Image

    def tokens(size: tuple[int, int]) -> int:
        stream = BytesIO()
        Image.new("RGB", size).save(stream, "PNG")
        return Request("q", images=(stream.getvalue(),)).tokens_in - Request("q").tokens_in

    assert tokens((28, 28)) == 1
    assert tokens((29, 56)) == 4
    broken = Request("q", images=(b"\x89PNG\r\n\x1a\n junk",))
    assert broken.tokens_in == Request("q").tokens_in + 1000


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"endpoints": ()}, "endpoints must be a list"),
        ({"endpoints": "http://a/v1"}, "endpoints must be a list"),
        ({"endpoints": 5}, "endpoints must be a list"),
        ({"endpoints": (5,)}, "endpoints must be a list"),
        ({"endpoints": ("a/v1",)}, "must begin with http"),
        ({"endpoints": ("file:///etc/passwd",)}, "must begin with http"),
        ({"endpoints": ("http://",)}, "must begin with http"),
        ({"endpoints": ("http://a:99999/v1",)}, "is no address"),
        ({"endpoints": ("http://a/v1?key=1",)}, "without query"),
        ({"endpoints": ("http://a/v 1",)}, "without query or spaces"),
        ({"endpoints": ("http://a/v1/chat/completions",)}, "leave out"),
        ({"endpoints": ("http://a/v1", "http://a/v1/")}, "given twice"),
        ({"model": ""}, "model must be"),
        ({"model": ("m",)}, "model must be"),
        ({"kind": "gpt"}, "known are auto, openai, vllm"),
        ({"concurrency": 0}, "concurrency must be above 0, got 0"),
        ({"concurrency": 1.5}, "concurrency must be a whole number, got 1.5"),
        ({"attempts": True}, "attempts must be a whole number"),
        ({"max_requests": "yes"}, "max_requests must be a whole number, got 'yes'"),
        ({"timeout": "abc"}, "timeout must be a number, got 'abc'"),
        ({"timeout": None}, "timeout must be above 0"),
        ({"timeout": float("inf")}, "timeout must be above 0"),
        ({"attempts": 0}, "attempts must be above 0"),
        ({"max_tokens": -1}, "max_tokens must be at least 0, got -1"),
    ],
)
def test_a_server_that_can_t_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Server(**{"endpoints": ("http://a/v1",), "model": "m", **wrong})


def test_credentials_in_an_address_are_refused_and_not_repeated():
    for url in ("http://me:sesame@host/v1", "http://me:sesame@[host/v1", "http://me:sesame@h:x/"):
        with pytest.raises(ValueError, match="credentials") as caught:
            Server((url,), "m")
        assert "sesame" not in "".join(traceback.format_exception(caught.value))


def test_a_key_in_place_of_its_variable_is_refused_and_not_repeated():
    with pytest.raises(ValueError, match="must be the name of an environment variable") as caught:
        Server(("http://a/v1",), "m", api_key_env="sk-sesame")
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"images": (b"GIF89a",)}, "image 1 of a request is no JPEG, PNG or WebP"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_logprobs": 21}, "top_logprobs must be from 0 to 20"),
        ({"stop": "x"}, "stop must be a tuple"),
    ],
)
def test_a_request_that_can_t_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Request("q", **wrong)


def test_odd_texts_arrive_as_they_are():
    odd = ["", "\x00", "ü中😀", '"\\\n', "\ud83d", "<|image_pad|>", "x" * 100_000]
    with serve(ECHO) as model:
        found = texts(ask(asks(*odd), of(model)))
        assert sorted(model.prompts) == sorted(odd)
    assert found == [text.replace("\ud83d", "�") for text in odd]


KEY = "sk-very/secret+0123456789"


def test_the_key_is_sent_and_is_nowhere_else(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TINY_KEY", f"{KEY}\n")
    keep(str(tmp_path))
    caplog.set_level(logging.DEBUG)
    repeats = [
        failing(401, f"Incorrect key: {KEY}"),
        failing(400, f"{'x' * 190} {KEY}"),
        failing(500, f"Bearer {KEY}"),
        Action(body=json.dumps({"headers": {"Authorization": f"Bearer {KEY}"}})),
        Action(body=f"Bearer {KEY}", headers=(("Content-Type", "text/html"),)),
        Action(text=f"you sent {KEY}"),
    ]
    with serve(by_prompt=dict(zip("abcdef", repeats, strict=True))) as model:
        server = of(model, api_key_env="TINY_KEY", attempts=1)
        found = ask(asks(*"abcdef"), server)
        assert {h["Authorization"] for h in model.headers} == {f"Bearer {KEY}"}
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    seen = f"{server} {found} {caplog.text} {pickle.dumps(found)!r} {files!r}"
    assert KEY[:12] not in seen
    assert "environment variable TINY_KEY" in str(found[0])
    assert found[5].text == "you sent [key]"


@pytest.mark.parametrize("value", [None, "", " ", "a\nb", "schlüssel"])
def test_a_key_that_is_missing_or_none_is_said_without_asking(monkeypatch, value):
    monkeypatch.delenv("TINY_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("TINY_KEY", value)
    with serve() as model:
        (error,) = ask(asks("q"), of(model, api_key_env="TINY_KEY", kind="auto"))
        assert model.paths == []
    assert isinstance(error, Unauthorized)
    assert "environment variable TINY_KEY" in str(error)


def test_proxies_of_the_environment_are_not_used(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port()}")
    with serve(ECHO) as model:
        assert texts(ask(asks("q"), of(model))) == ["q"]


def test_every_error_survives_the_way_between_processes():
    kinds = [getattr(served, name) for name in served.__all__]
    errors = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(errors) == 13
    for kind in errors:
        again = pickle.loads(pickle.dumps(kind("why")))
        assert (type(again), str(again)) == (kind, "why")
    lasting = {kind.__name__ for kind in errors if kind.retriable}
    told = {"Unauthorized", "NotThere", "Unsupported", "BudgetSpent"}
    assert lasting == {"ServerUnavailable", *told}
    lost = served.TimedOut("why")
    lost.retriable = True
    assert pickle.loads(pickle.dumps(lost)).retriable
