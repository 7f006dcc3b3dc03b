"""Embeddings by a model server: what is sent, what is read, and what is no vector."""

import base64
import json
import math
import struct

import numpy as np
import pytest

from filters.served import BadAnswer, Request, Server, Unsupported, ask, dry_run, keep_in
from filters.served_vectors import answer_of, body_of, vector_of
from tests.filters.model_server import Action, failing, serve

JPEG = b"\xff\xd8\xff\xe0 made up"
ADDRESS = f"data:image/jpeg;base64,{base64.b64encode(JPEG).decode()}"
SHOWN = Request("what?", (JPEG,), vector="messages")
PLAIN = Request("what?", vector="input")


@pytest.fixture(autouse=True)
def _keeps_nothing():
    yield
    keep_in(None)


def server_at(server, **more):
    return Server((server.url,), "tiny", **{"attempts": 2, "backoff": 0.001, **more})


def body(vector, **more):
    return {"data": [{"embedding": vector}], **more}


def test_a_picture_and_its_text_are_a_chat_or_one_object_of_a_list():
    messages = [{"role": "user", "content": "as a chat"}]
    assert body_of(SHOWN, "m", messages) == {
        "model": "m",
        "encoding_format": "float",
        "messages": messages,
        "add_generation_prompt": True,
    }
    both = Request("what?", (JPEG,), vector="input")
    assert body_of(both, "m", messages)["input"] == [{"image": ADDRESS, "text": "what?"}]
    assert body_of(PLAIN, "m", messages)["input"] == [{"text": "what?"}]


def test_the_server_is_asked_at_its_second_address_and_once_for_equal_requests(tmp_path):
    keep_in(str(tmp_path))
    with serve(Action(vector=[3, 4]), kind="vllm") as server:
        found = ask([SHOWN, Request("what?", vector="messages"), SHOWN], server_at(server))
        assert server.paths.count("/v1/embeddings") == 2
        assert [sorted(one) for one in server.asked] == [
            ["add_generation_prompt", "encoding_format", "messages", "model"]
        ] * 2
        contents = [one["messages"][0]["content"] for one in server.asked]
        assert [part["type"] for part in next(c for c in contents if c != "what?")] == [
            "image_url",
            "text",
        ]
        assert ask([SHOWN], server_at(server)) == found[:1]
        assert len(server.asked) == 2
    assert [vector_of(answer).tolist() for answer in found] == [[3, 4]] * 3
    assert (found[0].tokens_in, found[0].tokens_out, found[0].model) == (7, 0, "tiny")


def test_a_vector_is_not_taken_for_an_answer_of_words_nor_of_another_form():
    words = Request("what?", (JPEG,), max_tokens=1)
    forms = [Request("what?", (JPEG,), max_tokens=1, vector=form) for form in ("messages", "input")]
    assert len({request.key("m") for request in (words, *forms)}) == 3
    assert (words.tokens_out, SHOWN.tokens_out) == (1, 0)
    costs = dry_run([SHOWN, PLAIN], Server(("http://127.0.0.1:1/v1",), "m"))
    assert (costs.requests, costs.tokens_out) == (2, 0)
    with pytest.raises(ValueError, match="known are messages, input"):
        Request("what?", vector="chat")
    with pytest.raises(ValueError, match="one image at most"):
        Request("what?", (JPEG, JPEG), vector="input")
    with pytest.raises(ValueError, match="leave out /embeddings"):
        Server(("http://127.0.0.1:1/v1/embeddings",), "m")


def test_numbers_come_as_they_are_or_as_bytes():
    packed = base64.b64encode(struct.pack("<3f", 0.5, -2, 1e-30)).decode()
    for given in ([0.5, -2, 1e-30], packed):
        found = vector_of(answer_of(body(given, usage={"prompt_tokens": 9}), SHOWN))
        assert found.dtype == np.float32
        assert found == pytest.approx([0.5, -2, 1e-30], rel=1e-6)
    assert answer_of(body([1]), PLAIN).tokens_in == PLAIN.tokens_in
    assert answer_of(body([1], usage={"prompt_tokens": "many"}), PLAIN).tokens_in == 17


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "no embedding"),
        (None, "no embedding"),
        ([1, 2], "no embedding"),
        ({"data": None}, "no embedding"),
        ({"data": [{}]}, "no embedding"),
        ({"data": ["x"]}, "no embedding"),
        ({"data": []}, "0 embeddings for one"),
        ({"data": [{"embedding": [1]}] * 2}, "2 embeddings for one"),
        (body([]), "no list of numbers"),
        (body(None), "no list of numbers"),
        (body([[1, 2]]), "no list of numbers"),
        (body([True, False]), "no list of numbers"),
        (body(["1"]), "no list of numbers"),
        (body([1, None]), "no list of numbers"),
        (body([0, 0.0]), "of zeros"),
        (body([1e-60, 0]), "of zeros"),
        (body([1, math.nan]), "not finite"),
        (body([1, math.inf]), "not finite"),
        (body([1, 1e39]), "not finite"),
        (body([10**400]), "not finite"),
        (body([1.0] * 70_000), "of 70000 numbers"),
        (body("?"), "no base64"),
        (body("größe"), "no base64"),
        (body("AAA="), "2 bytes, no float32"),
        (body(""), "0 bytes, no float32"),
        (body(base64.b64encode(struct.pack("<f", math.nan)).decode()), "not finite"),
        (body([1], usage=7), "no embedding"),
    ],
)
def test_anything_else_is_no_vector(given, why):
    with pytest.raises(BadAnswer, match=why) as error:
        answer_of(given, SHOWN)
    assert len(str(error.value)) < 300


def test_a_server_that_is_busy_or_fails_is_asked_again():
    good = Action(vector=[1, 0])
    with serve(failing(429), failing(500), good) as server:
        (found,) = ask([SHOWN], server_at(server, attempts=5))
    assert vector_of(found).tolist() == [1, 0]


# What vLLM, SGLang and FastAPI say when they were started, or asked, for something else.
_MISSING = (
    "1 validation errors:\n {'type': 'missing', 'loc': ('body', '%s'), 'msg': 'Field required'}"
)
_DETAIL = json.dumps({"detail": [{"loc": ["body", "input"], "msg": "Field required"}]})


@pytest.mark.parametrize(
    "action",
    [
        failing(400, "The model does not support Embeddings API"),
        failing(501, "The model does not support Embeddings API"),
        failing(400, "This model does not appear to be an embedding model by default."),
        failing(400, _MISSING % "input"),
        failing(422, _MISSING % "messages"),
        Action(status=422, body=_DETAIL),
    ],
)
def test_a_server_that_can_t_is_no_fault_of_the_pair(action):
    with serve(action) as server:
        (found,) = ask([SHOWN], server_at(server))
    assert isinstance(found, Unsupported)
    assert found.retriable


def test_what_a_kind_of_server_can_t_do_is_said_without_asking():
    for kind, message in (("ollama", "known here"), ("llamacpp", "known"), ("sglang", "`input`")):
        with serve(kind=kind) as server:
            (found,) = ask([SHOWN], server_at(server, kind=kind))
            assert server.asked == []
        assert isinstance(found, Unsupported)
        assert message in str(found)
    with serve(Action(vector=[1]), kind="sglang") as server:
        assert vector_of(ask([PLAIN], server_at(server))[0]).tolist() == [1]


def test_a_field_that_is_missing_in_a_chat_is_about_the_request():
    within = "'loc': ('body', 'messages', 0, 'content'), 'msg': 'Field required'"
    with serve(failing(400, within)) as server:
        (found,) = ask([Request("what?")], server_at(server))
    assert not isinstance(found, Unsupported)
