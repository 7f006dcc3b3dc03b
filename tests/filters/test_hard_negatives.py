"""The margin over hard negatives, against its plain formula."""

import numpy as np
import pytest

from filters.hard_negatives import NEAREST, margin
from filters.reference import SAME
from tests.filters.small_reference import small, vector


def slow_margin(known, picture, text):
    """One pair at a time, one drawing at a time."""
    captions, pictures = [], []
    for caption, drawing in zip(known.captions, known.pictures, strict=True):
        if float(caption @ vector(text)) < SAME:
            captions.append(float(caption @ picture))
            pictures.append(float(drawing @ vector(text)))
    sides = [sorted(side)[-NEAREST:] for side in (captions, pictures)]
    return float(picture @ vector(text)) - sum(np.mean(side) for side in sides) / 2


@pytest.mark.parametrize("text", ["a dog", "two cats", "caption 3"])
@pytest.mark.parametrize("name", ["one", "other", "picture 3"])
def test_it_is_the_plain_formula(name, text):
    known = small()
    found = margin(known.seen(vector(name)), known.said(text))
    assert found == pytest.approx(slow_margin(known, vector(name), text), abs=1e-6)


def test_a_picture_that_fits_everything_gains_nothing():
    known = small()
    middle = known.captions.mean(axis=0) * 3
    gain = margin(known.seen(middle), known.said("a dog")) - margin(
        known.seen(middle * 0), known.said("a dog")
    )
    assert gain < float(middle @ vector("a dog"))


def test_fewer_drawings_than_are_sought_will_do():
    known = small(3)
    found = margin(known.seen(vector("x")), known.said("y"))
    assert found == pytest.approx(slow_margin(known, vector("x"), "y"), abs=1e-6)
