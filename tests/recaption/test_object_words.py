"""What a detector found in words: counts and attributes, never places."""

import pytest

from recaption.object_words import apart, called, lacking, phrases


def thing(name, score=0.9, box=(0.0, 0.0, 0.4, 0.4), attributes=None):
    return {"name": name, "score": score, "box": list(box), "attributes": attributes}


FAR = [(0.1 * i, 0.0, 0.1 * i + 0.09, 0.5) for i in range(10)]


def words(*things):
    return [one.text for one in phrases(things)]


def test_equal_things_are_counted():
    people = [thing("person", 0.9 - i / 100, box) for i, box in enumerate(FAR[:2])]
    assert words(*people, thing("elephant", 0.5, FAR[3])) == ["two people", "an elephant"]
    assert words(*(thing("sheep", 0.5, box) for box in FAR)) == ["many sheep"]
    assert words(thing("scissors")) == ["scissors"]
    assert words() == []


def test_what_lacks_a_part_is_no_thing():
    lacking = [{**thing("car"), part: None} for part in ("name", "score", "box")]
    boxes = [thing("car", box=()), {**thing("car"), "box": [0.0, None, 1.0, 1.0]}]
    assert words(None, *lacking, *boxes, thing("cat")) == ["a cat"]


def test_attributes_part_what_is_counted():
    cars = [thing("car", 0.9 - i / 100, FAR[i], a) for i, a in enumerate((["red"], [], ["red"]))]
    assert words(*cars) == ["two red cars", "a car"]


def test_a_box_upon_another_is_the_better_of_both():
    cat, dog = thing("cat", 0.55, (0, 0, 1, 1)), thing("dog", 0.4, (0, 0, 1, 0.98))
    assert apart([dog, cat]) == [cat]
    small = thing("dog", 0.4, (0, 0, 0.5, 0.5))
    assert apart([small, cat]) == [cat, small]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("A street.", ["two people", "a red car", "a couch"]),
        ("Two men and a red car.", ["a couch"]),
        ("A woman beside cars.", ["a red car", "a couch"]),
        ("People on a sofa, red automobile", []),
        ("Persons on couches; a red car", []),
    ],
)
def test_what_a_text_does_not_name_is_lacking(text, left):
    things = [thing("person", 0.9, FAR[0]), thing("person", 0.8, FAR[1])]
    things += [thing("car", 0.7, FAR[2], ["red"]), thing("couch", 0.6, FAR[3])]
    assert lacking(text, phrases(things)) == left


def test_other_names_of_the_same():
    assert "sofa" in called("couch")
    assert called("zebra") == ("zebra",)
    assert "man" not in called("person")  # which a detector did not say
