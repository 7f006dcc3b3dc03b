"""Hands bytes to the one decoder of Pillow that fits them, and names what may come back.

Pillow's own `Image.open` tries decoder after decoder and warns; here nothing is tried or warned
of, and whatever hostile bytes make a decoder raise becomes Unreadable. One thing can't be helped:
libtiff says on stderr what is wrong with a damaged TIFF, and Pillow has no way to silence it.
"""

import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from pipeline.unreadable import Unreadable

_DECODERS: dict[str, type[ImageFile.ImageFile]] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "gif": GifImagePlugin.GifImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
    "avif": AvifImagePlugin.AvifImageFile,
}
_FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    RuntimeError,  # what the AVIF decoder raises
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_WARNING = ("tiff", "avif")  # the formats whose decoders warn, of tags and of EXIF
_WARNINGS_LOCK = threading.Lock()  # the list of warning filters belongs to all threads


def opened(data: bytes, format: str) -> ImageFile.ImageFile:
    """The file with its header read and its pixels still packed; raises Unreadable."""
    # The AV1 decoder would start a thread per core for each picture; workers share the cores.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    with _faults(format):
        return _DECODERS[format](BytesIO(data))


def loaded(data: bytes, format: str, size: tuple[int, int]) -> Image.Image:
    """The first frame, which has the stored size or else the file is `corrupt`.

    A TIFF comes upright, every other format as stored. Raises Unreadable.
    """
    image = opened(data, format)
    if image.size not in (size, size[::-1]):
        raise Unreadable("corrupt", f"{format} of {size} pixels opens with {image.size}")
    with _faults(format):
        image.load()
    if image.mode == "P" and image.palette is None:
        raise Unreadable("corrupt", f"{format} without the palette that its colours are from")
    return image


@contextmanager
def _faults(format: str) -> Iterator[None]:
    """Turns what a decoder raises into Unreadable, and keeps its warnings quiet."""
    try:
        if format in _WARNING:
            with _WARNINGS_LOCK, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        else:
            yield
    except _FAULTS as fault:
        message = f"{format}: {fault}"[:200]
        raise Unreadable(_reason(fault), message) from fault


def _reason(fault: Exception) -> str:
    text = str(fault).lower()
    if isinstance(fault, Image.DecompressionBombError):
        return "too_many_pixels"
    if "truncat" in text or "not enough" in text:
        return "truncated"
    if "unsupported" in text or "not supported" in text or "unknown pixel mode" in text:
        return "unsupported"
    return "corrupt"
