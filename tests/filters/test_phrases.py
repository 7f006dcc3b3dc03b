"""The parts of captions that rules find."""

import pytest

from filters.phrases import parts, quoted


def said(caption):
    return [(part.kind, part.said) for part in parts(caption)]


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("Three balloons", [("object", "balloons"), ("number", "three balloons")]),
        ("a yellow pencil", [("object", "pencil"), ("attribute", "yellow pencil")]),
        ("4 men", [("object", "men"), ("number", "four men")]),
        (
            "a black and white cow",
            [("object", "cow"), ("attribute", "black"), ("attribute", "white cow")],
        ),
        ("Watercolour of two hens", [("number", "two hens"), ("style", "watercolour")]),
        (
            "two big old houses",
            [
                ("object", "houses"),
                ("attribute", "big old houses"),
                ("attribute", "old houses"),
                ("number", "two big old houses"),
            ],
        ),
        ('a cat beside the words "two red dogs"', [("object", "cat")]),
        ('"a dog"', [("object", "dog")]),
        ("clip art", [("style", "clip art")]),
        ("a line drawing", [("style", "line drawing")]),
        ("one of the best dogs", [("object", "dogs")]),
        ("in 2019, 50 mm, 3.5 inches, no. 7", []),
        ("five years, two times, 3 stars", [("object", "stars")]),
        ("a dog-house, catwalk, un-red", []),
        ("größe 猫", []),
        ("", []),
    ],
)
def test_parts_are_found(caption, found):
    assert said(caption) == found


def test_alternatives_say_something_else_in_the_same_form():
    by_kind = {part.kind: part for part in parts("Photo of two red cars")}
    assert {"trucks", "dogs", "mice"} <= set(by_kind["object"].others)
    assert not {"cars", "car", "truck"} & set(by_kind["object"].others)
    assert "blue cars" in by_kind["attribute"].others
    assert by_kind["number"].others[:2] == ("three red cars", "four red cars")
    assert len(by_kind["number"].others) == 8  # two to ten but two
    assert {"painting", "map"} <= set(by_kind["style"].others)
    for part in by_kind.values():
        assert part.said not in part.others
        assert len(set(part.others)) == len(part.others)


def test_what_a_caption_says_too_is_no_alternative():
    found = parts("a red and a blue car beside a truck, two dogs and a dog")
    for part in found:
        words = {word for other in part.others for word in other.split()}
        assert not words & {"car", "cars", "truck", "dog", "dogs"} or part.kind != "object"
        assert not words & {"red", "blue"} or part.kind != "attribute"


def test_of_a_long_list_the_first_are_looked_at():
    many = "a dog, a cat, a horse, a cow, a lion, a bear, a fox, a duck, an eagle, a car"
    assert len(parts(many)) == 8
    assert parts("x " * 5000 + "dog") == []


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ('a sign with "No Entry" on it', "No Entry"),
        ("ein Schild mit „Halt“ und «Stop»", "Halt Stop"),
        ("a sign that says STOP at a road", "STOP"),
        ("a shirt reading 'Hello World'", "'Hello World'"),
        ("a dog's bone at 5 o'clock", None),
        ("a sign that says nothing", None),
        ("he said 'hi' to the dog", None),
        ('""', None),
        ('"A dog on the road"', None),
        ('a 5" screen', None),
    ],
)
def test_words_in_the_picture_are_found(caption, words):
    assert quoted(caption) == words


@pytest.mark.parametrize(
    "text", ["a " * 40_000, '"' * 40_000, "red " * 40_000, "A" * 40_000, "says " * 40_000]
)
def test_hostile_captions_take_no_time(text):
    import time

    start = time.process_time()
    parts(text)
    quoted(text)
    assert time.process_time() - start < 2
