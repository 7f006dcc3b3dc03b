"""Counted probabilities mean what they say, whatever shape the groups of losses have."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import mixture
from filters.counted import Counted, fitted, pooled, share_of_wrong

Groups = Callable[[Any, int], Any]

SHAPES: dict[str, tuple[Groups, Groups]] = {  # of right and of wrong pairs
    "bells": (lambda dice, n: dice.normal(2.5, 1, n), lambda dice, n: dice.normal(6, 1.5, n)),
    "skewed": (lambda dice, n: dice.gamma(2, 1, n), lambda dice, n: 9 - dice.gamma(2, 1, n)),
    "two kinds of wrong": (
        lambda dice, n: dice.exponential(1.5, n),
        lambda dice, n: np.where(dice.random(n) < 0.3, dice.normal(3, 1, n), dice.normal(7, 1, n)),
    ),
}


def planted(shape: str, share: float, count: int = 6000, seed: int = 1) -> tuple[Any, Any, Any]:
    """Losses, which are wrong, and losses of others that are known to be wrong."""
    dice = np.random.default_rng(seed)
    right, wrong = SHAPES[shape]
    is_wrong = dice.random(count) < share
    losses = np.where(is_wrong, wrong(dice, count), right(dice, count))
    return losses, is_wrong, wrong(dice, 4 * count)


def of(losses: Any, strangers: Any) -> Counted:
    return fitted(losses, strangers, np.ones(len(strangers)))


def calibration_error(odds: Any, is_wrong: Any) -> float:
    order = np.argsort(odds, kind="stable")
    errors = [abs((odds - is_wrong)[tenth].sum()) for tenth in np.array_split(order, 10)]
    return float(sum(errors) / len(odds))


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.3, 0.6, 1.0])
def test_it_is_calibrated(shape: str, share: float) -> None:
    """On average over pools; of one, the share is known to about .02."""
    errors, shares, means = [], [], []
    for seed in range(6):
        losses, is_wrong, known = planted(shape, share, seed=seed)
        found = of(losses, known)
        odds = found.probability(losses)
        errors.append(calibration_error(odds, is_wrong))
        shares.append(found.share - is_wrong.mean())
        means.append(odds.mean() - is_wrong.mean())
    assert np.mean(errors) < 0.03
    assert abs(np.mean(shares)) < 0.03
    assert abs(np.mean(means)) < 0.03


def test_right_pairs_that_look_wrong_cost_less_than_with_gaussians() -> None:
    """A fifth of the right pairs, of which the encoder knows nothing, all but reach the wrong."""
    errors = []
    for seed in range(6):
        dice = np.random.default_rng(seed)
        is_wrong = dice.random(8000) < 0.3
        is_known = dice.random(8000) < 0.8
        right = np.where(is_known, dice.normal(2, 1, 8000), dice.normal(5, 1, 8000))
        losses = np.where(is_wrong, dice.normal(6, 1, 8000), right)
        known = dice.normal(6, 1, 20_000)
        found = of(losses, known), mixture.fitted(losses, known)
        errors.append([calibration_error(own.probability(losses), is_wrong) for own in found])
    ours, gaussians = np.mean(errors, axis=0)
    assert ours < 0.05
    assert ours < 0.6 * gaussians


def test_it_equals_a_readable_reference() -> None:
    losses, _, known = planted("skewed", 0.3, 100)
    weights = np.random.default_rng(3).random(len(known))
    found = fitted(losses, known, weights)
    ordered = sorted(losses.tolist())
    bins = [ordered[at : at + 10] for at in range(0, 100, 10)]
    limits = [-np.inf, *(own[0] for own in bins[1:]), np.inf]
    wrong = [
        found.share * 100 * weights[(known >= low) & (known < high)].sum() / weights.sum()
        for low, high in pairwise(limits)
    ]
    levels = rising([(part + found.share) / 11 for part in wrong], [11] * 10)
    levels = [min(level, 1) for level in levels]
    for level in set(levels):
        own = [loss for n in range(10) if levels[n] == level for loss in bins[n]]
        most = (len(own) + found.share) / (len(own) + 1)
        middle = np.array([own[len(own) // 2]])
        assert found.probability(middle) == pytest.approx([min(level, most)])


def rising(values: list[float], weights: list[float]) -> list[float]:
    """By the formula of the highest lower and the lowest upper mean."""

    def mean(first: int, last: int) -> float:
        own = slice(first, last + 1)
        return float(np.average(values[own], weights=weights[own]))

    count = len(values)
    return [
        max(min(mean(a, b) for b in range(n, count)) for a in range(n + 1)) for n in range(count)
    ]


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.1, 5)), min_size=1, max_size=12))
@settings(max_examples=100, deadline=None)
def test_pooling_equals_the_formula(rows: list[tuple[float, float]]) -> None:
    values, weights = map(list, zip(*rows, strict=True))
    levels, counts = pooled(np.array(values), np.array(weights))
    assert (np.diff(levels) > 0).all()
    assert np.repeat(levels, counts) == pytest.approx(rising(values, weights), abs=1e-9)


def test_the_share_by_hand() -> None:
    """Strangers at 1 .. 20 and 48 pairs: 20 wrong ones in the same places, 28 right ones at 0.

    The .3 level is 6: 15 of 20 strangers and, with half a pair more in 49, 15.5 pairs are there or
    beyond. No higher level gives less, so this one is taken. With 50 right ones more at 8 it is
    the .45 level, 9, the first beyond them: 12 of 20 strangers, and 12.5 pairs.
    """
    strangers = np.arange(1.0, 21)
    losses = np.concatenate([np.zeros(28), strangers])
    found = share_of_wrong(losses, strangers, np.ones(20))
    assert found == pytest.approx((15.5 / 49) / (15 / 20))
    found = share_of_wrong(np.append(losses, np.full(50, 8.0)), strangers, np.ones(20))
    assert found == pytest.approx((12.5 / 99) / (12 / 20))


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=60), st.lists(st.integers(0, 6), min_size=1)
)
@settings(max_examples=200, deadline=None)
def test_it_rises_and_is_never_certain(losses: list[int], strangers: list[int]) -> None:
    found = of(np.array(losses, float), np.array(strangers, float))
    assert 0 < found.share < 1
    assert (np.diff(found.losses) > 0).all()
    odds = found.probability(np.linspace(-1, 8, 200))
    assert (np.diff(odds) >= 0).all()
    assert ((odds > 0) & (odds < 1)).all()


def test_a_large_pool_is_not_certain_as_it_is_stored() -> None:
    for losses in (np.linspace(5, 6, 32_768), np.linspace(0, 1, 32_768)):
        odds = of(losses, np.linspace(5, 6, 9000)).probability(losses).astype(np.float32)
        assert ((odds > 0) & (odds < 1)).all()


def test_it_is_small_and_does_not_depend_on_the_order() -> None:
    losses, _, known = planted("bells", 0.3)
    once, again = of(losses, known), of(losses[::-1], known[::-1])
    assert np.array_equal(once.losses, again.losses)
    assert np.array_equal(once.odds, again.odds)
    assert len(once.losses) < 100


def test_weights_count() -> None:
    losses, _, known = planted("two kinds of wrong", 0.3, 2000)
    halves = fitted(np.array(losses), np.tile(known, 2), np.repeat([3.0, 1.0], len(known)))
    whole = of(losses, known)
    assert halves.share == pytest.approx(whole.share)
    assert halves.probability(losses) == pytest.approx(whole.probability(losses))


def test_what_can_not_be_told() -> None:
    """Equal losses: certain of nothing; those of strangers or above are theirs as far as known."""
    same = np.full(50, 2.0)
    low = of(same, np.array([3.0, 4.0, 5.0])).probability(same)
    high = of(same, np.array([2.0, 2.0])).probability(same)
    assert 0 < low[0] < 0.05 < 0.95 < high[0] < 1
    assert np.isnan(of(same, same).probability(np.array([np.nan]))).all()
    for losses, strangers in ((np.zeros(0), same), (same, np.zeros(0))):
        with pytest.raises(ValueError, match="no losses to tell apart"):
            of(losses, strangers)
