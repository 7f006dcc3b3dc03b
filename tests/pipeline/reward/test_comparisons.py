"""Comparisons of rankings, groups of images, and splits that no image crosses."""

from itertools import permutations

import pytest

from pipeline.errors import CurationError
from pipeline.reward.comparisons import (
    Candidate,
    Comparison,
    digest_of,
    groups_of,
    of_ranking,
    split_of,
)


def pair(image: str, other: str | None = None, text: str = "t") -> Comparison:
    return Comparison(image, text, other or image, text if other else "worse")


def test_a_ranking_is_every_two_of_its_captions():
    candidates = [Candidate("good", 1), Candidate("fair", 2, "dropped"), Candidate("bad", 3, "x")]
    found = of_ranking("i", candidates, "accuracy", keep_ties=True)
    told = [(one.text, one.other_text, one.kind, one.is_tie) for one in found]
    assert told == [
        ("good", "fair", "dropped", False),
        ("good", "bad", "x", False),
        ("fair", "bad", "x", False),
    ]
    assert {one.criterion for one in found} == {"accuracy"}


def test_equal_ranks_are_a_tie_or_nothing():
    candidates = [Candidate("a", 1), Candidate("b", 2), Candidate("c", 2)]
    assert [c.is_tie for c in of_ranking("i", candidates, "p", keep_ties=True)] == [
        False,
        False,
        True,
    ]
    assert len(of_ranking("i", candidates, "p", keep_ties=False)) == 2


def test_a_caption_is_not_compared_with_itself():
    assert of_ranking("i", [Candidate("a", 1), Candidate("a", 2)], "p", keep_ties=True) == []


def test_what_images_connect_is_one_group_in_any_order():
    comparisons = [
        pair("d"),
        pair("a", "b", "x"),
        pair("c", "b", "y"),
        pair("a"),
        pair("e", "f", "y"),
    ]
    for order in permutations(range(5)):
        named = dict(zip(order, groups_of([comparisons[n] for n in order]), strict=True))
        assert named[0] == "d"
        # e and f have the prompt y in common with c and b
        assert {named[n] for n in (1, 2, 3, 4)} == {"a"}


def test_no_group_is_on_two_sides_and_shares_are_about_right():
    groups = [f"{n // 3:04d}" for n in range(3000)]
    sides = split_of(groups, 0.1, 0.2, seed=0)
    for start in range(0, 3000, 3):
        assert len(set(sides[start : start + 3])) == 1
    shares = [float((sides == number).mean()) for number in range(3)]
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.04)
    assert (split_of(groups, 0.1, 0.2, seed=1) != sides).any()


def test_the_side_of_an_image_does_not_depend_on_the_others():
    groups = [f"{n:04d}" for n in range(400)]
    whole = split_of(groups, 0.2, 0.2, seed=3)
    assert (split_of(groups[:200], 0.2, 0.2, seed=3) == whole[:200]).all()


def test_too_few_images_are_refused():
    with pytest.raises(CurationError, match="part has no comparisons: they come from 1 images"):
        split_of(["a"] * 50, 0.1, 0.2, seed=0)


def test_the_digest_tells_comparisons_apart():
    assert digest_of([pair("a")]) == digest_of([pair("a")])
    assert len({digest_of([pair(n)]) for n in "abc"} | {digest_of([pair("a"), pair("b")])}) == 4
