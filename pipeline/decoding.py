"""Turns the bytes of an image into upright sRGB pixels, or says why they are none.

The one home of image decoding. Pixels depend on nothing but the bytes and the request: EXIF
orientation and ICC profile are applied, transparency lies on white, 16 bits become 8, of an
animation the first frame counts. A file that ends early is refused, never filled up with grey.
"""

import zlib
from functools import lru_cache
from io import BytesIO
from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageCms

from pipeline import headers, jpeg, pillow
from pipeline.headers import EXTENSIONS, MAX_PIXELS, Header, Picture
from pipeline.unreadable import REASONS, Unreadable

__all__ = [
    "DECODER_VERSION",
    "EXTENSIONS",
    "MAX_PIXELS",
    "REASONS",
    "Header",
    "Unreadable",
    "decode",
    "decoded_pixels",
    "read_header",
]

# Enters the fingerprint of every column made from pixels. Versions of the codec libraries do not:
# they give the same pixels from release to release, which the golden test of this module watches.
# When it fails after an upgrade, raise this number.
DECODER_VERSION: Final = 1

MAX_SCANS = 100  # of a JPEG; real ones have about ten, and each costs a pass over all pixels
_REDUCTIONS = (8, 4, 2)
_SRGB_TOLERANCE = 2  # of 255; a profile that moves no colour further is sRGB
_WHITE = (255, 255, 255)

Pixels = NDArray[np.uint8]


def read_header(data: bytes, max_pixels: int = MAX_PIXELS) -> Header:
    """What the file says about itself, without decoding a pixel.

    Raises Unreadable when the bytes are no image of a format in EXTENSIONS or the picture has more
    than `max_pixels`. A file that is cut or damaged further on may still have a good header.
    """
    return _picture(data, max_pixels).header(len(data))


def decode(data: bytes, at_least: int | None = None, max_pixels: int = MAX_PIXELS) -> Pixels:
    """The first frame as uint8 [H, W, 3], sRGB, upright, transparency on white.

    With `at_least=N` the picture may come smaller: both sides divided by the largest of 1, 2, 4, 8
    (rounded up) that leaves N pixels on the short side; a picture that has fewer comes whole.
    JPEG is scaled by its DCT, every other format by averages after decoding. A whole JPEG has the
    very pixels that Pillow gives. A broken ICC profile is ignored, as browsers do, and so are
    gAMA, cHRM and cICP. Raises Unreadable; memory stays below some 25 bytes per pixel.
    """
    picture = _picture(data, max_pixels)
    factor = _reduction(min(picture.width, picture.height), at_least)
    if picture.format == "jpeg":
        return _turn(_decode_jpeg(data, picture, factor), picture.orientation)
    image = pillow.loaded(_needed(data, picture), picture.format, (picture.width, picture.height))
    pixels = _to_pixels(_flatten(image, picture), factor)
    # Pillow turns a TIFF itself, and no other format.
    return pixels if picture.format == "tiff" else _turn(pixels, picture.orientation)


def decoded_pixels(header: Header, at_least: int | None = None) -> int:
    """How many pixels `decode` unpacks; of a JPEG, no more than it returns (but of rare kinds)."""
    factor = 1
    if header.format == "jpeg":
        factor = _reduction(min(header.width, header.height), at_least)
    return -(-header.width // factor) * -(-header.height // factor)


def is_srgb(data: bytes) -> bool:
    """Whether the stored colours are sRGB as they are: no profile, a broken one, or sRGB's own."""
    return _has_srgb_colours(_picture(data, MAX_PIXELS))


def _picture(data: bytes, max_pixels: int) -> Picture:
    if not 0 < max_pixels <= MAX_PIXELS:
        raise ValueError(f"max_pixels is {max_pixels}, must be between 1 and {MAX_PIXELS}")
    return headers.read_picture(data, max_pixels)


def _reduction(short_side: int, at_least: int | None) -> int:
    """The largest divisor that leaves `at_least` pixels on the short side."""
    if at_least is None:
        return 1
    return next((k for k in _REDUCTIONS if -(-short_side // k) >= at_least), 1)


def _decode_jpeg(data: bytes, picture: Picture, factor: int) -> Pixels:
    if jpeg.count_scans(data) > MAX_SCANS:
        raise Unreadable("unsupported", f"JPEG with more than {MAX_SCANS} scans")
    pixels = _unpack_jpeg(data, picture, factor)
    if _has_srgb_colours(picture):
        return pixels
    if picture.mode == "cmyk":
        # Adobe stores inverted inks; Pillow and browsers take every CMYK JPEG for Adobe's.
        image = Image.fromarray(255 - pixels, "CMYK")
        return np.array(_colours_to_srgb(image, picture.icc))
    image = Image.fromarray(pixels[:, :, 0] if picture.mode == "grey" else pixels)
    return np.array(_colours_to_srgb(image, picture.icc))


def _unpack_jpeg(data: bytes, picture: Picture, factor: int) -> Pixels:
    """RGB or CMYK as stored. Any warning of libjpeg but two kinds is an error.

    What it finds odd in segments that hold no pixels goes away with those segments, and bytes
    between the last pixel and the end marker harm nothing: all scans were complete before them.
    """
    try:
        return _libjpeg(data, picture, factor)
    except ValueError as fault:
        rare = "subsampling" in str(fault)
    bare = jpeg.strip_jpeg_metadata(data)
    if rare:
        return _unpack_rare_jpeg(bare, picture, factor)
    try:
        return _libjpeg(bare, picture, factor)
    except ValueError as fault:
        if str(fault).endswith("extraneous bytes before marker 0xd9"):
            return _libjpeg(bare, picture, factor, strict=False)
        reason = "truncated" if "remature end" in str(fault) else "corrupt"
        raise Unreadable(reason, f"jpeg: {fault}") from fault


def _libjpeg(data: bytes, picture: Picture, factor: int, *, strict: bool = True) -> Pixels:
    # The exact DCT and the smooth upsampling are what Pillow takes, so that pixels are the same.
    pixels: Pixels = simplejpeg.decode_jpeg(
        data,
        colorspace="CMYK" if picture.mode == "cmyk" else "RGB",
        fastdct=False,
        fastupsample=False,
        min_height=-(-picture.height // factor),
        min_width=-(-picture.width // factor),
        strict=strict,
    )
    return pixels


def _unpack_rare_jpeg(data: bytes, picture: Picture, factor: int) -> Pixels:
    """Colour sampled in a way that TurboJPEG's interface has no name for: Pillow is slower."""
    image = pillow.loaded(data, "jpeg", (picture.width, picture.height))
    if picture.mode == "cmyk":
        return 255 - np.array(image.reduce(factor))
    return np.array(image.convert("RGB").reduce(factor))


def _needed(data: bytes, picture: Picture) -> bytes:
    """The parts of a file that make its first frame, so that no decoder unpacks the others.

    Texts that unpack to gigabytes and comments of megabytes never reach Pillow.
    """
    if picture.format == "png":
        return _needed_of_png(data, picture.bit_depth)
    if picture.format == "gif":
        return _needed_of_gif(data)
    return data


def _needed_of_png(data: bytes, bit_depth: int) -> bytes:
    wanted = {b"IHDR", b"PLTE", b"IDAT", b"IEND"} | ({b"tRNS"} if bit_depth < 16 else set())
    kept = [headers.PNG_SIGNATURE]
    for kind, start, length in headers.png_chunks(data):
        if kind in wanted:
            chunk = data[start - 4 : start + length]
            checksum = data[start + length : start + length + 4]
            if zlib.crc32(chunk).to_bytes(4, "big") != checksum:
                raise Unreadable("corrupt", f"wrong checksum of the PNG chunk {kind!r}")
            kept += [length.to_bytes(4, "big"), chunk, checksum]
    return b"".join(kept)


def _needed_of_gif(data: bytes) -> bytes:
    kept = {b"": data[: headers.gif_screen_end(data)]}
    for kind, start, end in headers.gif_blocks(data):
        if kind == b"," or data[start + 1] == 0xF9:  # graphic control: the transparent colour
            kept[kind] = data[start:end]
        if kind == b",":
            break
    return b"".join([*kept.values(), b";"])


def _flatten(image: Image.Image, picture: Picture) -> Image.Image:
    """One RGB picture out of any mode: 8 bits, sRGB, transparency on white."""
    image = _to_bytes(image)
    if not (image.has_transparency_data or picture.box):
        return _colours_to_srgb(image, picture.icc)
    image = image if image.mode == "LA" else image.convert("RGBA")
    colours = _colours_to_srgb(image.convert("L" if image.mode == "LA" else "RGB"), picture.icc)
    alpha = image.getchannel("A")
    if picture.box:  # what a GIF's first frame leaves of its canvas is transparent
        alpha = _blank_outside(alpha, picture.box)
    flat = Image.new("RGB", image.size, _WHITE)
    flat.paste(colours, mask=alpha)
    return flat


def _blank_outside(alpha: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    inside = Image.new("L", alpha.size, 0)
    inside.paste(alpha.crop(box), box)
    return inside


def _to_bytes(image: Image.Image) -> Image.Image:
    """The picture with 8 bits per channel; of 16 the upper 8, as Pillow does for colour."""
    if image.mode == "1":
        return image.convert("L")
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "F":
        values = np.asarray(image)
        # Also refuses NaN. There is no telling what 1000.0 should look like.
        if not (values.min() >= 0 and values.max() <= 1):
            raise Unreadable("unsupported", "float samples outside of 0 to 1")
        return Image.fromarray(np.rint(values * 255).astype(np.uint8))
    if image.mode not in ("L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"):
        raise Unreadable("unsupported", f"{image.format} with samples of mode {image.mode}")
    return image


def _to_pixels(image: Image.Image, factor: int) -> Pixels:
    return np.array(image if factor == 1 else image.reduce(factor))


def _colours_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB of a picture without alpha; the profile counts if it is made for such pictures."""
    if image.mode not in ("L", "CMYK"):
        image = image.convert("RGB")
    if profile is not None:
        transform = _to_srgb(profile, image.mode)
        if transform is None and image.mode == "L":  # greys are often tagged with a colour profile
            image = image.convert("RGB")
            transform = _to_srgb(profile, image.mode)
        if transform is not None:
            return transform.apply(image)
    return image.convert("RGB")


def _has_srgb_colours(picture: Picture) -> bool:
    if picture.mode == "cmyk" or picture.icc is None:
        return picture.mode != "cmyk"
    modes = ("L", "RGB") if picture.mode == "grey" else ("RGB",)
    return all(_to_srgb(picture.icc, mode) is None for mode in modes)


@lru_cache(maxsize=16)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The way from a profile to sRGB, relative colorimetric with black point compensation.

    None when there is nothing to do: the profile is broken, is not one for pictures of this mode,
    or is sRGB itself, whatever its name (it moves no colour of a grid by more than the tolerance).
    """
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    grid = _grid(mode)
    moved = np.asarray(transform.apply(grid), np.int16) - np.asarray(grid.convert("RGB"), np.int16)
    same = mode != "CMYK" and bool(np.abs(moved).max() <= _SRGB_TOLERANCE)
    return None if same else transform


def _grid(mode: str) -> Image.Image:
    """Colours from all over a mode's space, in one row."""
    axes = [np.linspace(0, 255, 9 if mode == "RGB" else 5).astype(np.uint8)] * len(mode)
    cells = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(1, -1, len(mode))
    return Image.fromarray(cells if mode != "L" else np.arange(256, dtype=np.uint8)[None, :], mode)


def _turn(pixels: Pixels, orientation: int) -> Pixels:
    """Pixels upright: the eight values of the EXIF standard, of which 5 to 8 swap the sides."""
    if orientation == 1:
        return pixels
    cells = pixels.view("V3")[:, :, 0]  # whole pixels are copied twice as fast as three bytes
    if orientation >= 5:
        cells = cells.T
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    turned = np.ascontiguousarray(cells[::rows, ::columns])
    return turned.view(np.uint8).reshape(*turned.shape, 3)
