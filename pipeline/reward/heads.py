"""Heads as networks of torch, and as the arrays and metadata that the scorer reads."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save
from torch import nn

from pipeline.reward.side import SideNetwork

if TYPE_CHECKING:
    from pipeline.reward.config import HeadOptions

Floats = npt.NDArray[np.float32]
TOWERS = ("image", "text")
_SIDES = "sides."
_COSINE = 10.0
_AT_ONCE = 4096


class Head(nn.Module):
    """Whatever gives scores [n, criteria] to what a table has as inputs, and can be trained."""

    at_once: int
    """Inputs that are scored together where nothing is learnt."""
    is_joint = False
    """Whether both sides of comparisons are scored in one call, because that saves work."""

    log_ties: nn.Parameter
    has_ties: torch.Tensor

    def ties(self) -> torch.Tensor:
        """log nu for each criterion; of one without ties it is minus infinity."""
        return torch.where(self.has_ties, self.log_ties, float("-inf"))


class RewardHead(Head):
    """Scores [n, criteria] of unit vectors v and t [n, d].

    Linear, or one hidden layer, over the chosen blocks of v, t, v * t and |v - t|, each scaled to
    entries of about 1; what it learns is added to a multiple of the cosine. It begins as that
    multiple, because the last layer begins at zero. `log_ties` are the nu of Davidson's model.
    With `shapes`, the layers and widths of both towers, it looks at what networks beside them make
    of v and t.
    """

    def __init__(
        self,
        options: "HeadOptions",
        dimension: int,
        ties: Sequence[bool],
        shapes: tuple[tuple[int, int], ...] | None = None,
    ) -> None:
        super().__init__()
        self.at_once = _AT_ONCE if shapes is None else _AT_ONCE // 16
        self.sides = nn.ModuleDict()
        for tower, shape in zip(TOWERS, shapes or (), strict=False):
            self.sides[tower] = SideNetwork(dimension, shape, options.rank)
        self.blocks, self.has_cosine = options.blocks, options.cosine
        inputs, criteria = dimension * len(options.blocks), len(ties)
        is_linear = options.kind != "mlp"
        self.hidden = None if is_linear else nn.Linear(inputs, options.hidden)
        self.out = nn.Linear(inputs if is_linear else options.hidden, criteria)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.cosine = nn.Parameter(torch.full((criteria,), _COSINE if options.cosine else 0.0))
        self.cosine.requires_grad_(options.cosine)
        self.log_ties = nn.Parameter(torch.zeros(criteria))
        self.register_buffer("has_ties", torch.tensor(ties), persistent=False)
        self.drop = nn.Dropout(options.dropout)

    def forward(self, v: torch.Tensor, t: torch.Tensor, layers: Any = None) -> torch.Tensor:
        if layers is not None:
            v, t = self.sides["image"](v, *layers[0]), self.sides["text"](t, *layers[1])
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


def block_scales(blocks: Sequence[str], dimension: int) -> list[float]:
    """Factors by which entries of unit vectors become about 1; a product has two such entries."""
    return [float(dimension if name == "product" else dimension**0.5) for name in blocks]


def arrays_of(
    state: Mapping[str, torch.Tensor], blocks: Sequence[str], shift: Floats
) -> dict[str, Floats]:
    """The arrays of a head file; scales are folded in, and `shift` is taken from every score."""
    plain = {name: tensor.detach().numpy() for name, tensor in state.items()}
    beside = {n.removeprefix(_SIDES): a for n, a in plain.items() if n.startswith(_SIDES)}
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
    found |= beside
    return {name: np.ascontiguousarray(array, np.float32) for name, array in found.items()}


def head_bytes(arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> bytes:
    """The safetensors file: equal heads are equal bytes."""
    # One entry: safetensors writes several in the order of a hash map, which is random.
    text = json.dumps({"format": 1, **meta}, sort_keys=True)
    return save({name: arrays[name] for name in sorted(arrays)}, {"reward": text})
