"""negCLIPLoss equals its formula written out, and leaves out what is no negative."""

import math
from typing import Any

import numpy as np
import pytest

from filters.neg_clip import NegClip
from filters.vectors import draw_order
from tests.filters.embedded_rows import Halves, auc, directions, noisy_pairs, table


def scored(scorer: NegClip, images: Halves, texts: Halves, fitted: Any) -> dict[str, list[Any]]:
    return scorer({"clip_image": list(images), "clip_text": list(texts)}, fitted)


def reference(
    scorer: NegClip, images: Halves, texts: Halves, pool: tuple[Halves, Halves], keys: list[bytes]
) -> list[float]:
    """The slow reference: one row and one batch after the other, in Python."""
    order = draw_order(keys, scorer.seed, "negatives").tolist()
    cuts = [k * len(order) // scorer.batches for k in range(scorer.batches + 1)]
    found = []
    for image, text in zip(images.astype(float), texts.astype(float), strict=True):
        penalties = []
        for k in range(scorer.batches):
            sums, count = [0.0, 0.0], 0
            for place in order[cuts[k] : cuts[k + 1]]:
                other_image, other_text = pool[0][place], pool[1][place]
                if np.array_equal(other_image, image) or np.array_equal(other_text, text):
                    continue
                count += 1
                sums[0] += math.exp(cosine(image, other_text) / scorer.temperature)
                sums[1] += math.exp(cosine(other_image, text) / scorer.temperature)
            full = [scorer.batch * part / count for part in sums]
            penalties.append(sum(scorer.temperature * math.log(part) for part in full) / 2)
        found.append(cosine(image, text) - sum(penalties) / len(penalties))
    return found


def cosine(one: Any, other: Any) -> float:
    one, other = one.astype(float), other.astype(float)
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.mark.parametrize("batches", [1, 3])
def test_equals_the_reference(batches: int) -> None:
    images, texts = directions(40), directions(40, seed=1)
    images[7], texts[9] = images[3], texts[3]
    rows = table(clip_image=images, clip_text=texts)
    scorer = NegClip(batches=batches, batch=20, temperature=0.05)
    found = scored(scorer, images, texts, scorer.fit(rows))
    in_order = [np.array(rows[c].to_pylist(), np.float16) for c in ("clip_image", "clip_text")]
    keys = rows["key"].to_pylist()
    expected = reference(scorer, images, texts, (in_order[0], in_order[1]), keys)
    assert found["neg_clip_score"] == pytest.approx(expected, abs=1e-4)


def test_by_hand() -> None:
    """Three pairs at right angles: each has two negatives with cosine 0."""
    images = texts = np.eye(3, dtype=np.float16)
    scorer = NegClip(batches=1, batch=2, temperature=0.5)
    found = scored(scorer, images, texts, scorer.fit(table(clip_image=images, clip_text=texts)))
    penalty = 0.5 * math.log(2)
    assert found["neg_clip_image"] == pytest.approx([penalty] * 3)
    assert found["neg_clip_text"] == pytest.approx([penalty] * 3)
    assert found["neg_clip_score"] == pytest.approx([1 - penalty] * 3)


def test_copies_of_a_row_are_no_negatives_of_it() -> None:
    """The same pair twice, or its caption under another image, makes no row's score lower."""
    images, texts = directions(30), directions(30, seed=1)
    scorer = NegClip(batches=1, batch=30)
    alone = scorer.fit(table(clip_image=images[1:], clip_text=texts[1:]))
    copied = scorer.fit(
        table(
            clip_image=np.concatenate([images, images[:1], directions(1, seed=5)]),
            clip_text=np.concatenate([texts, directions(1, seed=6), texts[:1]]),
        )
    )
    one, other = (scored(scorer, images[:1], texts[:1], fitted) for fitted in (alone, copied))
    assert one["neg_clip_score"] == pytest.approx(other["neg_clip_score"], abs=1e-5)


def test_a_constant_shift_of_all_others_moves_every_score_alike() -> None:
    images, texts = directions(30), directions(30, seed=1)

    def shifted(by: float) -> Any:
        """One more number each, of which the product is the same for every pair."""
        parts = [images.astype(float), texts.astype(float)]
        return [np.hstack([p, np.full((30, 1), by)]) / math.sqrt(1 + by * by) for p in parts]

    scorer = NegClip(batches=1, batch=30, temperature=0.1)
    differences = []
    for by in (0.0, 1.0):
        seen, read = (part.astype(np.float16) for part in shifted(by))
        # lengths of 1 again make each cosine (c + by^2) / (1 + by^2): undone by the temperature
        at = NegClip(batches=1, batch=30, temperature=scorer.temperature / (1 + by * by))
        found = scored(at, seen, read, at.fit(table(clip_image=seen, clip_text=read)))
        differences.append(np.array(found["neg_clip_score"]) * (1 + by * by))
    assert np.ptp(differences[1] - differences[0]) < 0.02


def test_a_caption_that_fits_all_scores_lower_than_one_that_fits_its_own() -> None:
    images = texts = np.eye(9, dtype=np.float16)
    rows = table(clip_image=images[:8], clip_text=texts[:8])
    scorer = NegClip(batches=1, batch=8, temperature=0.1)
    fits_all = np.append(np.full(8, math.sqrt(1 / 8)), 0)
    fits_own = np.zeros(9)
    fits_own[[0, 8]] = math.sqrt(1 / 8), math.sqrt(7 / 8)
    both = np.array([fits_all, fits_own], np.float16)
    found = scored(scorer, images[[0, 0]], both, scorer.fit(rows))["neg_clip_score"]
    # alike but for seven others with the cosine .35 in place of 0
    penalty = 0.1 * math.sqrt(1 / 8) / 0.1 / 2
    assert found[1] - found[0] == pytest.approx(penalty, abs=1e-3)


def test_more_batches_come_closer_to_all_pairs() -> None:
    images, texts, _ = noisy_pairs(2000)
    rows = table(clip_image=images, clip_text=texts)
    everything = NegClip(batches=1, batch=2000, temperature=0.1)
    whole = np.array(scored(everything, images, texts, everything.fit(rows))["neg_clip_score"])
    errors = []
    for batches in (1, 4, 16):
        some = NegClip(batches=batches, batch=100, temperature=0.1)
        fitted = some.fit(rows.slice(0, some.fit_rows))
        found = np.array(scored(some, images, texts, fitted)["neg_clip_score"])
        errors.append(np.std(found - whole))
    assert errors[0] > errors[1] > errors[2]


def test_it_finds_wrong_captions() -> None:
    images, texts, wrong = noisy_pairs(600)
    scorer = NegClip(temperature=0.1)
    found = scored(scorer, images, texts, scorer.fit(table(clip_image=images, clip_text=texts)))
    assert auc(found["neg_clip_score"], ~wrong) > 0.95


@pytest.mark.parametrize("size", [1, 7, 256, 300])
def test_companions_make_no_difference(size: int) -> None:
    images, texts = directions(600), directions(600, seed=1)
    scorer = NegClip(batches=2, batch=100)
    fitted = scorer.fit(table(clip_image=images[:200], clip_text=texts[:200]))
    whole = scored(scorer, images, texts, fitted)
    part = scored(scorer, images[-size:], texts[-size:], fitted)
    assert all(part[name] == whole[name][-size:] for name in part)


def test_the_order_of_rows_makes_no_difference_to_what_is_learnt() -> None:
    rows = table(clip_image=directions(50), clip_text=directions(50, seed=1))
    scorer = NegClip(batches=3, batch=20)
    once, again = scorer.fit(rows), scorer.fit(rows.take(list(range(49, -1, -1))))
    assert all(np.array_equal(once[name], again[name]) for name in once)
    assert once["starts"].tolist() == [0, 16, 33, 50]
    other = NegClip(batches=3, batch=20, seed=1).fit(rows)
    assert not np.array_equal(once["image"], other["image"])


def test_no_negative_at_all_is_null() -> None:
    images, texts = directions(2), directions(2, seed=1)
    images[1] = images[0]
    scorer = NegClip(batches=5, batch=2)
    found = scored(scorer, images, texts, scorer.fit(table(clip_image=images, clip_text=texts)))
    assert found == {name: [None, None] for name in scorer.writes.names}


def test_too_small_a_temperature_overflows_nothing() -> None:
    images, texts = directions(60), directions(60, seed=1)
    scorer = NegClip(batches=2, batch=30, temperature=1e-4)
    found = scored(scorer, images, texts, scorer.fit(table(clip_image=images, clip_text=texts)))
    assert np.isfinite(found["neg_clip_score"]).all()


def test_what_it_refuses() -> None:
    with pytest.raises(ValueError, match="batches 0 and batch 5 must be at least 1"):
        NegClip(batches=0, batch=5)
    with pytest.raises(ValueError, match=r"temperature must be above 0, got 0\.0"):
        NegClip(temperature=0.0)
    with pytest.raises(ValueError, match="needs 2 pairs to compare one with another, found 1"):
        NegClip().fit(table(clip_image=directions(1), clip_text=directions(1)))
    with pytest.raises(ValueError, match="clip_image has 16 numbers, clip_text has 8"):
        NegClip().fit(table(clip_image=directions(3), clip_text=directions(3, 8)))
    fitted = NegClip().fit(table(clip_image=directions(3), clip_text=directions(3)))
    with pytest.raises(ValueError, match="fitted on 16"):
        scored(NegClip(), directions(1, 8), directions(1, 8), fitted)
