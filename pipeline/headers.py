"""Reads what an image file says about itself: format, size as displayed, frames, orientation.

No pixel is decoded and nothing is unpacked, so the pixel limit holds before memory is spent.
Bytes that are no image, or whose header can't be right, raise Unreadable.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pipeline import pillow, tiff
from pipeline.jpeg import SIGNATURE as JPEG_SIGNATURE
from pipeline.jpeg import read_jpeg_header
from pipeline.unreadable import Unreadable

MAX_PIXELS = 89_478_485  # Pillow's own limit: 256 MiB of 24-bit colour
EXTENSIONS = {
    "jpeg": "jpg",
    "png": "png",
    "webp": "webp",
    "gif": "gif",
    "bmp": "bmp",
    "tiff": "tiff",
    "avif": "avif",
}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_PROFILE = 4_000_000
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_OTHER_IMAGES = {
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\1\0": "an icon",
    b"8BPS": "a Photoshop document",
    b"<svg": "SVG",
    b"II+\0": "BigTIFF",
    b"MM\0+": "BigTIFF",
}


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says about its first picture.

    Width and height in pixels as displayed, after the orientation 1 to 8 of EXIF was applied.
    `mode` is `grey`, `rgb`, `palette` or `cmyk`, alpha apart; `bit_depth` is that of one channel
    in the file (of an AVIF the 8 that it is decoded to).
    `frames` counts the pictures of an animation or of a file with pages.
    """

    format: str
    width: int
    height: int
    frames: int
    orientation: int
    mode: str
    bit_depth: int
    has_alpha: bool
    has_icc: bool
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Picture:
    """A header in the making: sizes as stored, and the ICC profile itself.

    `box` is where the first frame lies on its canvas (left, upper, right, lower) if not all over.
    """

    format: str
    width: int
    height: int
    mode: str
    bit_depth: int = 8
    frames: int = 1
    orientation: int = 1
    has_alpha: bool = False
    icc: bytes | None = field(default=None, repr=False)
    box: tuple[int, int, int, int] | None = None

    def header(self, size_bytes: int) -> Header:
        """The header that callers see, upright."""
        width, height = self.width, self.height
        if self.orientation >= 5:
            width, height = height, width
        return Header(
            self.format,
            width,
            height,
            self.frames,
            self.orientation,
            self.mode,
            self.bit_depth,
            self.has_alpha,
            self.icc is not None,
            size_bytes,
        )


def read_picture(data: bytes, max_pixels: int) -> Picture:
    """What a file says about its first picture, with all that decoding needs to know.

    Raises Unreadable when the bytes are no image or the picture has more than `max_pixels`.
    """
    if not data:
        raise Unreadable("empty", "no bytes")
    try:
        picture = _READERS[_format(data)](data)
    except (struct.error, IndexError):
        raise Unreadable("truncated", f"the header goes beyond {len(data)} bytes") from None
    if picture.width < 1 or picture.height < 1:
        raise Unreadable("corrupt", f"a picture of {picture.width} x {picture.height} pixels")
    if picture.width * picture.height > max_pixels:
        size = f"{picture.width} x {picture.height}"
        raise Unreadable("too_many_pixels", f"{size} pixels, limit {max_pixels}")
    return picture


def _format(data: bytes) -> str:
    if data.startswith(JPEG_SIGNATURE):
        return "jpeg"
    if data.startswith(PNG_SIGNATURE):
        return "png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data.startswith((b"II*\0", b"MM\0*")):
        return "tiff"
    if data[4:8] == b"ftyp":
        return _brand(data)
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return "bmp"
    for start, name in _OTHER_IMAGES.items():
        if data.startswith(start):
            raise Unreadable("unsupported", name)
    raise Unreadable("not_an_image", f"starts with {data[:24]!r}")


def _brand(data: bytes) -> str:
    end = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12], *(data[i : i + 4] for i in range(16, end, 4))}
    if brands & {b"avif", b"avis"}:
        return "avif"
    raise Unreadable("unsupported", f"HEIF or video of brand {data[8:12]!r}")


def _read_jpeg(data: bytes) -> Picture:
    head = read_jpeg_header(data)
    return Picture(
        "jpeg", head.width, head.height, head.mode, orientation=head.orientation, icc=head.icc
    )


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, first byte of the content and its length of each chunk up to and with IEND.

    Raises Unreadable when the bytes end before; checksums are left to the reader.
    """
    place, kind = len(PNG_SIGNATURE), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, place)
        if place + 12 + length > len(data):
            raise Unreadable("truncated", f"PNG chunk at byte {place} goes beyond the end")
        yield kind, place + 8, length
        place += 12 + length


def _read_png(data: bytes) -> Picture:
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    alpha, icc, orientation, frames = colour in (4, 6), None, 1, 0
    for kind, start, length in png_chunks(data):
        if kind == b"tRNS" and depth < 16:  # in 16 bits a key colour can't survive the reduction
            alpha = True
        elif kind == b"iCCP":
            icc = _unpack_profile(data[start : start + length])
        elif kind == b"eXIf":
            orientation = tiff.exif_orientation(data[start : start + length])
        elif kind == b"fcTL":
            frames += 1
    mode = {0: "grey", 2: "rgb", 3: "palette", 4: "grey", 6: "rgb"}.get(colour)
    if data[12:16] != b"IHDR" or mode is None:
        raise Unreadable("corrupt", f"PNG of colour type {colour}")
    return Picture(
        "png", width, height, mode, depth, max(frames, 1), orientation, has_alpha=alpha, icc=icc
    )


def _unpack_profile(chunk: bytes) -> bytes | None:
    """The profile of an iCCP chunk: name, a zero, method 0, then zlib; None when it is broken."""
    _, _, packed = chunk.partition(b"\0")
    unpack = zlib.decompressobj()
    try:
        profile = unpack.decompress(packed[1:], _MAX_PROFILE)
    except zlib.error:
        return None
    return profile if unpack.eof else None


def _read_webp(data: bytes) -> Picture:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise Unreadable("truncated", f"WebP of {end} bytes, {len(data)} are here")
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Picture("webp", width & 0x3FFF, height & 0x3FFF, "rgb")
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        width, height, alpha = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
        return Picture("webp", width, height, "rgb", has_alpha=alpha)
    if kind == b"VP8X":
        return _read_extended_webp(data, end)
    raise Unreadable("corrupt", f"WebP that starts with {kind!r}")


def _read_extended_webp(data: bytes, end: int) -> Picture:
    flags = data[20]
    width = int.from_bytes(data[24:27], "little") + 1
    height = int.from_bytes(data[27:30], "little") + 1
    place, frames, orientation, icc = 30, 0, 1, None
    while place + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, place)
        if kind == b"ANMF":
            frames += 1
        elif kind == b"EXIF":
            orientation = tiff.exif_orientation(data[place + 8 : place + 8 + length])
        elif kind == b"ICCP" and length <= _MAX_PROFILE:
            icc = data[place + 8 : place + 8 + length]
        place += 8 + length + length % 2
    return Picture(
        "webp",
        width,
        height,
        "rgb",
        frames=max(frames, 1),
        orientation=orientation,
        has_alpha=bool(flags & 0x10),
        icc=icc,
    )


def _read_gif(data: bytes) -> Picture:
    width, height = struct.unpack_from("<HH", data, 6)
    first, alpha, frames = None, False, 0
    for kind, start, end in gif_blocks(data):
        if kind == b",":
            frames += 1
            first = first or struct.unpack_from("<HHHH", data, start + 1)
        elif first is None and data[start + 1] == 0xF9 and end - start > 4:
            alpha = bool(data[start + 3] & 1)
    if first is None:
        raise Unreadable("truncated", "GIF ends before its first picture does")
    left, upper, right, lower = first[0], first[1], first[0] + first[2], first[1] + first[3]
    if right == left or lower == upper:
        raise Unreadable("corrupt", "the first frame of the GIF is empty")
    canvas = max(width, right), max(height, lower)  # frames may be larger than the screen
    box = None if (left, upper, right, lower) == (0, 0, *canvas) else (left, upper, right, lower)
    has_alpha = alpha or box is not None
    return Picture("gif", *canvas, "palette", frames=frames, has_alpha=has_alpha, box=box)


def gif_blocks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """First byte, place and end of each whole block of a GIF: `,` is a frame, `!` an extension.

    Ends at the trailer, or where the bytes end: what lies behind the first frame is not needed.
    """
    place = gif_screen_end(data)
    while place < len(data) and data[place] in b",!":
        start, kind = place, data[place : place + 1]
        place += 2
        if kind == b"," and start + 9 < len(data):
            place = _after_colours(data, start + 9, start + 10) + 1
        while place < len(data) and data[place]:
            place += data[place] + 1
        if place >= len(data):
            return
        place += 1
        yield kind, start, place


def gif_screen_end(data: bytes) -> int:
    """Where the blocks of a GIF start: after its signature, its screen and the screen's colours."""
    return _after_colours(data, 10, 13)


def _after_colours(data: bytes, flags: int, start: int) -> int:
    """The end of the colour table that starts at `start` if the byte at `flags` announces one."""
    return start + (3 << (data[flags] & 7) + 1 if data[flags] & 0x80 else 0)


def _read_bmp(data: bytes) -> Picture:
    size = struct.unpack_from("<I", data, 14)[0]
    alpha = False
    if size == 12:
        width, height, _, depth = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, depth, packing = struct.unpack_from("<iiHHI", data, 18)
        if size >= 56 and depth == 32 and packing == 3:
            masks = struct.unpack_from("<IIII", data, 54)
            alpha = masks[3] != 0 or not any(masks)
    mode = "palette" if depth <= 8 else "rgb"
    channel = depth if depth <= 8 else 8 if depth >= 24 else 5
    return Picture("bmp", width, abs(height), mode, channel, has_alpha=alpha)


def _read_tiff(data: bytes) -> Picture:
    tags = tiff.first_directory(data)
    samples = tags.number(tiff.SAMPLES, 1)
    photometric = tags.number(tiff.PHOTOMETRIC, 0)
    mode = {0: "grey", 1: "grey", 2: "rgb", 3: "palette", 5: "cmyk", 6: "rgb"}.get(photometric)
    if mode is None or samples > 6:
        raise Unreadable("unsupported", f"TIFF of kind {photometric} with {samples} samples")
    tile = tags.number(tiff.TILE_WIDTH, 1) * tags.number(tiff.TILE_HEIGHT, 1)
    if tile > MAX_PIXELS:
        raise Unreadable("too_many_pixels", f"{tile} pixels in a tile, limit {MAX_PIXELS}")
    place, length = tags.places.get(tiff.ICC_PROFILE, (0, 0))
    return Picture(
        "tiff",
        tags.number(tiff.WIDTH, 0),
        tags.number(tiff.HEIGHT, 0),
        mode,
        tags.number(tiff.BITS, 1),
        tiff.count_directories(data),
        tags.orientation,
        has_alpha=bool({1, 2} & set(tags.numbers.get(tiff.EXTRA_SAMPLES, ()))),
        icc=data[place : place + length] if 0 < length <= _MAX_PROFILE else None,
    )


def _read_avif(data: bytes) -> Picture:
    image = pillow.opened(data, "avif")
    return Picture(
        "avif",
        *image.size,
        "grey" if image.mode.startswith("L") else "rgb",
        frames=getattr(image, "n_frames", 1),
        orientation=tiff.exif_orientation(image.info.get("exif", b"")),
        has_alpha=image.mode.endswith("A"),
        icc=image.info.get("icc_profile"),
    )


_READERS: dict[str, Callable[[bytes], Picture]] = {
    "jpeg": _read_jpeg,
    "png": _read_png,
    "webp": _read_webp,
    "gif": _read_gif,
    "bmp": _read_bmp,
    "tiff": _read_tiff,
    "avif": _read_avif,
}
