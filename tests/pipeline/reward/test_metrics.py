"""Figures by hand, against slow references, and their intervals."""

from itertools import combinations

import numpy as np
import pytest

from pipeline.reward.metrics import Scored, kendall_tau, pairwise_accuracy, reliability


def scored(better, worse, is_tie=None, group=None) -> Scored:
    count = len(better)
    return Scored(
        np.array(better, np.float64),
        np.array(worse, np.float64),
        np.array(is_tie if is_tie is not None else [False] * count, bool),
        np.array(group if group is not None else range(count), np.int64),
    )


def test_accuracy_by_hand():
    found = pairwise_accuracy(scored([2, 1, 1, 9], [1, 2, 1, 0], [False, False, False, True]))
    assert found.value == pytest.approx(1.5 / 3)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_nothing_has_no_figures():
    empty = scored([], [])
    assert pairwise_accuracy(empty) is None
    assert kendall_tau(empty) is None
    assert reliability(empty) == ([], None)
    ties = scored([1.0], [2.0], [True])
    assert pairwise_accuracy(ties) is None
    assert kendall_tau(ties) is None


def tau_b(truth, scores) -> float:
    """Kendall's tau-b of two lists, from its definition."""
    pairs = list(combinations(range(len(truth)), 2))
    first = [np.sign(truth[i] - truth[j]) for i, j in pairs]
    second = [np.sign(scores[i] - scores[j]) for i, j in pairs]
    untied = np.sqrt(np.count_nonzero(first) * np.count_nonzero(second))
    return float(np.dot(first, second) / untied) if untied else 0.0


def test_tau_equals_its_definition():
    dice = np.random.default_rng(0)
    better, worse, is_tie, group, expected = [], [], [], [], []
    for number in range(30):
        truth = dice.integers(0, 3, 5)
        scores = dice.integers(0, 4, 5)
        for i, j in combinations(range(5), 2):
            first, second = (i, j) if truth[i] >= truth[j] else (j, i)
            better.append(scores[first])
            worse.append(scores[second])
            is_tie.append(truth[i] == truth[j])
            group.append(number)
        if len(set(truth.tolist())) > 1:
            expected.append(tau_b(truth, scores))
    found = kendall_tau(scored(better, worse, is_tie, group))
    assert found.value == pytest.approx(np.mean(expected))


def test_a_perfect_and_a_reversed_order():
    assert kendall_tau(scored([3, 2, 3], [2, 1, 1], group=[0, 0, 0])).value == 1
    assert kendall_tau(scored([1, 2, 1], [2, 3, 3], group=[0, 0, 0])).value == -1


def test_calibration_by_hand():
    # Four sure at .8, of which three are right; one that knows nothing, which counts as half right.
    d = np.log(0.8 / 0.2)
    bins, error = reliability(scored([d, d, d, 0, 5], [0, 0, 0, d, 5]))
    assert [(one.low, one.count) for one in bins] == [(0.5, 1), (pytest.approx(0.8), 4)]
    assert bins[1].confidence == pytest.approx(0.8)
    assert bins[1].accuracy == 0.75
    assert error.value == pytest.approx((4 * 0.05 + 0) / 5)


def test_scores_that_say_what_is_true_are_calibrated():
    dice = np.random.default_rng(1)
    difference = dice.normal(0, 2, 20000)
    won = dice.random(20000) < 1 / (1 + np.exp(-difference))
    signed = np.where(won, difference, -difference)
    _, error = reliability(scored(signed, np.zeros(20000)))
    assert error.value < 0.012
    _, sure = reliability(scored(10 * signed, np.zeros(20000)))
    assert sure.value > 0.1


def test_intervals_know_that_comparisons_of_an_image_hang_together():
    dice = np.random.default_rng(2)
    right = np.repeat(dice.random(40) < 0.7, 25).astype(float)
    alone = pairwise_accuracy(scored(right, np.full(1000, 0.5)))
    together = pairwise_accuracy(scored(right, np.full(1000, 0.5), group=np.repeat(range(40), 25)))
    assert together.value == alone.value
    assert together.high - together.low > 3 * (alone.high - alone.low)


def test_figures_are_the_same_again():
    one = scored([2, 1, 1], [1, 2, 1])
    assert pairwise_accuracy(one) == pairwise_accuracy(one)
