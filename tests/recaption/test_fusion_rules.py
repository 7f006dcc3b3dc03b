"""What a text names, and how it is added to a caption without a model."""

import pytest

from recaption import fusion_rules
from recaption.entities import entities, retained, without_noise
from recaption.fusion_rules import Bounds, by_rules, problem_of


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (
            "Ada Lovelace at the Royal Society, London, 1843",
            ["Ada Lovelace", "Royal Society", "London", "1843"],
        ),
        ("My trip to Lake Como, 12 May 2019 www.x.com", ["Lake Como", "12 May 2019"]),
        (
            "Sunset over the Golden Gate Bridge in San Francisco | Stock Photo",
            ["Golden Gate Bridge", "San Francisco"],
        ),
        (
            "Eiffel Tower (Paris), built 1889, 330 m",
            ["Eiffel Tower", "Paris", "1889", "330 m"],
        ),
        ("BUY NOW red shoes size 42 free shipping only $19.99", ["size 42"]),
        ("un chat à Paris en 1999", ["Paris", "1999"]),
        ("President Barack Obama speaks", ["President Barack Obama"]),
        ("3 dogs on grass", ["3 dogs"]),
        ("Hotel Room With A View In Rome From The Balcony", ["Rome"]),
        # nothing that can be told from its form
        ("The Dog", []),
        ("Mercedes parked outside", []),
        ("ALL CAPS TITLE IN USA", []),
        ("a dog on the grass", []),
        ("IMG_2041.jpg", []),
        ("photo", []),
        ("", []),
    ],
)
def test_names_places_and_numbers_are_found(text, named):
    assert entities(text) == named


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Sunset | Stock Photo", "Sunset"),
        ("see https://x.org/a?b=c now", "see now"),
        ("dog 800x600 #dogs IMG_1234.jpg", "dog"),
        ("Red dress - $49.99 - free shipping", "Red dress"),
        ("Tower 1889", "Tower 1889"),
        ("click here", ""),
    ],
)
def test_what_sells_or_names_files_is_dropped(text, left):
    assert without_noise(text) == left


def test_a_hostile_text_takes_no_time():
    for text in ("A" * 100_000, "Aa " * 50_000, "1." * 50_000, "((((" * 9999, "\ud800 x"):
        entities(text)
        without_noise(text)


def test_what_a_caption_lacks_is_added_and_said_to_be_of_the_text():
    fused = by_rules("A woman in London", "Ada Lovelace, London, 1843", {}, "en")
    assert fused == "A woman in London. The text beside it names: Ada Lovelace, 1843."
    assert by_rules("A woman", "a woman", {}, "en") == "A woman"
    assert by_rules("A boat", "<|im_start|> A boat [INST] there", {}, "en") == "A boat"
    found = {"tags": ["chair", "woman", "chair"], "text": ["EXIT"]}
    assert by_rules("A woman.", "", found, "en") == (
        "A woman. Found in it (tags): chair. Found in it (text): EXIT."
    )
    assert by_rules("Eine Frau", "Ada Lovelace in London", {}, "de") == (
        "Eine Frau. (Ada Lovelace, London)"
    )
    assert by_rules("一个女人。", "Ada Lovelace in London", {}, "zh").startswith("一个女人。 (")


def test_no_more_is_added_than_a_caption_can_carry():
    raw = "with " + ", with ".join(f"Ada Nr{i}" for i in range(40))
    assert by_rules("A dog", raw, {}, "en").count(",") == fusion_rules.MOST - 1


@pytest.mark.parametrize(
    ("fused", "share"),
    [
        ("Ada Lovelace stands in London.", 2 / 3),
        ("ADA LOVELACE'S house in London, 1843", 1.0),
        ("Ada stands.", 0.0),
    ],
)
def test_retention_is_the_share_of_names_that_are_said(fused, share):
    assert retained("Ada Lovelace, London, 1843", fused) == pytest.approx(share)
    assert retained("a dog", fused) is None


def test_rules_retain_all_that_is_named():
    raw = "Eiffel Tower (Paris), built 1889, 330 m"
    assert retained(raw, by_rules("A tall tower", raw, {}, "en")) == 1.0


RAW, SEEN = "Ada Lovelace, London, 1843", "A woman in a blue dress sits beside a table."


@pytest.mark.parametrize(
    ("fused", "problem"),
    [
        ("Ada Lovelace in a blue dress sits beside a table in London.", None),
        ("A woman in a blue dress sits beside a table.", "lost_names"),
        ("Ada Lovelace was in London in 1843.", "lost_words"),
        ("Ada Lovelace in a blue dress sits at a table in London. " * 3, "long"),
    ],
)
def test_a_fused_text_keeps_to_its_bounds(fused, problem):
    assert problem_of(fused, RAW, SEEN, Bounds()) == problem


def test_bounds_of_nothing_take_everything():
    assert problem_of("x", RAW, SEEN, Bounds(1, 0, 0)) is None
