"""The four offline marks: formulas by hand, bounds, and how words are told that can't be drawn."""

import math

import numpy as np
import pytest

from filters import caption_marks, hard_negatives, reference, vocabulary
from filters.caption_marks import Scale, Scales
from filters.mlm_filter import QUESTIONS
from tests.filters.small_reference import small, vector

SCALES = Scales(Scale(3.0, 0.5), Scale(2.0, -0.25))
CONCRETE = """
dog car red house tree apple banana woman child boat guitar flower mountain blue wooden small shirt
ball cup table flag bottle knife bicycle church
"""
ABSTRACT = """
freedom history philosophy anniversary purpose tradition famous because memory economy idea theory
award annual century founded named called Paris London Einstein Monday victory religion
"""
"""Written down before any of them was looked at."""


def pair(picture="p", text="a red dog"):
    known = small()
    return known.seen(vector(picture)), known.said(text)


def test_every_question_has_a_mark_within_bounds():
    for text in ("a red dog", "!", "IMG_1.jpg", "größe", "the " * 300):
        for name in QUESTIONS:
            found = caption_marks.mark(name, *pair(text=text))
            assert isinstance(found, int)
            assert 0 <= found <= 100


def test_matching_is_a_probability_of_the_margin():
    margin = hard_negatives.margin(*pair())
    expected = 1 / (1 + math.exp(-(3 * margin + 0.5)))
    assert caption_marks.matching(*pair(), SCALES) == pytest.approx(expected)


def test_detail_is_the_mean_of_what_is_seen_and_what_is_said():
    seen, said = pair(text="a red dog and a table")
    odds = lambda c: 1 / (1 + math.exp(-(2 * c - 0.25)))  # noqa: E731
    names = ["red", "dog", "table"]
    is_seen = np.mean([odds(float(vector(name) @ vector("p"))) for name in names])
    things = sorted(
        vocabulary.things_and_properties(), key=lambda word: -float(vector(word) @ vector("p"))
    )[:32]
    weights = [odds(float(vector(thing) @ vector("p"))) for thing in things]
    near = [max(float(vector(thing) @ vector(name)) for name in names) for thing in things]
    clipped = [min(1, max(0, (cosine - 0.1) / 0.9)) for cosine in near]
    is_said = np.dot(weights, clipped) / sum(weights)
    expected = math.sqrt(is_seen * is_said)
    assert caption_marks.detail(seen, said, SCALES) == pytest.approx(expected, abs=1e-5)


def test_a_caption_without_words_has_no_detail_and_nothing_to_understand():
    for text in ("!", "12 34"):
        assert caption_marks.detail(*pair(text=text)) == 0
        assert caption_marks.understanding(*pair(text=text)) == 0


def test_understanding_counts_names_and_needs_a_match():
    text, more = "a portrait of Albert Einstein", "a portrait of Albert Einstein in 1947"
    first, second = (caption_marks.understanding(*pair(text=one), SCALES) for one in (text, more))
    told = [
        x / caption_marks.matching(*pair(text=t), SCALES)
        for x, t in ((first, text), (second, more))
    ]
    assert told[1] > told[0] > 0
    sure = Scales(Scale(0.0, 30.0), SCALES.word)
    assert caption_marks.understanding(*pair(text=text), sure) == pytest.approx(told[0])
    assert caption_marks.understanding(*pair(text="IMG_2034.jpg"), sure) == 0


def test_words_that_no_drawing_shows_are_told_from_those_that_many_do():
    known = reference.shipped()
    found = [
        [float(caption_marks.unseen(known.said(word))[0]) for word in words.split()]
        for words in (CONCRETE, ABSTRACT)
    ]
    wins = [(b > a) + (b == a) / 2 for a in found[0] for b in found[1]]
    assert np.mean(wins) > 0.9
