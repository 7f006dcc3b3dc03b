"""ImageStats: exact values of drawn pictures, and each measure's own claim."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.image import ImageStats, dominant_share, halved, is_grey, laplacian_variance

HEADER = SimpleNamespace(format="png", frames=1, size_bytes=12345)


def measure(*images, header=HEADER):
    return ImageStats()({"image": list(images), "header": [header] * len(images)})


def one(image):
    return {name: values[0] for name, values in measure(image).items()}


def ramp(height, width):
    """A grey picture that gets lighter to the right, from 0 to 255."""
    row = (np.arange(width) * 255 // max(1, width - 1)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (height, width, 3)))


def board(height, width, square):
    """A board of red and white squares."""
    rows, columns = np.indices((height, width)) // square
    picture = np.full((height, width, 3), 255, np.uint8)
    picture[(rows + columns) % 2 == 0] = (200, 0, 0)
    return picture


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


GOLDEN = {
    "ramp": (ramp(40, 256), [127.5, 8.0, 0.03125, 0.0625, True]),
    "board": (board(600, 900, 50), [157.5, 1.0, 3811.1057, 0.4608, False]),
    "flat": (np.full((300, 200, 3), (12, 200, 90), np.uint8), [131.0, 0.0, 0.0, 1.0, False]),
    "noise": (noise(64, 64), [128.74048, 7.602973, 50073.19, 0.0014648438, False]),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name):
    picture, expected = GOLDEN[name]
    row = one(picture)
    names = ["mean_luminance", "entropy", "laplacian_variance", "dominant_share", "is_grey"]
    assert [np.float32(row[n]) for n in names] == [np.float32(value) for value in expected]


def test_shape_and_file():
    header = SimpleNamespace(format="gif", frames=12, size_bytes=1234)
    row = measure(np.zeros((200, 500, 3), np.uint8), header=header)
    assert {name: row[name] for name in list(row)[:7]} == {
        "image_format": ["gif"],
        "image_bytes": [1234],
        "frames": [12],
        "width": [500],
        "height": [200],
        "short_side": [200],
        "aspect_ratio": [2.5],
    }


def test_aspect_ratio_is_long_over_short_whatever_the_orientation():
    wide, tall = one(np.zeros((100, 300, 3), np.uint8)), one(np.zeros((300, 100, 3), np.uint8))
    assert wide["aspect_ratio"] == tall["aspect_ratio"] == 3.0


def test_values_do_not_depend_on_companions():
    pictures = [picture for picture, _ in GOLDEN.values()]
    together = measure(*pictures)
    for i, picture in enumerate(pictures):
        assert {name: values[i] for name, values in together.items()} == one(picture)


def test_empty_batch_has_every_column():
    assert measure() == {name: [] for name in ImageStats().writes.names}


@pytest.mark.parametrize(
    "view",
    [lambda a: a[::-1], lambda a: np.rot90(a), lambda a: a[:, ::2]],
    ids=["flip", "rot", "step"],
)
def test_views_and_read_only_arrays_are_fine(view):
    picture = view(noise(64, 48))
    plain = np.ascontiguousarray(picture)
    picture.flags.writeable = False
    assert one(picture) == one(plain)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 90), st.integers(1, 700), st.booleans())
def test_every_size_gives_finite_values_in_range(short, long, tall):
    row = one(noise(long, short) if tall else noise(short, long))
    assert 0 <= row["mean_luminance"] <= 255
    assert 0 <= row["entropy"] <= 8
    assert 0 <= row["laplacian_variance"] < 1e6
    assert 0 < row["dominant_share"] <= 1


def test_blur_lowers_the_laplacian_and_size_matters_little():
    sharp = cv2.resize(noise(60, 80), (1600, 1200), interpolation=cv2.INTER_NEAREST)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 12)
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (sharp, blurred)]
    small = cv2.resize(grey[0], (800, 600), interpolation=cv2.INTER_AREA)
    assert laplacian_variance(grey[1]) < 0.05 * laplacian_variance(grey[0])
    assert laplacian_variance(small) == pytest.approx(laplacian_variance(grey[0]), rel=0.15)


def test_small_pictures_are_not_enlarged():
    dot = np.zeros((9, 9), np.uint8)
    dot[4, 4] = 10  # Laplacian: -40 in the middle, 10 on four sides
    assert laplacian_variance(dot) == pytest.approx((40**2 + 4 * 10**2) / 81)


def test_dominant_share_counts_four_bits_per_channel():
    picture = np.array([[[16, 16, 16], [31, 31, 31], [32, 32, 32], [0, 0, 0]]], np.uint8)
    assert dominant_share(picture) == 0.5


def test_grey_within_the_tolerance():
    near, far = np.array([[[100, 108, 104]]], np.uint8), np.array([[[100, 109, 104]]], np.uint8)
    assert is_grey(near)
    assert not is_grey(far)


def test_one_coloured_stamp_makes_a_large_page_coloured():
    page = np.full((2000, 1500, 3), 240, np.uint8)
    assert one(page)["is_grey"]
    page[1000:1040, 700:740] = (200, 30, 30)
    assert not one(page)["is_grey"]


def test_halved_rounds_half_up_and_drops_the_odd_line():
    picture = np.array([[1, 2, 9], [2, 1, 9], [9, 9, 9]], np.uint8)
    assert halved(picture).tolist() == [[2]]
