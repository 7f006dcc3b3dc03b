"""The mass that a teacher gives a pair's own caption among captions of other pairs.

ALBEF's momentum teacher as a measurement: where its soft target leaves little for the own caption,
the pair is suspect. It needs stored embeddings alone.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from filters import averaged, halves, negatives, vectors
from filters.averaged import Teaching
from filters.noise_head import Recipe
from filters.vectors import Doubles, Fitted

TEACHERS = ("averaged", "encoder")
_WRITES = ("teacher_mass", "teacher_image_mass", "teacher_text_mass")


@dataclass(frozen=True)
class TeacherMass:
    """Share of the softmax that falls on the own partner, in [0, 1]; high is clean.

    As in ALBEF's soft targets (Li et al. 2021, arXiv:2107.07651): the own partner against a queue
    of `queue` other pairs of the pool, which depends on `seed` and keys. `teacher_image_mass` is
    that of the own text for the image, `teacher_text_mass` that of the own image for the text,
    `teacher_mass` the mean of both. Pairs of the same image or caption are left out of the queue;
    NULL when nothing is left.

    `teacher: averaged` is ALBEF's: the exponential average of a head in training, of `units`
    hidden units, over stored embeddings. A sample of `train_rows` of the pool is parted by image
    into two halves, and a head trained on each for `epochs` with the contrastive loss and
    `temperature`; its targets are by `alpha` those of its own average, whose `momentum` is smaller
    than the paper's .995, as there are hundreds of steps and not hundreds of thousands: with .995
    it would still be where it began. A row is judged by the average that has not seen its image.
    `teacher: encoder` trains nothing: the softmax is that of the stored embeddings themselves,
    averaged over `temperatures`. It does with two rows, and where most captions are wrong it was
    the better one: of faults planted in 10, 30 and 60 % of 4,529 captions (`benchmarks.proof`) the
    averaged one found AUC .862, .844 and .826, the encoder .845, .837 and .835.
    """

    teacher: str = "averaged"
    queue: int = 1024
    temperatures: tuple[float, ...] = (0.01, 0.03, 0.07)
    units: int = 64
    epochs: int = 10
    temperature: float = 0.1
    momentum: float = 0.95
    alpha: float = 0.4
    train_rows: int = 32_768
    image: str = "clip_image"
    text: str = "clip_text"
    seed: int = 0
    version: ClassVar[int] = 2  # the teacher is the average of a head in training
    needs: ClassVar[dict[str, str]] = {"image": "numbers", "text": "numbers"}
    writes: ClassVar[pa.Schema] = pa.schema([(name, pa.float32()) for name in _WRITES])
    batch_size: ClassVar[int] = vectors.BATCH

    def __post_init__(self) -> None:
        if self.teacher not in TEACHERS:
            raise ValueError(f"teacher {self.teacher!r}: known are {', '.join(TEACHERS)}")
        for name in ("queue", "units", "train_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.teacher == "averaged":
            halves.check_rows("train_rows", self.fit_rows)
        if not self.temperatures or not min(self.temperatures) > 0:
            raise ValueError(f"temperatures must be above 0, got {list(self.temperatures)}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        if self.epochs < 0:
            raise ValueError(f"epochs must be 0 or more, got {self.epochs}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be from 0 to below 1, got {self.momentum}")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be from 0 to 1, got {self.alpha}")

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.image, self.text)

    @property
    def fit_rows(self) -> int:
        return self.queue if self.teacher == "encoder" else max(self.queue, self.train_rows)

    def fit(self, rows: pa.Table) -> Fitted:
        """The queue, and the heads if there are any. Raises NotEnoughRows."""
        if self.teacher == "encoder":
            return negatives.drawn(rows, self.image, self.text, self.seed, 1)
        images, texts = halves.sample(rows, self.reads, self.seed, "teacher")
        recipe = Recipe(self.units, self.epochs, self.temperature, self.seed)
        teaching = Teaching(self.momentum, self.alpha)
        train = partial(averaged.trained, recipe=recipe, teaching=teaching)
        return halves.fit(images, texts, self.queue, train)

    def __call__(self, batch: dict[str, list[Any]], fitted: Fitted) -> dict[str, list[Any]]:
        images, texts = (vectors.stacked(batch[name]) for name in self.reads)
        if self.teacher == "encoder":
            found = negatives.log_means(images, texts, fitted, self.temperatures)
            sides = self._masses(*found, self.temperatures)
        else:
            found = halves.log_means(images, texts, fitted, (self.temperature,))
            sides = self._masses(*found, (self.temperature,))
        columns = (sides.mean(axis=1), *sides.T)
        return {
            name: [None if np.isnan(value) else value for value in column.tolist()]
            for name, column in zip(_WRITES, columns, strict=True)
        }

    def _masses(self, cosines: Doubles, logs: Doubles, temperatures: tuple[float, ...]) -> Doubles:
        """The mass of the own text and of the own image, [n, 2]; NaN where there is no other."""
        own = cosines[:, None, None] / np.array(temperatures)[:, None]
        with np.errstate(over="ignore"):  # to infinity, of which the share is 0
            masses = 1 / (1 + np.exp(logs + np.log(self.queue) - own))
        sides: Doubles = masses.mean(axis=1)
        return sides
