"""The heads of the embedded encoder as a network of torch, learnt over the backbones' features.

The network says what the encoder computes from the same heads, or it is refused before it learns.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save
from torch import nn

from pipeline.errors import CurationError
from pipeline.tuning.config import TuningOptions
from pipeline.tuning.loop import Batch

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
FIXED = ("image.mean", "image.deviation", "classes", "share")
"""Arrays that are not learnt."""
_SCALE = 2.6  # log of the inverse temperature with which the shipped heads begin to learn
_EVALUATED = 1024
_NEAR = 1e-4


class HeadNetwork(nn.Module):
    """The unit vectors of `filters.embedded` from features, with its heads as parameters."""

    def __init__(self, heads: Mapping[str, Floats], dropout: float) -> None:
        super().__init__()
        for name, array in heads.items():
            value, own = torch.from_numpy(array.copy()), name.replace(".", "_")
            if name in FIXED:
                self.register_buffer(own, value)
            else:
                self.register_parameter(own, nn.Parameter(value))
        self.names = tuple(heads)
        self.log_scale = nn.Parameter(torch.tensor(_SCALE))
        self.drop = nn.Dropout(dropout)

    def images(self, features: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Of features [n, 1280] and the mixture of class vectors [n, c]."""
        x = (features - self["image.mean"]) / self["image.deviation"]
        x = self.drop(nn.functional.layer_norm(x, x.shape[1:]))
        hidden = _each(x, self["image.hidden"], self["image.hidden_bias"]).relu()
        trained = _each(x, self["image.direct"], self["image.bias"])
        trained = trained + self.drop(hidden) @ self["image.out"].transpose(1, 2)
        return self._joined(trained, classes)

    def texts(self, sentences: torch.Tensor) -> torch.Tensor:
        """Of sentence vectors [n, 512]."""
        trained = _each(sentences, self["text.weight"], self["text.bias"])
        return self._joined(trained, sentences)

    def _joined(self, trained: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        share, unit = self["share"], nn.functional.normalize
        own = (share / len(trained)).sqrt()
        parts = [own * unit(head, dim=1) for head in trained]
        return unit(torch.cat([*parts, (1 - share).sqrt() * unit(classes, dim=1)], dim=1), dim=1)

    def __getitem__(self, name: str) -> torch.Tensor:
        found: torch.Tensor = getattr(self, name.replace(".", "_"))
        return found


def _each(rows: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor) -> torch.Tensor:
    """One linear layer [m, out, in] of each of m heads over the same rows [n, in]: [m, n, out]."""
    return rows @ weights.transpose(1, 2) + biases[:, None]


def arrays_of(network: HeadNetwork, state: Mapping[str, torch.Tensor]) -> dict[str, Floats]:
    """The arrays of a heads file."""
    return {name: state[name.replace(".", "_")].numpy() for name in network.names}


def heads_bytes(arrays: Mapping[str, Floats]) -> bytes:
    """The safetensors file, in half precision as the shipped one: equal heads are equal bytes."""
    return save({name: arrays[name].astype(np.float16) for name in sorted(arrays)})


@dataclass(frozen=True)
class Features:
    """What the frozen backbones say of pairs [n]; `images` and `texts` number what is the same."""

    features: Floats
    logits: Floats
    sentences: Floats
    images: Places
    texts: Places

    def __len__(self) -> int:
        return len(self.features)


class HeadLearner:
    """Learns heads from features of pairs; a class because it holds the network that changes."""

    def __init__(
        self,
        module: Any,
        heads: Mapping[str, Floats],
        parts: Sequence[Features],
        options: TuningOptions,
    ) -> None:
        self._learnt, self._held_out = parts
        self._options = options
        self._classes = [_classes(module, part, heads) for part in parts]
        self.network = HeadNetwork(heads, options.dropout)
        self.steps = max(1, len(self._learnt) // options.batch)
        _check(module, heads, self.network, self._batch(0, np.arange(min(64, len(self._learnt)))))

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The pairs in an order of this epoch; what fills no batch waits for another one."""
        order = np.random.default_rng([self._options.seed, epoch]).permutation(len(self._learnt))
        size = min(self._options.batch, len(order))
        for number in range(self.steps):
            yield self._batch(0, order[number * size : (number + 1) * size])

    def held_out(self) -> Iterator[Batch]:
        """The validation pairs, in one order."""
        order = np.random.default_rng(0).permutation(len(self._held_out))
        for start in range(0, len(order), _EVALUATED):
            yield self._batch(1, order[start : start + _EVALUATED])

    def encode(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        features, classes, sentences = batch.inputs
        network = self.network
        return (
            network.images(features, classes),
            network.texts(sentences),
            network.log_scale.exp(),
        )

    def _batch(self, side: int, rows: Places) -> Batch:
        part = (self._learnt, self._held_out)[side]
        inputs = part.features[rows], self._classes[side][rows], part.sentences[rows]
        return Batch(
            tuple(map(torch.from_numpy, inputs)),
            torch.from_numpy(part.images[rows]),
            torch.from_numpy(part.texts[rows]),
        )


def _classes(module: Any, part: Features, heads: Mapping[str, Floats]) -> Floats:
    """The mixture of class vectors, as the encoder itself finds it: what does not learn.

    It stands behind the trained parts of a vector, of which these heads are made to be nothing.
    """
    silent = {**heads, "share": np.zeros_like(heads["share"])}
    width = heads["classes"].shape[1]
    found: Floats = module.embed_features(part.features, part.logits, silent)[:, -width:]
    return found


def _check(module: Any, heads: Mapping[str, Floats], network: HeadNetwork, batch: Batch) -> None:
    """Raise CurationError when the network is not the encoder."""
    features, _, sentences = (tensor.numpy() for tensor in batch.inputs)
    blank = np.zeros((len(features), 1000), np.float32)
    silent = {**heads, "classes": np.zeros_like(heads["classes"])}
    network.eval()
    with torch.no_grad():
        nothing = torch.zeros(len(features), heads["classes"].shape[1])
        found = network.images(batch.inputs[0], nothing).numpy(), network.texts(batch.inputs[2])
    expected = (
        module.embed_features(features, blank, silent),
        module.embed_sentences(sentences, dict(heads)),
    )
    for one, other in zip(found, expected, strict=True):
        if np.abs(np.asarray(one) - other).max() > _NEAR:
            raise CurationError("the heads of the embedded encoder are of another kind")
