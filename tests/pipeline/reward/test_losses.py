"""The loss with ties: values by hand, its limits, and its symmetries."""

import math

import pytest
import torch

from pipeline.reward.losses import davidson, win_probability

NONE = float("-inf")


def loss(difference: float, is_tie: bool = False, log_ties: float = NONE) -> float:
    values = torch.tensor([difference], dtype=torch.float64)
    ties = torch.tensor([log_ties], dtype=torch.float64)
    return float(davidson(values, torch.tensor([is_tie]), ties))


def test_equal_scores_cost_the_logarithm_of_two():
    assert loss(0.0) == pytest.approx(math.log(2))


@pytest.mark.parametrize("difference", [-3.0, -0.4, 0.7, 5.0])
def test_without_ties_it_is_that_of_bradley_and_terry(difference):
    assert loss(difference) == pytest.approx(math.log1p(math.exp(-difference)))
    assert loss(difference, log_ties=-60) == pytest.approx(loss(difference))


def test_by_hand_with_ties():
    # Strengths 4 and 1, nu = 0.5: 4 : 1 : 0.5 * sqrt(4) = 4 : 1 : 1, of 6 in all
    difference = math.log(4)
    assert loss(difference, log_ties=math.log(0.5)) == pytest.approx(math.log(6 / 4))
    assert loss(-difference, log_ties=math.log(0.5)) == pytest.approx(math.log(6))
    assert loss(difference, True, math.log(0.5)) == pytest.approx(math.log(6))


@pytest.mark.parametrize("difference", [0.0, 1.3, -2.0])
@pytest.mark.parametrize("log_ties", [NONE, -1.0, 0.0, 2.0])
def test_the_three_outcomes_have_probability_one(difference, log_ties):
    won, lost = (math.exp(-loss(d, log_ties=log_ties)) for d in (difference, -difference))
    tied = math.exp(-loss(difference, True, log_ties))
    assert won + lost + tied == pytest.approx(1)


def test_a_tie_does_not_ask_which_is_first_and_likes_equal_scores():
    assert loss(1.7, True, 0.3) == pytest.approx(loss(-1.7, True, 0.3))
    assert loss(0.0, True, 0.3) < loss(0.1, True, 0.3) < loss(1.0, True, 0.3)


def test_where_ties_are_sure_a_tie_costs_nothing():
    assert loss(1.0, True, 50.0) == pytest.approx(0, abs=1e-12)


def test_a_better_margin_costs_less_and_huge_ones_are_finite():
    losses = [loss(d, log_ties=0.0) for d in (-1000.0, -1.0, 0.0, 1.0, 1000.0)]
    assert losses == sorted(losses, reverse=True)
    assert all(math.isfinite(value) for value in losses)


def test_gradients_are_finite_where_a_criterion_has_no_ties():
    difference = torch.tensor([0.5, -0.5], requires_grad=True)
    free = torch.zeros(2, requires_grad=True)
    ties = torch.where(torch.tensor([True, False]), free, NONE)
    davidson(difference, torch.tensor([True, False]), ties).sum().backward()
    assert torch.isfinite(difference.grad).all()
    assert torch.isfinite(free.grad).all()
    assert free.grad[1] == 0


def test_who_wins_if_one_does_is_the_same_for_any_share_of_ties():
    for log_ties in (NONE, 0.0, 1.5):
        won, lost = (math.exp(-loss(d, log_ties=log_ties)) for d in (0.8, -0.8))
        assert won / (won + lost) == pytest.approx(float(win_probability(torch.tensor(0.8))))
