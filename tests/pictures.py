"""Makes pictures of every kind in code, sound and broken, for the tests of all parts.

The same arguments give the same bytes with the same version of Pillow. Sizes are (width, height).
"""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageCms

Size = tuple[int, int]
HTML = b"<!DOCTYPE html>\n<html><head><title>404</title></head><body>Not found</body></html>\n"
ORIENTATION, GPS, MAKER = 0x0112, 0x8825, "a camera of somebody"
D50 = (0.9642, 1.0, 0.8249)
_SRGB_PRIMARIES = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))


def photo(seed: int = 0, size: Size = (96, 64)) -> np.ndarray:
    """Smooth shapes, edges and some grain: uint8 [H, W, 3] that compresses like a photograph."""
    width, height = size
    dice = np.random.default_rng(seed)
    coarse = Image.fromarray(dice.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)).astype(np.int16)
    rows, columns = np.mgrid[0:height, 0:width]
    for _ in range(3):
        x, y, radius = dice.random(3) * (width, height, min(size) / 3 + 1)
        inside = (columns - x) ** 2 + (rows - y) ** 2 < radius**2
        pixels[inside] += dice.integers(-90, 90, 3, dtype=np.int16)
    pixels += dice.integers(-6, 7, pixels.shape, dtype=np.int16)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def image(seed: int = 0, size: Size = (96, 64), mode: str = "RGB") -> Image.Image:
    """The photo as a Pillow image; alpha, where the mode has one, rises from left to right."""
    picture = Image.fromarray(photo(seed, size))
    if mode in ("RGBA", "LA"):
        ramp = np.linspace(0, 255, size[0]).astype(np.uint8)[None, :].repeat(size[1], axis=0)
        picture.putalpha(Image.fromarray(ramp))
    if mode == "P":
        return picture.quantize(32)
    return picture.convert(mode)


def saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    """The bytes that Pillow writes."""
    buffer = BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def jpeg(seed: int = 0, size: Size = (96, 64), mode: str = "RGB", **options: Any) -> bytes:
    """A JPEG file; options are those of Pillow's writer."""
    return saved(image(seed, size, mode), "JPEG", **options)


def exif(orientation: int = 1, *, gps: bool = False) -> bytes:
    """An EXIF block with an orientation, a maker and, if wanted, a place on earth."""
    block = Image.Exif()
    block[ORIENTATION] = orientation
    block[0x010F] = MAKER
    if gps:
        block.get_ifd(GPS).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    return block.tobytes()


def turned_jpeg(orientation: int, seed: int = 0, size: Size = (96, 64)) -> bytes:
    """A JPEG whose EXIF asks a viewer to turn it; `size` is the stored one."""
    return jpeg(seed, size, exif=exif(orientation, gps=True), quality=90)


def cmyk_jpeg(seed: int = 0, size: Size = (96, 64), **options: Any) -> bytes:
    """A CMYK JPEG with Adobe's marker and Adobe's inverted inks."""
    return jpeg(seed, size, "CMYK", **options)


def png(seed: int = 0, size: Size = (96, 64), mode: str = "RGB", **options: Any) -> bytes:
    """A PNG file of mode RGB, RGBA, L, LA, P or 1."""
    return saved(image(seed, size, mode), "PNG", **options)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file with its checksum."""
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png_of(header: bytes, *chunks: bytes) -> bytes:
    """A PNG from the content of its IHDR chunk and whole further chunks."""
    return b"\x89PNG\r\n\x1a\n" + b"".join([chunk(b"IHDR", header), *chunks, chunk(b"IEND", b"")])


def png16(values: np.ndarray) -> bytes:
    """A 16-bit PNG of uint16 [H, W] or [H, W, channels] with 1 to 4 channels, without filters."""
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[1 if values.ndim == 2 else values.shape[2]]
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return png_of(header, chunk(b"IDAT", zlib.compress(rows)))


def bomb_png(width: int = 60_000, height: int = 60_000) -> bytes:
    """A small file that promises a huge picture and would unpack to it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return png_of(header, chunk(b"IDAT", zlib.compress(bytes(1_000_000))))


def animated(format: str, frames: int = 3, size: Size = (48, 32)) -> bytes:
    """A GIF, WebP, PNG or AVIF with several frames, each another photo."""
    pictures = [image(seed, size) for seed in range(frames)]
    return saved(
        pictures[0], format, save_all=True, append_images=pictures[1:], duration=100, loop=0
    )


def profile(gamma: float = 1.0, *, swapped: bool = False) -> bytes:
    """A version 2 ICC display profile: sRGB's primaries with a plain gamma, or red and blue
    swapped.
    """
    primaries = _SRGB_PRIMARIES[::-1] if swapped else _SRGB_PRIMARIES
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = [(b"desc", b"desc" + bytes(4) + struct.pack(">I", 2) + b"x" + bytes(79))]
    tags += [(b"cprt", b"text" + bytes(4) + b"none\0\0\0\0"), (b"wtpt", _xyz(D50))]
    tags += [(c + b"XYZ", _xyz(p)) for c, p in zip((b"r", b"g", b"b"), primaries, strict=True)]
    tags += [(c + b"TRC", curve) for c in (b"r", b"g", b"b")]
    return _profile(b"RGB ", tags)


def grey_profile(gamma: float) -> bytes:
    """An ICC profile for pictures of one channel."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = [(b"desc", b"desc" + bytes(4) + struct.pack(">I", 2) + b"x" + bytes(79))]
    tags += [(b"cprt", b"text" + bytes(4) + b"none\0\0\0\0"), (b"wtpt", _xyz(D50))]
    return _profile(b"GRAY", [*tags, (b"kTRC", curve)])


def cmyk_profile(paper: int) -> bytes:
    """A profile for four inks in which no ink has the lightness `paper` (of 100) and any is black.

    ICC.1:2001, lut8Type: a table of two steps per ink between curves that change nothing.
    """
    curve = bytes(range(256))
    table = bytes((round(paper * 2.55), 128, 128)) + bytes((0, 128, 128)) * 15
    matrix = b"".join(struct.pack(">i", 65536 * v) for v in (1, 0, 0, 0, 1, 0, 0, 0, 1))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + matrix + curve * 4 + table + curve * 3
    tags = [(b"desc", b"desc" + bytes(4) + struct.pack(">I", 2) + b"x" + bytes(79))]
    tags += [(b"cprt", b"text" + bytes(4) + b"none\0\0\0\0"), (b"wtpt", _xyz(D50))]
    tags += [(b"A2B0", lut), (b"A2B1", lut)]
    return _profile(b"CMYK", tags, kind=b"prtr", connection=b"Lab ")


def srgb_profile() -> bytes:
    """The sRGB profile of LittleCMS."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _xyz(value: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(v * 65536)) for v in value)


def _profile(
    space: bytes,
    tags: list[tuple[bytes, bytes]],
    kind: bytes = b"mntr",
    connection: bytes = b"XYZ ",
) -> bytes:
    place, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags:
        content += bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, place + len(body), len(content))
        body += content
    size = place + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"none", 0x02400000, kind, space, connection)
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _xyz(D50)[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def every_kind() -> dict[str, bytes]:
    """One sound file of each kind that is read, by a name that starts with its format."""
    grey16 = np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 21
    ramp = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
    kinds = {
        "jpeg": jpeg(),
        "jpeg progressive": jpeg(progressive=True),
        "jpeg grey": jpeg(mode="L"),
        "jpeg cmyk": cmyk_jpeg(),
        "jpeg 4:4:4": jpeg(subsampling="4:4:4"),
        "jpeg 4:2:2": jpeg(subsampling="4:2:2"),
        "jpeg restart": jpeg(restart_marker_blocks=3),
        "jpeg rgb": jpeg(keep_rgb=True),
        "jpeg icc": jpeg(icc_profile=profile(1.0)),
        "jpeg turned": turned_jpeg(6),
        "png": png(),
        "png alpha": png(mode="RGBA"),
        "png grey": png(mode="L"),
        "png grey alpha": png(mode="LA"),
        "png palette": png(mode="P"),
        "png palette alpha": png(mode="P", transparency=bytes(range(0, 256, 8))),
        "png one bit": png(mode="1"),
        "png 16 grey": png16(grey16),
        "png 16 rgb": png16(np.stack([grey16] * 3, axis=-1)),
        "png icc": png(icc_profile=profile(1.0)),
        "png animated": animated("PNG"),
        "webp": saved(image(), "WEBP"),
        "webp lossless": saved(image(), "WEBP", lossless=True),
        "webp alpha": saved(image(mode="RGBA"), "WEBP"),
        "webp animated": animated("WEBP"),
        "webp turned": saved(image(), "WEBP", exif=exif(8)),
        "gif": saved(image(mode="P"), "GIF"),
        "gif animated": animated("GIF"),
        "bmp": saved(image(), "BMP"),
        "bmp palette": saved(image(mode="P"), "BMP"),
        "bmp alpha": saved(image(mode="RGBA"), "BMP"),
        "tiff": saved(image(), "TIFF"),
        "tiff float": saved(Image.fromarray(ramp), "TIFF"),
        "tiff 16": saved(Image.fromarray(grey16), "TIFF"),
        "avif": saved(image(), "AVIF", quality=80, speed=10),
        "avif alpha": saved(image(mode="RGBA"), "AVIF", quality=80, speed=10),
    }
    for packing in ("tiff_lzw", "tiff_adobe_deflate", "jpeg"):
        kinds[f"tiff {packing}"] = saved(image(), "TIFF", compression=packing)
    kinds["tiff cmyk"] = saved(image(mode="CMYK"), "TIFF", compression="tiff_lzw")
    return kinds
