"""The teacher's mass is the softmax written out, and high for pairs that belong together."""

import math
from typing import Any

import numpy as np
import pytest

from filters.teacher import TeacherMass
from tests.filters.embedded_rows import Halves, auc, directions, noisy_pairs, table


def scored(scorer: TeacherMass, images: Halves, texts: Halves, fitted: Any) -> dict[str, list[Any]]:
    return scorer({"clip_image": list(images), "clip_text": list(texts)}, fitted)


def test_by_hand() -> None:
    """Three pairs at right angles, a queue of two others: e^(1/T) of e^(1/T) + 2."""
    rows = np.eye(3, dtype=np.float16)
    scorer = TeacherMass(queue=2, temperatures=(0.5, 1.0))
    fitted = scorer.fit(table(clip_image=rows, clip_text=rows))
    mass = np.mean([math.e**2 / (math.e**2 + 2), math.e / (math.e + 2)])
    for column in scored(scorer, rows, rows, fitted).values():
        assert column == pytest.approx([mass] * 3)


def test_equals_the_reference() -> None:
    images, texts = directions(30), directions(30, seed=1)
    scorer = TeacherMass(queue=29, temperatures=(0.1, 0.3))
    found = scored(scorer, images, texts, scorer.fit(table(clip_image=images, clip_text=texts)))
    cosines = images.astype(float) @ texts.astype(float).T
    expected = np.zeros(30)
    for temperature in scorer.temperatures:
        odds = np.exp(cosines / temperature)
        expected += np.diag(odds) / odds.sum(axis=1) / 2
    assert found["teacher_image_mass"] == pytest.approx(expected, abs=1e-3)
    both = zip(found["teacher_image_mass"], found["teacher_text_mass"], strict=True)
    assert found["teacher_mass"] == pytest.approx([(a + b) / 2 for a, b in both])


def test_it_finds_wrong_captions_and_stays_a_share() -> None:
    images, texts, wrong = noisy_pairs(500)
    scorer = TeacherMass()
    found = scored(scorer, images, texts, scorer.fit(table(clip_image=images, clip_text=texts)))
    assert all(0 <= mass <= 1 for column in found.values() for mass in column)
    assert auc(found["teacher_mass"], ~wrong) > 0.9


def test_extreme_temperatures_and_empty_queues() -> None:
    images, texts = directions(5), directions(5, seed=1)
    rows = table(clip_image=images, clip_text=texts)
    cold = TeacherMass(temperatures=(1e-5,))
    assert set(scored(cold, images, texts, cold.fit(rows))["teacher_mass"]) <= {0.0, 0.5, 1.0}
    same = np.repeat(images[:1], 3, axis=0)
    fitted = cold.fit(table(clip_image=same, clip_text=texts[:3]))
    assert scored(cold, same, texts[:3], fitted)["teacher_mass"] == [None] * 3


def test_companions_make_no_difference() -> None:
    images, texts = directions(300), directions(300, seed=1)
    scorer = TeacherMass(queue=50)
    fitted = scorer.fit(table(clip_image=images[:50], clip_text=texts[:50]))
    whole = scored(scorer, images, texts, fitted)
    part = scored(scorer, images[-3:], texts[-3:], fitted)
    assert all(part[name] == whole[name][-3:] for name in part)


@pytest.mark.parametrize("wrong", [{"queue": 0}, {"temperatures": ()}, {"temperatures": (0.0,)}])
def test_what_it_refuses(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        TeacherMass(**wrong)
