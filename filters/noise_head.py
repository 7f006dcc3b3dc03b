"""A small head over stored embeddings, trained for a few epochs to tell pairs from other pairs.

Two linear maps into one narrow space, for images and for texts. Training is deterministic; what it
gives has weights on a grid, so that products of them are exact.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from filters import vectors
from filters.threads import one_thread
from filters.vectors import Doubles, Halves

BATCH = 256
_RATE = 1e-3
_STEP = 2.0**-20  # of weights: with the 2^-24 of unit vectors sums up to 2^9 are exact
_NEVER = -1e4  # a logit


class Recipe(NamedTuple):
    """How a head is trained: hidden `units`, and `temperature` of the contrastive loss."""

    units: int
    epochs: int
    temperature: float
    seed: int


class Student:
    """A head in training; a class because its maps and their optimizer change with every batch.

    The maps of images and of texts begin as the directions in which both vary most, so that
    untrained they say about what the embeddings say.
    """

    def __init__(self, images: Halves, texts: Halves, recipe: Recipe) -> None:
        import torch

        seen, read = vectors.unit(images), vectors.unit(texts)
        start = torch.from_numpy(_directions(seen, read, recipe.units)).float()
        self._names = [torch.from_numpy(vectors.names(p).view(np.int64)) for p in (images, texts)]
        self._sides = [torch.from_numpy(part).float() for part in (seen, read)]
        self._recipe = recipe
        self.maps = [start.clone().requires_grad_() for _ in self._sides]
        self._optimizer = torch.optim.Adam(self.maps, lr=_RATE)

    def batches(self) -> Iterator[Any]:
        """The places of the rows of each batch, of all epochs."""
        import torch

        dice = torch.Generator().manual_seed(self._recipe.seed)
        for _ in range(self._recipe.epochs):
            order = torch.randperm(len(self._sides[0]), generator=dice)
            yield from (order[at : at + BATCH] for at in range(0, len(order), BATCH))

    def ends(self, chosen: Any, maps: list[Any]) -> list[Any]:
        """Unit vectors [n, units] of the images and of the texts of a batch."""
        import torch

        return [
            torch.nn.functional.normalize(side[chosen] @ map_.T, dim=1)
            for side, map_ in zip(self._sides, maps, strict=True)
        ]

    def logits(self, chosen: Any, seen: Any, read: Any) -> Any:
        """Cosines of images and texts over the temperature, [n, n]; a row's own is on the diagonal.

        Pairs of the same image or text are no negatives of each other.
        """
        import torch

        logits = seen @ read.T / self._recipe.temperature
        same = [name[chosen][:, None] == name[chosen] for name in self._names]
        own = torch.arange(len(chosen))
        return logits.masked_fill((same[0] | same[1]) & (own[:, None] != own), _NEVER)

    def learn(self, logits: list[Any], targets: list[Any]) -> None:
        """A step of both maps down the cross entropies of logits, from images and from texts."""
        import torch

        entropy = torch.nn.functional.cross_entropy
        loss = entropy(logits[0], targets[0]) + entropy(logits[1], targets[1])
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()


def trained(images: Halves, texts: Halves, recipe: Recipe) -> Doubles:
    """The maps of images and of texts, [2, units, d], by the symmetric contrastive loss."""
    import torch

    student = Student(images, texts, recipe)
    with one_thread():
        for chosen in student.batches():
            logits = student.logits(chosen, *student.ends(chosen, student.maps))
            own = torch.arange(len(chosen))
            student.learn([logits, logits.T], [own, own])
    return weights(student.maps)


def weights(maps: list[Any]) -> Doubles:
    """Maps as they are kept, on a grid."""
    found: Doubles = np.stack([map_.detach().double().numpy() for map_ in maps])
    return vectors.on_grid(found / _STEP, _STEP)


def projected(rows: Halves, map_: Doubles) -> Doubles:
    """Unit vectors [n, units] of stored vectors [n, d]."""
    return vectors.unit(vectors.unit(rows) @ map_.T)


def _directions(seen: Doubles, read: Doubles, units: int) -> Doubles:
    """The `units` directions [units, d] with the largest squares over both; at most d."""
    _, directions = np.linalg.eigh(seen.T @ seen + read.T @ read)
    found: Doubles = np.ascontiguousarray(directions[:, ::-1][:, :units].T)
    return found
