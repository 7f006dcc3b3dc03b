"""The loop: its loss, its rate, the way between two states."""

import numpy as np
import pytest
import torch

from pipeline.tuning.config import TuningOptions
from pipeline.tuning.loop import Batch, blended, contrastive, rate_at, same_pairs


def test_the_loss_of_two_pairs_by_hand():
    images, texts = torch.eye(2), torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    loss = contrastive(images, texts, torch.tensor(2.0), torch.eye(2))

    def cross(own, other):
        return float(np.log(1 + np.exp(2 * (other - own))))

    # Rows: images against texts; columns: texts against images.
    expected = (cross(1, 0.6) + cross(0.8, 0) + cross(1, 0) + cross(0.8, 0.6)) / 4
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_pairs_of_one_text_are_no_negatives():
    batch = Batch((), torch.tensor([0, 1, 2]), torch.tensor([7, 7, 8]))
    same = same_pairs(batch)
    assert same.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    images = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    scale = torch.tensor(1000.0)  # bounded to 100
    loss = contrastive(images, images, scale, same)
    assert float(loss) == pytest.approx(2 / 3 * np.log(2), rel=1e-5)
    assert float(contrastive(images, images, scale, torch.eye(3))) == pytest.approx(float(loss))


def test_the_rate_rises_and_falls():
    options = TuningOptions(rate=0.1, warmup=0.2)
    rates = [rate_at(step, 100, options) for step in range(100)]
    assert rates[:20] == sorted(rates[:20])
    assert rates[20] == max(rates) == pytest.approx(0.1)
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert 0 < rates[-1] < 0.001


def test_between_two_states():
    before = {"a": torch.tensor([0.0, 2.0]), "n": torch.tensor(1)}
    after = {"a": torch.tensor([1.0, 4.0]), "n": torch.tensor(5)}
    assert blended(before, after, 1.0)["a"].tolist() == [1, 4]
    assert blended(before, after, 0.25)["a"].tolist() == [0.25, 2.5]
    assert int(blended(before, after, 0.25)["n"]) == 5
