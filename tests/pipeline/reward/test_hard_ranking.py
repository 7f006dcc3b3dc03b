"""The loss over hard negatives: it is the reference, and knows of the judge's order alone."""

import math

import pytest
import torch

from pipeline.reward.losses import davidson, hard_ranking

TAU = 0.7


def reference(scores, teacher, easy, tau):
    """Section by section of the formula, one anchor, with the judge's own values; no ties."""
    order = sorted(range(len(scores)), key=lambda j: -teacher[j])
    total = 0.0
    for place, j in enumerate(order[:-1]):
        below = sum(math.exp(scores[k] / tau) for k in order[place:])
        below += sum(math.exp(e / tau) for e in easy)
        total -= math.log(math.exp(scores[j] / tau) / below)
    return total / max(len(scores) - 1, 1)


def loss(scores, teacher, easy=(), tau=TAU):
    ranks = torch.unique(torch.as_tensor(teacher), return_inverse=True)[1]
    return float(
        hard_ranking(
            torch.as_tensor(scores, dtype=torch.float64)[None],
            ranks[None],
            torch.ones(1, len(scores), dtype=torch.bool),
            torch.as_tensor(easy, dtype=torch.float64)[None],
            tau,
        )[0]
    )


@pytest.fixture
def drawn():
    dice = torch.Generator().manual_seed(0)
    scores, teacher, easy = (torch.randn(n, generator=dice).double() for n in (6, 6, 9))
    return scores, teacher, easy


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_reference(seed):
    dice = torch.Generator().manual_seed(seed)
    count = 2 + seed
    scores, teacher, easy = (torch.randn(n, generator=dice).double() for n in (count, count, 4))
    expected = reference(scores.tolist(), teacher.tolist(), easy.tolist(), TAU)
    assert loss(scores, teacher, easy) == pytest.approx(expected, rel=1e-9)
    none = reference(scores.tolist(), teacher.tolist(), [], TAU)
    assert loss(scores, teacher) == pytest.approx(none, rel=1e-9)


def test_any_monotone_transform_of_the_judge_is_the_same(drawn):
    scores, teacher, easy = drawn
    for transform in (torch.exp, lambda t: t**3, lambda t: 100 * t - 5):
        assert loss(scores, transform(teacher), easy) == loss(scores, teacher, easy)
    assert loss(scores, -teacher, easy) != loss(scores, teacher, easy)


def test_the_judges_order_costs_less_than_the_reverse(drawn):
    scores, _, easy = drawn
    assert loss(scores, scores, easy) < loss(scores, -scores, easy)
    assert loss(scores, scores) < loss(scores, -scores)


def test_one_hard_negative_teaches_nothing(drawn):
    scores, teacher, easy = drawn
    assert loss(scores[:1], teacher[:1], easy) == 0


def test_two_without_easy_ones_are_bradley_and_terry(drawn):
    scores, *_ = drawn
    own = davidson(scores[:1] - scores[1:2], torch.tensor([False]), torch.tensor(float("-inf")))
    assert loss(scores[:2], [2.0, 1.0], tau=1.0) == pytest.approx(float(own[0]))


def test_easy_ones_push_down_but_their_order_is_not_asked(drawn):
    scores, teacher, easy = drawn
    assert loss(scores, teacher, easy) > loss(scores, teacher)
    assert loss(scores, teacher, easy.flip(0)) == pytest.approx(loss(scores, teacher, easy))


def test_of_equal_answers_no_order_is_learnt(drawn):
    scores, _, easy = drawn
    answers = torch.tensor([3, 3, 1, 1, 2, 2]).double()
    swapped = scores[[1, 0, 3, 2, 5, 4]]
    assert loss(swapped, answers, easy) == pytest.approx(loss(scores, answers, easy))
    assert loss(scores, torch.ones(6), easy) == 0


def test_what_is_padded_changes_nothing_and_gradients_are_finite(drawn):
    scores, teacher, easy = drawn
    ranks = torch.unique(teacher, return_inverse=True)[1]
    hard = torch.stack([torch.cat([scores[:3], torch.full((3,), 7.0)]), scores]).requires_grad_()
    valid = torch.tensor([[True] * 3 + [False] * 3, [True] * 6])
    far = torch.stack([torch.full_like(easy, float("-inf")), easy])
    found = hard_ranking(hard, torch.stack([ranks, ranks]), valid, far, TAU)
    found.sum().backward()
    assert found[0].item() == pytest.approx(loss(scores[:3], teacher[:3]))
    assert found[1].item() == pytest.approx(loss(scores, teacher, easy))
    assert torch.isfinite(hard.grad).all()
    assert (hard.grad[0, 3:] == 0).all()
