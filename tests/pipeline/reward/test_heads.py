"""Heads: what torch trains is what the scorer computes, and equal heads are equal bytes."""

import numpy as np
import pytest
import torch

from filters.reward_head import read_head
from pipeline.reward.config import HeadOptions
from pipeline.reward.heads import RewardHead, arrays_of, head_bytes
from tests.filters.reward_files import meta

SIZE = 24


@pytest.mark.parametrize(
    "options",
    [
        HeadOptions(kind="linear"),
        HeadOptions(kind="mlp", hidden=7),
        HeadOptions(kind="mlp", hidden=64, blocks=("text",), cosine=False),
        HeadOptions(kind="linear", blocks=("product", "difference")),
    ],
)
def test_the_scorer_computes_what_was_trained(tmp_path, options):
    torch.manual_seed(0)
    head = RewardHead(options, SIZE, (False, True)).eval()
    for parameter in head.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.5)
    v, t = (torch.nn.functional.normalize(torch.randn(300, SIZE), dim=1) for _ in range(2))
    shift = np.array([0.5, -2], np.float32)
    described = meta(blocks=list(options.blocks), criteria={"a": 1, "b": 2}, dimension=SIZE)
    data = head_bytes(arrays_of(head.state_dict(), options.blocks, shift), described)
    (tmp_path / "head").write_bytes(data)
    scores = read_head(str(tmp_path / "head")).scores(v.numpy(), t.numpy())
    with torch.no_grad():
        expected = head(v, t).numpy() - shift
    np.testing.assert_allclose(scores, expected, rtol=2e-5, atol=2e-5)
    assert head_bytes(arrays_of(head.state_dict(), options.blocks, shift), described) == data


def test_a_criterion_without_ties_has_none():
    head = RewardHead(HeadOptions(), SIZE, (False, True))
    assert head.ties().tolist() == [float("-inf"), 0.0]
