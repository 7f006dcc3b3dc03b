"""The small head that tells watermarks and logos by the embedded encoder's early maps.

One picture is looked at by itself, scaled to a long side of 512 pixels. Refuses a head file with
parts missing.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from filters import embedded
from filters.threads import one_thread

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
Weights = Mapping[str, "torch.Tensor"]

HEAD = Path(__file__).with_name("marks.safetensors")
SIDE = 512
"""Pixels of the long side of a picture as the head sees it."""
MULTIPLE = 32  # both sides of what is seen
MOST_ENLARGED = 2.0
STRIDE = 16  # pixels of what is seen to a cell of the map
STROKES, PARTS = 40, 112  # channels of the two maps
HIDDEN, NARROW, JUDGED = 48, 32, 48
TOP = 12  # cells of the map that speak the loudest
SHAPES: dict[str, tuple[int, ...]] = {
    "strokes.mean": (STROKES,),
    "parts.mean": (PARTS,),
    "strokes.deviation": (STROKES,),
    "parts.deviation": (PARTS,),
    "strokes.weight": (NARROW, STROKES, 3, 3),
    "strokes.bias": (NARROW,),
    "joined.weight": (HIDDEN, NARROW + PARTS, 1, 1),
    "joined.bias": (HIDDEN,),
    "near.weight": (NARROW, HIDDEN, 3, 3),
    "near.bias": (NARROW,),
    "far.weight": (NARROW, NARROW, 3, 3),
    "far.bias": (NARROW,),
    "farther.weight": (NARROW, NARROW, 3, 3),
    "farther.bias": (NARROW,),
    "map.weight": (2, NARROW, 1, 1),
    "map.bias": (2,),
    "judge.weight": (JUDGED, 3 * NARROW + 4 + PARTS),
    "judge.bias": (JUDGED,),
    "out.weight": (2, JUDGED),
    "out.bias": (2,),
    "calibration": (2, 2),
}
"""What a head file holds. `calibration` is slope and intercept of a logit, for both kinds."""


def likelihoods(image: Pixels) -> Floats:
    """How likely a picture carries a watermark, and a logo: [2] of 0 to 1."""
    import torch

    with torch.inference_mode(), one_thread():
        weights = _weights()
        found, _ = logits(weights, *embedded.early_maps(fit(image)))
        slope, shift = weights["calibration"].T
        odds = torch.sigmoid(found[0].double() * slope.double() + shift.double())
    likely: Floats = odds.numpy().astype(np.float32)
    return likely


def fit(image: Pixels) -> Pixels:
    """The whole picture with a long side of SIDE, or twice its own if that is less.

    Sides are rounded to multiples of MULTIPLE; what is narrower than one is stretched to it.
    """
    height, width = image.shape[:2]
    scale = min(SIDE / max(height, width), MOST_ENLARGED)
    size = [max(1, round(side * scale / MULTIPLE)) * MULTIPLE for side in (width, height)]
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=way), np.uint8)


def logits(
    weights: Weights, strokes: "torch.Tensor", parts: "torch.Tensor"
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Logits [n, 2] of pictures of one size, and [n, 2, h / 16, w / 16] of their cells.

    What a cell says comes from the strokes in it and the parts about it; what a picture says from
    the loudest cells, the mean of all, and what kind of a picture the parts show.
    """
    import torch

    relu, conv = torch.relu, torch.nn.functional.conv2d
    strokes, parts = _even(weights, "strokes", strokes), _even(weights, "parts", parts)
    fine = relu(conv(strokes, weights["strokes.weight"], weights["strokes.bias"], 2, 1))
    x = torch.cat([fine, parts], 1)
    x = relu(conv(x, weights["joined.weight"], weights["joined.bias"]))
    x = relu(conv(x, weights["near.weight"], weights["near.bias"], 1, 1))
    x = x + relu(conv(x, weights["far.weight"], weights["far.bias"], 1, 2, 2))
    x = x + relu(conv(x, weights["farther.weight"], weights["farther.bias"], 1, 4, 4))
    cells = conv(x, weights["map.weight"], weights["map.bias"])
    listed = cells.flatten(2)
    loud = listed.topk(min(TOP, listed.shape[2]), 2).values
    told = [x.mean((2, 3)), x.amax((2, 3)), x.square().mean((2, 3)).add(1e-6).sqrt()]
    told += [loud.mean(2), torch.sigmoid(listed).mean(2), parts.mean((2, 3))]
    judged = relu(torch.cat(told, 1) @ weights["judge.weight"].T + weights["judge.bias"])
    return judged @ weights["out.weight"].T + weights["out.bias"], cells


def _even(weights: Weights, name: str, values: "torch.Tensor") -> "torch.Tensor":
    """The channels with mean 0 and deviation 1 over the pictures of the training."""
    mean, deviation = weights[f"{name}.mean"], weights[f"{name}.deviation"]
    return (values - mean[:, None, None]) / deviation[:, None, None]


def read_head(path: Path = HEAD) -> dict[str, "torch.Tensor"]:
    """The head in a file, float32. Raises ValueError when it is none."""
    from safetensors.torch import load_file

    found = {name: value.float() for name, value in load_file(path).items()}
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    if shapes != SHAPES:
        wrong = sorted(n for n in {*shapes, *SHAPES} if shapes.get(n) != SHAPES.get(n))
        raise ValueError(f"{path}: is no head for marks: see {', '.join(wrong[:3])}")
    return found


@functools.cache
def _weights() -> dict[str, "torch.Tensor"]:
    return read_head()
