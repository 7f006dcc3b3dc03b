"""Sizes and file formats: from an original to the bytes of a file in the pack.

Nothing here is random, and no encoder gets metadata but the EXIF of a rotated photo.
"""

import io
from typing import Literal

from PIL import Image, ImageEnhance

Picture = Image.Image
Format = Literal["jpg", "png", "webp"]
PHOTO_LONG, PHOTO_SHORT = 400, 226
DRAWING_LONG, DRAWING_SHORT = 272, 232
_MARGIN = 8
_MOST_ENLARGED = 1.6  # a stamp of 100 pixels grows no further; it gets a wider margin instead
_PALETTE_FROM_BYTES = 24_000
_ORIENTATION_TAG = 0x0112
# EXIF orientation -> the turn that makes the stored picture need it
TURNS = {
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}


def fit_photo(image: Image.Image, long: int = PHOTO_LONG, short: int = PHOTO_SHORT) -> Image.Image:
    """The photo with its long side within `long`, unless its short side would then miss `short`."""
    scale = max(min(1, long / max(image.size)), short / min(image.size))
    return _scaled(image, scale)


def with_short_side(image: Image.Image, short: int) -> Image.Image:
    """The image scaled to a short side of exactly `short` pixels."""
    return _scaled(image, short / min(image.size))


def fit_drawing(image: Image.Image) -> Image.Image:
    """The drawing without its empty border, scaled, in the middle of a transparent canvas.

    An opaque picture has no border to lose and is fitted like a photo of that size.
    """
    if image.mode != "RGBA" or image.getchannel("A").getextrema()[0] == 255:
        return fit_photo(image.convert("RGB"), DRAWING_LONG, DRAWING_SHORT)
    image = image.crop(image.getchannel("A").point(lambda alpha: 255 * (alpha > 8)).getbbox())
    scale = min(DRAWING_LONG / max(image.size), _MOST_ENLARGED)
    image = _scaled(image, scale)
    size = tuple(max(side + 2 * _MARGIN, DRAWING_SHORT) for side in image.size)
    canvas = Image.new("RGBA", (size[0], size[1]), (255, 255, 255, 0))
    canvas.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
    return canvas


def middle_strip(image: Image.Image, aspect: float) -> Image.Image:
    """A strip across the middle, `aspect` times as wide as high."""
    height = round(image.width / aspect)
    top = (image.height - height) // 2
    return image.crop((0, top, image.width, top + height))


def brighter(image: Image.Image, factor: float) -> Image.Image:
    """The image with every channel multiplied by `factor`."""
    return ImageEnhance.Brightness(image).enhance(factor)


def without_edge(image: Image.Image, share: float) -> Image.Image:
    """The image without `share` of its width and height at every edge."""
    x, y = round(image.width * share), round(image.height * share)
    return image.crop((x, y, image.width - x, image.height - y))


def flat(image: Image.Image) -> Image.Image:
    """The image on white, without transparency; one channel if it is grey throughout."""
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    red, green, blue = (band.tobytes() for band in image.split())
    return image.convert("L") if red == green == blue else image


def encode(
    image: Image.Image, form: Format, quality: int = 82, orientation: int | None = None
) -> bytes:
    """The file of an image; `orientation` is written as an EXIF tag and changes no pixel."""
    if form == "png":
        return _png(image)
    out = io.BytesIO()
    if form == "webp":
        image.save(out, "WEBP", quality=quality, method=4)
        return out.getvalue()
    exif = Image.Exif()
    if orientation is not None:
        exif[_ORIENTATION_TAG] = orientation
    flat(image).save(out, "JPEG", quality=quality, optimize=True, exif=exif.tobytes())
    return out.getvalue()


def sideways(image: Image.Image, orientation: int) -> Image.Image:
    """The picture turned so that a reader who obeys `orientation` sees it upright again."""
    return image.transpose(TURNS[orientation])


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    if len(out.getvalue()) <= _PALETTE_FROM_BYTES:
        return out.getvalue()
    out = io.BytesIO()
    image.quantize(256, Image.Quantize.FASTOCTREE).save(out, "PNG", optimize=True)
    return out.getvalue()


def _scaled(image: Image.Image, scale: float) -> Image.Image:
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)
