"""Comparisons as arrays, beside the vectors of their images and texts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.reward.comparisons import Comparison, groups_of

if TYPE_CHECKING:
    from pipeline.reward.side import Layers
    from pipeline.reward.tokenwise import PairNumbers

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Table:
    """Comparisons [n] by number of image, text, criterion, kind and group.

    `kinds` and `criteria` name the numbers; kind -1 is none. The first pair of a comparison is
    the better one, or `is_tie`. `weight` has the mean 1 over all.
    """

    images: npt.NDArray[Any]  # vectors [n, d], or numbers [n, 1] of what a model looks up
    texts: npt.NDArray[Any]
    better: Numbers  # [n, 2]: image, text
    worse: Numbers
    is_tie: npt.NDArray[np.bool_]
    criterion: Numbers
    kind: Numbers
    group: Numbers
    weight: Floats
    criteria: tuple[str, ...]
    kinds: tuple[str, ...]
    layers: "tuple[Layers, Layers] | None" = None  # of images and texts, for a side network
    numbers: "PairNumbers | None" = None  # of the pairs, for a tokenwise head

    def __len__(self) -> int:
        return len(self.better)

    def rows(self, chosen: npt.NDArray[np.bool_]) -> "Table":
        """Some of the comparisons, with weights of their own."""
        weight = self.weight[chosen]
        return replace(
            self,
            better=self.better[chosen],
            worse=self.worse[chosen],
            is_tie=self.is_tie[chosen],
            criterion=self.criterion[chosen],
            kind=self.kind[chosen],
            group=self.group[chosen],
            weight=weight / weight.mean() if len(weight) else weight,
        )

    def inputs(self, side: npt.NDArray[Any]) -> tuple[Any, ...]:
        """Pairs [n, 2] of images and texts as a head looks at them."""
        images, texts = side[:, 0], side[:, 1]
        if self.numbers is not None:
            return self.numbers.rows(images, texts)
        vectors = torch.from_numpy(self.images[images]), torch.from_numpy(self.texts[texts])
        if self.layers is None:
            return vectors
        return *vectors, (self.layers[0].rows(images), self.layers[1].rows(texts))

    def cosines(self) -> tuple[Floats, Floats]:
        """What the encoder alone says of the better and of the worse pairs."""
        sides = (
            np.einsum("nd,nd->n", self.images[side[:, 0]], self.texts[side[:, 1]])
            for side in (self.better, self.worse)
        )
        first, second = sides
        return first, second


@dataclass(frozen=True)
class Names:
    """The distinct images and texts of comparisons, in order."""

    images: tuple[str, ...]
    texts: tuple[str, ...]


def names_of(comparisons: Sequence[Comparison], pairs: Iterable[tuple[str, str]] = ()) -> Names:
    """Those of comparisons, and of other pairs of image and text."""
    asked = [*pairs]
    images = {name for one in comparisons for name in (one.image, one.other_image)}
    texts = {name for one in comparisons for name in (one.text, one.other_text)}
    images |= {image for image, _ in asked}
    texts |= {text for _, text in asked}
    return Names(tuple(sorted(images)), tuple(sorted(texts)))


def make_table(
    comparisons: Sequence[Comparison],
    names: Names,
    vectors: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    shares: dict[str, float],
) -> Table:
    """The comparisons of criteria in `shares`; each image has one vote on each of them.

    A comparison weighs its criterion's share over the number of those of its image.
    """
    image_of = {name: number for number, name in enumerate(names.images)}
    text_of = {name: number for number, name in enumerate(names.texts)}
    criteria = tuple(shares)
    kinds = tuple(sorted({one.kind for one in comparisons if one.kind is not None}))
    groups = groups_of(comparisons)
    group_of = {name: number for number, name in enumerate(sorted(set(groups)))}
    votes = Counter((one.image, one.criterion) for one in comparisons)
    weight = np.array([shares[c.criterion] / votes[c.image, c.criterion] for c in comparisons])
    return Table(
        images=vectors[0],
        texts=vectors[1],
        better=np.array([(image_of[c.image], text_of[c.text]) for c in comparisons]),
        worse=np.array([(image_of[c.other_image], text_of[c.other_text]) for c in comparisons]),
        is_tie=np.array([c.is_tie for c in comparisons]),
        criterion=np.array([criteria.index(c.criterion) for c in comparisons]),
        kind=np.array([-1 if c.kind is None else kinds.index(c.kind) for c in comparisons]),
        group=np.array([group_of[name] for name in groups]),
        weight=(weight / weight.mean()).astype(np.float32),
        criteria=criteria,
        kinds=kinds,
    )
