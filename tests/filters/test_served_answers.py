"""Answers of models that think aloud, and what servers say of the model that answers."""

import json

import pytest

from filters.served import BadAnswer, Request, Server, ask
from filters.served_kinds import after_thinking, answer_of, model_of_models
from tests.filters.model_server import Action, serve

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<think>a { cat } ?</think>\n\nA dog.", "A dog."),
        ("a cat?\n</think>A dog.", "A dog."),  # where the template begins the thought
        ("<thinking>hm</thinking> A dog.", "A dog."),
        ("<think>never ends", ""),
        ("A dog.", "A dog."),
        ("A tag <think> in a picture.", "A tag <think> in a picture."),
        ("", ""),
    ],
)
def test_thoughts_come_before_an_answer(text, said):
    assert after_thinking(text) == said


def body(content, **more):
    return {"choices": [{"message": {"content": content, **more}, "finish_reason": "stop"}]}


def test_json_is_found_after_thoughts_with_braces():
    found = answer_of(body('<think>{"a": 1}?</think>{"a": 2}'), Request("q", schema=SCHEMA), "vllm")
    assert found.data == {"a": 2}
    assert found.text.startswith("<think>")  # as it came


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_without_an_answer_is_none(name):
    with pytest.raises(BadAnswer, match="reasoning without an answer"):
        answer_of(body(None, **{name: "hm"}), Request("q"), "vllm")


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("owner/model-7b", "owner/model-7b"),
        ("/data/weights/model-7b/", "model-7b"),
        ("C:\\models\\dog.gguf", "dog.gguf"),
        ("./dog.gguf", "dog.gguf"),
        ("", None),
        (7, None),
    ],
)
def test_the_model_is_named_without_the_path_to_it(said, name):
    assert answer_of(body("x") | {"model": said}, Request("q"), "vllm").model == name
    cards = {"data": [{"id": "other", "root": "no"}, {"id": "tiny", "root": said}, 5]}
    assert model_of_models(cards, "tiny") == name


@pytest.mark.parametrize("cards", [None, [], {"data": None}, {"data": [{"id": "x"}]}])
def test_a_list_of_models_may_say_nothing(cards):
    assert model_of_models(cards, "tiny") is None


def test_what_the_list_of_models_says_comes_with_the_answer():
    cards = json.dumps({"data": [{"id": "tiny", "owned_by": "vllm", "root": "owner/model-7b"}]})
    with serve(Action("fine"), kind="vllm", models_body=cards) as model:
        (answer,) = ask([Request("q")], Server((model.url,), "tiny"))
    assert answer.model == "owner/model-7b"
