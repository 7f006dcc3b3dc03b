"""NormSim: how near an image is to a named set of target images, by stored embeddings.

It says what a set is made of, not whether a caption is right. It refuses evaluation splits as
targets.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from filters import files, targets, vectors
from filters.targets import Targets
from filters.vectors import Doubles, Halves

NORMS: tuple[int | str, ...] = (2, "infinity")
_PANEL = 96  # columns at a time: below the diagonal there is nothing to multiply
_AT_ONCE = 1024


@dataclass(frozen=True)
class NormSim:
    """The norm of an image's cosines with all targets (Wang et al. 2024, arXiv:2405.19547).

    `targets` is a Parquet, npz, npy or safetensors file of image embeddings of the same encoder,
    `column` the column or array in it where there are several. `split: train` must be stated: a
    file that calls itself, by its name or in it, another split is refused. `norm: 2` is
    `sqrt(v.T @ (V.T @ V) @ v)`, of the order of the square root of their number; `norm: infinity`
    is the highest cosine, and takes time by the number of targets. `image` is the column of
    vectors.
    """

    targets: str
    split: str = ""
    column: str = ""
    norm: int | str = 2
    image: str = "clip_image"
    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"image": "numbers"}
    writes: ClassVar[pa.Schema] = pa.schema([("norm_sim", pa.float32())])
    batch_size: ClassVar[int] = vectors.BATCH

    def __post_init__(self) -> None:
        if self.split not in targets.TRAIN:
            raise ValueError(
                f"split must be stated, and be train: got {self.split!r}; targets of an evaluation"
                " split would flatter what is measured on it"
            )
        if self.norm not in NORMS:
            raise ValueError(f"norm {self.norm!r}: known are {', '.join(map(str, NORMS))}")
        targets.check(self._targets)

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.image,)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values; the file counts by its content, not its place."""
        return {"column": self.column, "norm": self.norm, "image": self.image}

    @property
    def weights_digest(self) -> str:
        return files.digest(self.targets)

    def prepare(self) -> None:
        """Read the targets. Raises ValueError when they are no vectors."""
        (targets.gram if self.norm == 2 else targets.read)(self._targets)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        images = vectors.stacked(batch[self.image])
        width = targets.read(self._targets).shape[1]
        if images.shape[1] != width:
            raise ValueError(f"vectors of {images.shape[1]} numbers, targets of {width}")
        if self.norm == 2:
            gram, count = targets.gram(self._targets)
            norms = vectors.in_blocks(lambda some: two_norms(some, gram, count), images)
        else:
            norms = highest(images, targets.read(self._targets))
        return {"norm_sim": norms.tolist()}

    @property
    def _targets(self) -> Targets:
        return Targets(self.targets, self.column)


def two_norms(images: Halves, gram: Doubles, count: int) -> Doubles:
    """Norms [n] of the cosines of images [n, d] with `count` targets of this folded matrix."""
    rows = vectors.unit(images)
    squares = np.zeros(len(rows))
    for start in range(0, rows.shape[1], _PANEL):
        panel = slice(start, start + _PANEL)
        products = rows[:, : panel.stop] @ gram[: panel.stop, panel]
        squares += np.einsum("ij,ij->i", products, rows[:, panel])
    norms: Doubles = np.sqrt(count * np.maximum(squares, 0))
    return norms


def highest(images: Halves, targets_: Halves) -> Doubles:
    """The highest cosine [n] of each image [n, d] with a target."""
    rows = vectors.unit(images)
    best = np.full(len(rows), -np.inf)
    for start in range(0, len(targets_), _AT_ONCE):
        some = vectors.unit(targets_[start : start + _AT_ONCE])
        best = np.maximum(best, (rows @ some.T).max(axis=1))
    return best
