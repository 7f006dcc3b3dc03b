"""A network beside a frozen encoder, after UniPT, and what it looks at as arrays.

UniPT (Diao et al. 2024, arXiv:2308.14316): an attention of the final vector over the tokens of each
block, the blocks weighed by how well they agree with it, added to the final vector. The encoder is
not run, so nothing of it can learn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pipeline.errors import CurationError
from pipeline.reward.encoders import Encoder, kept_in_chunks

Halves = npt.NDArray[np.float16]
Bools = npt.NDArray[np.bool_]
_MOST_BYTES = 8_000_000_000  # of tokens in memory


@dataclass(frozen=True)
class Layers:
    """Tokens [n, layers, tokens, width] of images or texts, and which count [n, tokens].

    The first token sums up the others.
    """

    tokens: Halves
    mask: Bools

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and width."""
        return self.tokens.shape[1], self.tokens.shape[3]

    def rows(self, places: npt.NDArray[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Some of them, for the network."""
        tokens = torch.from_numpy(self.tokens[places].astype(np.float32))
        return tokens, torch.from_numpy(self.mask[places])


class SideNetwork(nn.Module):
    """Unit vectors [n, d]: those given, and what tokens [n, l, t, w] add to them.

    Begins as the vectors themselves, because `up` begins at zero.
    """

    def __init__(self, dimension: int, shape: tuple[int, int], rank: int) -> None:
        super().__init__()
        layers, width = shape
        self.down = nn.Parameter(torch.randn(layers, rank, width) / width**0.5)
        self.down_bias = nn.Parameter(torch.zeros(layers, rank))
        self.anchor = nn.Linear(dimension, rank)
        self.confidence = nn.Parameter(torch.randn(rank) / rank**0.5)
        self.up = nn.Linear(rank, dimension)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(
        self, final: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        mixed, shares = self.layers(final, tokens, mask)
        added = self.up((shares[:, :, None] * mixed).sum(1))
        return nn.functional.normalize(final + added, dim=1)

    def layers(
        self, final: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What each layer says [n, l, r], and its share [n, l] of the whole."""
        valid = mask[:, None, :].to(tokens.dtype)
        small = torch.einsum("nltw,lrw->nltr", tokens.relu(), self.down)
        small = small + self.down_bias[:, None]
        # Entries of a unit vector become about 1, as the network would have them.
        anchor = self.anchor((final * final.shape[1] ** 0.5).relu())
        attention = torch.einsum("nr,nltr->nlt", anchor, small).relu() * valid
        attention = attention / attention.sum(2, keepdim=True).clamp(min=1e-6)
        mixed = torch.einsum("nlt,nltr->nlr", attention, small) + small[:, :, 0]
        mean = (small * valid[..., None]).sum(2) / valid.sum(2)[..., None]
        agreement = (anchor[:, None] * mean) @ self.confidence
        return mixed, agreement.softmax(1)


def image_layers(encoder: Encoder, images: Any, folder: str) -> Layers:
    """The layers of images: their pixels, and the digests of their bytes."""

    def look(pixels: list[Any]) -> npt.NDArray[Any]:
        return _flat(encoder.scorer.image_layers(pixels), None)

    rows = kept_in_chunks(images, f"image layers {encoder.fingerprint}", folder, look, np.float16)
    blank = encoder.scorer.image_layers([np.zeros((8, 8, 3), np.uint8)])
    return _layers(rows, blank.shape[1:])


def text_layers(encoder: Encoder, texts: Sequence[str], folder: str) -> Layers:
    """The layers of texts."""

    def read(some: list[Any]) -> npt.NDArray[Any]:
        return _flat(*encoder.scorer.text_layers(some))

    items = ((text, text.encode("utf-8", "surrogatepass")) for text in texts)
    blank, _ = encoder.scorer.text_layers(["a"])
    _check_size(len(texts), blank.size)
    rows = kept_in_chunks(items, f"text layers {encoder.fingerprint}", folder, read, np.float16)
    return _layers(rows, blank.shape[1:])


def _check_size(count: int, numbers: int) -> None:
    size = 2 * count * numbers
    if size > _MOST_BYTES:
        raise CurationError(
            f"a side network over {count:,} texts needs {size / 1e9:.0f} GB of their tokens (limit"
            f" {_MOST_BYTES / 1e9:.0f} GB); give fewer preferences"
        )


def _flat(tokens: npt.NDArray[Any], mask: Bools | None) -> npt.NDArray[Any]:
    counts = np.ones((len(tokens), tokens.shape[2])) if mask is None else mask
    return np.concatenate([counts, tokens.reshape(len(tokens), -1)], axis=1)


def _layers(rows: npt.NDArray[Any], shape: tuple[int, ...]) -> Layers:
    count = shape[1]
    rows = rows.reshape(len(rows), -1) if len(rows) else np.zeros((0, count + int(np.prod(shape))))
    return Layers(
        rows[:, count:].reshape(-1, *shape).astype(np.float16), rows[:, :count].astype(bool)
    )
