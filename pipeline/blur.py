"""Makes parts of a picture unrecognisable, so that what is lost can't be computed back."""

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

BLUR_VERSION: Final = 1  # enters the identity of an export that blurs; raise it when pixels change
_NUMBERS = 5  # of a box: left, top, right, bottom as shares of width and height, and a score
_BEYOND = 0.5  # of the picture, that a box of something at its edge may reach over it
_CELLS = 6  # on each side, of what is left of a box

Pixels = NDArray[np.uint8]


def is_boxes(numbers: list[float]) -> bool:
    """Whether these are five finite numbers for each box, with sides that are shares.

    Pixels in place of shares, or sides in another order, would leave a face as it is.
    """
    if len(numbers) % _NUMBERS or not all(n is not None and math.isfinite(n) for n in numbers):
        return False
    boxes = [numbers[start : start + 4] for start in range(0, len(numbers), _NUMBERS)]
    return all(
        left <= right
        and top <= bottom
        and min(left, top) >= -_BEYOND
        and max(right, bottom) <= 1 + _BEYOND
        for left, top, right, bottom in boxes
    )


def blurred(image: Pixels, boxes: list[float], margin: float = 0.15) -> Pixels:
    """A copy in which every box is unrecognisable; the rest is the same pixels.

    `boxes` are those of the column `face_boxes`, five numbers each: left, top, right, bottom as
    shares of the picture, and a score. Each box, wider by `margin` of its size on every side, is
    reduced to at most 6 by 6 means of its pixels and smoothed within an ellipse.
    """
    result = image.copy()
    height, width = image.shape[:2]
    for left, top, right, bottom, _ in np.reshape(np.asarray(boxes, np.float64), (-1, _NUMBERS)):
        more_x, more_y = margin * (right - left), margin * (bottom - top)
        x0, x1 = (int(np.clip(v * width, 0, width)) for v in (left - more_x, right + more_x + 1e-9))
        y0, y1 = (int(np.clip(v * height, 0, height)) for v in (top - more_y, bottom + more_y))
        x1, y1 = min(width, x1 + 1), min(height, y1 + 1)
        if x1 > x0 and y1 > y0:
            result[y0:y1, x0:x1] = _hidden(image[y0:y1, x0:x1])
    return result


def _hidden(face: Pixels) -> Pixels:
    height, width = face.shape[:2]
    cells = cv2.resize(
        face, (min(_CELLS, width), min(_CELLS, height)), interpolation=cv2.INTER_AREA
    )
    smooth = cv2.resize(cells, (width, height), interpolation=cv2.INTER_LINEAR)
    mask = np.zeros((height, width, 1), np.uint8)
    ellipse = (((width - 1) / 2, (height - 1) / 2), (width, height), 0)
    cv2.ellipse(mask, ellipse, 255, -1)
    return np.where(mask > 0, smooth, face)
