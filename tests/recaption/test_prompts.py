"""Prompts with names and versions, and what is taken off answers."""

import hashlib

import pytest

from filters.mllm import TEXT
from recaption import prompts
from recaption.prompts import plain_answer, tasks_of


@pytest.mark.parametrize(
    ("answer", "caption"),
    [
        ("A dog runs.", "A dog runs."),
        ("  A dog.\nIt runs.  ", "A dog.\nIt runs."),
        ("The image shows a red dog.", "A red dog."),
        ("The picture depicts that two cats sleep.", "Two cats sleep."),
        ("In this image, we can see a dog.", "A dog."),
        ("This is a photo of a boat.", "A boat."),
        ('Sure, here is a caption: "The image shows a red dog."', "A red dog."),
        ("Certainly! A dog runs.", "A dog runs."),
        ("Here's a detailed description of the picture:\n\nA dog.", "A dog."),
        ("Caption: a dog", "a dog"),
        ("```\nA dog\n```", "A dog"),
        ("好的，以下是描述：图片中展示了一只狗。", "一只狗。"),
        ("A dog\x00\x1b[31m.", "A dog[31m."),
        # what is said of the picture itself, or is all that is said, stays
        ("The image shows", "The image shows"),
        ("Sure.", "Sure."),
        ("Here is a dog.", "Here is a dog."),
        ("A photo of a dog.", "A photo of a dog."),
        ("The image is blurred.", "The image is blurred."),
        ('"Exit" and "Stop"', '"Exit" and "Stop"'),
        ("A sign: the image shows nothing.", "A sign: the image shows nothing."),
        ("", ""),
    ],
)
def test_openings_of_chat_models_are_taken_off_and_nothing_else(answer, caption):
    assert plain_answer(answer) == caption
    assert plain_answer(caption) == caption


def test_facets_are_six_kinds_and_any_of_them_alone():
    facets = tasks_of(("facets",), None, False)
    assert len(facets) == 6
    assert all(task.kind.startswith("facet:") for task in facets)
    assert tasks_of(("facet:action",), 7, False)[0].max_tokens == 7


def test_every_prompt_of_ours_asks_in_a_language_and_quotes_what_others_wrote():
    asked = tasks_of(("short", "long", "facets"), None, False) + tasks_of(("long",), None, True)
    for task in asked:
        filled = task.prompt.filled("pt-BR", 10).text
        assert "Portuguese (pt-BR)" in filled
        assert "{" not in filled
    for prompt in (prompts.CONTEXT, prompts.FUSE, prompts.EXPERTS):
        assert f'"{TEXT}"' in prompt.text
        assert "do nothing" in prompt.text


def test_a_prompt_s_wording_belongs_to_its_version():
    """If this fails: raise the version of the prompt that changed, then note its digest here."""
    asked = tasks_of(("short", "long", "facets"), None, False) + tasks_of(("long",), None, True)
    known = [task.prompt for task in asked] + [prompts.CONTEXT, prompts.FUSE, prompts.EXPERTS]
    text = "\n".join(f"{prompt.label} {prompt.text}" for prompt in known)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "2b4cea2df7c45fd2"


def test_json_is_one_question():
    (task,) = tasks_of(("short", "long"), None, True)
    assert task.schema == ("short", "long", "tags", "text_in_image")
    schema = prompts.schema_of(task.schema)
    assert schema["required"] == list(task.schema)
    assert schema["properties"]["tags"]["type"] == "array"


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ("short", "is a list"),
        ((), "is a list"),
        (3, "is a list"),
        ((3,), "kind 3: known are short, long, facets"),
        (("medium",), "known are short, long, facets"),
        (("short", "short"), "asked for twice"),
        (("facets", "facet:place"), "asked for twice"),
        (({"kind": "x", "prompt": "y"},), "needs `version`"),
        (({"kind": "x", "version": 1},), "give `prompt`, its text, or `file`"),
        (({"kind": "x", "version": 1, "prompt": " "},), "is empty"),
        (({"kind": "x", "version": 1, "prompt": "a {text}"},), "leave out"),
        (({"kind": "x", "version": 1, "file": "/no/such"},), "can't be read"),
        (({"kind": "two words", "version": 1, "prompt": "x"},), "of one word"),
        (({"kind": "x", "version": 1, "prompt": "x", "max_tokens": 0},), "at least 1"),
        (({"kind": "x", "version": 1, "promt": "x"},), "no parameter 'promt'"),
    ],
)
def test_wrong_kinds_are_refused_and_the_right_ones_named(kinds, message):
    with pytest.raises(ValueError, match=message):
        tasks_of(kinds, None, False)


def test_json_answers_no_own_prompts():
    with pytest.raises(ValueError, match="short and long alone"):
        tasks_of(("facets",), None, True)


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("en", "English"),
        ("de", "German (de)"),
        ("zh-Hant", "Chinese (zh-Hant)"),
        ("xx", "the language xx"),
    ],
)
def test_languages_are_named(tag, name):
    assert prompts.language_name(tag) == name
