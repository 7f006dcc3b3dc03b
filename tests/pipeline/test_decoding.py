"""Pixels: right for every kind of picture, and the same as Pillow's where Pillow is right."""

import base64
import hashlib
import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from pipeline.decoding import Unreadable, decode, is_srgb, read_header
from tests import pictures

KINDS = pictures.every_kind()
GOLDEN = json.loads((Path(__file__).parent / "golden" / "pictures.json").read_text())


def pillow_rgb(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


def distance(first: np.ndarray, second: np.ndarray) -> int:
    return int(np.abs(first.astype(np.int16) - second.astype(np.int16)).max())


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """What transparency over white is by definition, in floats."""
    share = alpha.astype(float)[..., None] / 255
    return np.rint(colours * share + 255 * (1 - share))


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_gives_pixels_of_the_size_its_header_says(name: str) -> None:
    header, pixels = read_header(KINDS[name]), decode(KINDS[name])
    assert (pixels.dtype, pixels.shape) == (np.uint8, (header.height, header.width, 3))
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    assert name.startswith(header.format)
    assert np.array_equal(decode(KINDS[name]), pixels)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_pixels_are_those_of_this_decoder_version(name: str) -> None:
    data = base64.b64decode(GOLDEN[name]["file"])
    assert hashlib.sha256(decode(data).tobytes()).hexdigest() == GOLDEN[name]["whole"]
    assert hashlib.sha256(decode(data, 8).tobytes()).hexdigest() == GOLDEN[name]["at_least_8"]


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (17, 33), (65, 63), (301, 219)])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_whole_jpeg_has_the_pixels_that_pillow_gives(
    size: tuple[int, int], mode: str, progressive: bool
) -> None:
    variants = [{}, {"quality": 30}, {"restart_marker_blocks": 3}]
    if mode == "RGB":
        variants += [{"subsampling": s} for s in ("4:4:4", "4:2:2", "4:2:0")]
    for options in variants:
        data = pictures.jpeg(5, size, mode, progressive=progressive, **options)
        assert np.array_equal(decode(data), pillow_rgb(data))


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:2:2"])
def test_inks_sampled_in_a_rare_way_are_as_in_pillow(subsampling: str) -> None:
    data = pictures.cmyk_jpeg(1, (70, 50), subsampling=subsampling, exif=pictures.exif(1))
    with pytest.raises(ValueError, match="subsampling"):
        simplejpeg.decode_jpeg(data, "CMYK")
    assert np.array_equal(decode(data), pillow_rgb(data))
    assert decode(data, at_least=20).shape == (25, 35, 3)


def test_jpeg_stored_as_rgb_is_right() -> None:
    data = pictures.jpeg(keep_rgb=True, quality=95)
    assert np.array_equal(decode(data), pillow_rgb(data))
    assert distance(decode(data), pictures.photo()) < 30


def test_cmyk_white_is_white_and_black_is_black() -> None:
    pixels = np.zeros((16, 32, 4), np.uint8)
    pixels[:, 16:, 3] = 255
    data = pictures.saved(Image.fromarray(pixels, "CMYK"), "JPEG")
    assert decode(data)[:, :8].min() > 250
    assert decode(data)[:, 24:].max() < 5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied(format: str, orientation: int) -> None:
    picture, block = pictures.image(2, (40, 24)), pictures.exif(orientation)
    lossless = {"lossless": True} if format == "WEBP" else {}
    data = pictures.saved(picture, format, exif=block, **lossless)
    upright = ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB")
    header = read_header(data)
    assert header.orientation == orientation
    assert (header.width, header.height) == upright.size
    assert np.array_equal(decode(data), np.asarray(upright))
    assert decode(data, at_least=12).shape == (upright.height // 2, upright.width // 2, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_avif_is_applied(orientation: int) -> None:
    block = pictures.exif(orientation)
    data = pictures.saved(pictures.image(2, (40, 24)), "AVIF", exif=block, quality=100, speed=10)
    upright = ImageOps.exif_transpose(Image.open(BytesIO(data)))
    assert np.array_equal(decode(data), np.asarray(upright.convert("RGB")))
    assert read_header(data).orientation == orientation


def test_nonsense_orientations_are_upright() -> None:
    for value in (0, 9, 65535):
        data = pictures.jpeg(exif=pictures.exif(value))
        assert read_header(data).orientation == 1
        assert np.array_equal(decode(data), pillow_rgb(data))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_an_icc_profile_is_applied(format: str) -> None:
    exact = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    options = exact.get(format, {}) | ({"quality": 100, "speed": 10} if format == "AVIF" else {})
    picture = pictures.image(4)
    plain = decode(pictures.saved(picture, format, **options))
    tagged = pictures.saved(picture, format, icc_profile=pictures.profile(1.0), **options)
    linear = plain / 255
    gamma = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    assert read_header(tagged).has_icc
    assert not is_srgb(tagged)
    assert distance(decode(tagged), np.rint(gamma * 255)) <= 2


def test_swapped_primaries_swap_red_and_blue() -> None:
    red = Image.new("RGB", (16, 16), (255, 0, 0))
    swapped = pictures.profile(2.2, swapped=True)
    assert decode(pictures.saved(red, "PNG", icc_profile=swapped))[0, 0].argmax() == 2
    seen = decode(pictures.saved(red, "JPEG", icc_profile=swapped, quality=95))
    assert seen[0, 0].argmax() == 2


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_profiles_of_grey_pictures(mode: str) -> None:
    picture = Image.new("L", (8, 8), 64)
    if mode == "LA":
        picture.putalpha(255)
    for profile in (pictures.grey_profile(1.0), pictures.profile(1.0)):
        data = pictures.saved(picture, "PNG", icc_profile=profile)
        assert not is_srgb(data)
        assert distance(decode(data), np.full((8, 8, 3), 137)) <= 2


def test_a_cmyk_profile_decides_what_inks_look_like() -> None:
    inks = Image.new("CMYK", (16, 16), (64, 64, 64, 64))
    assert 135 < decode(pictures.saved(inks, "JPEG")).mean() < 150
    dark = pictures.cmyk_profile(paper=50)  # paper of L* = 50, darker with every ink
    assert 55 < decode(pictures.saved(inks, "JPEG", icc_profile=dark)).mean() < 80


@pytest.mark.parametrize(
    "profile",
    [pictures.srgb_profile(), b"no profile at all", pictures.profile(1.0)[:200], bytes(400)],
    ids=["srgb", "text", "cut", "zeros"],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_srgb_and_broken_profiles_change_nothing(profile: bytes, mode: str) -> None:
    tagged = pictures.jpeg(mode=mode, icc_profile=profile)
    assert np.array_equal(decode(tagged), decode(pictures.jpeg(mode=mode)))
    assert is_srgb(tagged)


def test_a_profile_for_other_pictures_changes_nothing() -> None:
    tagged = pictures.jpeg(icc_profile=pictures.grey_profile(1.0))
    assert np.array_equal(decode(tagged), decode(pictures.jpeg()))


def test_sixteen_bits_keep_their_upper_eight() -> None:
    values = np.linspace(0, 65535, 60 * 40).astype(np.uint16).reshape(40, 60)
    upper = (values >> 8).astype(np.uint8)
    tiff = pictures.saved(Image.fromarray(values), "TIFF")
    big_endian = pictures.saved(Image.fromarray(values.astype(">u2")), "TIFF")
    for data in (pictures.png16(values), tiff, big_endian):
        assert np.array_equal(decode(data), np.stack([upper] * 3, axis=-1))
    colours = np.stack([values, values[::-1], values[:, ::-1]], axis=-1)
    assert np.array_equal(decode(pictures.png16(colours)), colours >> 8)


def test_sixteen_bits_with_alpha() -> None:
    values = np.zeros((4, 4, 4), np.uint16)
    values[:2, :, 3] = 65535
    grey = values[:, :, 2:]
    for data in (pictures.png16(values), pictures.png16(grey)):
        assert read_header(data).has_alpha
        assert decode(data)[:2].max() == 0
        assert decode(data)[2:].min() == 255


def test_float_samples_run_from_zero_to_one() -> None:
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    data = pictures.saved(Image.fromarray(values), "TIFF")
    assert np.array_equal(decode(data)[:, :, 0].ravel(), np.arange(256))


@pytest.mark.parametrize("value", [-0.1, 1.5, 1e9, np.nan, np.inf])
def test_other_floats_and_long_integers_have_no_meaning(value: float) -> None:
    with pytest.raises(Unreadable, match="unsupported"):
        decode(pictures.saved(Image.fromarray(np.full((4, 4), value, np.float32)), "TIFF"))
    with pytest.raises(Unreadable, match="unsupported"):
        decode(pictures.saved(Image.new("I", (4, 4), 5), "TIFF"))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_transparency_lies_on_white(format: str, mode: str) -> None:
    picture = pictures.image(mode=mode)
    exact = {"lossless": True, "exact": True} if format == "WEBP" else {}
    data = pictures.saved(picture, format, **exact)
    full = np.asarray(picture.convert("RGBA"))
    assert read_header(data).has_alpha
    assert distance(decode(data), on_white(full[:, :, :3], full[:, :, 3])) <= 1


def test_one_transparent_colour() -> None:
    picture = Image.new("RGB", (6, 4), (10, 20, 30))
    picture.paste((200, 0, 0), (0, 0, 3, 4))
    for data in (
        pictures.saved(picture, "PNG", transparency=(10, 20, 30)),
        pictures.saved(picture.convert("L"), "PNG", transparency=18),
    ):
        assert read_header(data).has_alpha
        assert decode(data)[:, 3:].min() == 255
        assert decode(data)[:, :3, 1].max() < 100


def test_palettes_with_and_without_transparency() -> None:
    picture = pictures.image(mode="P")
    assert np.array_equal(decode(KINDS["png palette"]), np.asarray(picture.convert("RGB")))
    index = np.asarray(picture)
    for format in ("PNG", "GIF"):
        data = pictures.saved(picture, format, transparency=int(index[0, 0]))
        assert read_header(data).has_alpha
        assert decode(data)[0, 0].tolist() == [255, 255, 255]
    alphas = bytes(range(0, 256, 8))
    data = pictures.saved(picture, "PNG", transparency=alphas)
    expected = on_white(np.asarray(picture.convert("RGB")), np.frombuffer(alphas, np.uint8)[index])
    assert distance(decode(data), expected) <= 1


def test_one_bit_is_black_or_white() -> None:
    pixels = decode(KINDS["png one bit"])
    assert set(np.unique(pixels)) == {0, 255}
    assert np.array_equal(pixels, pillow_rgb(KINDS["png one bit"]))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "AVIF"])
def test_of_an_animation_the_first_frame_counts(format: str) -> None:
    data = pictures.animated(format, frames=4)
    assert read_header(data).frames == 4
    assert np.array_equal(decode(data), pillow_rgb(data))


def test_of_pages_the_first_counts() -> None:
    pages = [pictures.image(seed, (20, 10)) for seed in range(3)]
    data = pictures.saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert read_header(data).frames == 3
    assert np.array_equal(decode(data), pictures.photo(0, (20, 10)))


def test_what_the_first_frame_of_a_gif_leaves_open_is_white() -> None:
    data = bytearray(pictures.saved(Image.new("P", (8, 6), 0), "GIF"))
    data[6:10] = b"\x14\0\x0a\0"  # a screen of 20 x 10 around the frame of 8 x 6
    pixels = decode(bytes(data))
    assert pixels.shape == (10, 20, 3)
    assert pixels[:6, :8].max() == 0
    assert pixels[6:].min() == pixels[:, 8:].min() == 255


@pytest.mark.parametrize(
    ("at_least", "factor"),
    [(1, 8), (58, 8), (59, 4), (116, 4), (117, 2), (232, 2), (233, 1), (463, 1), (9999, 1)],
)
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_scaled_picture_keeps_enough_pixels(format: str, at_least: int, factor: int) -> None:
    data = pictures.saved(pictures.image(7, (701, 463)), format)
    pixels = decode(data, at_least=at_least)
    assert pixels.shape == (-(-463 // factor), -(-701 // factor), 3)
    averages = np.asarray(Image.fromarray(decode(data)).reduce(factor))
    assert np.abs(pixels.astype(float) - averages).mean() < 1.5
    assert np.array_equal(decode(data, at_least=at_least), pixels)


def test_small_pictures_can_be_asked_for_more() -> None:
    assert decode(pictures.jpeg(size=(1, 1)), at_least=1).shape == (1, 1, 3)
    assert decode(pictures.jpeg(size=(2, 300)), at_least=1).shape == (38, 1, 3)
