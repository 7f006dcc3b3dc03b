"""Sentences: what is cut and what is not, nothing lost, and hostile texts in bounded time."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.caption import words
from recaption import sentences
from recaption.sentences import parts, split


def letters(text):
    return [character for character in text if character.isalnum()]


def test_the_sentences_of_dreamlip():
    assert split("A dog. On grass.\nNear a wall.</s>") == ["A dog.", "On grass.", "Near a wall."]


@pytest.mark.parametrize(
    "text",
    [
        "It is 3.5 m tall and costs 1.299,50 in v. 2.0 of the list.",
        "Dr. J. Smith and Mrs. A. B. Jones of the Dog Co. in St. Louis.",
        "Some birds, e.g. two owls, fly at 5 p.m. over the U.S. Capitol.",
        "He waits... then he runs … away.",
        'A sign reads "Stop. Go back." near a road.',
        "The dog (brown. Big.) runs along [sic. No.] a wall.",
        "See www.example.com/a.html?b=C.d or img_01.final.jpg by Node.js users.",
        '"What a dog!" she said.',
        "Yahoo! is here",
        "It shows No. 5 of fig. 3 in vol. 2, Sept. 11.",
        "approx. five birds, max. ten",
    ],
)
def test_a_stop_that_ends_no_sentence_cuts_nothing(text):
    assert split(text) == [text]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("He lives on Main St. The car is red.", ["He lives on Main St.", "The car is red."]),
        ("It was 5 p.m. The sun set.", ["It was 5 p.m.", "The sun set."]),
        ("Toys, balls, etc. Children play.", ["Toys, balls, etc.", "Children play."]),
        ("Vitamin C. The box.", ["Vitamin C.", "The box."]),
        ("Wow... The end.", ["Wow...", "The end."]),
        ("It is (old.) The end", ["It is (old.)", "The end"]),
        ('He says "Stop." The dog', ['He says "Stop."', "The dog"]),
        ('"A dog runs. A cat sits."', ['"A dog runs.', 'A cat sits."']),
        ("Built in 1990. It is old!", ["Built in 1990.", "It is old!"]),
        ("a dog on grass. a cat near it.", ["a dog on grass.", "a cat near it."]),
        ("a dog runs . a cat sits .", ["a dog runs .", "a cat sits ."]),
        ("A dog on grass.The cat sits.", ["A dog on grass.", "The cat sits."]),
        ("Really?! Yes. No.", ["Really?!", "Yes.", "No."]),
        ("A dog. ♥ !!", ["A dog.", "♥ !!"]),
        ("A dog. – A cat.", ["A dog.", "– A cat."]),
    ],
)
def test_a_stop_that_ends_one_cuts(text, found):
    assert split(text) == found


@pytest.mark.parametrize(
    ("text", "language", "found"),
    [
        ("Am 3. Oktober kam Ludwig II. von Bayern.", "de-DE", 1),
        ("Der 12. Hund, z.B. ein Pudel, lief.", "de", 1),
        ("There are 12. Dogs are fine.", "en", 2),
        ("M. Dupont et Mme. Curie marchent. Il pleut.", "fr", 2),
        ("Кошка в доме XIX в. в г. Москве и т.д. Собака.", "ru", 2),
        ("Sok cad. 5 ve Dr. Ali Bey geldi. Gitti.", "tr", 2),
        ("Τι είναι αυτό; Ένας σκύλος.", "el", 2),
        ("One dog; one cat.", "en", 1),
        ("هذا كلب. ماذا يفعل؟ يجري، ويلعب.", "ar", 3),
        ("هذا كلب؟هذا قط", None, 2),
        ("यह कुत्ता है। डॉ. शर्मा यहाँ हैं।", "hi", 2),
        ("یہ کتا ہے۔ وہ بلی ہے۔", "ur", 2),
        ("한 남자가 말을 타고 있다. 개가 따라간다.", "ko", 2),
        ("一只狗。牌子写着“你好。再见。”！真的吗？是；对", "zh", 5),
        ("犬がいる。猫もいる！Version 3.5です。dog.jpgもある", None, 4),
        ("这是3.5米.那是狗.", "zh-Hans", 2),
    ],
)
def test_other_languages(text, language, found):
    cut = split(text, language)
    assert len(cut) == found
    assert letters("".join(cut)) == letters(text)


def test_thai_is_cut_at_spaces_between_long_clauses():
    long = "ชายคนหนึ่งกำลังขี่ม้าสีน้ำตาลอยู่ในทุ่งหญ้า"
    assert split(f"{long} {long}", "th") == [long, long]
    assert split(f"{long} และ{long}") == [f"{long} และ{long}"]
    assert split("สุนัข 3 ตัว แมว") == ["สุนัข 3 ตัว แมว"]


def test_markers_of_lists_are_no_words():
    assert split("- a dog\n* two cats\n• three birds\n(4) a hen\n## One\n") == [
        "a dog",
        "two cats",
        "three birds",
        "a hen",
        "One",
    ]
    assert split("1. A dog.\n2. A cat.") == ["A dog.", "A cat."]
    assert split("3. Oktober 1990", "de") == ["3. Oktober 1990"]
    assert split("A list: 1. A dog. 2. A cat.") == ["A list: 1. A dog.", "2. A cat."]
    assert split("A. Smith\nwell-known") == ["A. Smith", "well-known"]


def test_nothing_is_no_sentence():
    assert split("") == split(" \n </s>") == split("?! ...\n-- .") == []
    assert split("🐶") == ["🐶"]


HOSTILE = ["a", "a ", "? ", "(", '"a', "a.", ". ", "A b. ", "我", "\n", "ก ", "(a.) ", "e.g. "]
HOSTILE += ["-- ", "1. ", "।", "a,b, ", "…", "\"'", "ab.Cd ", "(a. B", "a; "]


@pytest.mark.slow
@pytest.mark.parametrize("unit", HOSTILE)
def test_a_megabyte_is_cut_in_time(unit):
    text = unit * (1_000_000 // len(unit))
    start = time.process_time()
    found = split(text)
    assert time.process_time() - start < 30  # what is not linear takes minutes
    assert max(map(len, found), default=0) <= sentences.LONGEST


def test_time_is_linear():
    """Ten times the text takes no hundred times the time; hostile units at once."""
    for unit in HOSTILE:
        times = []
        for size in (3_000, 30_000):
            start = time.process_time()
            split(unit * (size // len(unit)))
            times.append(time.process_time() - start)
        assert times[1] < 40 * times[0] + 0.2, unit


def test_a_text_without_a_stop_is_cut_at_clauses_then_at_spaces_then_anywhere():
    assert [len(part) for part in split("x" * 2500)] == [1000, 1000, 500]
    assert split("word " * 300) == [("word " * 200).strip(), ("word " * 100).strip()]
    clause = "a" * 300 + ","
    assert split(f"{clause} {clause} {clause} {clause}")[0] == f"{clause} {clause} {'a' * 300}"


def test_parts_end_at_clauses():
    text = "A big dog runs on grass, a small cat, 1,000 hens; and a cow — brown."
    assert parts(text, 9) == [
        "A big dog runs on grass, a small cat",
        "1,000 hens; and a cow — brown.",
    ]
    assert parts(text, 6)[0] == "A big dog runs on grass"
    assert parts("one two three four five", 2) == ["one two", "three four", "five"]
    assert parts(" short ", 50) == ["short"]
    assert parts("一只狗在草地上，一只猫在墙边。", 4) == ["一只狗在草地上", "一只猫在墙边。"]
    assert parts("", 3) == []
    assert parts("一只狗abc在草", 2) == ["一只狗", "abc在草"]
    with pytest.raises(ValueError, match="at least one"):
        parts("a", 0)


TEXTS = st.text(alphabet="aB3 .,;:!?…\"'()“”。，！我กา\n-*ÉДא؟।\u0301é🐶", max_size=120)


@given(TEXTS | st.text(max_size=80), st.sampled_from([None, "de", "el", "th", "zh-CN"]))
def test_no_letter_is_lost_by_split(text, language):
    found = split(text, language)
    whole = "".join(found)
    # Markers of lists are left out, and `</s>`: what is kept is in order, and all else is kept.
    kept = iter(letters(text))
    assert all(letter in kept for letter in letters(whole))
    if not any(sign in text for sign in "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029-*#<•◦"):
        marked = sentences._BULLET.match(text) or sentences._NUMBERED.match(text)
        assert marked or letters(whole) == letters(text)
    assert all(part == part.strip() and part for part in found)


@given(TEXTS | st.text(max_size=200), st.integers(1, 12))
def test_the_parts_of_a_sentence_keep_all_words_and_the_limit(text, most):
    found = parts(text, most)
    assert letters("".join(found)) == letters(text)
    assert all(len(words(part)) <= most for part in found)
    if text.isascii() and all(character.isalnum() or character == " " for character in text):
        assert [word for part in found for word in part.split()] == text.split()
