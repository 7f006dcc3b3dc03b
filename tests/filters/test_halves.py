"""Two halves of a sample: each head is trained on one, and judges the other."""

from typing import Any

import numpy as np
import pytest

from filters import halves, vectors
from filters.too_few import NotEnoughRows
from tests.filters.embedded_rows import Halves, directions, table

IMAGES, TEXTS = directions(120, 8), directions(120, 8, seed=1)


def test_a_head_judges_the_half_it_has_not_seen() -> None:
    trained_on: list[set[int]] = []

    def train(images: Halves, _texts: Halves) -> Any:
        trained_on.append(set(vectors.names(images).tolist()))
        return np.ones((2, 1, 8))

    halves.fit(IMAGES, TEXTS, 10, train)
    half = halves.half_of(IMAGES)
    for side in (0, 1):
        judged = set(vectors.names(IMAGES[half == side]).tolist())
        assert judged
        assert not judged & trained_on[side]
    assert len(trained_on[0] | trained_on[1]) == len(IMAGES)


def test_pairs_of_one_image_are_in_one_half() -> None:
    again = np.concatenate([IMAGES, IMAGES[::-1]])
    half = halves.half_of(again)
    assert np.array_equal(half[:120], half[120:][::-1])
    assert 0.3 < half.mean() < 0.7


def test_each_row_is_compared_by_its_own_head() -> None:
    """One head looks at the first number alone, the other at the second alone."""
    maps = [np.eye(8)[[0, 0]], np.eye(8)[[1, 1]]]
    heads = iter(np.stack([map_, map_]) for map_ in maps)
    fitted = halves.fit(IMAGES, TEXTS, 10, lambda *_: next(heads))
    cosines, logs = halves.log_means(IMAGES, TEXTS, fitted, (0.1, 0.2))
    assert logs.shape == (120, 2, 2)
    half = halves.half_of(IMAGES)
    seen, read = (part[np.arange(120), half] for part in (IMAGES, TEXTS))
    assert cosines == pytest.approx(np.sign(seen.astype(float) * read), abs=1e-6)


def test_what_it_refuses() -> None:
    rows = table(clip_image=IMAGES[:50], clip_text=TEXTS[:50])
    names = ("clip_image", "clip_text")
    with pytest.raises(NotEnoughRows, match="needs 32 rows in each half to train on, found"):
        halves.sample(rows, names, 0, "salt")
    with pytest.raises(NotEnoughRows, match="found 0 in one of them, of 0"):
        halves.sample(rows.slice(50), names, 0, "salt")
    with pytest.raises(ValueError, match="vectors of 8 and of 4 numbers"):
        halves.sample(table(clip_image=IMAGES, clip_text=TEXTS[:, :4]), names, 0, "salt")
    fitted = halves.fit(IMAGES, TEXTS, 10, lambda *_: np.ones((2, 1, 8)))
    with pytest.raises(ValueError, match="vectors of 4 numbers, fitted on 8"):
        halves.log_means(IMAGES[:, :4], TEXTS[:, :4], fitted, (0.1,))
