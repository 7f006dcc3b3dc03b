"""What each kind of server is sent, what is read out of its answers, and how it is told."""

import base64
import json
import math

import pytest

from filters.served import (
    Answer,
    BadAnswer,
    NotOfSchema,
    Request,
    Server,
    ServerUnavailable,
    Unsupported,
    ask,
)
from filters.served_kinds import answer_of, body_of, data_of
from tests import pictures
from tests.filters.model_server import Action, ModelServer, failing, prompt_of, serve

SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "integer", "minimum": 0, "maximum": 100}},
    "required": ["score"],
    "additionalProperties": False,
}
WEBP = b"RIFF\x00\x00\x00\x00WEBPVP8 "


def of(server: ModelServer, **options: object) -> Server:
    known = {"backoff": 0.01, "timeout": 5.0}
    return Server((server.url,), "tiny", **{**known, **options})


def one(server: Server, **options: object) -> object:
    (found,) = ask([Request("q", **options)], server)
    return found


@pytest.mark.parametrize("kind", ["openai", "vllm", "sglang", "llamacpp"])
def test_the_kind_is_found_out_once(kind):
    with serve(Action(text='{"score": 3}'), kind=kind) as model:
        server = of(model)
        assert one(server, schema=SCHEMA).data == {"score": 3}
        ask([Request(f"{i}") for i in range(9)], server)
        assert model.paths.count("/v1/models") == 1
        body = model.asked[0]
    assert ("repetition_penalty" in body) == (kind in ("vllm", "sglang"))
    assert ("repeat_penalty" in body) == (kind == "llamacpp")
    assert ("schema" in body["response_format"]) == (kind == "llamacpp")
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert ("chat_template_kwargs" in body) == (kind != "openai")


@pytest.mark.parametrize("owner", ["library", "someone"])
def test_ollama_is_asked_by_its_own_api(owner):
    image = pictures.jpeg(1)
    places = [{"Yes": -0.5, "No": -1.0}]
    action = Action(text='{"score": 9}', logprobs=places, usage=(12, 4), finish="length")
    with serve(action, kind="ollama", owner=owner) as model:
        request = Request(
            "q", (image,), "short", 16, seed=3, schema=SCHEMA, top_logprobs=2, stop=("x",)
        )
        (answer,) = ask([request], of(model))
        (body,) = model.asked
        assert model.paths[-1] == "/api/chat"
        assert ("/api/version" in model.paths) == (owner == "someone")
    assert answer == Answer('{"score": 9}', "length", 12, 4, tuple(places), {"score": 9})
    assert body["format"] == SCHEMA
    system, user = body["messages"]
    assert system["content"] == "short"
    assert base64.b64decode(user["images"][0]) == image
    options = body["options"]
    assert (options["num_predict"], options["seed"], options["stop"]) == (16, 3, ["x"])
    assert (options["temperature"], options["repeat_penalty"]) == (0.0, 1.0)
    assert (body["stream"], body["think"]) == (False, False)


def test_an_unknown_server_is_taken_for_one_like_openai_s():
    for options in ({"owner": "who"}, {"models_status": 404}, {"models_status": 401}):
        with serve(**options) as model:
            assert one(of(model)).text == "fine"
            assert model.paths[-1] == "/v1/chat/completions"
            assert "repetition_penalty" not in model.asked[0]


def test_a_server_that_is_not_ready_is_not_taken_for_another():
    with serve(models_status=503, kind="vllm") as model:
        server = of(model, backoff=0.001)
        assert isinstance(one(server), ServerUnavailable)
        assert model.asked == []


def test_a_kind_that_is_said_is_not_asked_for():
    with serve(kind="openai") as model:
        one(of(model, kind="vllm"))
        assert model.paths == ["/v1/chat/completions"]


def test_temperature_zero_leaves_the_server_no_default():
    greedy = body_of(Request("q"), "m", "vllm", frozenset())
    assert (greedy["temperature"], greedy["top_k"], greedy["repetition_penalty"]) == (0.0, -1, 1.0)
    assert "top_p" not in greedy
    drawn = body_of(Request("q", temperature=1.0, top_p=0.9), "m", "openai", frozenset())
    assert (drawn["temperature"], drawn["top_p"]) == (1.0, 0.9)
    assert "seed" not in drawn


def test_a_new_model_of_openai_takes_its_limit_by_another_name():
    def answer(body: dict) -> Action:
        wanted = "max_completion_tokens" in body
        return Action() if wanted else failing(400, "Use 'max_completion_tokens' instead.")

    with serve() as model:
        model.next_action = lambda body: (model.asked.append(body), answer(body))[1]
        server = of(model, kind="openai", concurrency=1)
        found = ask([Request("a"), Request("b")], server)
        assert [answer.text for answer in found] == ["fine", "fine"]
        assert len(model.asked) == 3  # it is learned
        assert "max_tokens" not in model.asked[-1]


def test_a_server_without_schemas_is_asked_for_json_and_checked_all_the_same():
    refusing = failing(400, "response_format json_schema is not supported")
    with serve(refusing, Action(text='```json\n{"score": 4}\n```')) as model:
        assert one(of(model, kind="openai"), schema=SCHEMA).data == {"score": 4}
        assert model.asked[1]["response_format"] == {"type": "json_object"}
    with serve(refusing, Action(text='{"points": 4}')) as model:
        error = one(of(model, kind="openai"), schema=SCHEMA)
    assert isinstance(error, NotOfSchema)


def test_llama_cpp_is_spared_pictures_it_can_t_read():
    with serve(kind="llamacpp") as model:
        error = one(of(model, max_requests=0), images=(WEBP,))
        assert isinstance(error, Unsupported)
        assert model.asked == []
    with serve(kind="vllm") as model:
        assert one(of(model), images=(WEBP,)).text == "fine"


def test_what_is_no_schema_is_said_without_asking():
    with serve() as model:
        error = one(of(model, kind="openai"), schema={"type": "objekt"})
        assert isinstance(error, Unsupported)
        assert "objekt" in str(error)
        assert model.asked == []


# JSON


@pytest.mark.parametrize(
    "text",
    [
        '{"score": 7}',
        ' \n{"score": 7}\n',
        '```json\n{"score": 7}\n```',
        '```\n{"score": 7}```',
        'Sure! {"score": 7} Anything else?',
    ],
)
def test_json_is_found_in_what_is_said(text):
    assert data_of(text, SCHEMA, "stop") == {"score": 7}


@pytest.mark.parametrize(
    ("text", "finish", "message"),
    [
        ("seven", "stop", "no JSON: seven"),
        ("", "stop", "no JSON: "),
        ('{"score": 7', "length", 'no JSON, cut at max_tokens: {"score": 7'),
        ('{"score": "7"}', "stop", r"\$\.score: '7' is not of type 'integer'"),
        ('{"score": 101}', "stop", "101 is greater than the maximum of 100"),
        ("{}", "stop", "'score' is a required property"),
        ('{"score": 1, "why": 2}', "stop", "Additional properties"),
        ("[1]", "stop", "is not of type 'object'"),
        ("null", "stop", "no JSON"),
        ('{"score": NaN}', "stop", "no JSON"),
        ("[" * 100_000, "stop", "no JSON"),
        ('{"score": 1e999}', "stop", "score"),
        ('{"score": ' + "9" * 9999 + "}", "stop", "no JSON"),
    ],
)
def test_json_that_is_not_of_the_schema_is_refused(text, finish, message):
    with pytest.raises(NotOfSchema, match=message) as caught:
        data_of(text, SCHEMA, finish)
    assert len(str(caught.value)) < 500


def test_a_schema_that_points_elsewhere_fetches_nothing():
    with serve(Action(text="{}")) as model:
        schema = {"$ref": f"{model.url}/schema.json"}
        with pytest.raises(Unsupported, match="schema: Unresolvable"):
            data_of("{}", schema, "stop")
        assert model.paths == []


def test_lone_surrogates_leave_no_trace_in_text_or_data():
    text = '{"word": "a\\ud83d b", "\\udc00": "\\ud83d\\ude00"}'
    assert data_of(text, {}, "stop") == {"word": "a� b", "�": "😀"}


def test_broken_json_gets_one_more_try_with_another_seed_if_answers_are_drawn():
    broken, whole = Action(text='{"score":', finish="length"), Action(text='{"score": 5}')
    with serve(broken, whole) as model:
        server = of(model, kind="openai")
        assert one(server, schema=SCHEMA, temperature=0.7, seed=11).data == {"score": 5}
        assert [body["seed"] for body in model.asked] == [11, 12]
    with serve(broken, whole) as model:
        error = one(of(model, kind="openai"), schema=SCHEMA)
        assert isinstance(error, NotOfSchema)
        assert 'cut at max_tokens: {"score":' in str(error)
        assert len(model.asked) == 1
    with serve(broken) as model:
        drawn = {"schema": SCHEMA, "temperature": 0.7}
        assert isinstance(one(of(model, kind="openai"), **drawn), NotOfSchema)
        assert len(model.asked) == 2


# Log probabilities


def chat(content: object, kind: str = "openai") -> dict:
    if kind == "ollama":
        return {"message": {"content": "x"}, "logprobs": content}
    return {"choices": [{"message": {"content": "x"}, "logprobs": {"content": content}}]}


def place(*top: tuple[str, float]) -> dict:
    listed = [{"token": token, "logprob": value} for token, value in top]
    return {**listed[0], "top_logprobs": listed}


@pytest.mark.parametrize("kind", ["openai", "ollama"])
def test_log_probabilities_come_by_token_and_place(kind):
    body = chat([place(("Yes", -0.25), ("No", -1.5)), {"token": "!", "logprob": -0.5}], kind)
    answer = answer_of(body, Request("q", top_logprobs=2), kind)
    assert answer.logprobs == ({"Yes": -0.25, "No": -1.5}, {"!": -0.5})


def test_probabilities_of_tokens_that_read_the_same_add_up():
    body = chat([place(("�", math.log(0.2)), ("a", math.log(0.5)), ("�", math.log(0.1)))])
    (found,) = answer_of(body, Request("q", top_logprobs=3), "openai").logprobs
    assert math.exp(found["�"]) == pytest.approx(0.3)
    assert math.exp(found["a"]) == pytest.approx(0.5)


def test_impossible_tokens_are_left_out_and_all_numbers_are_finite():
    body = json.loads(json.dumps(chat([place(("a", 0.0), ("b", -math.inf), ("c", -9999.0))])))
    (found,) = answer_of(body, Request("q", top_logprobs=3), "openai").logprobs
    assert found == {"a": 0.0, "c": -9999.0}


@pytest.mark.parametrize("content", [None, []])
def test_a_server_without_log_probabilities_is_told(content):
    with pytest.raises(Unsupported, match=r"gives no log probabilities \(asked as vllm\)"):
        answer_of(chat(content), Request("q", top_logprobs=1), "vllm")
    assert answer_of(chat(content), Request("q"), "vllm").logprobs == ()


@pytest.mark.parametrize(
    "wrong",
    [
        *(3, "x", [3], [{}]),
        *([place(("a", wrong))] for wrong in (0.5, math.nan, -(10**400))),
        [place((3, -1.0))],
    ],
)
def test_log_probabilities_that_are_none_are_refused(wrong):
    with pytest.raises(BadAnswer):
        answer_of(chat(wrong), Request("q", top_logprobs=1), "openai")


@pytest.mark.parametrize("kind", ["openai", "ollama"])
def test_log_probabilities_are_asked_for(kind):
    body = body_of(Request("q", top_logprobs=5), "m", kind, frozenset())
    assert (body["logprobs"], body["top_logprobs"]) == (True, 5)
    assert "logprobs" not in body_of(Request("q"), "m", kind, frozenset())


# Answers


def test_an_answer_in_parts_is_put_together():
    parts = [{"type": "text", "text": "two "}, {"type": "text", "text": "dogs"}]
    body = {"choices": [{"message": {"content": parts}, "finish_reason": None}]}
    answer = answer_of(body, Request("q"), "openai")
    assert (answer.text, answer.finish) == ("two dogs", "stop")


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "x", "completion_tokens": -3}, 7])
def test_odd_counts_of_tokens_are_replaced_by_estimates(usage):
    body = {"choices": [{"message": {"content": "abcd"}}], "usage": usage}
    if usage == 7:
        with pytest.raises(BadAnswer):
            answer_of(body, Request("q"), "openai")
        return
    answer = answer_of(body, Request("q"), "openai")
    assert (answer.tokens_in, answer.tokens_out) == (16, 2)


@pytest.mark.parametrize(
    "body",
    [None, 3, [], {}, {"choices": [None]}, {"choices": [{}]}, {"message": None}, {"message": 3}],
)
@pytest.mark.parametrize("kind", ["openai", "ollama"])
def test_anything_else_is_no_answer(body, kind):
    with pytest.raises(BadAnswer, match="no chat answer"):
        answer_of(body, Request("q"), kind)


def test_the_prompt_of_a_picture_is_found_by_the_stand_in():
    body = body_of(Request("q", images=(pictures.jpeg(1),)), "m", "openai", frozenset())
    assert prompt_of(body) == "q"
