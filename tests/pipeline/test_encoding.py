"""Encoding: originals kept where they can be, everything else written the same way every time."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from pipeline.decoding import Unreadable, decode, read_header
from pipeline.encoding import MODES, encode, original, resize, strip_jpeg_metadata
from tests import pictures

KINDS = pictures.every_kind()
KEPT = {
    "jpeg",
    "jpeg progressive",
    "jpeg grey",
    "jpeg 4:4:4",
    "jpeg 4:2:2",
    "jpeg restart",
    "jpeg rgb",
}


def noise(first: np.ndarray, second: np.ndarray) -> float:
    """Peak signal to noise ratio in decibels."""
    return float(10 * np.log10(255**2 / np.mean((first.astype(float) - second) ** 2)))


@pytest.mark.parametrize("name", KINDS)
def test_originals_look_like_what_is_stored(name: str) -> None:
    header, pixels = read_header(KINDS[name]), decode(KINDS[name])
    data, extension = original(KINDS[name], header)
    written = read_header(data)
    assert (extension, written.format, written.orientation) == ("jpg", "jpeg", 1)
    assert (written.width, written.height) == (header.width, header.height)
    assert not written.has_icc
    assert original(KINDS[name], header) == (data, extension)
    if name in KEPT:
        assert data == strip_jpeg_metadata(KINDS[name])
        assert np.array_equal(decode(data), pixels)
    else:
        assert data != KINDS[name]
        assert noise(decode(data), pixels) > 30


def test_an_original_keeps_its_compressed_data_and_loses_its_place_on_earth() -> None:
    data = pictures.jpeg(exif=pictures.exif(1, gps=True), icc_profile=pictures.srgb_profile())
    kept, _ = original(data, read_header(data))
    assert data[data.index(b"\xff\xda") :] == kept[kept.index(b"\xff\xda") :]
    assert np.array_equal(decode(kept), decode(data))
    shown = Image.open(BytesIO(kept))
    assert not shown.getexif()
    assert "icc_profile" not in shown.info
    assert pictures.MAKER.encode() in data
    assert pictures.MAKER.encode() not in kept


def test_an_original_that_is_written_anew_has_no_metadata_either() -> None:
    data = pictures.turned_jpeg(6)
    written, _ = original(data, read_header(data))
    assert pictures.MAKER.encode() not in written
    assert strip_jpeg_metadata(written) == written


def test_a_damaged_original_is_refused() -> None:
    data = pictures.jpeg()
    with pytest.raises(Unreadable, match="truncated"):
        original(data[:-9], read_header(data[:-9]))


@pytest.mark.parametrize("format", ["jpg", "webp"])
def test_encoding_is_faithful_and_the_same_every_time(format: str) -> None:
    pixels = pictures.photo(3, (160, 120))
    sizes = []
    for quality, least in ((1, 15), (50, 26), (90, 33), (100, 35)):
        data = encode(pixels, format, quality)
        assert data == encode(pixels.copy(), format, quality)
        assert noise(decode(data), pixels) > least
        sizes.append(len(data))
    assert sizes == sorted(sizes)


def test_colour_is_kept_sharp_from_quality_90_on() -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, ::2, 0] = 255
    assert noise(decode(encode(pixels, "jpg", 90)), pixels) > 30
    assert noise(decode(encode(pixels, "jpg", 89)), pixels) < 20


def test_what_an_encoder_cannot_do_is_said() -> None:
    pixels = pictures.photo()
    for format, quality in (("png", 90), ("jpeg", 90), ("jpg", 0), ("webp", 101)):
        with pytest.raises(ValueError, match="no encoder"):
            encode(pixels, format, quality)
    for format, side in (("jpg", 65_501), ("webp", 16_384)):
        with pytest.raises(Unreadable, match="unsupported"):
            encode(np.zeros((1, side, 3), np.uint8), format, 90)
        assert encode(np.zeros((1, side - 1, 3), np.uint8), format, 90)


@pytest.mark.parametrize(
    ("mode", "enlarge", "small", "large"),
    [
        ("longest", False, (20, 30), (43, 64)),
        ("longest", True, (43, 64), (43, 64)),
        ("shortest", False, (20, 30), (64, 96)),
        ("shortest", True, (64, 96), (64, 96)),
        ("crop", False, (20, 20), (64, 64)),
        ("crop", True, (64, 64), (64, 64)),
        ("border", False, (64, 64), (64, 64)),
        ("border", True, (64, 64), (64, 64)),
    ],
)
def test_sizes(mode: str, enlarge: bool, small: tuple[int, int], large: tuple[int, int]) -> None:
    for pixels, expected in (
        (pictures.photo(1, (30, 20)), small),
        (pictures.photo(1, (300, 200)), large),
    ):
        resized = resize(pixels, 64, mode, enlarge=enlarge)
        assert resized.shape == (*expected, 3)
        assert resized.dtype == np.uint8
        assert resized.flags.c_contiguous


def test_a_picture_that_fits_is_left_alone() -> None:
    pixels = pictures.photo(1, (64, 40))
    assert np.array_equal(resize(pixels, 64), pixels)
    assert np.array_equal(resize(pixels, 40, "shortest"), pixels)


def test_crop_takes_the_middle_and_border_adds_white() -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 200
    assert resize(pixels, 10, "crop").min() == 200
    framed = resize(pixels, 40, "border")
    assert np.array_equal(framed[15:25, 5:35], pixels)
    assert framed[:15].min() == framed[25:].min() == framed[:, :5].min() == 255


def test_shrinking_averages() -> None:
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    inside = resize(stripes, 50)[5:-5, 5:-5]
    assert 120 < inside.min() <= inside.max() < 135


def test_slivers_keep_a_pixel() -> None:
    assert resize(np.zeros((2, 900, 3), np.uint8), 64).shape == (1, 64, 3)


def test_an_unknown_mode_is_refused_with_the_modes_there_are() -> None:
    with pytest.raises(ValueError, match=", ".join(MODES)):
        resize(pictures.photo(), 64, "stretch")
    with pytest.raises(ValueError, match="0"):
        resize(pictures.photo(), 0)
