"""Pictures that show nothing: of a pixel or two, or of one colour all over.

Tells what can be measured. A drawing of a grey box or of the words "image not found" is a picture
here; what gives it away is its address (`removed`) and how often its bytes occur (`repeats`).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa

from filters.image import Pixels, halved

MOST_PIXELS = 1 << 20  # more of them, and lines that anybody sees would be averaged away
SHARE_TOLERANCE = 16  # levels of 255 from the one colour; noise of JPEG on a plain area has less
CELL = 8  # pixels a side: over so many noise is gone, and a line of text is not
BLANK_SPREAD, BLANK_SHARE = 8, 0.99


@dataclass(frozen=True)
class Placeholder:
    """Whether a picture is blank, or tiny: neither side has more than `tiny` pixels.

    The picture is halved, by averaging 2x2 pixels, until it has at most 1,048,576. `blank_spread`
    is how far the means of its cells of 8x8 pixels are apart at most, in levels of 255, in the
    channel where that is most. `blank_share` is the share of pixels within 16 levels of the median
    in every channel. `is_blank` says that the spread is at most 8 and the share at least .99: one
    colour, or shades of it that are hard to see. Transparency lies on white: a picture that is
    transparent, or white on transparent ground, is blank.
    """

    tiny: int = 2

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("image",)
    writes: ClassVar[pa.Schema] = pa.schema(
        {
            "is_tiny": pa.bool_(),
            "is_blank": pa.bool_(),
            "blank_share": pa.float32(),
            "blank_spread": pa.int32(),
        }
    )

    def __post_init__(self) -> None:
        if self.tiny < 0:
            raise ValueError(f"tiny is a number of pixels, 0 or more, got {self.tiny}")

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = [self._measure(image) for image in batch["image"]]
        return {name: [row[name] for row in rows] for name in self.writes.names}

    def _measure(self, image: Pixels) -> dict[str, Any]:
        reduced = image
        while reduced.shape[0] * reduced.shape[1] > MOST_PIXELS and min(reduced.shape[:2]) > 1:
            reduced = halved(reduced)
        share, spread = blank_share(reduced), blank_spread(reduced)
        return {
            "is_tiny": max(image.shape[:2]) <= self.tiny,
            "is_blank": spread <= BLANK_SPREAD and share >= BLANK_SHARE,
            "blank_share": share,
            "blank_spread": spread,
        }


def blank_share(pixels: Pixels) -> float:
    """The share of pixels that are near the median in every channel."""
    count = pixels.shape[0] * pixels.shape[1]
    middle = [_median(channel, count) for channel in cv2.split(pixels)]
    low = tuple(max(0, level - SHARE_TOLERANCE) for level in middle)
    high = tuple(min(255, level + SHARE_TOLERANCE) for level in middle)
    return float(cv2.countNonZero(cv2.inRange(pixels, low, high)) / count)


def _median(channel: Pixels, count: int) -> int:
    """The upper of the two levels in the middle, if there are two."""
    levels = cv2.calcHist([channel], [0], None, [256], [0, 256]).ravel().cumsum(dtype=np.int64)
    return int(np.searchsorted(levels, count // 2, side="right"))


def blank_spread(pixels: Pixels) -> int:
    """How far the means of cells are apart at most; cells at the edge repeat its pixels."""
    down, right = (-side % CELL for side in pixels.shape[:2])
    cells = cv2.copyMakeBorder(pixels, 0, down, 0, right, cv2.BORDER_REPLICATE)
    for _ in range(CELL.bit_length() - 1):
        cells = halved(cells)
    levels = cells.reshape(-1, 3)
    return int((levels.max(axis=0).astype(np.int64) - levels.min(axis=0)).max())
