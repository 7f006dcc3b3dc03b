"""Attributes of things: said where encoder and pixels agree, and left out else."""

import numpy as np
import pytest

from filters.clip import ClipScore
from recaption import attributes
from recaption.attributes import WORDS, ObjectAttributes, nearest
from tests.pictures import photo

RED, BLUE = (200, 20, 20), (20, 20, 200)


def thing(name="car", box=(0.0, 0.0, 0.5, 1.0)):
    return {"name": name, "score": 0.5, "box": list(box)}


@pytest.fixture
def by_colour(monkeypatch):
    """An encoder to which a crop is the colour of its first pixel, and a phrase its first word."""

    def vector(word):
        found = np.zeros(len(WORDS["colour"]) + 1, np.float32)
        found[WORDS["colour"].index(word) if word in WORDS["colour"] else -1] = 1
        return found

    def images(_, crops):
        return np.stack([vector("red" if crop[0, 0, 0] > 99 else "blue") for crop in crops])

    monkeypatch.setattr(ClipScore, "encode_images", images)
    monkeypatch.setattr(
        ClipScore, "encode_texts", lambda _, texts: np.stack([vector(t.split()[0]) for t in texts])
    )
    attributes._phrases.cache_clear()
    yield
    attributes._phrases.cache_clear()


def said(image, *things, **parameters):
    told = ObjectAttributes(**parameters)({"image": [image], "objects": [list(things)]})
    return [one["attributes"] for one in told["described_objects"][0]]


def halves(left, right):
    image = np.zeros((60, 120, 3), np.uint8)
    image[:, :60], image[:, 60:] = left, right
    return image


def test_a_colour_is_that_of_the_thing_in_its_box(by_colour):
    right = (0.5, 0.0, 1.0, 1.0)
    assert said(halves(RED, BLUE), thing(), thing("bus", right)) == [["red"], ["blue"]]


def test_nothing_is_said_where_pixels_disagree(by_colour):
    image = halves(RED, BLUE)
    image[10:50, 10:50] = (20, 160, 20)  # a green middle
    assert said(image, thing()) == [[]]


def test_persons_and_small_things_have_none(by_colour):
    assert said(halves(RED, RED), thing("person"), thing("car", (0, 0, 0.1, 1))) == [[], []]


def test_a_box_that_reaches_out_of_the_picture_is_cut_at_its_edges(by_colour):
    whole, out = thing("car", (0, 0, 1, 1)), thing("car", (-0.4, -0.4, 1.4, 9))
    words = said(halves(RED, RED), whole, out)
    assert words[0] == words[1] == ["red"]
    assert said(halves(RED, RED), thing("car", (2, 2, 3, 3)), thing("car", (0.9, 0, 0.1, 1))) == [
        [],
        [],
    ]


def test_what_lacks_a_part_has_none(by_colour):
    image, whole = halves(RED, RED), (0, 0, 1, 1)
    lacking = [{**thing("car", whole), part: None} for part in ("name", "score", "box")]
    rows = ObjectAttributes(margin=0.0)({"image": [image], "objects": [[None, *lacking]]})
    assert [one["attributes"] for one in rows["described_objects"][0]] == [[], [], []]


def test_the_nearest_phrase_must_be_ahead_and_nearer_than_the_name():
    words = ("red", "blue", "green")
    assert nearest(words, np.array([0.5, 0.4, 0.1, 0.3]), 0.05) == "red"
    assert nearest(words, np.array([0.5, 0.48, 0.1, 0.3]), 0.05) is None
    assert nearest(words, np.array([0.5, 0.4, 0.1, 0.6]), 0.05) is None


def test_values_depend_on_no_companions():
    pictures = [photo(1, (90, 60)), photo(2, (50, 50))]
    rows = [[thing(), thing("dog", (0, 0, 1, 1))], []]
    scorer = ObjectAttributes(margin=0.0)
    both = scorer({"image": pictures, "objects": rows})["described_objects"]
    assert both == [
        scorer({"image": [i], "objects": [r]})["described_objects"][0]
        for i, r in zip(pictures, rows, strict=True)
    ]
    assert both[1] == []


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"kinds": "colour"}, "kinds is a list"),
        ({"kinds": ("smell",)}, "kinds is a list"),
        ({"margin": -1.0}, "margin must be"),
    ],
)
def test_wrong_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        ObjectAttributes(**parameters)
