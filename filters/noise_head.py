"""A small head over stored embeddings, trained for a few epochs to tell pairs from other pairs.

Two linear maps into one narrow space, for images and for texts. Training is deterministic; what it
gives has weights on a grid, so that products of them are exact.
"""

from typing import NamedTuple

import numpy as np

from filters import vectors
from filters.threads import one_thread
from filters.vectors import Doubles, Halves

_BATCH = 256
_RATE = 1e-3
_STEP = 2.0**-20  # of weights: with the 2^-24 of unit vectors sums up to 2^9 are exact
_NEVER = -1e4  # a logit


class Recipe(NamedTuple):
    """How a head is trained: hidden `units`, and `temperature` of the contrastive loss."""

    units: int
    epochs: int
    temperature: float
    seed: int


def trained(images: Halves, texts: Halves, recipe: Recipe) -> Doubles:
    """The maps of images and of texts, [2, units, d], by the symmetric contrastive loss.

    They begin as the directions in which both vary most, so that untrained they say about what
    the embeddings say. Pairs of the same image or text are no negatives of each other.
    """
    import torch

    seen, read = vectors.unit(images), vectors.unit(texts)
    start = torch.from_numpy(_directions(seen, read, recipe.units)).float()
    names = [torch.from_numpy(vectors.names(part).view(np.int64)) for part in (images, texts)]
    sides = [torch.from_numpy(part).float() for part in (seen, read)]
    maps = [start.clone().requires_grad_() for _ in sides]
    optimizer = torch.optim.Adam(maps, lr=_RATE)
    dice = torch.Generator().manual_seed(recipe.seed)
    with one_thread():
        for _ in range(recipe.epochs):
            order = torch.randperm(len(seen), generator=dice)
            for begin in range(0, len(order), _BATCH):
                chosen = order[begin : begin + _BATCH]
                ends = [
                    torch.nn.functional.normalize(side[chosen] @ map_.T, dim=1)
                    for side, map_ in zip(sides, maps, strict=True)
                ]
                logits = ends[0] @ ends[1].T / recipe.temperature
                same = [name[chosen][:, None] == name[chosen] for name in names]
                own = torch.arange(len(chosen))
                others = own[:, None] != own
                logits = logits.masked_fill((same[0] | same[1]) & others, _NEVER)
                loss = torch.nn.functional.cross_entropy(logits, own)
                loss = loss + torch.nn.functional.cross_entropy(logits.T, own)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    weights: Doubles = np.stack([map_.detach().double().numpy() for map_ in maps])
    return vectors.on_grid(weights / _STEP, _STEP)


def projected(rows: Halves, map_: Doubles) -> Doubles:
    """Unit vectors [n, units] of stored vectors [n, d]."""
    return vectors.unit(vectors.unit(rows) @ map_.T)


def _directions(seen: Doubles, read: Doubles, units: int) -> Doubles:
    """The `units` directions [units, d] with the largest squares over both; at most d."""
    _, directions = np.linalg.eigh(seen.T @ seen + read.T @ read)
    found: Doubles = np.ascontiguousarray(directions[:, ::-1][:, :units].T)
    return found
