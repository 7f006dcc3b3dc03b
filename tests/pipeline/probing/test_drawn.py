"""Drawn pictures show what is said of them, and are the same on every run."""

import hashlib

import numpy as np
import pytest

from pipeline.decoding import decode
from pipeline.probes import phrases
from pipeline.probes.drawing import COLOURS, PAPERS, SHAPES, SIDE, Scene, Thing, render
from pipeline.probes.drawn import DRAWN
from pipeline.probes.languages import COLOURS as SAID_COLOURS
from pipeline.probes.languages import LANGUAGES
from pipeline.probes.languages import SHAPES as SAID_SHAPES
from pipeline.probes.measures import ONE, TWO
from pipeline.probes.produce import OWN_COLOURS
from tests.pipeline.probing.toys import drawn

QUESTIONS = [name for name in DRAWN if name != "languages"]


def area(pixels: np.ndarray, colour: str) -> np.ndarray:
    """Where a picture has a colour, edges aside."""
    return (np.abs(pixels.astype(int) - COLOURS[colour]).max(axis=2) < 12).nonzero()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_where_and_as_large_as_it_is_said(shape):
    pixels = np.array(render(Scene((Thing(shape, "blue", 0.3, 0.6, 0.4),))))
    rows, columns = area(pixels, "blue")
    assert rows.mean() / SIDE == pytest.approx(0.6, abs=0.05)
    assert columns.mean() / SIDE == pytest.approx(0.3, abs=0.05)
    assert np.ptp(columns) / SIDE == pytest.approx(0.4, abs=0.07)


def test_shapes_are_different_and_inside_the_picture():
    seen = {hashlib.sha256(render(Scene((Thing(s, "red"),))).tobytes()).digest() for s in SHAPES}
    assert len(seen) == len(SHAPES)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUESTIONS)
def test_nothing_is_cut_off_and_the_pairs_of_a_question_differ(name):
    scenes = {}
    for question in drawn(name, 16).questions:
        assert len({(picture.name, text) for picture, text in question.pairs}) > 1
        scenes |= {picture.name: picture for picture, _ in question.pairs}
    for scene in scenes.values():
        pixels = np.array(render(scene))
        for thing in scene.things:
            if thing.shape in SHAPES:
                rows, columns = area(pixels, thing.colour)
                ends = (rows.min(), columns.min(), SIDE - rows.max(), SIDE - columns.max())
                assert min(ends) > 1, scene.name


def test_a_scene_is_the_same_bytes_whenever_it_is_drawn():
    for name in QUESTIONS:
        first, again = DRAWN[name](3), DRAWN[name](3)
        assert first.questions == again.questions
        pairs = zip(first.questions, again.questions, strict=True)
        assert all(a.pairs[0][0].read() == b.pairs[0][0].read() for a, b in pairs)


def test_numbers_are_as_many_things_apart():
    for question in drawn("numbers", 30).questions:
        picture, text = question.pairs[question.right]
        assert isinstance(picture, Scene)
        assert text.startswith(phrases.NUMBERS[len(picture.things) - 1])
        assert question.right == len(picture.things) - 1
        for n, one in enumerate(picture.things):
            for other in picture.things[:n]:
                gap = max(abs(one.x - other.x), abs(one.y - other.y))
                assert gap > max(one.size, other.size), "they touch"


def test_relations_are_true_of_the_picture():
    for question in drawn("relations", 40).questions:
        picture, text = question.pairs[question.right]
        assert isinstance(picture, Scene)
        first, second = picture.things
        assert text.index(first.shape) < text.rindex(second.shape)
        is_true = {
            "above": first.y < second.y - 0.2,
            "below": first.y > second.y + 0.2,
            "to the left of": first.x < second.x - 0.2,
            "to the right of": first.x > second.x + 0.2,
        }
        assert [words for words in is_true if f" {words} " in text] == [
            w for w in is_true if is_true[w]
        ]


@pytest.mark.slow
def test_swapped_captions_have_the_same_words():
    kinds = set()
    for question in drawn("swapped", 60).questions:
        (_, text), (_, other) = question.pairs
        kinds.add(question.kind)
        if question.side == "text":
            assert text != other
            assert _bag(text) == _bag(other)
    assert len(kinds) == 6


def _bag(text: str) -> list[str]:
    return sorted(word.replace("crosses", "cross").rstrip("s") for word in text.split())


def test_the_bigger_one_is_bigger():
    for question in drawn("sizes", 20).questions:
        picture, text = question.pairs[question.right]
        assert isinstance(picture, Scene)
        first, second = picture.things
        assert first.size > 1.4 * second.size
        assert text.index(first.colour) < text.index(second.colour)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["colours", "own_colours"])
def test_the_thing_alone_is_the_same_picture_without_the_other(name):
    probe = drawn(name, 20)
    alone = [q for q in probe.questions if q.side == ONE]
    beside = [q for q in probe.questions if q.side == TWO]
    assert [q.item for q in alone] == [q.item for q in beside]
    for one, two in zip(alone, beside, strict=True):
        (single, text), (double, _) = one.pairs[one.right], two.pairs[two.right]
        assert isinstance(single, Scene)
        assert isinstance(double, Scene)
        assert set(single.things) < set(double.things)
        assert single.paper == double.paper
        colours = [thing.colour for thing in double.things]
        assert one.other is not None
        assert one.pairs[one.other][1] == text.replace(
            single.things[0].colour, next(c for c in colours if c != single.things[0].colour)
        )


def test_a_written_word_covers_part_of_the_picture():
    plain = np.array(render(Scene((Thing("heart", "red", size=0.7),))))
    written = np.array(render(Scene((Thing("heart", "red", size=0.7),), word="star")))
    changed = (plain != written).any(axis=2).mean()
    assert 0.02 < changed < 0.3
    assert (decode(Scene((), word="star").read()) != decode(Scene(()).read())).any()


def test_things_with_a_colour_of_their_own_have_it():
    hues = {"yellow": (1, 1, 0), "red": (1, 0, 0), "orange": (1, 0.5, 0), "green": (0, 1, 0)}
    for name, colour in OWN_COLOURS.items():
        pixels = np.array(render(Scene((Thing(name, colour, size=0.8),)))).reshape(-1, 3)
        inked = pixels[(pixels != PAPERS[0]).any(axis=1)].astype(float)
        red, green, blue = np.median(inked, axis=0)
        if colour in hues:
            want = np.array(hues[colour]) * max(red, green, blue)
            assert np.abs(np.array([red, green, blue]) - want).max() < 110, name
        else:
            assert blue > green
            assert red > green


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_caption_of_a_language_is_another_one(code):
    words = LANGUAGES[code]
    said = [words.say(shape, colour) for shape in SAID_SHAPES for colour in SAID_COLOURS]
    assert len(set(said)) == 16
    assert all(text == text.strip() and "{" not in text and "  " not in text for text in said)


def test_languages_agree_in_gender():
    said = {code: words.say("star", "red") for code, words in LANGUAGES.items()}
    assert len(LANGUAGES) == 16
    assert said["fr"] == "une étoile rouge"
    assert said["es"] == "una estrella roja"
    assert said["ru"] == "красная звезда"
    assert LANGUAGES["de"].say("square", "green") == "ein grünes Quadrat"
    assert LANGUAGES["ar"].say("circle", "blue") == "دائرة زرقاء"
    assert LANGUAGES["pl"].say("circle", "yellow") == "żółte koło"
    assert LANGUAGES["nl"].say("square", "red") == "een rood vierkant"
    assert phrases.with_article("orange star") == "an orange star"
