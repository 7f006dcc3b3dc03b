"""negCLIPLoss: the cosine of a pair, less how much its image and its text agree with all others.

It needs stored embeddings alone. A caption that would fit any image scores lower than an equally
similar one that fits its own.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from filters import negatives, vectors
from filters.vectors import Fitted

_WRITES = ("neg_clip_score", "neg_clip_image", "neg_clip_text")


@dataclass(frozen=True)
class NegClip:
    """negCLIPLoss (Wang et al. 2024, arXiv:2405.19547) by a sample of the pool.

    `neg_clip_score` is the cosine less half of `neg_clip_image` and half of `neg_clip_text`, which
    are `temperature * log(sum(exp(cosine / temperature)))` over a batch of other pairs: of the
    image with their texts, and of the text with their images; averaged over `batches` batches of
    `batch` pairs, which depend on `seed` and keys. Pairs of the same image or caption are left
    out; a batch that they or a small pool make smaller counts as if it were full. NULL when there
    is no other pair. `temperature` should be that of the model: .01 for CLIP. `image` and `text`
    are columns of vectors. Costs time by `batches * batch`: 4,096 pairs of 768 numbers some 3,500
    rows a second, 256 some 46,000, for a ranking that is noisier.
    """

    batches: int = 4
    batch: int = 1024
    temperature: float = 0.01
    image: str = "clip_image"
    text: str = "clip_text"
    seed: int = 0
    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"image": "numbers", "text": "numbers"}
    writes: ClassVar[pa.Schema] = pa.schema([(name, pa.float32()) for name in _WRITES])
    batch_size: ClassVar[int] = vectors.BATCH

    def __post_init__(self) -> None:
        if self.batches < 1 or self.batch < 1:
            raise ValueError(f"batches {self.batches} and batch {self.batch} must be at least 1")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.image, self.text)

    @property
    def fit_rows(self) -> int:
        return self.batches * self.batch

    def fit(self, rows: pa.Table) -> Fitted:
        """The negatives. Raises NotEnoughRows for fewer than two."""
        return negatives.drawn(rows, self.image, self.text, self.seed, self.batches)

    def __call__(self, batch: dict[str, list[Any]], fitted: Fitted) -> dict[str, list[Any]]:
        images, texts = (vectors.stacked(batch[name]) for name in self.reads)
        cosines, logs = negatives.log_means(images, texts, fitted, [self.temperature])
        penalties = self.temperature * (logs[:, 0] + np.log(self.batch))
        scores = cosines - penalties.mean(axis=1)
        columns = (scores, *penalties.T)
        return {
            name: [None if np.isnan(value) else value for value in column.tolist()]
            for name, column in zip(_WRITES, columns, strict=True)
        }
