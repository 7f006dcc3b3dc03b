"""Pictures in a few shapes, so that a batch of them is one tensor and they keep their looks.

A model that was trained on pictures of any shape describes grey bars when it is shown a square
with some; so a picture fills the canvas next to its own shape, a little stretched.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

_RATIOS = (9 / 16, 2 / 3, 3 / 4, 1.0, 4 / 3, 3 / 2, 16 / 9)  # width by height
_UNIT = 28  # pixels; sides are multiples of it, as the patches of most models
_STRETCHED = 1.16  # how far one side may be; the gap from 1 to 4:3 needs 1.155
_GREY = 127


def canvas_of(image: Pixels, side: int) -> tuple[int, int]:
    """Width and height of the canvas for a picture: of a few shapes, about `side`² pixels."""
    height, width = image.shape[:2]
    ratio = min(_RATIOS, key=lambda ratio: (abs(math.log(width / height / ratio)), ratio))
    sides = side * math.sqrt(ratio), side / math.sqrt(ratio)
    across, down = (max(_UNIT, round(length / _UNIT) * _UNIT) for length in sides)
    return across, down


def filled(image: Pixels, canvas: tuple[int, int]) -> Any:
    """The picture over all of a canvas; a ribbon, whole, in the middle of grey. Of Pillow."""
    from PIL import Image

    picture, (width, height) = Image.fromarray(image), canvas
    stretched = picture.width * height / (picture.height * width)
    size = canvas
    if not 1 / _STRETCHED <= stretched <= _STRETCHED:
        share = min(width / picture.width, height / picture.height)
        size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
    small = picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    if size == canvas:
        return small
    found = Image.new("RGB", canvas, (_GREY,) * 3)
    found.paste(small, ((width - size[0]) // 2, (height - size[1]) // 2))
    return found
