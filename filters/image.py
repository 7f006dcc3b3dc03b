"""Image measurements that need no model: size, format, blur, flatness, greyness.

Everything is counted in integers until the last step, so values do not depend on the machine.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

Pixels = npt.NDArray[Any]  # uint8; OpenCV's stubs promise no more than a number

REDUCED_PIXELS = 1 << 16  # colours are looked at in a picture of at most this many pixels
SHARPNESS_SIDE = 256  # and sharpness at this short side
GREY_TOLERANCE = 8  # levels of 255 by which channels of a grey picture may differ (JPEG noise)


class Header(Protocol):
    """What the container says of itself: its true format ("jpeg", "png", ...) and sizes."""

    @property
    def format(self) -> str: ...
    @property
    def frames(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...


_COLUMNS: dict[str, pa.DataType] = {
    "image_format": pa.string(),
    "image_bytes": pa.int64(),
    "frames": pa.int32(),
    "width": pa.int32(),
    "height": pa.int32(),
    "short_side": pa.int32(),
    "aspect_ratio": pa.float32(),
    "mean_luminance": pa.float32(),
    "entropy": pa.float32(),
    "laplacian_variance": pa.float32(),
    "dominant_share": pa.float32(),
    "is_grey": pa.bool_(),
}


@dataclass(frozen=True)
class ImageStats:
    """Measurements of the upright, decoded picture and of its file.

    `entropy` is that of the luminance histogram at full size, in bits, 0 to 8.
    `laplacian_variance` is the variance of the 4-neighbour Laplacian of the luminance, brought to
    256 pixels on the short side (never enlarged); blurred pictures are below some 100.
    `dominant_share` and `is_grey` look at a picture halved, by averaging 2x2 pixels, until it has
    at most 65,536: the share of the commonest colour at 4 bits per channel, and whether in every
    pixel the channels differ by at most 8 levels.
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("image", "header")
    writes: ClassVar[pa.Schema] = pa.schema(_COLUMNS)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {name: [] for name in self.writes.names}
        for image, header in zip(batch["image"], batch["header"], strict=True):
            row = {**_file(header), **_shape(image), **_look(image)}
            for name, value in row.items():
                columns[name].append(value)
        return columns


def _file(header: Header) -> dict[str, Any]:
    return {
        "image_format": header.format,
        "image_bytes": header.size_bytes,
        "frames": header.frames,
    }


def _shape(image: Pixels) -> dict[str, Any]:
    height, width = image.shape[:2]
    short, long = sorted((height, width))
    return {"width": width, "height": height, "short_side": short, "aspect_ratio": long / short}


def _look(image: Pixels) -> dict[str, Any]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    counts = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel().astype(np.float64)
    reduced = image
    while reduced.shape[0] * reduced.shape[1] > REDUCED_PIXELS and min(reduced.shape[:2]) > 1:
        reduced = halved(reduced)
    return {
        "mean_luminance": float(counts @ np.arange(256) / counts.sum()),
        "entropy": entropy(counts),
        "laplacian_variance": laplacian_variance(grey),
        "dominant_share": dominant_share(reduced),
        "is_grey": is_grey(reduced),
    }


def halved(pixels: Pixels) -> Pixels:
    """Means of 2x2 pixels, rounded half up; an odd last row or column is left out."""
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    even = pixels[: 2 * height, : 2 * width]
    return cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)


def entropy(counts: npt.NDArray[np.float64]) -> float:
    """Shannon entropy in bits of a histogram; 0 for a picture of one level."""
    share = counts[counts > 0] / counts.sum()
    return max(0.0, -float(share @ np.log2(share)))


def laplacian_variance(grey: Pixels) -> float:
    """How sharp the sharp parts are (Pech-Pacheco et al., ICPR 2000), at a size all can share.

    Halved while that leaves 256 pixels, then bilinear; OpenCV's exact variant, because the plain
    one differs between processors.
    """
    while min(grey.shape) >= 2 * SHARPNESS_SIDE:
        grey = halved(grey)
    short = min(grey.shape)
    if short > SHARPNESS_SIDE:
        height, width = (round(side * SHARPNESS_SIDE / short) for side in grey.shape)
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    edges = cv2.Laplacian(grey, cv2.CV_16S, ksize=1)
    _, deviation = cv2.meanStdDev(edges)
    return float(deviation[0, 0]) ** 2


def dominant_share(pixels: Pixels) -> float:
    """The share of pixels that have the commonest colour; near 1 for placeholders and icons."""
    packed = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR555).view(np.uint16).ravel()
    return int(np.bincount(packed & 0x7BDE).max()) / packed.size  # drops the fifth bit of each


def is_grey(pixels: Pixels) -> bool:
    """Whether no pixel has a colour to speak of; sepia is a colour."""
    red, green, blue = cv2.split(pixels)
    pairs = ((red, green), (green, blue), (blue, red))
    return all(cv2.norm(a, b, cv2.NORM_INF) <= GREY_TOLERANCE for a, b in pairs)
