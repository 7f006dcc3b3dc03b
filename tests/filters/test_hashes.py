"""Hashes: bit for bit those of `imagehash`, on every size and on pictures whose bits tie."""

import hashlib

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from filters.hashes import Hashes, luminance, shrink

THEIRS = {
    "phash": imagehash.phash,
    "ahash": imagehash.average_hash,
    "dhash": imagehash.dhash,
    "whash": imagehash.whash,
}
ALL = Hashes((*THEIRS, "pixels_sha256"))


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height, width, seed=0):
    """A picture with broad light and dark places, like most photographs."""
    small = Image.fromarray(noise(5, 6, seed))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def flat(height, width, seed=0):
    return np.full((height, width, 3), noise(1, 1, seed), np.uint8)


def striped(height, width, seed=0):
    return np.repeat(noise(1, width, seed), height, axis=0)


def mirrored(height, width, seed=0):
    picture = noise(height, width, seed)
    return np.maximum(picture, picture[:, ::-1])


def turned(height, width, seed=0):
    picture = noise(height, width, seed)
    return np.maximum(picture, picture[::-1, ::-1])


def diagonal(height, width, seed=0):
    picture = noise(min(height, width), min(height, width), seed)
    return np.maximum(picture, picture.swapaxes(0, 1))


def halves(height, width, seed=0):
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2] = 255
    return picture


PICTURES = (noise, smooth, flat, striped, mirrored, turned, diagonal, halves)


def ours(picture, scorer=ALL):
    return {name: values[0] for name, values in scorer({"image": [picture]}).items()}


def assert_equal_hashes(picture):
    image, row = Image.fromarray(picture), ours(picture)
    for kind, function in THEIRS.items():
        assert row[kind] == int(str(function(image)), 16), (kind, picture.shape)


SIZES = [(1, 1), (1, 2), (2, 1), (8, 9), (9, 8), (32, 32), (33, 31), (1, 400), (400, 1), (274, 2)]
SIZES += [(96, 96), (97, 300), (300, 97), (500, 700), (40, 2100), (6000, 110), (96, 95)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("draw", PICTURES)
def test_equal_to_imagehash_at_edges(draw, size):
    assert_equal_hashes(draw(*size))


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(PICTURES), st.integers(1, 260), st.integers(1, 260), st.integers(0, 2**32 - 1)
)
def test_equal_to_imagehash(draw, height, width, seed):
    assert_equal_hashes(draw(height, width, seed))


@pytest.mark.slow
def test_equal_to_imagehash_when_large():
    for seed, size in enumerate([(2500, 3300), (4000, 1000), (1200, 5000), (300, 9000)]):
        assert_equal_hashes(noise(*size, seed))
        assert_equal_hashes(smooth(*size, seed))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 300), st.integers(96, 400), st.sampled_from([(32, 32), (8, 8), (9, 8)]))
def test_shrink_equals_pillow(height, width, size):
    grey = noise(height, width)[:, :, 0].copy()
    expected = Image.fromarray(grey).resize(size, Image.Resampling.LANCZOS)
    assert np.array_equal(shrink(grey, *size), np.asarray(expected))


def test_shrink_keeps_the_extremes():
    rows = np.indices((300, 400))[1] // 25 % 2 * 255
    grey = rows.astype(np.uint8)  # Lanczos overshoots at every edge
    expected = Image.fromarray(grey).resize((32, 32), Image.Resampling.LANCZOS)
    assert np.array_equal(shrink(grey, 32, 32), np.asarray(expected))


def test_luminance_equals_pillow_for_every_colour_of_a_coarse_cube():
    levels = np.array([*range(0, 256, 5), 1, 127, 128, 254], np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(len(levels), -1, 3)
    assert np.array_equal(luminance(cube), np.asarray(Image.fromarray(cube).convert("L")))


def test_golden():
    rows, columns = np.indices((120, 160))
    picture = np.stack([rows * 2, columns, (rows * columns) % 251], axis=-1).astype(np.uint8)
    row = ours(picture)
    assert {kind: f"{row[kind]:016x}" for kind in THEIRS} == {
        "phash": "800206165f5f7f3f",
        "ahash": "0103070f0f1f3f7f",
        "dhash": "ffffffffffffffff",
        "whash": "0103070f0f1f3f7f",
    }
    assert np.float32(row["hash_contrast"]) == np.float32(34.639927)


def test_values_do_not_depend_on_companions():
    pictures = [draw(70 + i, 120 - i, i) for i, draw in enumerate(PICTURES)]
    together = ALL({"image": pictures})
    for i, picture in enumerate(pictures):
        assert {name: values[i] for name, values in together.items()} == ours(picture)


def test_contrast_tells_flat_pictures():
    assert ours(flat(50, 50))["hash_contrast"] == 0
    assert ours(halves(64, 64))["hash_contrast"] == pytest.approx(127.5, abs=1)


def test_pixels_sha256_knows_the_shape():
    wide, tall = noise(2, 8), noise(2, 8).reshape(8, 2, 3)
    assert ours(wide)["pixels_sha256"] == hashlib.sha256(b"2x8" + wide.tobytes()).digest()
    assert ours(wide)["pixels_sha256"] != ours(tall)["pixels_sha256"]


@pytest.mark.parametrize("turn", [lambda a: a[::-1], lambda a: np.rot90(a)], ids=["flip", "rot"])
def test_views_and_read_only_arrays_are_fine(turn):
    view = turn(noise(120, 150))
    plain = np.ascontiguousarray(view)
    view.flags.writeable = False
    assert ours(view) == ours(plain)


def test_only_what_is_asked_for_is_written():
    assert Hashes().writes.names == ["phash", "hash_contrast"]
    scorer = Hashes(("dhash", "pixels_sha256"))
    assert scorer.writes.names == ["dhash", "pixels_sha256"]
    assert list(scorer({"image": [noise(9, 9)]})) == scorer.writes.names
    assert scorer({"image": []}) == {"dhash": [], "pixels_sha256": []}


@pytest.mark.parametrize("kinds", ["phash", (), ("md5",), ("phash", "phash")], ids=str)
def test_wrong_kinds_are_refused(kinds):
    with pytest.raises(ValueError, match="kinds"):
        Hashes(kinds)
