"""Altered copies differ in one word of a sort; content words are those that say something."""

import re

import pytest

from filters import vocabulary
from filters.vocabulary import altered, content_words, things_and_properties

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def test_every_sort_of_word_is_swapped_for_others_of_its_sort() -> None:
    assert altered("dog", 9) == ["cat", "rabbit", "hamster"]
    assert altered("far from home", 9) == ["near home"]
    assert altered("an empty cup", 1) == ["a full cup"]
    assert altered("seven", 99) == [
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "eight",
        "nine",
        "ten",
    ]


def test_capitals_plurals_and_articles_follow() -> None:
    assert altered("A Dog!", 3) == ["A Cat!", "A Rabbit!", "A Hamster!"]
    assert altered("DOGS", 3) == ["CATS", "RABBITS", "HAMSTERS"]
    assert altered("butterflies", 2)[0] == "bees"
    assert "men" in altered("women", 9)
    assert altered("an old man", 1) == ["a new man"]
    assert altered("A new one", 1) == ["An old one"]


def test_a_longer_word_hides_those_within_it() -> None:
    assert altered("in front of us", 9) == ["behind us"]
    assert altered("a doghouse", 9) == altered("hot-dog", 9) == []


@pytest.mark.parametrize(
    "text", ["", "  ", "xyz", "Un chamois.", "冬季的白桦树。", "\x00", "[SEP]"]
)
def test_what_has_no_known_word_has_no_copy(text: str) -> None:
    assert altered(text, 9) == []


def test_copies_are_bounded_and_spread_over_the_caption() -> None:
    caption = "a red dog on a blue car beside a lion"
    everything, some = altered(caption, 10_000), altered(caption, 8)
    assert len(everything) > 40
    assert len(some) == 8
    assert set(some) <= set(everything)
    changed = {
        place
        for copy in some
        for place, (own, other) in enumerate(zip(caption.split(), copy.split(), strict=True))
        if own != other
    }
    assert len(changed) >= 4
    assert altered(caption, 8) == some
    assert len(altered("dog " * 100_000, 8)) == 8


def test_a_copy_differs_in_one_word_and_its_article_alone() -> None:
    for copy in altered("an old man with two cats under a tree", 10_000):
        own = re.sub(r"\ban?\b", "a", "an old man with two cats under a tree")
        other = re.sub(r"\ban?\b", "a", copy)
        assert own != other
        longest = max(len(own), len(other))
        same = next(i for i in range(longest) if own[: i + 1] != other[: i + 1])
        rest = next(i for i in range(longest) if own[-i - 1 :] != other[-i - 1 :])
        assert " " not in own[same : len(own) - rest].strip()


def test_content_words_in_several_languages() -> None:
    assert content_words("The dog's bone, a DOG's bone", 9) == ["dog's", "bone"]
    assert content_words("Der Wormser Dom aus rotem Sandstein", 9) == [
        *("wormser", "dom", "rotem", "sandstein"),
    ]
    assert content_words("冬季的白桦树。4K 'x'", 9) == ["冬季的白桦树"]
    assert content_words("ทากสีน้ำตาล", 9) == ["ทากสีน้ำตาล"]
    assert content_words("a b the of 12 --- ''", 9) == []
    assert content_words("cafe\u0301", 9) == content_words("café", 9) == ["café"]
    assert content_words("one two three four", 2) == ["one", "two"]
    assert len(content_words("word " * 100_000, 9)) == 1


def test_the_list_is_of_one_sort_a_line_and_without_repeats() -> None:
    assert len(things_and_properties()) > 300
    for name in ("things", "properties", "relations", "numbers"):
        lines = vocabulary._lines(name)
        words = [word for line in lines for word, _ in line]
        assert len(words) == len(set(words)), name
        assert all(len(line) > 1 for line in lines)
    assert vocabulary._known_words().fullmatch("in front of")
    assert len(vocabulary.digest()) == 64
