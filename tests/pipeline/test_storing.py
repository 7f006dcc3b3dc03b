"""Storing: bytes kept where they can be, else the right picture in exactly the right size."""

import pickle
from dataclasses import FrozenInstanceError
from fractions import Fraction
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from pipeline.aspect import resized
from pipeline.decoding import EXTENSIONS, MAX_PIXELS, Pixels, Unreadable, decode, read_header
from pipeline.encoding import encode
from pipeline.storing import Format, Store, stored
from tests import pictures

KINDS = pictures.every_kind()
FORMATS: tuple[Format, ...] = ("original", "jpg", "webp")
FULL, HALF = 0, 2  # as Pillow calls 4:4:4 and 4:2:0
ENCODED = {"jpg": "jpeg", "webp": "webp"}


def noise(first: np.ndarray, second: np.ndarray) -> float:
    """Peak signal to noise ratio in decibels."""
    return float(10 * np.log10(255**2 / np.mean((first.astype(float) - second) ** 2 + 1e-9)))


def as_it_should_be(data: bytes, size: tuple[int, int]) -> Pixels:
    """The whole picture, then each pixel the average of its area."""
    return np.asarray(Image.fromarray(decode(data)).resize(size, Image.Resampling.HAMMING))


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_keeps_its_bytes_where_nothing_has_to_change(name: str) -> None:
    data = KINDS[name]
    header = read_header(data)
    own, longest = EXTENSIONS[header.format], max(header.width, header.height)
    for store in (Store(), Store(longest), Store(5000, quality=1)):
        kept, extension = stored(data, store, MAX_PIXELS)
        assert kept is data
        assert extension == own
    if own in FORMATS:
        assert stored(data, Store(longest, own), MAX_PIXELS) == (data, own)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("max_side", [12, 20, 29])
def test_every_kind_is_made_smaller(name: str, format: Format, max_side: int) -> None:
    data, store = KINDS[name], Store(max_side, format, 95)
    before = read_header(data)
    small, extension = stored(data, store, MAX_PIXELS)
    kept_format = "webp" if before.format == "webp" else "jpg"
    assert extension == (kept_format if format == "original" else format)
    header, pixels = read_header(small), decode(small)
    size = resized(before.width, before.height, max_side, "longest").scaled
    assert (header.width, header.height) == size
    assert max(size) == max_side
    assert (header.format, header.orientation) == (ENCODED[extension], 1)
    assert not header.has_icc
    assert not header.has_alpha
    assert header.frames == 1
    if name != "png one bit":  # dots, of which each way to average makes another grey
        expected = as_it_should_be(data, size).mean(axis=2)  # WebP halves the size of colour
        assert noise(pixels.mean(axis=2), expected) > 22
    assert stored(small, store, MAX_PIXELS) == (small, extension)
    assert stored(data, store, MAX_PIXELS) == (small, extension)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("format", ["jpg", "webp"])
def test_another_format_is_the_whole_picture_encoded(name: str, format: Format) -> None:
    data = KINDS[name]
    if read_header(data).format == ENCODED[format]:
        return
    expected = encode(decode(data), format, 80), format
    assert stored(data, Store(None, format, 80), MAX_PIXELS) == expected
    assert stored(data, Store(5000, format, 80), MAX_PIXELS) == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_when_pixels_are_encoded_and_left_otherwise(
    orientation: int,
) -> None:
    data = pictures.turned_jpeg(orientation, 3, (400, 240))
    assert stored(data, Store(400), MAX_PIXELS)[0] is data
    small, _ = stored(data, Store(100, quality=95), MAX_PIXELS)
    header = read_header(small)
    assert (header.width, header.height) == ((100, 60) if orientation < 5 else (60, 100))
    assert header.orientation == 1
    assert pictures.MAKER.encode() not in small
    assert noise(decode(small), as_it_should_be(data, (header.width, header.height))) > 30


@pytest.mark.parametrize("factor", [1.1, 1.6, 2, 2.7, 4, 6.3, 9, 23])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_how_much_smaller_makes_no_difference(factor: float, format: str) -> None:
    side = round(60 * factor)
    data = pictures.saved(pictures.image(4, (side, round(side * 0.71))), format, quality=95)
    small, _ = stored(data, Store(60, "jpg", 95), MAX_PIXELS)
    pixels = decode(small)
    assert pixels.shape[1] == 60
    assert noise(pixels, as_it_should_be(data, (60, pixels.shape[0]))) > 28


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1, 1), (1, 1)),
        ((1, 33), (1, 32)),
        ((900, 1), (32, 1)),
        ((3, 2000), (1, 32)),
        ((2000, 30), (32, 1)),
        ((33, 33), (32, 32)),
        ((1001, 997), (32, 32)),
        ((64, 48), (32, 24)),
        ((65, 49), (32, 24)),
    ],
)
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_sizes(format: str, size: tuple[int, int], expected: tuple[int, int]) -> None:
    data = pictures.saved(pictures.image(1, size), format)
    small, _ = stored(data, Store(32, "jpg"), MAX_PIXELS)
    header = read_header(small)
    assert (header.width, header.height) == expected
    assert decode(small).shape == (expected[1], expected[0], 3)


def test_a_side_of_one_pixel_is_the_least() -> None:
    small, _ = stored(pictures.jpeg(), Store(1), MAX_PIXELS)
    assert decode(small).shape == (1, 1, 3)


def axis(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two old places that each new one lies between, and the share of the second in 256."""
    places = [Fraction(2 * n + 1, 2) * old / new - Fraction(1, 2) for n in range(new)]
    first = np.array([place.numerator // place.denominator for place in places])
    shares = [round((place - int(f)) * 256) for place, f in zip(places, first, strict=True)]
    return np.clip(first, 0, old - 1), np.clip(first + 1, 0, old - 1), np.array(shares)


def in_whole_numbers(pixels: Pixels, width: int, height: int) -> Pixels:
    """Bilinear interpolation, slow and plain."""
    wide = pixels.astype(np.int64)
    first, second, share = axis(pixels.shape[1], width)
    across = wide[:, first] * (256 - share[:, None]) + wide[:, second] * share[:, None]
    first, second, share = axis(pixels.shape[0], height)
    share = share[:, None, None]
    down = across[first] * (256 - share) + across[second] * share
    return np.asarray((down + (1 << 15)) >> 16, np.uint8)


@pytest.mark.parametrize(
    "size", [(401, 300), (513, 700), (300, 127), (240, 180), (251, 66), (119, 90)]
)
def test_pixels_are_counted_in_whole_numbers_and_so_are_the_same_everywhere(
    size: tuple[int, int],
) -> None:
    data = pictures.png(5, size)
    width, height = resized(*size, 60, "longest").scaled
    pixels = decode(data, min(width, height))
    if max(pixels.shape[:2]) >= 2 * max(width, height):
        pixels = in_whole_numbers(pixels, 2 * width, 2 * height)
    expected = encode(in_whole_numbers(pixels, width, height), "jpg", 90)
    assert stored(data, Store(60, "jpg"), MAX_PIXELS) == (expected, "jpg")


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        (Store(60, "jpg", 95), FULL),
        (Store(60, "jpg", 89), HALF),
        (Store(60, "jpg", 95, "half"), HALF),
        (Store(None, "jpg", 95, "half"), HALF),
        (Store(60, "jpg", 20, "full"), FULL),
        (Store(60, "original", 95, "half"), HALF),
    ],
)
def test_colour_of_a_jpeg_has_the_resolution_that_is_asked_for(store: Store, expected: int) -> None:
    kind = "JPEG" if store.format == "original" else "PNG"
    small, _ = stored(pictures.saved(pictures.image(2, (120, 90)), kind), store, MAX_PIXELS)
    assert JpegImagePlugin.get_sampling(Image.open(BytesIO(small))) == expected


def test_colours_are_srgb_and_what_is_transparent_is_white() -> None:
    inks = Image.new("CMYK", (90, 60), (0, 255, 255, 0))
    small, _ = stored(pictures.saved(inks, "JPEG"), Store(30), MAX_PIXELS)
    assert decode(small)[10, 15].argmax() == 0
    assert read_header(small).mode == "rgb"
    swapped = pictures.profile(2.2, swapped=True)
    red = pictures.saved(Image.new("RGB", (90, 60), (255, 0, 0)), "PNG", icc_profile=swapped)
    assert decode(stored(red, Store(30), MAX_PIXELS)[0])[10, 15].argmax() == 2
    clear = pictures.saved(Image.new("RGBA", (90, 60), (9, 9, 9, 0)), "PNG")
    for store in (Store(30), Store(None, "webp"), Store(None, "jpg")):
        assert decode(stored(clear, store, MAX_PIXELS)[0]).min() >= 250


def test_metadata_goes_with_the_old_bytes() -> None:
    data = pictures.jpeg(exif=pictures.exif(1, gps=True), icc_profile=pictures.srgb_profile())
    small = stored(data, Store(40), MAX_PIXELS)[0]
    assert pictures.MAKER.encode() not in small
    assert not Image.open(BytesIO(small)).getexif()


@pytest.mark.parametrize("store", [Store(), Store(32), Store(None, "webp")])
def test_what_is_no_picture_or_too_large_is_refused(store: Store) -> None:
    for data, reason in (
        (b"", "empty"),
        (pictures.HTML, "not_an_image"),
        (pictures.bomb_png(), "too_many_pixels"),
        (pictures.jpeg()[:30], "truncated"),
    ):
        with pytest.raises(Unreadable) as caught:
            stored(data, store, MAX_PIXELS)
        assert caught.value.reason == reason
    data = pictures.jpeg(size=(96, 64))
    assert stored(data, store, 96 * 64)[0]
    with pytest.raises(Unreadable, match="too_many_pixels"):
        stored(data, store, 96 * 64 - 1)


@pytest.mark.parametrize("name", ["jpeg", "jpeg progressive", "png", "webp lossless", "gif"])
def test_damage_behind_the_header_is_found_when_pixels_are_needed(name: str) -> None:
    data = KINDS[name][: len(KINDS[name]) * 3 // 4]
    with pytest.raises(Unreadable, match="truncated"):
        stored(data, Store(20), MAX_PIXELS)
    if name.startswith("jpeg"):  # the header of other formats is refused
        assert stored(data, Store(), MAX_PIXELS) == (data, "jpg")


def test_a_picture_too_long_for_the_format_is_refused() -> None:
    data = pictures.png(size=(16_400, 1))
    with pytest.raises(Unreadable, match="unsupported"):
        stored(data, Store(None, "webp"), MAX_PIXELS)
    assert stored(data, Store(None, "jpg"), MAX_PIXELS)[1] == "jpg"
    assert stored(data, Store(16_000, "webp"), MAX_PIXELS)[1] == "webp"


def test_quality_is_that_of_new_bytes() -> None:
    data = pictures.jpeg(2, (600, 400), quality=95)
    sizes = [len(stored(data, Store(200, "jpg", q), MAX_PIXELS)[0]) for q in (1, 50, 90, 100)]
    assert sizes == sorted(set(sizes))


def test_a_store_is_a_value() -> None:
    store = Store(256, "webp", 80)
    assert pickle.loads(pickle.dumps(store)) == store
    assert len({store, Store(256, "webp", 80), Store()}) == 2
    with pytest.raises(FrozenInstanceError):
        store.max_side = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"max_side": 0}, "max_side is 0"),
        ({"max_side": -5}, "max_side is -5"),
        ({"format": "png"}, "original, jpg, webp"),
        ({"format": "jpeg"}, "original, jpg, webp"),
        ({"quality": 0}, "between 1 and 100"),
        ({"quality": 101}, "between 1 and 100"),
        ({"colour": "quarter"}, "full, half"),
        ({"format": "webp", "colour": "full"}, "which no webp has"),
    ],
)
def test_what_can_not_be_meant_is_refused(fields: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Store(**fields)  # type: ignore[arg-type]
