"""The mass that a teacher gives a pair's own caption among captions of other pairs.

ALBEF's momentum teacher as a measurement: where its soft target leaves little for the own caption,
the pair is suspect. It needs stored embeddings alone.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from filters import negatives, vectors
from filters.vectors import Fitted

_WRITES = ("teacher_mass", "teacher_image_mass", "teacher_text_mass")


@dataclass(frozen=True)
class TeacherMass:
    """Share of the softmax that falls on the own partner, in [0, 1]; high is clean.

    As in ALBEF's soft targets (Li et al. 2021, arXiv:2107.07651), but over stored embeddings of a
    frozen encoder: the own partner against a queue of `queue` other pairs of the pool, which
    depends on `seed` and keys. `teacher_image_mass` is that of the own text for the image,
    `teacher_text_mass` that of the own image for the text, `teacher_mass` the mean of both. What
    is averaged is the softmax over `temperatures`; no weights are averaged, as the encoder is
    not in training. Pairs of the same image or caption are left out of the queue; NULL when
    nothing is left.
    """

    queue: int = 1024
    temperatures: tuple[float, ...] = (0.01, 0.03, 0.07)
    image: str = "clip_image"
    text: str = "clip_text"
    seed: int = 0
    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"image": "numbers", "text": "numbers"}
    writes: ClassVar[pa.Schema] = pa.schema([(name, pa.float32()) for name in _WRITES])
    batch_size: ClassVar[int] = vectors.BATCH

    def __post_init__(self) -> None:
        if self.queue < 1:
            raise ValueError(f"queue must be at least 1, got {self.queue}")
        if not self.temperatures or min(self.temperatures) <= 0:
            raise ValueError(f"temperatures must be above 0, got {list(self.temperatures)}")

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.image, self.text)

    @property
    def fit_rows(self) -> int:
        return self.queue

    def fit(self, rows: pa.Table) -> Fitted:
        """The queue. Raises ValueError for fewer than two rows."""
        return negatives.drawn(rows, self.image, self.text, self.seed, 1)

    def __call__(self, batch: dict[str, list[Any]], fitted: Fitted) -> dict[str, list[Any]]:
        images, texts = (vectors.stacked(batch[name]) for name in self.reads)
        cosines, logs = negatives.log_means(images, texts, fitted, self.temperatures)
        own = cosines[:, None, None] / np.array(self.temperatures)[:, None]
        with np.errstate(over="ignore"):  # to infinity, of which the share is 0
            masses = 1 / (1 + np.exp(logs + np.log(self.queue) - own))
        sides = masses.mean(axis=1)
        columns = (sides.mean(axis=1), *sides.T)
        return {
            name: [None if np.isnan(value) else value for value in column.tolist()]
            for name, column in zip(_WRITES, columns, strict=True)
        }
