"""The mixture finds planted groups, is a proper probability, and survives what is none."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.mixture import Mixture, fitted


def planted(share: float, count: int = 4000) -> tuple[Any, Any, Any]:
    """Losses of two bells, which are noisy, and other noisy losses."""
    dice = np.random.default_rng(1)
    noisy = dice.random(count) < share
    losses = np.where(noisy, dice.normal(6, 1.5, count), dice.normal(2.5, 1, count))
    return losses, noisy, dice.normal(6, 1.5, count)


@pytest.mark.parametrize("anchored", [False, True])
def test_two_groups_far_apart(anchored: bool) -> None:
    dice = np.random.default_rng(0)
    losses = np.concatenate([dice.normal(0.3, 0.05, 900), dice.normal(1.2, 0.1, 100)])
    found = fitted(losses, dice.normal(1.2, 0.1, 500) if anchored else None)
    odds = found.probability(losses)
    assert (odds[:900] < 0.01).mean() > 0.99
    assert (odds[900:] > 0.99).mean() > 0.99
    assert found.share == pytest.approx(0.1, abs=0.02)
    assert (found.clean, found.noise) == pytest.approx((0.3, 1.2), abs=0.03)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.6])
def test_with_known_noise_it_is_calibrated(share: float) -> None:
    losses, noisy, known = planted(share)
    found = fitted(losses, known)
    odds = found.probability(losses)
    assert found.share == pytest.approx(noisy.mean(), abs=0.02)
    bins = (odds * 5).astype(int).clip(max=4)
    errors = [abs((odds - noisy)[bins == place].sum()) for place in range(5)]
    assert sum(errors) / len(odds) < 0.02


def test_the_posterior_by_hand() -> None:
    """Bells of one width at 0 and 2, equal shares: in the middle 1/2, at 2 1 / (1 + e^-2)."""
    mixture = Mixture(0.0, 1.0, 2.0, 1.0, 0.5)
    found = mixture.probability(np.array([1.0, 2.0, 0.0]))
    assert found == pytest.approx([0.5, 0.8808, 0.1192], abs=1e-4)
    assert mixture._replace(share=0.2).probability(np.array([1.0])) == pytest.approx([0.2])


@given(
    st.floats(-2, 2), st.floats(0.1, 3), st.floats(0, 3), st.floats(0.1, 3), st.floats(0.01, 0.99)
)
@settings(max_examples=100, deadline=None)
def test_more_loss_is_never_less_noise(
    clean: float, narrow: float, further: float, wide: float, share: float
) -> None:
    mixture = Mixture(clean, narrow, clean + further, wide, share)
    odds = mixture.probability(np.linspace(-20, 20, 400))
    assert ((odds >= 0) & (odds <= 1)).all()
    assert (np.diff(odds) >= -1e-9).all()  # differences of logarithms are rounded


def test_the_order_makes_no_difference() -> None:
    losses, _, known = planted(0.3, 500)
    for noise in (None, known):
        assert fitted(losses, noise) == fitted(losses[::-1], noise)


@pytest.mark.parametrize("values", [[1.0], [2.0] * 50, [0.0, 1.0], [0.0] * 49 + [9.0], [1e-12, 0]])
@pytest.mark.parametrize("anchored", [False, True])
def test_what_is_no_mixture(values: list[float], anchored: bool) -> None:
    losses = np.array(values)
    found = fitted(losses, np.array([5.0, 5.0]) if anchored else None)
    assert np.isfinite(found).all()
    assert np.isfinite(found.probability(np.array([-1e6, 0.0, 1.0, 1e6]))).all()


def test_all_the_same_is_clean_and_none_is_refused() -> None:
    assert fitted(np.full(9, 2.0)).probability(np.array([2.0, 99.0])).tolist() == [0, 0]
    with pytest.raises(ValueError, match="no losses"):
        fitted(np.zeros(0))


def test_noise_that_is_as_low_as_the_rest() -> None:
    dice = np.random.default_rng(2)
    losses, known = dice.normal(size=500), dice.normal(-1, 1, 500)
    found = fitted(losses, known)
    assert found.clean <= found.noise
