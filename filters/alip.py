"""ALIP's weights: how far a pair is to be trusted, by its raw and a synthetic caption.

It weighs and drops nothing: a caption that says something else than the synthetic one is not
therefore wrong.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from filters import vectors
from filters.too_few import NotEnoughRows
from filters.vectors import Doubles, Fitted, Halves

_WRITES = ("alip_sample_weight", "alip_raw_weight", "alip_synthetic_weight")
_COSINES = ("texts", "raw", "synthetic")
_GAMMA = 2.0


@dataclass(frozen=True)
class AlipWeights:
    """Sample and pair weights of ALIP (Yang et al. 2023, arXiv:2308.08428, and its code).

    `alip_sample_weight` is `min(1, exp(2 (s - mean)))` of the cosine s of both captions;
    `alip_raw_weight` and `alip_synthetic_weight` are `exp(2 (s - mean))` of the image and that
    caption, not capped, but 1 where the sample weight reached 1. The loss of the raw caption is
    to be multiplied by the first and second, that of the synthetic one by the first and third.
    In training the means run; here they are those of a sample of the pool, so that weights don't
    depend on an order. `image`, `text` and `synthetic` are columns of vectors of one encoder.
    """

    image: str = "clip_image"
    text: str = "clip_text"
    synthetic: str = "synthetic_text"
    fit_rows: int = 16_384
    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {
        "image": "numbers",
        "text": "numbers",
        "synthetic": "numbers",
    }
    writes: ClassVar[pa.Schema] = pa.schema([(name, pa.float32()) for name in _WRITES])
    batch_size: ClassVar[int] = vectors.BATCH

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.image, self.text, self.synthetic)

    def fit(self, rows: pa.Table) -> Fitted:
        """The mean of each cosine. Raises NotEnoughRows without rows."""
        if not len(rows):
            raise NotEnoughRows("needs a row that has an image and both captions, found none")
        found = cosines(*(vectors.column(rows, name) for name in self.reads))
        return {name: np.array(found[name].mean()) for name in _COSINES}

    def __call__(self, batch: dict[str, list[Any]], fitted: Fitted) -> dict[str, list[Any]]:
        found = cosines(*(vectors.stacked(batch[name]) for name in self.reads))
        raised = {c: np.exp(_GAMMA * (found[c] - fitted[c])) for c in _COSINES}
        is_trusted = raised["texts"] >= 1
        weights = [np.minimum(1, raised["texts"])]
        weights += [np.where(is_trusted, 1.0, raised[name]) for name in ("raw", "synthetic")]
        return {name: w.tolist() for name, w in zip(_WRITES, weights, strict=True)}


def cosines(images: Halves, texts: Halves, synthetic: Halves) -> dict[str, Doubles]:
    """The three cosines [n]: of both texts, and of the image with each."""
    if not images.shape == texts.shape == synthetic.shape:
        widths = [part.shape[1] for part in (images, texts, synthetic)]
        raise ValueError(f"vectors of different encoders: they have {widths} numbers")

    def work(*parts: Halves) -> Doubles:
        seen, read, made = (vectors.unit(part) for part in parts)
        pairs = ((read, made), (seen, read), (seen, made))
        return np.stack([np.einsum("ij,ij->i", one, other) for one, other in pairs], axis=1)

    found = vectors.in_blocks(work, images, texts, synthetic)
    return dict(zip(_COSINES, found.T, strict=True))
