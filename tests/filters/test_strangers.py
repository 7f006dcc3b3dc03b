"""Strangers are pairs of other images and captions, some of them of the nearest images."""

from typing import Any

import numpy as np
import pytest

from filters import strangers, vectors
from tests.filters.embedded_rows import directions


def rounds(images: Any, texts: Any, groups: Any, near: float) -> list[Any]:
    return list(strangers.rounds(images, texts, np.asarray(groups), near))


def test_weights_and_groups() -> None:
    images, texts = directions(60), directions(60, seed=1)
    groups = np.arange(60) % 2
    found = rounds(images, texts, groups, 0.25)
    assert [weight for _, _, weight in found] == [0.25, 0.25, 0.25, 0.25]
    for rows, others, _ in found:
        assert sorted(rows) == list(range(60))
        assert (groups[rows] == groups[others]).all()
        assert (rows != others).all()


@pytest.mark.parametrize(("near", "count"), [(0, 3), (1, 1), (0.5, 4)])
def test_kinds_without_weight_are_not_made(near: float, count: int) -> None:
    images, texts = directions(40), directions(40, seed=1)
    found = rounds(images, texts, np.zeros(40, int), near)
    assert len(found) == count
    assert sum(weight for _, _, weight in found) == pytest.approx(1)


def test_near_ones_are_in_turn_the_nearest() -> None:
    images, texts = directions(50, 8), directions(50, 8, seed=1)
    ((rows, others, _),) = rounds(images, texts, np.zeros(50, int), 1)
    unit = vectors.unit(images)
    for turn, (row, other) in enumerate(zip(rows, others, strict=True)):
        cosines = unit[row] @ unit.T
        order = [n for n in np.argsort(-cosines, kind="stable") if n != row]
        assert other == order[turn % 8]


def test_never_the_same_image_or_the_same_text() -> None:
    dice = np.random.default_rng(0)
    images = directions(5)[dice.integers(0, 5, 80)]
    texts = directions(4, seed=1)[dice.integers(0, 4, 80)]
    for rows, others, _ in rounds(images, texts, np.zeros(80, int), 0.5):
        assert len(rows)
        assert (images[rows] != images[others]).any(axis=1).all()
        assert (texts[rows] != texts[others]).any(axis=1).all()


def test_where_there_is_no_other_there_is_none() -> None:
    images, texts = directions(20), directions(1)[[0] * 20]
    assert all(not len(rows) for rows, _, _ in rounds(images, texts, np.zeros(20, int), 0.5))
