"""The losses equal values worked out by hand and loops written from the formulas."""

import math

import pytest
import torch

from pipeline.losses import info_nce, multi_positive, one_to_k, weighted_info_nce

SCALE = 5.0
LN2 = math.log(2)


def unit(*shape, seed=0):
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(values, dim=-1)


def lse(values):
    return math.log(sum(map(math.exp, values)))


def of_pair(cosines, i, scale):
    """CLIP's loss of pair i from a table of cosines: half of each direction."""
    row, column = [scale * c for c in cosines[i]], [scale * r[i] for r in cosines]
    return (lse(row) - row[i] + lse(column) - column[i]) / 2


def test_info_nce_by_hand():
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    texts = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    # cosines: 1 and .6, 0 and .8
    to_texts = math.log(math.e + math.exp(0.6)) - 1, math.log(1 + math.exp(0.8)) - 0.8
    to_images = math.log(math.e + 1) - 1, math.log(math.exp(0.6) + math.exp(0.8)) - 0.8
    expected = (sum(to_texts) + sum(to_images)) / 4
    assert info_nce(images, texts, 1.0).item() == pytest.approx(expected, abs=1e-6)


def test_nothing_learnt_is_the_logarithm_of_the_choices():
    same = torch.ones(2, 1)
    texts, mask = torch.ones(2, 3, 1), torch.ones(2, 3, dtype=torch.bool)
    assert info_nce(same, same, 7.0).item() == pytest.approx(LN2)
    assert multi_positive(same, texts, mask, 7.0).item() == pytest.approx(LN2)
    # Six texts to choose from, three times, and two images: (3 ln 6 + ln 2) / (2 * 3).
    expected = (3 * math.log(6) + LN2) / 6
    assert one_to_k(same, texts, mask, 7.0).item() == pytest.approx(expected)


def test_weights_by_hand():
    images, texts = unit(3, 4), unit(3, 4, seed=1)
    cosines = (images @ texts.T).tolist()
    weights = [0.5, 2.0, 0.0]
    expected = sum(w * of_pair(cosines, i, SCALE) for i, w in enumerate(weights)) / 3
    found = weighted_info_nce(images, texts, torch.tensor(weights), SCALE)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_weights_have_no_gradient():
    weights = torch.ones(3, requires_grad=True)
    images = unit(3, 4).requires_grad_()
    weighted_info_nce(images, unit(3, 4, seed=1), weights, SCALE).backward()
    assert weights.grad is None
    assert images.grad is not None


def test_several_positives_are_the_mean_of_the_losses_of_each_place():
    images, texts = unit(4, 5), unit(4, 3, 5, seed=1)
    places = [info_nce(images, texts[:, k], SCALE) for k in range(3)]
    found = multi_positive(images, texts, torch.ones(4, 3, dtype=torch.bool), SCALE)
    assert found.item() == pytest.approx(sum(places).item() / 3, rel=1e-5)


MASK = torch.tensor([[True, True], [True, False], [True, True], [False, False]])


def test_several_positives_with_texts_missing():
    images, texts = unit(4, 5), unit(4, 2, 5, seed=1)
    logits = (SCALE * torch.einsum("id,jkd->kij", images, texts)).tolist()
    losses = []
    for k in range(2):
        here = [j for j in range(4) if MASK[j, k]]
        for i in here:
            own = logits[k][i][i]
            to_texts = lse([logits[k][i][j] for j in here]) - own
            losses.append((to_texts + lse([logits[k][j][i] for j in range(4)]) - own) / 2)
    found = multi_positive(images, texts, MASK, SCALE)
    assert len(losses) == 5
    assert found.item() == pytest.approx(sum(losses) / 5, rel=1e-5)


@pytest.mark.parametrize("mask", [MASK, torch.ones(4, 2, dtype=torch.bool)], ids=["some", "all"])
def test_one_to_k(mask):
    images, texts = unit(4, 5), unit(4, 2, 5, seed=1)
    logits = (SCALE * torch.einsum("id,jkd->ijk", images, texts)).tolist()
    pairs = [(i, k) for i in range(4) for k in range(2) if mask[i, k]]
    summed = [0.0] * 4
    back = []
    for i, k in pairs:
        summed[i] += lse([logits[i][j][m] for j, m in pairs]) - logits[i][i][k]
        back.append(lse([logits[j][i][k] for j in range(4)]) - logits[i][i][k])
    images_with_any = len({i for i, _ in pairs})
    mean_k = len(pairs) / images_with_any
    expected = (sum(summed) / images_with_any + sum(back) / len(back)) / 2 / mean_k
    assert one_to_k(images, texts, mask, SCALE).item() == pytest.approx(expected, rel=1e-5)


def test_with_one_text_each_is_the_loss_of_clip():
    images, texts, mask = unit(6, 8), unit(6, 1, 8, seed=1), torch.ones(6, 1, dtype=torch.bool)
    clip = info_nce(images, texts[:, 0], SCALE).item()
    assert multi_positive(images, texts, mask, SCALE).item() == pytest.approx(clip, rel=1e-6)
    assert one_to_k(images, texts, mask, SCALE).item() == pytest.approx(clip, rel=1e-6)
    weighted = weighted_info_nce(images, texts[:, 0], torch.ones(6), SCALE)
    assert weighted.item() == pytest.approx(clip, rel=1e-6)


@pytest.mark.parametrize("loss", [multi_positive, one_to_k])
@pytest.mark.parametrize("kept", [0, 1, 3])
def test_gradients_are_finite_whatever_is_missing(loss, kept):
    images, texts = unit(3, 4).requires_grad_(), unit(3, 2, 4, seed=1).requires_grad_()
    mask = torch.zeros(3, 2, dtype=torch.bool)
    mask[:kept, 0] = True
    value = loss(images, texts, mask, torch.tensor(100.0))
    value.backward()
    assert value.isfinite()
    assert (value.item() == 0) == (kept == 0)
    for gradient in (images.grad, texts.grad):
        assert gradient.isfinite().all()
    assert (texts.grad[~mask] == 0).all()


@pytest.mark.parametrize("loss", [multi_positive, one_to_k])
def test_what_a_missing_text_holds_is_nothing_to_the_loss(loss):
    images, texts, other = unit(4, 5), unit(4, 2, 5, seed=1), unit(4, 2, 5, seed=2)
    changed = torch.where(MASK[:, :, None], texts, other)
    assert loss(images, texts, MASK, SCALE).item() == loss(images, changed, MASK, SCALE).item()
