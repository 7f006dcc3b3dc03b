"""The teacher's mass is the softmax written out, and high for pairs that belong together."""

import math
from typing import Any

import numpy as np
import pytest

from filters import vectors
from filters.teacher import TeacherMass
from filters.too_few import NotEnoughRows
from tests.filters.embedded_rows import Halves, auc, directions, noisy_pairs, table


def scored(scorer: TeacherMass, images: Halves, texts: Halves, fitted: Any) -> dict[str, list[Any]]:
    return scorer({"clip_image": list(images), "clip_text": list(texts)}, fitted)


def test_by_hand() -> None:
    """Three pairs at right angles, a queue of two others: e^(1/T) of e^(1/T) + 2."""
    rows = np.eye(3, dtype=np.float16)
    scorer = TeacherMass("encoder", queue=2, temperatures=(0.5, 1.0))
    fitted = scorer.fit(table(clip_image=rows, clip_text=rows))
    mass = np.mean([math.e**2 / (math.e**2 + 2), math.e / (math.e + 2)])
    for column in scored(scorer, rows, rows, fitted).values():
        assert column == pytest.approx([mass] * 3)


def test_equals_the_reference() -> None:
    images, texts = directions(30), directions(30, seed=1)
    scorer = TeacherMass("encoder", queue=29, temperatures=(0.1, 0.3))
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
    scorer = TeacherMass("encoder")
    found = scored(scorer, images, texts, scorer.fit(table(clip_image=images, clip_text=texts)))
    assert all(0 <= mass <= 1 for column in found.values() for mass in column)
    assert auc(found["teacher_mass"], ~wrong) > 0.9


def test_extreme_temperatures_and_empty_queues() -> None:
    images, texts = directions(5), directions(5, seed=1)
    rows = table(clip_image=images, clip_text=texts)
    cold = TeacherMass("encoder", temperatures=(1e-5,))
    assert set(scored(cold, images, texts, cold.fit(rows))["teacher_mass"]) <= {0.0, 0.5, 1.0}
    same = np.repeat(images[:1], 3, axis=0)
    fitted = cold.fit(table(clip_image=same, clip_text=texts[:3]))
    assert scored(cold, same, texts[:3], fitted)["teacher_mass"] == [None] * 3


def test_companions_make_no_difference() -> None:
    images, texts = directions(300), directions(300, seed=1)
    scorer = TeacherMass("encoder", queue=50)
    fitted = scorer.fit(table(clip_image=images[:50], clip_text=texts[:50]))
    whole = scored(scorer, images, texts, fitted)
    part = scored(scorer, images[-3:], texts[-3:], fitted)
    assert all(part[name] == whole[name][-3:] for name in part)


SMALL = TeacherMass(queue=100, units=16)


@pytest.fixture(scope="module")
def pairs() -> tuple[Halves, Halves, Any]:
    return noisy_pairs(1500)


@pytest.fixture(scope="module")
def learnt(pairs: tuple[Halves, Halves, Any]) -> Any:
    return SMALL.fit(table(clip_image=pairs[0], clip_text=pairs[1]))


def test_an_averaged_teacher_finds_wrong_captions(pairs: Any, learnt: Any) -> None:
    images, texts, wrong = pairs
    found = scored(SMALL, images, texts, learnt)
    assert all(0 <= mass <= 1 for column in found.values() for mass in column)
    assert auc(found["teacher_mass"], ~wrong) > 0.95


@pytest.mark.slow
def test_it_learns_to_look_past_what_is_of_one_side_alone() -> None:
    """Numbers that say nothing of the other side hide the pairs from the encoder's cosine."""
    images, texts, wrong = noisy_pairs(1500)
    dice = np.random.default_rng(3)
    wide = [np.hstack([part, dice.normal(size=(1500, 32)) / 4]) for part in (images, texts)]
    images, texts = (part.astype(np.float16) for part in wide)
    rows, found = table(clip_image=images, clip_text=texts), {}
    for teacher in ("averaged", "encoder"):
        scorer = TeacherMass(teacher, queue=200, epochs=20)
        fitted = scorer.fit(rows.slice(0, scorer.fit_rows))
        found[teacher] = auc(scored(scorer, images, texts, fitted)["teacher_mass"], ~wrong)
    assert found["averaged"] > found["encoder"] + 0.03


def test_an_averaged_teacher_equals_the_reference(pairs: Any, learnt: Any) -> None:
    images, texts, _ = pairs
    found = scored(SMALL, images[:10], texts[:10], learnt)
    for place, (image, text) in enumerate(zip(images[:10], texts[:10], strict=True)):
        half = int(vectors.names(image[None])[0] >> np.uint64(63))
        maps = learnt["heads"][half].astype(float)
        ends = [maps[0] @ image.astype(float), maps[1] @ text.astype(float)]
        ends = [end / np.linalg.norm(end) for end in ends]
        is_other = (learnt["image_name"] != vectors.names(image[None])) & (
            learnt["text_name"] != vectors.names(text[None])
        )
        own = math.exp(ends[0] @ ends[1] / 0.1)
        for name, end, other in (("image", ends[0], "text"), ("text", ends[1], "image")):
            odds = np.exp(learnt[other][half][is_other] @ end / 0.1)
            mass = own / (own + 100 * odds.mean())
            assert found[f"teacher_{name}_mass"][place] == pytest.approx(mass, abs=1e-3)


def test_a_row_is_not_judged_by_a_teacher_that_has_seen_it() -> None:
    """By heart faults fit as well as pairs do; the head of the other half has not learnt them."""
    images, texts, wrong = noisy_pairs(300, width=256)
    scorer = TeacherMass(epochs=60, momentum=0.5)
    fitted = scorer.fit(table(clip_image=images, clip_text=texts))
    apart = auc(scored(scorer, images, texts, fitted)["teacher_mass"], ~wrong)
    swapped = {**fitted, **{n: fitted[n][::-1] for n in ("heads", "image", "text")}}
    by_heart = auc(scored(scorer, images, texts, swapped)["teacher_mass"], ~wrong)
    assert apart > by_heart + 0.05


def test_an_averaged_teacher_knows_no_companions_and_no_order(pairs: Any, learnt: Any) -> None:
    images, texts, _ = pairs
    whole = scored(SMALL, images, texts, learnt)
    for size in (1, 7, 300):
        part = scored(SMALL, images[-size:], texts[-size:], learnt)
        assert all(part[name] == whole[name][-size:] for name in part)
    rows = table(clip_image=images[:200], clip_text=texts[:200])
    once, again = SMALL.fit(rows), SMALL.fit(rows.take(list(range(199, -1, -1))))
    assert all(np.array_equal(once[name], again[name]) for name in once)


def test_too_few_rows() -> None:
    rows = table(clip_image=directions(40), clip_text=directions(40, seed=1))
    with pytest.raises(NotEnoughRows, match="needs 32 rows in each half to train on, found 1"):
        TeacherMass().fit(rows)
    with pytest.raises(NotEnoughRows, match="needs 2 pairs to compare one with another, found 1"):
        TeacherMass("encoder").fit(rows.slice(0, 1))


def test_how_many_rows_are_drawn() -> None:
    assert TeacherMass("encoder", queue=7).fit_rows == 7
    assert TeacherMass(queue=7, train_rows=100).fit_rows == 100
    assert TeacherMass(queue=700, train_rows=100).fit_rows == 700


WRONG: list[dict[str, Any]] = [
    {"teacher": "student"},
    {"queue": 0},
    {"units": 0},
    {"train_rows": 0},
    {"train_rows": 63, "queue": 7},
    {"temperatures": ()},
    {"temperatures": (0.0,)},
    {"temperature": math.nan},
    {"epochs": -1},
    {"momentum": 1.0},
    {"momentum": -0.1},
    {"alpha": 1.1},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_it_refuses(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} ('student'|must be)"):
        TeacherMass(**wrong)
