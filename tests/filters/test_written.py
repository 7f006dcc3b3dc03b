"""Rules about how a caption is written: each with a text that trips it, and none that others do."""

import time

import pytest

from filters.written import faults, is_text, named, quality

GOOD = "A brown dog sleeps on the sofa"


def test_a_plain_sentence_is_whole():
    assert quality(GOOD) == 1.0
    assert quality("ein kleiner Hund schläft auf einer Wiese") == 1.0
    assert quality("日本の猫が庭の石の上に座っている") == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "IMG_0421.jpg",
        "click to enlarge",
        "dog",
        "A brown dog sleeps on a",
        "a brown dog the of sofa sleeps",
        "BUY NOW CHEAP SHOES AND BOOTS",
        "dog dog dog sofa sofa dog",
        "12 345 678 90 44 17 a 9",
        f"{GOOD} www.example.com",
        "word " * 200,
        "?!",
    ],
)
def test_each_fault_costs(text):
    assert quality(text) < 0.75


def test_longer_captions_are_better_up_to_a_point():
    words = f"{GOOD} near that old open window today".split()
    found = [quality(" ".join(words[:count])) for count in (1, 2, 4, 5, 12)]
    assert found[:4] == sorted(found[:4])
    assert found[3] == found[4] == 1.0


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a dog in the garden", 0),
        ("the end", 0),
        ("the", 0),
        ("a dog and a", 1),
        ("of of a dog", 1),
        ("a the dog", 1),
        ("a dog with", 1),
        ("a dog, with a, cat", 1),
        ("salt and pepper", 0),
        ("looking for, a dog", 1),
        ("der Hund von", 0),
        ("", 0),
    ],
)
def test_words_that_lack_what_follows_them(text, count):
    assert faults(text) == count


@pytest.mark.parametrize(
    ("text", "count", "told"),
    [
        ("Albert Einstein in 1947", 2, {"albert", "einstein", "1947"}),
        ("a house of the 1920s", 1, {"1920s"}),
        ("a dog", 0, set()),
        ("1999% of 20.2000 and 3000 people", 0, set()),
        ("Portrait of Dr. Anna Schmidt", 1, {"anna", "schmidt"}),
    ],
)
def test_names_and_years(text, count, told):
    assert named(text) == (count, told)


def test_names_of_files_are_no_text():
    assert not is_text("DSC_0001.JPG")
    assert not is_text("image not found")
    assert is_text("a dog")


def test_a_long_text_takes_no_time():
    started = time.process_time()
    for text in ("a of " * 400, "." * 2000, "A" * 2000, "(" * 2000, "Dr. " * 500):
        assert 0 <= quality(text) <= 1
        named(text)
    assert time.process_time() - started < 1
