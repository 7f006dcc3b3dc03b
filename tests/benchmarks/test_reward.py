"""The reward's benchmark: captions of drawings, comparisons of them, and figures by hand."""

import hashlib

import numpy as np
import pytest

from benchmarks.reward.captions import LEARNT_FRAMES, TESTED_FRAMES, Row, captions_of
from benchmarks.reward.captions import comparisons_of as compare
from benchmarks.reward.figures import Scores, gain

NAMES = ("red cat", "blue dog", "old red house", "green tree", "two birds", "a car", "sun", "moon")


def key(name):
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def rows():
    made = (
        captions_of(key(name), (name, ["Wort"], ["animal", name]), TESTED_FRAMES) for name in NAMES
    )
    return [
        Row(key(name), n, texts) for n, (name, texts) in enumerate(zip(NAMES, made, strict=True))
    ]


def test_long_captions_hold_the_short_one_and_no_word_of_it_twice():
    for row in rows():
        assert row.texts["short"] in row.texts["long"]
        assert row.texts["long"].count(row.texts["short"]) == 1
        assert row.texts["translated"] == "Wort"


def test_frames_of_tested_drawings_were_not_learnt_from():
    assert set(LEARNT_FRAMES) & set(TESTED_FRAMES) == {"{}"}


def test_exchanged_captions_are_of_other_drawings_and_share_no_word():
    made = rows()
    near = [[made[(n + 3) % len(made)].texts["short"] for n in range(len(made))]]
    found = [*compare(made, near)]
    assert {one.kind for one in found} >= {"short neighbour", "short other", "long more other"}
    own = {row.key.hex(): row.texts for row in made}
    for one in found:
        assert one.text in own[one.image].values()
        if one.kind.endswith("other"):
            variant = one.kind.partition(" ")[0]
            assert one.other_text in {texts[variant] for texts in own.values()}
            texts = (own[one.image]["short"], one.other_text)
            assert variant != "short" or not set(texts[0].split()) & set(texts[1].split())


def scores(better, worse):
    return Scores(
        {"a": (np.array(better, float), np.array(worse, float)), "b": (np.ones(2), np.zeros(2))},
        {"a": np.arange(len(better)), "b": np.arange(2)},
    )


def test_figures_by_hand():
    one = scores([3, 1, 2, 2], [2, 2, 2, 0])
    assert one.accuracy(["a"]) == 2.5 / 4
    assert one.accuracy(["a", "b"]) == (2.5 / 4 + 1) / 2
    assert one.pooled(["a", "b"]) == 4.5 / 6
    # 3 beats all four; 1 beats 0; each 2 beats 0 and equals three.
    assert one.auc(["a"]) == pytest.approx((4 + 1 + 2 * 2.5) / 16)
    assert one.auc(["a"], np.array([1, 0, 0, 0])) == 1
    assert one.auc(["a"], np.array([0, 2, 1, 0])) == pytest.approx((0 + 0 + 3 * 0.5) / 9)


def test_a_gain_has_an_interval_around_it():
    dice = np.random.default_rng(0)
    better, worse = dice.standard_normal((2, 200))
    one, other = scores(better + 1, worse), scores(better, worse)
    value, low, high = gain(one, other, ["a"])
    assert value == one.accuracy(["a"]) - other.accuracy(["a"])
    assert 0 < low < value < high
    assert gain(one, one, ["a"], "auc") == (0, 0, 0)
