"""Headers: what files say about themselves, and what is refused before a pixel is decoded."""

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.decoding import (
    EXTENSIONS,
    MAX_PIXELS,
    REASONS,
    Header,
    Unreadable,
    decode,
    read_header,
)
from pipeline.tiff import count_directories
from tests import pictures

KINDS = pictures.every_kind()


def reason(act: Callable[[], object]) -> str:
    with pytest.raises(Unreadable) as caught:
        act()
    assert caught.value.reason in REASONS
    assert str(caught.value).startswith(caught.value.reason)
    return caught.value.reason


def tiff_of(tags: dict[int, int], body: bytes = b"") -> bytes:
    """A little-endian TIFF of one directory whose tags are all LONG."""
    entries = b"".join(struct.pack("<HHII", t, 4, 1, v) for t, v in sorted(tags.items()))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + body


def bmp32(masks: tuple[int, int, int, int]) -> bytes:
    """A BMP of version 4 with four pixels and masks for red, green, blue and alpha."""
    head = struct.pack("<IiiHHIIiiII4I", 108, 2, -2, 1, 32, 3, 16, 0, 0, 0, 0, *masks)
    head = head.ljust(108, b"\0")
    pixels = bytes((255, 0, 0, 255)) * 2 + bytes((0, 0, 255, 0)) * 2
    return b"BM" + struct.pack("<IHHI", 14 + 108 + 16, 0, 0, 14 + 108) + head + pixels


def test_a_header_has_all_that_filters_ask_for() -> None:
    data = pictures.turned_jpeg(6, size=(96, 64))
    expected = Header("jpeg", 64, 96, 1, 6, "rgb", 8, False, False, len(data))
    assert read_header(data) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("jpeg grey", ("grey", 8, False)),
        ("jpeg cmyk", ("cmyk", 8, False)),
        ("png", ("rgb", 8, False)),
        ("png alpha", ("rgb", 8, True)),
        ("png grey alpha", ("grey", 8, True)),
        ("png palette", ("palette", 8, False)),
        ("png palette alpha", ("palette", 8, True)),
        ("png one bit", ("grey", 1, False)),
        ("png 16 grey", ("grey", 16, False)),
        ("webp", ("rgb", 8, False)),
        ("webp alpha", ("rgb", 8, True)),
        ("webp lossless", ("rgb", 8, False)),
        ("gif", ("palette", 8, False)),
        ("bmp", ("rgb", 8, False)),
        ("bmp palette", ("palette", 8, False)),
        ("tiff float", ("grey", 32, False)),
        ("tiff 16", ("grey", 16, False)),
        ("tiff cmyk", ("cmyk", 8, False)),
        ("avif", ("rgb", 8, False)),
        ("avif alpha", ("rgb", 8, True)),
    ],
)
def test_mode_depth_and_alpha(name: str, expected: tuple[str, int, bool]) -> None:
    header = read_header(KINDS[name])
    assert (header.mode, header.bit_depth, header.has_alpha) == expected


def test_every_format_has_an_extension() -> None:
    assert {name.split()[0] for name in KINDS} == set(EXTENSIONS)
    assert {read_header(data).format for data in KINDS.values()} == set(EXTENSIONS)


def test_alpha_of_a_bmp() -> None:
    data = bmp32((0xFF0000, 0xFF00, 0xFF, 0xFF000000))
    assert read_header(data).has_alpha
    assert decode(data).tolist() == [[[0, 0, 255]] * 2, [[255, 255, 255]] * 2]
    assert not read_header(bmp32((0xFF0000, 0xFF00, 0xFF, 0))).has_alpha


def test_nothing_and_what_is_no_image() -> None:
    assert reason(lambda: decode(b"")) == "empty"
    for data in (pictures.HTML, b"\0", b"GIF", b"{}", b"BM is not always a bitmap", bytes(5000)):
        assert reason(lambda data=data: read_header(data)) == "not_an_image"
        assert reason(lambda data=data: decode(data)) == "not_an_image"


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
        b"\0\0\0\x18ftypisom\0\0\0\0mp41isom" + bytes(100),
        b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100),
        b"\xff\x0a" + bytes(100),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"II+\0\x08\0\0\0" + bytes(100),
        pictures.jpeg().replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),  # 12 bits
        pictures.jpeg().replace(b"\xff\xc0\0\x11\x08", b"\xff\xc9\0\x11\x08"),  # arithmetic
        pictures.jpeg().replace(b"\x08\0\x40\0\x60", b"\x08\0\0\0\x60"),  # height comes later
        tiff_of({256: 10, 257: 10, 262: 8, 277: 3}),  # L*a*b*
        tiff_of({256: 10, 257: 10, 262: 2, 277: 200}),
    ],
)
def test_images_of_other_kinds_are_unsupported(data: bytes) -> None:
    assert reason(lambda: decode(data)) == "unsupported"


@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG"])
def test_the_limit_of_pixels_holds_from_the_header_on(format: str) -> None:
    data = pictures.saved(pictures.image(size=(96, 64)), format)
    assert decode(data, max_pixels=96 * 64).shape == (64, 96, 3)
    for act in (read_header, lambda d, max_pixels: decode(d, None, max_pixels)):
        assert reason(lambda act=act: act(data, max_pixels=96 * 64 - 1)) == "too_many_pixels"


@pytest.mark.parametrize("limit", [0, -1, MAX_PIXELS + 1])
def test_the_limit_has_limits(limit: int) -> None:
    with pytest.raises(ValueError, match="max_pixels"):
        read_header(pictures.jpeg(), max_pixels=limit)


BOMBS = {
    "png": pictures.bomb_png(),
    "png tall": pictures.bomb_png(1, 4_000_000_000),
    "gif screen": KINDS["gif"][:6] + b"\xff\xff\xff\xff" + KINDS["gif"][10:],
    "bmp": KINDS["bmp"][:18] + struct.pack("<ii", 65_000, -65_000) + KINDS["bmp"][26:],
    "tiff": tiff_of({256: 1 << 31, 257: 1 << 31, 262: 1}),
    "tiff tile": tiff_of({256: 10, 257: 10, 262: 1, 322: 65_536, 323: 65_536}),
    "webp": b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff" * 6,
    "jpeg": pictures.jpeg().replace(b"\x08\0\x40\0\x60", b"\x08\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_picture_that_promises_too_much_is_not_unpacked(name: str) -> None:
    assert reason(lambda: decode(BOMBS[name])) == "too_many_pixels"


def packed_bomb(kind: bytes, prefix: bytes) -> bytes:
    """A sound PNG with a chunk that unpacks to 60 MB."""
    packer = zlib.compressobj(1)
    body = b"".join(packer.compress(bytes(1_000_000)) for _ in range(60)) + packer.flush()
    data = pictures.png()
    return data[:33] + pictures.chunk(kind, prefix + body) + data[33:]


@pytest.mark.parametrize(
    ("kind", "prefix"),
    [(b"iCCP", b"name\0\0"), (b"zTXt", b"name\0\0"), (b"iTXt", b"name\0\1\0\0\0")],
)
def test_packed_texts_and_profiles_are_not_unpacked(kind: bytes, prefix: bytes) -> None:
    data = packed_bomb(kind, prefix)
    assert not read_header(data).has_icc
    assert np.array_equal(decode(data), pictures.photo())


def test_bombs_cost_no_memory() -> None:
    code = """
import resource
from tests.pipeline.test_headers import BOMBS, packed_bomb
from pipeline.decoding import Unreadable, decode
bombs = [*BOMBS.values(), packed_bomb(b"zTXt", b"name\\0\\0"), packed_bomb(b"iCCP", b"name\\0\\0")]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for data in bombs:
    try:
        decode(data)
    except Unreadable:
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    command, root = [sys.executable, "-c", code], Path(__file__).parents[2]
    grown = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert int(grown.stdout) < 30_000  # KiB


def test_a_comment_of_megabytes_costs_no_time() -> None:
    comment = b"!\xfe" + (b"\xff" + b"x" * 255) * 40_000 + b"\0"
    data = KINDS["gif"]
    place = data.index(b",\0\0\0\0")
    assert np.array_equal(decode(data[:place] + comment + data[place:]), decode(data))


def test_a_jpeg_of_a_thousand_scans_is_refused() -> None:
    data = KINDS["jpeg progressive"]
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert reason(lambda: decode(data[:-2] + scan * 1000 + data[-2:])) == "unsupported"


def test_chained_directories_that_form_a_ring_are_counted_once() -> None:
    data = bytearray(tiff_of({256: 1, 257: 1}))
    data[-4:] = b"\x08\0\0\0"
    assert count_directories(bytes(data)) == 1
    assert count_directories(bytes(data[:-3])) == 1


def test_a_wrong_checksum_in_a_png_is_found() -> None:
    data = bytearray(pictures.png())
    data[data.index(b"IDAT") + 500] ^= 1
    assert reason(lambda: decode(bytes(data))) == "corrupt"


def test_a_palette_picture_without_palette_is_corrupt() -> None:
    data = KINDS["png palette"]
    start, end = data.index(b"PLTE") - 4, data.index(b"IDAT") - 4
    assert reason(lambda: decode(data[:start] + data[end:])) == "corrupt"


def test_a_picture_without_pixels_is_corrupt() -> None:
    header = struct.pack(">IIBBBBB", 0, 10, 8, 2, 0, 0, 0)
    assert reason(lambda: decode(pictures.png_of(header))) == "corrupt"
    assert reason(lambda: decode(tiff_of({262: 1}))) == "corrupt"


def test_extremes_are_read() -> None:
    line = np.zeros((1, 20_000, 3), np.uint8)
    for format in ("PNG", "JPEG", "TIFF"):
        assert decode(pictures.saved(Image.fromarray(line), format)).shape == line.shape
