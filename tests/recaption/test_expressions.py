"""Expressions single out a thing of its picture, with as few words as it takes."""

import numpy as np
import pytest

from recaption import captions
from recaption.captions import LABELLED, Caption
from recaption.expressions import Expressions, colours

LEFT, RIGHT, MIDDLE = (0.05, 0.4, 0.25, 0.6), (0.75, 0.4, 0.95, 0.6), (0.4, 0.4, 0.6, 0.6)


def told(*things, image=None):
    rows = captions.rows(Caption(text, "en", LABELLED, "region", box) for text, box in things)
    scorer = Expressions(colours=image is not None)
    found = scorer({"regions": [rows], "image": [image]})["captions"][0]
    return {tuple(round(x, 6) for x in c["box"]): c["text"] for c in found}


def test_a_single_thing_is_its_category():
    assert told(("ship", MIDDLE)) == {MIDDLE: "the ship"}


def test_two_alike_are_told_by_their_places():
    assert told(("plane", LEFT), ("plane", RIGHT)) == {
        LEFT: "the plane on the left",
        RIGHT: "the plane on the right",
    }


def test_six_of_a_kind_are_left_out_and_others_are_not():
    boxes = [(x / 10, 0.1, x / 10 + 0.05, 0.2) for x in range(6)]
    assert told(*[("ship", box) for box in boxes], ("dock", RIGHT)) == {RIGHT: "the dock"}


def test_colours_come_before_sizes_and_places_before_both():
    image = np.zeros((100, 100, 3), np.uint8)
    image[:, :50], image[:, 50:] = (220, 20, 20), (20, 20, 220)
    one, two = (0.36, 0.4, 0.48, 0.6), (0.52, 0.4, 0.64, 0.6)  # both in the middle
    assert told(("car", one), ("car", two), image=image) == {
        one: "the red car",
        two: "the blue car",
    }


def test_sizes_tell_where_places_do_not():
    large, small = (0.35, 0.35, 0.65, 0.65), (0.45, 0.45, 0.5, 0.5)
    assert told(("car", large), ("car", small)) == {large: "the large car", small: "the small car"}


def test_what_stands_beside_a_single_thing_of_another_kind_tells():
    one, two = (0.36, 0.4, 0.4, 0.44), (0.56, 0.4, 0.6, 0.44)
    found = told(("car", one), ("car", two), ("tree", (0.46, 0.4, 0.5, 0.44)))
    assert found[one] == "the car to the left of the tree"
    assert found[two] == "the car to the right of the tree"


def test_equal_things_in_one_place_are_left_out():
    assert told(("car", MIDDLE), ("car", MIDDLE)) == {}


def test_boxes_too_small_or_as_large_as_the_picture_are_left_out():
    assert told(("car", (0.5, 0.5, 0.51, 0.51)), ("road", (0, 0, 1, 1))) == {}


def test_every_expression_fits_its_thing_alone():
    dice = np.random.default_rng(0)
    for _ in range(200):
        corners = dice.uniform(0, 0.8, (6, 2))
        sizes = dice.uniform(0.03, 0.2, (6, 2))
        things = [
            (["car", "ship"][n % 2], (*corners[n].tolist(), *(corners[n] + sizes[n]).tolist()))
            for n in range(6)
        ]
        found = list(told(*things).values())
        assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((255, 0, 0), "red"),
        ((250, 140, 20), "orange"),
        ((110, 60, 20), "brown"),
        ((250, 240, 30), "yellow"),
        ((20, 160, 40), "green"),
        ((30, 60, 230), "blue"),
        ((130, 40, 220), "purple"),
        ((250, 100, 190), "pink"),
        ((250, 250, 250), "white"),
        ((128, 128, 128), "grey"),
        ((10, 10, 10), "black"),
        ((30, 0, 0), "black"),
    ],
)
def test_colours_have_their_names(rgb, name):
    assert colours(np.array([rgb], np.uint8)).tolist() == [name]
