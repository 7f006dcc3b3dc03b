"""RemoteCLIP's rule: the middle, the rest, and how many."""

import re
from hashlib import blake2b

import pytest

from recaption import captions
from recaption.box_captions import BoxCaptions
from recaption.captions import LABELLED, Caption

MIDDLE, CORNER = (0.4, 0.4, 0.6, 0.6), (0.0, 0.0, 0.1, 0.1)
KEYS = [blake2b(str(n).encode(), digest_size=16).digest() for n in range(200)]


def boxes(*things):
    return captions.rows(Caption(text, "en", LABELLED, "region", box) for text, box in things)


def texts(things, key=KEYS[0], **parameters):
    scorer = BoxCaptions(**parameters)
    found = scorer({"regions": [boxes(*things)], "key": [key]})["captions"][0]
    assert all(caption["origin"] == LABELLED for caption in found)
    return [caption["text"] for caption in found]


def test_what_is_in_the_middle_and_what_is_not():
    found = texts([("car", MIDDLE), ("car", MIDDLE), ("old tree", CORNER)])
    assert found[0] == "Two cars in the middle of the picture."
    assert found[1] == "An old tree away from the middle."
    assert len(found) <= 5
    assert all(re.match(r"There (is|are) ", text) for text in found[2:])


def test_ten_are_counted_and_twelve_are_many():
    ten = texts([("car", CORNER)] * 10)
    assert ten == ["Ten cars away from the middle.", "There are ten cars."]
    twelve = texts([("car", CORNER)] * 12)
    assert all(re.search(r"(many|a lot of|a great number of) cars", t, re.I) for t in twelve)
    assert not any(re.search(r"\d|twelve", text) for text in twelve)


def test_one_thing_in_the_middle_has_captions_of_counts_in_place_of_the_others():
    assert texts([("ship", MIDDLE)]) == ["A ship in the middle of the picture.", "There is a ship."]


def test_no_boxes_no_captions():
    assert texts([]) == []
    assert texts([("car", None)]) == []


def test_no_caption_says_a_side():
    things = [(name, CORNER) for name in ("car", "ship", "plane", "house", "person")]
    for key in KEYS:
        assert not re.search(
            r"\b(left|right|upper|lower|top|bottom|above|below)\b", " ".join(texts(things, key))
        )


def test_categories_are_drawn_by_key_and_seed():
    things = [(name, CORNER) for name in ("car", "ship", "plane", "house", "person")]
    drawn = {tuple(texts(things, key)) for key in KEYS[:40]}
    assert len(drawn) > 20
    assert texts(things) == texts(things)
    assert texts(things, seed=1) != texts(things)


def test_the_centre_is_a_third_and_its_edge_belongs_to_it():
    edge = (1 / 3 - 0.1, 0.4, 1 / 3 + 0.1, 0.6)
    beyond = (1 / 3 - 0.12, 0.4, 1 / 3 + 0.1, 0.6)
    assert "in the middle" in texts([("car", edge)])[0]
    assert "away" in texts([("car", beyond)])[0]
    assert "in the middle" in texts([("car", beyond)], centre=0.5)[0]
    with pytest.raises(ValueError, match="centre 0 must be a share"):
        BoxCaptions(centre=0)


def test_a_view_is_said_in_each():
    assert all(
        t.endswith(" seen from above.") for t in texts([("car", MIDDLE)], view="seen from above")
    )
