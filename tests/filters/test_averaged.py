"""The averaged head is ALBEF's: soft targets, a ramp, and a mean of the student's past."""

from typing import Any

import numpy as np
import pytest
import torch

from filters import averaged, noise_head, vectors
from filters.averaged import Teaching, ramped, soft
from filters.noise_head import Recipe
from filters.vectors import Doubles
from tests.filters.embedded_rows import Halves, noisy_pairs

RECIPE = Recipe(units=8, epochs=2, temperature=0.1, seed=0)


@pytest.fixture(scope="module")
def pairs() -> tuple[Halves, Halves]:
    images, texts, _ = noisy_pairs(600)
    return images, texts


def test_soft_targets_are_shares_and_without_alpha_the_pairs_themselves() -> None:
    logits = torch.tensor([[2.0, 1.0, -1.0], [0.0, 0.0, 0.0], [5.0, 1.0, 0.0]])
    assert torch.equal(soft(logits, 0.0), torch.eye(3))
    found = soft(logits, 0.4)
    assert found.sum(dim=1).tolist() == pytest.approx([1, 1, 1])
    assert found[1].tolist() == pytest.approx([0.4 / 3, 0.6 + 0.4 / 3, 0.4 / 3])
    assert torch.equal(soft(logits, 1.0), logits.softmax(dim=1))


def test_alpha_rises_over_the_first_epoch() -> None:
    found = [ramped(0.4, step, 4) for step in (0, 1, 2, 4, 40)]
    assert found == pytest.approx([0, 0.1, 0.2, 0.4, 0.4])


def test_it_equals_the_reference(pairs: tuple[Halves, Halves]) -> None:
    """Written out, with numpy for the average and the softmax; Adam is torch's."""
    teaching = Teaching(momentum=0.8, alpha=0.4)
    found = averaged.trained(*pairs, RECIPE, teaching)
    assert found == pytest.approx(reference(*pairs, teaching), abs=1e-4)


def reference(images: Halves, texts: Halves, teaching: Teaching) -> Doubles:
    sides = [torch.from_numpy(vectors.unit(part)).float() for part in (images, texts)]
    untrained = noise_head.trained(images, texts, RECIPE._replace(epochs=0))
    student = [torch.tensor(map_, dtype=torch.float32, requires_grad=True) for map_ in untrained]
    teacher = [torch.tensor(map_, dtype=torch.float32) for map_ in untrained]
    adam = torch.optim.Adam(student, lr=1e-3)
    dice = torch.Generator().manual_seed(RECIPE.seed)
    names = [vectors.names(part) for part in (images, texts)]
    steps_of_an_epoch, step = 3, 0  # 600 rows in batches of 256
    for _ in range(RECIPE.epochs):
        order = torch.randperm(len(images), generator=dice)
        for start in (0, 256, 512):
            rows = order[start : start + 256]
            same = names[0][rows][:, None] == names[0][rows]
            same |= names[1][rows][:, None] == names[1][rows]
            hidden = torch.from_numpy(np.where(same & ~np.eye(len(rows), dtype=bool), -1e4, 0.0))
            for mean, map_ in zip(teacher, student, strict=True):
                mean[:] = teaching.momentum * mean + (1 - teaching.momentum) * map_.detach()
            taught = [unit(side[rows] @ mean.T) for side, mean in zip(sides, teacher, strict=True)]
            ends = [unit(side[rows] @ map_.T) for side, map_ in zip(sides, student, strict=True)]
            alpha = teaching.alpha * min(1, step / steps_of_an_epoch)
            loss: Any = 0
            for own, other in ((0, 1), (1, 0)):
                said = (taught[own] @ taught[other].T / 0.1 + hidden).softmax(dim=1)
                target = alpha * said + (1 - alpha) * torch.eye(len(rows))
                logits = ends[own] @ taught[other].T / 0.1 + hidden
                loss = loss - (target * logits.log_softmax(dim=1)).sum(dim=1).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            step += 1
    return np.stack([mean.double().numpy() for mean in teacher])


def unit(rows: Any) -> Any:
    return rows / rows.norm(dim=1, keepdim=True)


def test_with_all_momentum_it_stays_where_it_began(pairs: tuple[Halves, Halves]) -> None:
    start = noise_head.trained(*pairs, RECIPE._replace(epochs=0))
    still = averaged.trained(*pairs, RECIPE, Teaching(1.0, 0.4))
    moved = averaged.trained(*pairs, RECIPE, Teaching(0.9, 0.4))
    assert np.array_equal(still, start)
    assert np.abs(moved - start).max() > 1e-4


def test_training_is_deterministic_whatever_the_threads(pairs: tuple[Halves, Halves]) -> None:
    once = averaged.trained(*pairs, RECIPE, Teaching(0.9, 0.4))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = averaged.trained(*pairs, RECIPE, Teaching(0.9, 0.4))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(once, again)
    assert np.array_equal(once * 2**20, np.rint(once * 2**20))
    other = averaged.trained(*pairs, RECIPE._replace(seed=1), Teaching(0.9, 0.4))
    assert not np.array_equal(once, other)
