"""What the pool keeps of the bytes that were fetched: the bytes themselves, or a smaller picture.

The same bytes give the same bytes on every machine: what is not kept is decoded, made smaller
and encoded in whole numbers. Nothing is enlarged, and nothing is decoded without need.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from pipeline.aspect import Fit, resized
from pipeline.decoding import EXTENSIONS, Pixels, decode, read_header
from pipeline.encoding import Colour, cover, encode

Format = Literal["original", "jpg", "webp"]
_TWICE = 2  # the size, in each direction, from which on pictures are made smaller in two steps
_TOO_LARGE = 5  # times; the first of those steps would leave pixels out


@dataclass(frozen=True)
class Store:
    """How pictures are kept: the longest side in pixels (None: any), the format, its quality.

    `original` means the format that a picture came in, where it is one that we encode (JPEG and
    WebP), else `jpg`. `colour` is its resolution in JPEGs, see `encode`. Raises ValueError for what
    can't be meant.
    """

    max_side: int | None = None
    format: Format = "original"
    quality: int = 90
    colour: Colour | None = None

    def __post_init__(self) -> None:
        if self.max_side is not None and self.max_side < 1:
            raise ValueError(f"max_side is {self.max_side}, must be at least 1")
        if self.format not in get_args(Format):
            known = ", ".join(get_args(Format))
            raise ValueError(f"format is {self.format!r}, must be one of {known}")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality is {self.quality}, must be between 1 and 100")
        if self.colour not in (None, *get_args(Colour)):
            known = ", ".join(get_args(Colour))
            raise ValueError(f"colour is {self.colour!r}, must be one of {known}")
        if self.colour == "full" and self.format == "webp":
            raise ValueError("colour is 'full', which no webp has: its colour is half")


def stored(data: bytes, store: Store, max_pixels: int) -> tuple[bytes, str]:
    """The bytes to keep of an image, and the extension of their format.

    An image that has the format and is small enough keeps its very bytes, metadata, orientation
    and further frames too; only its header is read, so damage behind that is not found here. Of
    any other the pixels that `decode` gives are encoded, without metadata: upright, in sRGB, on
    white, of an animation the first frame. Given its own result, returns it as it is. Raises
    Unreadable, also when the picture has more than `max_pixels` or is too long for the format.
    """
    header = read_header(data, max_pixels)
    own, size = EXTENSIONS[header.format], (header.width, header.height)
    is_small = store.max_side is None or max(size) <= store.max_side
    if is_small and store.format in ("original", own):
        return data, own
    format = store.format
    if format == "original":
        format = "webp" if own == "webp" else "jpg"
    if store.max_side is None or is_small:
        pixels = decode(data, max_pixels=max_pixels)
    else:
        pixels = _smaller(data, resized(*size, store.max_side, "longest"), max_pixels)
    return encode(pixels, format, store.quality, store.colour), format


def _smaller(data: bytes, fitted: Fit, max_pixels: int) -> Pixels:
    """The picture in exactly the size `fitted.scaled`, which is smaller than its own.

    Decoded to no less than that, by scaled decoding where the format has it, which leaves less
    than twice the size: one step of linear interpolation. From twice the size on the picture is
    brought to just that, and every two by two pixels averaged. Close to the average over each
    pixel's area, at a fraction of its cost. This interpolation of OpenCV is in whole numbers.
    """
    import cv2  # here, as recipes are read without it

    pixels = decode(data, min(fitted.scaled), max_pixels)
    width, height = fitted.scaled
    times = max(pixels.shape[:2]) / max(width, height)
    if not 1 < times < _TOO_LARGE:
        return cover(pixels, fitted)
    four = cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA)  # OpenCV has no fast way with three channels
    if times >= _TWICE:
        four = _linear(cv2, four, (_TWICE * width, _TWICE * height))
    small: Pixels = cv2.cvtColor(_linear(cv2, four, (width, height)), cv2.COLOR_RGBA2RGB)
    return small


def _linear(cv2: Any, pixels: Any, size: tuple[int, int]) -> Any:
    return cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR_EXACT)
