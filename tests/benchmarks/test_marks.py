"""What the benchmark of marks draws: where it says, as opaque as it says, always the same."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from benchmarks.marks import figures, training
from benchmarks.marks.bases import PARTS, Base
from benchmarks.marks.lures import LURES, lure
from benchmarks.marks.material import Plan, Row
from benchmarks.marks.overlays import WATERMARKS, logo, watermark
from filters import marks_head
from tests.pictures import photo

SIZE = (300, 220)


@dataclass(frozen=True)
class Bars:
    """Inks without fonts: a text is bars, an icon is a frame."""

    def pick(self, what, dice):
        return what

    def text(self, said, height, dice):
        ink = np.zeros((height, 4 * height), np.float32)
        ink[:, ::3] = 1
        return ink

    def icon(self, side, dice, what="icons"):
        ink = np.ones((side, side), np.float32)
        ink[side // 4 : side // 2, side // 4 : side // 2] = 0
        return ink


def given(seed=0):
    return photo(seed, SIZE), Bars()


@pytest.mark.parametrize("kind", WATERMARKS)
@pytest.mark.parametrize("opacity", [0.15, 0.6])
def test_a_watermark_lies_where_it_says(kind, opacity):
    for seed in range(4):
        picture, inks = given(seed)
        found = watermark(kind, opacity, (picture, inks), np.random.default_rng(seed))
        again = watermark(kind, opacity, (picture, inks), np.random.default_rng(seed))
        assert (found.picture == again.picture).all()
        assert found.picture.shape == picture.shape
        assert not found.places[1].any()
        change = np.abs(found.picture.astype(int) - picture).mean(axis=2)
        ink = found.places[0]
        assert (change * ink).sum() / ink.sum() > 4
        assert change.max() <= opacity * 255 * 1.6 + 1  # a shadow darkens, too


@pytest.mark.parametrize("is_corner", [True, False])
def test_a_logo_that_shows_the_picture_through_is_a_watermark_too(is_corner):
    for opacity, expected in ((0.5, [True, True]), (1.0, [False, True])):
        found = logo(opacity, is_corner, given(), np.random.default_rng(1))
        assert [place.any() for place in found.places] == expected


@pytest.mark.parametrize("kind", LURES)
def test_a_lure_is_another_picture_of_that_size(kind):
    picture, inks = given()
    found = lure(kind, (picture, inks), np.random.default_rng(2))
    assert found.shape == picture.shape
    assert found.dtype == np.uint8
    assert (found != picture).any()


def test_pictures_of_one_series_are_on_one_side():
    series = [
        Base("drawing", "openclipart-png", f"cow_{n:02}", f"cow_{n:02}.png") for n in range(9)
    ]
    assert len({base.part for base in series}) == 1
    many = [Base("drawing", "openclipart-png", "x" * n, "") for n in range(1, 400)]
    shares = [sum(base.part == part for base in many) / len(many) for part in PARTS]
    assert shares == pytest.approx([0.6, 0.12, 0.28], abs=0.07)
    assert Base("photo", "scikit-image", "coffee", "").part == "test"


def test_auc():
    above, below = np.array([0.9, 0.5]), np.array([0.1, 0.5, 0.7])
    wins = [(a > b) + (a == b) / 2 for a in above for b in below]
    assert figures.auc(above, below) == pytest.approx(np.mean(wins))


def rows(count):
    """Maps in which a cell of a marked row is louder in one channel."""
    dice = np.random.default_rng(0)
    found = []
    for place in range(count):
        strokes = dice.normal(size=(marks_head.STROKES, 8, 8)).astype(np.float16)
        parts = dice.normal(size=(marks_head.PARTS, 4, 4)).astype(np.float16)
        cells = np.zeros((2, 4, 4), bool)
        cells[:, 1, 2] = [place % 2 == 0, place % 3 == 0]
        strokes[:2, 2, 4] += 9 * cells[:, 1, 2].astype(np.float16)
        plan = Plan(Base("photo", "a", str(place), ""), "text", 0.4)
        found.append(Row(strokes, parts, cells, cells.any(axis=(1, 2)), plan))
    return found


@pytest.mark.slow
def test_the_head_learns_and_ships_the_same_twice(tmp_path):
    given = rows(96)
    weights = training.calibrated(training.trained(given, 12), given)
    again = training.calibrated(training.trained(given, 12), given)
    assert all(torch.equal(value, again[name]) for name, value in weights.items())
    training.ship(weights, tmp_path / "head.safetensors")
    shipped = marks_head.read_head(tmp_path / "head.safetensors")
    likely = training.likelihoods(shipped, training.answers(shipped, given))
    labels = np.array([row.is_marked for row in given])
    assert figures.auc(likely[labels[:, 0], 0], likely[~labels[:, 0], 0]) > 0.9
