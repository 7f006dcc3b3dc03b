"""Heads as networks of torch, and as the arrays and metadata that the scorer reads."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save
from torch import nn

if TYPE_CHECKING:
    from pipeline.reward.config import HeadOptions

Floats = npt.NDArray[np.float32]
_COSINE = 10.0


class RewardHead(nn.Module):
    """Scores [n, criteria] of unit vectors v and t [n, d].

    Linear, or one hidden layer, over the chosen blocks of v, t, v * t and |v - t|, each scaled to
    entries of about 1; what it learns is added to a multiple of the cosine. It begins as that
    multiple, because the last layer begins at zero. `log_ties` are the nu of Davidson's model.
    """

    def __init__(self, options: "HeadOptions", dimension: int, ties: Sequence[bool]) -> None:
        super().__init__()
        self.blocks, self.has_cosine = options.blocks, options.cosine
        inputs, criteria = dimension * len(options.blocks), len(ties)
        is_linear = options.kind == "linear"
        self.hidden = None if is_linear else nn.Linear(inputs, options.hidden)
        self.out = nn.Linear(inputs if is_linear else options.hidden, criteria)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.cosine = nn.Parameter(torch.full((criteria,), _COSINE if options.cosine else 0.0))
        self.cosine.requires_grad_(options.cosine)
        self.log_ties = nn.Parameter(torch.zeros(criteria))
        self.register_buffer("has_ties", torch.tensor(ties), persistent=False)
        self.drop = nn.Dropout(options.dropout)

    def forward(self, v: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        product = v * t
        known = {"image": v, "text": t, "product": product, "difference": (v - t).abs()}
        scales = block_scales(self.blocks, v.shape[1])
        parts = [known[name] * scale for name, scale in zip(self.blocks, scales, strict=True)]
        x = self.drop(torch.cat(parts, dim=1))
        if self.hidden is not None:
            x = self.drop(torch.relu(self.hidden(x)))
        cosines = product.sum(1, keepdim=True)
        found: torch.Tensor = self.out(x) + cosines * self.cosine
        return found

    def ties(self) -> torch.Tensor:
        """log nu for each criterion; of one without ties it is minus infinity."""
        has_ties: torch.Tensor = self.has_ties  # type: ignore[assignment]
        return torch.where(has_ties, self.log_ties, float("-inf"))


def block_scales(blocks: Sequence[str], dimension: int) -> list[float]:
    """Factors by which entries of unit vectors become about 1; a product has two such entries."""
    return [float(dimension if name == "product" else dimension**0.5) for name in blocks]


def arrays_of(
    state: Mapping[str, torch.Tensor], blocks: Sequence[str], shift: Floats
) -> dict[str, Floats]:
    """The arrays of a head file; scales are folded in, and `shift` is taken from every score."""
    plain = {name: tensor.detach().numpy() for name, tensor in state.items()}
    first = "hidden" if "hidden.weight" in plain else "out"
    dimension = plain[f"{first}.weight"].shape[1] // len(blocks)
    scales = np.repeat(block_scales(blocks, dimension), dimension).astype(np.float32)
    found = {
        "out": plain["out.weight"],
        "bias": plain["out.bias"] - shift,
        "cosine": plain["cosine"],
    }
    if first == "hidden":
        found |= {"hidden": plain["hidden.weight"], "hidden_bias": plain["hidden.bias"]}
    found[first] = found[first] * scales
    return {name: np.ascontiguousarray(array, np.float32) for name, array in found.items()}


def head_bytes(arrays: Mapping[str, Floats], meta: Mapping[str, Any]) -> bytes:
    """The safetensors file: equal heads are equal bytes."""
    # One entry: safetensors writes several in the order of a hash map, which is random.
    text = json.dumps({"format": 1, **meta}, sort_keys=True)
    return save({name: arrays[name] for name in sorted(arrays)}, {"reward": text})
