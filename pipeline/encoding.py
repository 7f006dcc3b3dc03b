"""Turns pixels into the bytes of an image, and keeps JPEG bytes that need no turning.

The one home of image encoding. The same pixels give the same bytes on every machine: Pillow's
resampling and both encoders count in whole numbers.
"""

from io import BytesIO
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.aspect import Fit
from pipeline.decoding import Header, Unreadable, decode, is_srgb
from pipeline.jpeg import strip_jpeg_metadata

__all__ = [
    "ENCODER_VERSION",
    "MODES",
    "Colour",
    "encode",
    "original",
    "resize",
    "strip_jpeg_metadata",
]

ENCODER_VERSION: Final = 1  # enters the identity of an export; raise it when bytes change
MODES = ("longest", "shortest", "crop", "border")
ORIGINAL_QUALITY = 95
_FULL_COLOUR = 90  # from this JPEG quality on, colour is stored at full resolution
_SUBSAMPLING: Final = {"full": "4:4:4", "half": "4:2:0"}
_LONGEST_SIDE = {"jpg": 65_500, "webp": 16_383}
_WHITE = (255, 255, 255)

Colour = Literal["full", "half"]
Pixels = NDArray[np.uint8]


def original(data: bytes, header: Header) -> tuple[bytes, str]:
    """A stored image for an export that keeps originals: bytes and extension, which is `jpg`.

    An upright grey or RGB JPEG in sRGB keeps its compressed data and loses its metadata, and
    nothing is decoded. Everything else (turned by EXIF, CMYK, with a profile of other colours,
    transparent, of another format) becomes a JPEG of quality 95 with full colour resolution. The
    picture has the size that the header says. Raises Unreadable.
    """
    kept = header.format == "jpeg" and header.orientation == 1 and header.mode != "cmyk"
    if kept and (not header.has_icc or is_srgb(data)):
        return strip_jpeg_metadata(data), "jpg"
    return encode(decode(data), "jpg", ORIGINAL_QUALITY), "jpg"


def encode(pixels: Pixels, format: str, quality: int, colour: Colour | None = None) -> bytes:
    """RGB pixels as `jpg` or `webp` of a quality from 1 to 100, without metadata.

    `colour` is its resolution in JPEG: `full` (4:4:4) or `half` (4:2:0), which is the default below
    quality 90 and what WebP always has. Raises Unreadable when a side is longer than the format can
    store, ValueError on another format or quality.
    """
    if format not in _LONGEST_SIDE or not 1 <= quality <= 100:
        raise ValueError(f"no encoder for {format!r} of quality {quality}")
    if max(pixels.shape[:2]) > _LONGEST_SIDE[format]:
        size = f"{pixels.shape[1]} x {pixels.shape[0]}"
        raise Unreadable("unsupported", f"{size} pixels, {format} has {_LONGEST_SIDE[format]}")
    buffer = BytesIO()
    image = Image.fromarray(pixels)
    if format == "jpg":
        subsampling = _SUBSAMPLING[colour or ("full" if quality >= _FULL_COLOUR else "half")]
        image.save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    else:
        image.save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()


def resize(
    pixels: Pixels, max_side: int, mode: str = "longest", *, enlarge: bool = False
) -> Pixels:
    """The picture in another size; smaller pictures keep theirs unless `enlarge` is set.

    `longest` and `shortest` keep the shape and bring that side down to `max_side`. `crop` brings
    the shortest side there and cuts a square out of the middle, as large as the picture allows.
    `border` brings the longest side there and puts the picture in the middle of a white square of
    `max_side`. Bicubic filter, antialiased.
    """
    if mode not in MODES or max_side < 1:
        raise ValueError(f"no way to resize by {mode!r} to {max_side}; modes: {', '.join(MODES)}")
    height, width = pixels.shape[:2]
    side = max(height, width) if mode in ("longest", "border") else min(height, width)
    if side > max_side or (enlarge and side < max_side):
        pixels = _scale(pixels, max_side / side)
    if mode == "crop":
        return _centre(pixels, min(*pixels.shape[:2], max_side))
    return _on_white(pixels, max_side) if mode == "border" else pixels


def cover(pixels: Pixels, fitted: Fit) -> Pixels:
    """The picture scaled, up or down, and cut as a bucket of one size asks for it."""
    image = Image.fromarray(pixels)
    if fitted.scaled != image.size:
        image = image.resize(fitted.scaled, Image.Resampling.BICUBIC, reducing_gap=2.0)
    (width, height), left, top = fitted.size, fitted.left, fitted.top
    return np.ascontiguousarray(np.asarray(image)[top : top + height, left : left + width])


def _scale(pixels: Pixels, factor: float) -> Pixels:
    height, width = (max(1, round(side * factor)) for side in pixels.shape[:2])
    # First averages down to twice the size: large pictures go four times as fast, look the same.
    image = Image.fromarray(pixels)
    return np.array(image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0))


def _centre(pixels: Pixels, side: int) -> Pixels:
    upper, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    return np.ascontiguousarray(pixels[upper : upper + side, left : left + side])


def _on_white(pixels: Pixels, side: int) -> Pixels:
    height, width = pixels.shape[:2]
    square = np.full((side, side, 3), _WHITE, np.uint8)
    upper, left = (side - height) // 2, (side - width) // 2
    square[upper : upper + height, left : left + width] = pixels
    return square
