"""The probability that a pair's caption is not of its image, by what a small head finds hard.

A head that learns from the pool itself fits pairs that belong together before it memorises the
others. No row is scored by a head that has seen its image in training.
"""

from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from filters import counted, halves, mixture, noise_head, strangers, vectors
from filters.counted import Counted
from filters.mixture import Mixture
from filters.noise_head import Recipe
from filters.too_few import NotEnoughRows
from filters.vectors import Doubles, Fitted, Halves

MIXTURES = ("counted", "anchored", "free")
_WRITES = ("noise_probability", "noise_loss")
_ALIKE = "needs pairs with other captions to compare with, found none"


@dataclass(frozen=True)
class Noise:
    """`noise_probability`, as in NEVLP and NLIP (arXiv:2409.09582, 2212.07086), and `noise_loss`.

    A sample of the pool is parted by image into two halves, and a head of `units` hidden units is
    trained on each for `epochs` with the contrastive loss. The loss of a row is its mean cross
    entropy, image to text and back, among `negatives` fixed other pairs, by the head trained on
    the half that its image is not in. In the papers the head scores what it was trained on: then
    the number of epochs decides (of planted faults 3 found most, 30 few), here hardly. The
    probability is counted: how often strangers, pairs of the sample put together on purpose, have
    such a loss, against all pairs (`filters.counted`). `near` of the strangers' weight is on
    captions of similar images, for as many faults as are nearly right; it is a guess, and the
    larger, the more faults are counted. To rank rows take the loss: rows beyond those of the
    sample have equal probabilities. With `mixture: anchored` or `free` two Gaussians are fitted to
    the losses and the probability is that of the noisy one, which is too sure at both ends:
    `anchored` takes the noisy one from strangers at random; `free` seeks both, as the papers do,
    and is often far off. Rows outside the sample are scored alike. NULL when a row has no negative,
    and for all rows, with a reason, where the sample's captions are all the same.
    """

    units: int = 64
    epochs: int = 3
    temperature: float = 0.1
    negatives: int = 256
    mixture: str = "counted"
    near: float = 0.25
    image: str = "clip_image"
    text: str = "clip_text"
    seed: int = 0
    fit_rows: int = 32_768
    version: ClassVar[int] = 2  # the probability is counted, no longer that of two Gaussians
    needs: ClassVar[dict[str, str]] = {"image": "numbers", "text": "numbers"}
    writes: ClassVar[pa.Schema] = pa.schema([(name, pa.float32()) for name in _WRITES])
    batch_size: ClassVar[int] = vectors.BATCH

    def __post_init__(self) -> None:
        for name in ("units", "negatives"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.epochs < 0 or not self.temperature > 0:
            raise ValueError(
                f"epochs {self.epochs} must be 0 or more, temperature {self.temperature} above 0"
            )
        halves.check_rows("fit_rows", self.fit_rows)
        if not 0 <= self.near <= 1:
            raise ValueError(f"near must be from 0 to 1, got {self.near}")
        if self.mixture not in MIXTURES:
            raise ValueError(f"mixture {self.mixture!r}: known are {', '.join(MIXTURES)}")

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.image, self.text)

    def fit(self, rows: pa.Table) -> Fitted:
        """Two heads, the negatives as each sees them, what tells noise. Raises NotEnoughRows."""
        images, texts = halves.sample(rows, self.reads, self.seed, "noise")
        recipe = Recipe(self.units, self.epochs, self.temperature, self.seed)
        train = partial(noise_head.trained, recipe=recipe)
        learnt = halves.fit(images, texts, self.negatives, train)
        losses = self._losses(images, texts, learnt)
        known = losses[np.isfinite(losses)]
        if not len(known):
            raise NotEnoughRows(_ALIKE)
        return {**learnt, **self._noise(known, images, texts, learnt)}

    def _noise(self, losses: Doubles, images: Halves, texts: Halves, learnt: Fitted) -> Fitted:
        """What turns a loss into a probability, by losses of pairs and of strangers."""
        if self.mixture == "free":
            return {"mixture": np.array(mixture.fitted(losses))}
        found, weights = self._losses_of_strangers(images, texts, learnt)
        if self.mixture == "anchored":
            return {"mixture": np.array(mixture.fitted(losses, found))}
        posterior = counted.fitted(losses, found, weights)
        return {"counted": np.stack(posterior[:2]), "share": np.array(posterior.share)}

    def __call__(self, batch: dict[str, list[Any]], fitted: Fitted) -> dict[str, list[Any]]:
        images, texts = (vectors.stacked(batch[name]) for name in self.reads)
        losses = self._losses(images, texts, fitted)
        odds = _probability(losses, fitted)
        return {
            name: [None if np.isnan(value) else value for value in column.tolist()]
            for name, column in zip(_WRITES, (odds, losses), strict=True)
        }

    def _losses(self, images: Halves, texts: Halves, fitted: Fitted) -> Doubles:
        """Loss [n] of each pair by the head of its half; NaN where it has no negative."""
        cosines, logs = halves.log_means(images, texts, fitted, [self.temperature])
        own = cosines / self.temperature
        with np.errstate(invalid="ignore"):  # NaN where there is no other
            lost = np.logaddexp(0, logs[:, 0] + np.log(self.negatives) - own[:, None])
        losses: Doubles = lost.mean(axis=1)
        return losses

    def _losses_of_strangers(
        self, images: Halves, texts: Halves, fitted: Fitted
    ) -> tuple[Doubles, Doubles]:
        """Losses of the sample's images with captions of other pairs of their half, and weights."""
        half = halves.half_of(images)
        drawn = strangers.rounds(images, texts, half, self.near)
        if self.mixture == "anchored":
            drawn = islice(strangers.rounds(images, texts, half, 0), 1)
        losses, weights = [], []
        for rows, others, weight in drawn:
            found = self._losses(images[rows], texts[others], fitted)
            losses.append(found[np.isfinite(found)])
            weights.append(np.full(len(losses[-1]), weight / max(1, len(losses[-1]))))
        if not any(map(len, losses)):
            raise NotEnoughRows(_ALIKE)
        return np.concatenate(losses), np.concatenate(weights)


def _probability(losses: Doubles, fitted: Fitted) -> Doubles:
    """How likely noise is, for each loss."""
    if "counted" in fitted:
        at, odds = fitted["counted"]
        return Counted(at, odds, float(fitted["share"])).probability(losses)
    return Mixture(*fitted["mixture"].tolist()).probability(losses)
