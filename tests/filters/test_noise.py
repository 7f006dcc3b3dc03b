"""Noise: planted faults are found, with probabilities that mean what they say."""

import math
from typing import Any

import numpy as np
import pytest

from filters import halves, noise_head, vectors
from filters.noise import Noise
from filters.noise_head import Recipe
from filters.too_few import NotEnoughRows
from tests.filters.embedded_rows import Halves, auc, directions, noisy_pairs, table

SMALL = Noise(units=8, negatives=20)


def scored(scorer: Noise, images: Halves, texts: Halves, fitted: Any) -> dict[str, list[Any]]:
    return scorer({"clip_image": list(images), "clip_text": list(texts)}, fitted)


@pytest.fixture(scope="module")
def pool() -> tuple[Halves, Halves, Any]:
    return noisy_pairs(1500)


@pytest.fixture(scope="module")
def learnt(pool: tuple[Halves, Halves, Any]) -> Any:
    return Noise(units=16).fit(table(clip_image=pool[0], clip_text=pool[1]))


def test_planted_faults_are_found_and_counted(pool: Any, learnt: Any) -> None:
    images, texts, wrong = pool
    found = scored(Noise(units=16), images, texts, learnt)
    odds = np.array(found["noise_probability"])
    assert auc(-odds, ~wrong) > 0.97
    assert learnt["share"] == pytest.approx(wrong.mean(), abs=0.05)
    assert odds.mean() == pytest.approx(wrong.mean(), abs=0.05)
    assert auc(found["noise_loss"], wrong) == pytest.approx(auc(odds, wrong), abs=0.001)
    assert learnt["counted"].nbytes < 2000


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.6])
def test_a_probability_means_what_it_says(share: float) -> None:
    images, texts, wrong = noisy_pairs(3000, share)
    scorer = Noise(units=16, near=0)  # as the faults are: none is nearly right
    fitted = scorer.fit(table(clip_image=images, clip_text=texts))
    odds = np.array(scored(scorer, images, texts, fitted)["noise_probability"])
    tenths = np.array_split(np.argsort(odds, kind="stable"), 10)
    assert sum(abs((odds - wrong)[own].sum()) for own in tenths) / len(odds) < 0.04
    assert ((odds > 0) & (odds < 1)).all()


def test_the_more_strangers_are_alike_the_more_is_noise(pool: Any) -> None:
    """Similar images' captions have smaller losses, so smaller losses are noise."""
    images, texts, _ = pool
    rows = table(clip_image=images, clip_text=texts)
    means = [
        np.mean(scored(own, images, texts, own.fit(rows))["noise_probability"])
        for own in (Noise(units=16, near=near) for near in (0, 0.5, 1))
    ]
    assert means[0] < means[1] < means[2]


def test_rows_outside_the_sample_fare_alike(pool: Any) -> None:
    images, texts, wrong = pool
    scorer = Noise(units=16)
    fitted = scorer.fit(table(clip_image=images[:700], clip_text=texts[:700]))
    odds = np.array(scored(scorer, images[700:], texts[700:], fitted)["noise_probability"])
    assert auc(-odds, ~wrong[700:]) > 0.95


def test_a_row_is_not_scored_by_a_head_that_saw_its_image() -> None:
    """With many epochs a head knows all by heart, faults too; the heads of halves do not."""
    images, texts, wrong = noisy_pairs(300, width=256)
    map_ = noise_head.trained(images, texts, Recipe(64, 60, 0.1, 0))
    ends = [noise_head.projected(r, side) for r, side in zip((images, texts), map_, strict=True)]
    by_heart = auc(np.einsum("ij,ij->i", *ends), ~wrong)
    scorer = Noise(units=64, epochs=60)
    found = scored(scorer, images, texts, scorer.fit(table(clip_image=images, clip_text=texts)))
    assert auc(-np.array(found["noise_loss"]), ~wrong) > by_heart + 0.05


def test_the_loss_equals_the_reference(pool: Any) -> None:
    images, texts = pool[0][:100], pool[1][:100]
    scorer = Noise(units=8, negatives=20, epochs=1)
    fitted = scorer.fit(table(clip_image=images, clip_text=texts))
    found = scored(scorer, images[:10], texts[:10], fitted)["noise_loss"]
    for image, text, loss in zip(images[:10], texts[:10], found, strict=True):
        half = int(vectors.names(image[None])[0] >> np.uint64(63))
        head = fitted["heads"][half]
        ends = [unit(head[0] @ image.astype(float)), unit(head[1] @ text.astype(float))]
        losses = []
        for own, other in ((0, "text"), (1, "image")):
            is_same = (fitted["image_name"] == vectors.names(image[None])) | (
                fitted["text_name"] == vectors.names(text[None])
            )
            others = fitted[other][half][~is_same] @ ends[own]
            mean = np.exp(others / 0.1).mean()
            mine = math.exp(ends[0] @ ends[1] / 0.1)
            losses.append(-math.log(mine / (mine + 20 * mean)))
        assert loss == pytest.approx(sum(losses) / 2, abs=2e-3)


def unit(row: Any) -> Any:
    return row / np.linalg.norm(row)


def test_an_untrained_head_says_about_what_the_embeddings_say() -> None:
    images, texts = directions(50), directions(50, seed=1)
    map_ = noise_head.trained(images, texts, Recipe(16, 0, 0.1, 0))
    ends = [
        noise_head.projected(rows, side) for rows, side in zip((images, texts), map_, strict=True)
    ]
    cosines = np.einsum("ij,ij->i", vectors.unit(images), vectors.unit(texts))
    assert np.einsum("ij,ij->i", *ends) == pytest.approx(cosines, abs=1e-4)


def test_training_is_deterministic_and_on_a_grid(pool: Any) -> None:
    images, texts = pool[0][:600], pool[1][:600]
    once, again = (noise_head.trained(images, texts, Recipe(8, 2, 0.1, 0)) for _ in range(2))
    assert np.array_equal(once, again)
    assert np.array_equal(once * 2**20, np.rint(once * 2**20))
    assert np.array_equal(once.astype(np.float32).astype(float), once)
    assert not np.array_equal(once, noise_head.trained(images, texts, Recipe(8, 2, 0.1, 1)))


@pytest.mark.parametrize("size", [1, 7, 256, 300])
def test_companions_make_no_difference(pool: Any, learnt: Any, size: int) -> None:
    images, texts, _ = pool
    whole = scored(Noise(units=16), images, texts, learnt)
    part = scored(Noise(units=16), images[-size:], texts[-size:], learnt)
    assert all(part[name] == whole[name][-size:] for name in part)


def test_the_order_of_rows_makes_no_difference(pool: Any) -> None:
    rows = table(clip_image=pool[0][:200], clip_text=pool[1][:200])
    once, again = SMALL.fit(rows), SMALL.fit(rows.take(list(range(199, -1, -1))))
    assert all(np.array_equal(once[name], again[name]) for name in once)


@pytest.mark.parametrize("mixture", ["anchored", "free"])
def test_two_gaussians_may_be_fitted(pool: Any, mixture: str) -> None:
    rows = table(clip_image=pool[0], clip_text=pool[1])
    scorer = Noise(units=16, mixture=mixture)
    fitted = scorer.fit(rows)
    found = scored(scorer, pool[0], pool[1], fitted)
    assert auc(-np.array(found["noise_probability"]), ~pool[2]) > 0.9
    assert fitted["mixture"].shape == (5,)
    if mixture == "anchored":
        assert fitted["mixture"][4] == pytest.approx(pool[2].mean(), abs=0.05)


def test_no_negative_is_null(pool: Any) -> None:
    scorer = Noise(units=8, negatives=1)
    images, texts = pool[0][:200], pool[1][:200]
    fitted = scorer.fit(table(clip_image=images, clip_text=texts))
    found = scored(scorer, images, texts, fitted)
    assert [list(column).count(None) for column in found.values()] == [1, 1]


@pytest.mark.parametrize("mixture", ["counted", "anchored", "free"])
def test_captions_that_are_all_the_same_give_no_value_and_end_nothing(
    pool: Any, mixture: str
) -> None:
    scorer = Noise(units=8, negatives=20, mixture=mixture)
    images, texts = pool[0][:200], pool[1][[0] * 200]
    with pytest.raises(NotEnoughRows, match="needs pairs with other captions to compare"):
        scorer.fit(table(clip_image=images, clip_text=texts))
    if mixture != "free":  # which knows no strangers; each half has a caption of its own
        texts = pool[1][halves.half_of(images)]
        with pytest.raises(NotEnoughRows, match="needs pairs with other captions to compare"):
            scorer.fit(table(clip_image=images, clip_text=texts))


def test_what_it_refuses(pool: Any) -> None:
    for wrong in ({"units": 0}, {"negatives": 0}, {"epochs": -1}, {"temperature": 0.0}):
        with pytest.raises(ValueError, match=rf"{next(iter(wrong))}.* (must be|above 0)"):
            Noise(**wrong)
    for near in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="near must be from 0 to 1"):
            Noise(near=near)
    with pytest.raises(ValueError, match="fit_rows must be at least 64, got 63"):
        Noise(fit_rows=63)
    with pytest.raises(ValueError, match="mixture 'both': known are counted, anchored, free"):
        Noise(mixture="both")
    few = table(clip_image=pool[0][:40], clip_text=pool[1][:40])
    with pytest.raises(NotEnoughRows, match="needs 32 rows in each half to train on, found"):
        Noise().fit(few)
    with pytest.raises(NotEnoughRows, match="found 0 in one of them, of 0"):
        Noise().fit(few.slice(40))
    rows = table(clip_image=pool[0][:200], clip_text=directions(200, 8))
    with pytest.raises(ValueError, match="vectors of 32 and of 8 numbers"):
        SMALL.fit(rows)
