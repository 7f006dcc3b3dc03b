"""A small dual encoder from scratch: it shares no weights and no backbone with any filter.

A convolutional network over 32 x 32 pixels, and hashed pieces of words. What it reaches is little;
that it reaches more from one set of pairs than from another is what counts.
"""

import hashlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

SIDE = 32
_BUCKETS = 1 << 15
_WIDTH = 128
_TEMPERATURE = 0.07
_SHIFT = 3  # pixels, by which a picture is moved at random

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Settings:
    """The same for every arm: each sees `steps * batch` samples, however many pairs it has."""

    steps: int = 1000
    batch: int = 128
    rate: float = 2e-3
    decay: float = 0.05


class Learner(nn.Module):
    """Unit vectors of pictures [n, 3, 32, 32] in [0, 1] and of texts as bags of buckets."""

    def __init__(self) -> None:
        super().__init__()
        sizes, layers = (3, 32, 64, 128, 192), []
        for one, next_ in pairwise(sizes):
            layers += [nn.Conv2d(one, next_, 3, 2, 1), nn.BatchNorm2d(next_), nn.ReLU()]
        self.seen = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.image = nn.Linear(sizes[-1], _WIDTH)
        self.words = nn.EmbeddingBag(_BUCKETS, _WIDTH, mode="mean")
        self.text = nn.Linear(_WIDTH, _WIDTH)

    def images(self, pixels: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.image(self.seen(pixels)), dim=1)

    def texts(self, bags: list[Numbers]) -> torch.Tensor:
        offsets = np.cumsum([0, *(len(bag) for bag in bags[:-1])])
        found = self.words(torch.from_numpy(np.concatenate(bags)), torch.from_numpy(offsets))
        return nn.functional.normalize(self.text(torch.relu(found)), dim=1)


def bag(text: str) -> Numbers:
    """The buckets of a text: its words, and pieces of three to five letters of them."""
    pieces = []
    for word in text.lower().split():
        marked = f"<{word}>"
        pieces.append(marked)
        for size in (3, 4, 5):
            pieces += [marked[i : i + size] for i in range(len(marked) - size + 1)]
    hashed = [hashlib.blake2b(p.encode(), digest_size=4).digest() for p in pieces or [""]]
    return np.array([int.from_bytes(h, "big") % _BUCKETS for h in hashed], np.int64)


def train(pixels: Pixels, texts: list[str], settings: Settings, seed: int) -> Learner:
    """A learner of these pairs ([n, 32, 32, 3] and n texts); repeats them as often as it takes."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    dice = np.random.default_rng(seed)
    model, bags = Learner(), [bag(text) for text in texts]
    same = np.unique(np.array(texts, object), return_inverse=True)[1]
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.rate, weight_decay=settings.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, settings.steps)
    order = np.zeros(0, np.int64)
    for _ in range(settings.steps):
        while len(order) < settings.batch:
            order = np.concatenate([order, dice.permutation(len(texts))])
        chosen, order = order[: settings.batch], order[settings.batch :]
        seen = model.images(_varied(pixels[chosen], dice))
        read = model.texts([bags[n] for n in chosen])
        target = torch.from_numpy((same[chosen][:, None] == same[chosen]).astype(np.float32))
        loss = _contrast(seen @ read.T / _TEMPERATURE, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


def _contrast(logits: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    target = same / same.sum(1, keepdim=True)
    forward = -(target * logits.log_softmax(1)).sum(1).mean()
    return (forward - (target * logits.T.log_softmax(1)).sum(1).mean()) / 2


def _varied(pixels: Pixels, dice: np.random.Generator) -> torch.Tensor:
    """Pictures moved, mirrored and brightened at random, [n, 3, 32, 32] in [0, 1]."""
    wide = np.pad(pixels, ((0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT), (0, 0)), mode="edge")
    out = np.empty(pixels.shape, np.float32)
    places = dice.integers(0, 2 * _SHIFT + 1, (len(pixels), 2))
    mirrored = dice.random(len(pixels)) < 0.5
    for n, (y, x) in enumerate(places):
        part = wide[n, y : y + SIDE, x : x + SIDE]
        out[n] = part[:, ::-1] if mirrored[n] else part
    out *= dice.uniform(0.8, 1.2, (len(pixels), 1, 1, 1)).astype(np.float32) / 255
    return torch.from_numpy(np.clip(out, 0, 1).transpose(0, 3, 1, 2).copy())


@dataclass(frozen=True)
class Found:
    """Per test picture: whether a right caption is among the first five, and its own AUC."""

    at_5: Floats
    auc: Floats


def test(model: Learner, pixels: Pixels, texts: list[str], concepts: Numbers) -> Found:
    """Ranks the distinct captions of the test for each picture; those of its concept are hits."""
    pool, first = np.unique(np.array(texts, object), return_index=True)
    of_pool = concepts[first]
    with torch.no_grad():
        tensor = torch.from_numpy(pixels.astype(np.float32).transpose(0, 3, 1, 2) / 255)
        seen = np.concatenate([model.images(part).numpy() for part in tensor.split(256)])
        read = model.texts([bag(text) for text in pool]).numpy()
    cosines = seen @ read.T
    at_5, auc = np.zeros(len(pixels), np.float32), np.zeros(len(pixels), np.float32)
    for n, row in enumerate(cosines):
        is_right = of_pool == concepts[n]
        best, wrong = row[is_right].max(), row[~is_right]
        at_5[n] = (wrong >= best).sum() < 5
        auc[n] = ((best > wrong) + 0.5 * (best == wrong)).mean()
    return Found(at_5, auc)
