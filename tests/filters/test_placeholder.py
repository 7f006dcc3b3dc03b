"""Placeholder: what shows nothing is blank, however it is stored; what shows something is not."""

from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from filters.placeholder import CELL, Placeholder, blank_share, blank_spread
from pipeline.decoding import decode
from tests import pictures

Size = tuple[int, int]
SIZES = [(1, 1), (16, 16), (100, 40), (300, 300), (1200, 900)]


def measured(image: Any, tiny: int = 2) -> dict[str, Any]:
    scorer = Placeholder(tiny)
    pixels = decode(image) if isinstance(image, bytes) else np.asarray(image)
    found = scorer({"image": [pixels]})
    pa.table(found, schema=scorer.writes).validate(full=True)
    return {name: values[0] for name, values in found.items()}


def saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def noisy(size: Size, sigma: float, level: int = 255, quality: int = 75) -> bytes:
    noise = np.random.default_rng(0).normal(0, sigma, (size[1], size[0], 3))
    pixels = np.clip(level + noise, 0, 255).round().astype(np.uint8)
    return saved(Image.fromarray(pixels), "JPEG", quality=quality)


def box(size: Size = (400, 300), text: str | None = None) -> Image.Image:
    """A grey box, with a cross or with words."""
    picture = Image.new("RGB", size, (204, 204, 204))
    draw = ImageDraw.Draw(picture)
    if text is None:
        draw.line((0, 0, *size), fill=(150, 150, 150), width=2)
        draw.line((0, size[1], size[0], 0), fill=(150, 150, 150), width=2)
    else:
        draw.text((size[0] // 3, size[1] // 2), text, fill=(120, 120, 120))
    return picture


BLANK = {
    "transparent gif of one pixel": saved(Image.new("P", (1, 1)), "GIF", transparency=0),
    "transparent png": saved(Image.new("RGBA", (200, 100), (9, 9, 9, 0)), "PNG"),
    "white on transparent": saved(
        pictures.image(1, (80, 60), "RGB").point(lambda _: 255).convert("RGBA"), "PNG"
    ),
    "white jpeg with noise": noisy((640, 480), 4),
    "white jpeg of low quality with noise": noisy((64, 64), 3, quality=30),
    "grey jpeg with noise": noisy((200, 200), 4, level=128),
    "palette gif": saved(Image.new("P", (468, 60), 3), "GIF"),
    "black and white": saved(Image.new("1", (50, 50)), "PNG"),
    "webp": saved(Image.new("RGB", (100, 100), (240, 239, 238)), "WEBP", quality=50),
}


@pytest.mark.parametrize("name", BLANK)
def test_a_blank_picture_is_blank_however_it_is_stored(name: str) -> None:
    found = measured(BLANK[name])
    assert found["is_blank"], found


@pytest.mark.parametrize("size", SIZES)
def test_one_colour_of_any_size(size: Size) -> None:
    found = measured(Image.new("RGB", size, (1, 200, 30)))
    assert found == {
        "is_tiny": size == (1, 1),
        "is_blank": True,
        "blank_share": 1.0,
        "blank_spread": 0,
    }


SHOWS = {
    "box with a cross": box(),
    "box with words": box(text="Image not found"),
    "photo": Image.fromarray(pictures.photo(3)),
    "small photo": Image.fromarray(pictures.photo(3, (16, 16))),
    "one word on a page": box((640, 480), "word"),
    "two halves": Image.fromarray(np.repeat([[[90] * 3], [[110] * 3]], 50, axis=1).astype("uint8")),
    "gradient": Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (90, 1))).convert("RGB"),
}


@pytest.mark.parametrize("name", SHOWS)
def test_what_shows_something_is_not_blank(name: str) -> None:
    assert not measured(SHOWS[name])["is_blank"]


def test_fine_patterns_are_not_blank() -> None:
    """All cells of a chequered picture have one mean: the share tells it from a plain one."""
    cells = (np.indices((64, 64)).sum(axis=0) % 2 * 100).astype(np.uint8)
    found = measured(np.repeat(cells[:, :, None], 3, axis=2))
    assert found["blank_spread"] < CELL
    assert found["blank_share"] <= 0.5
    assert not found["is_blank"]


@pytest.mark.parametrize(
    ("size", "tiny", "expected"),
    [
        ((1, 1), 2, True),
        ((2, 2), 2, True),
        ((1, 3), 2, False),
        ((3, 3), 3, True),
        ((1, 1), 0, False),
    ],
)
def test_tiny_is_of_both_sides(size: Size, tiny: int, expected: bool) -> None:
    assert measured(Image.new("RGB", size), tiny)["is_tiny"] is expected


GOLDEN = {"is_tiny": False, "is_blank": False, "blank_share": 0.005425, "blank_spread": 255}


def test_golden() -> None:
    assert measured(pictures.photo(1, (400, 300))) == pytest.approx(GOLDEN, rel=1e-4)


@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from([1, 9, 90])
)
@settings(max_examples=60, deadline=None)
def test_agrees_with_the_slow_reference(width: int, height: int, seed: int, spread: int) -> None:
    dice = np.random.default_rng(seed)
    pixels = dice.integers(100, 100 + spread, (height, width, 3)).astype(np.uint8)
    middle = np.sort(pixels.reshape(-1, 3), axis=0)[width * height // 2].astype(int)
    near = (np.abs(pixels.astype(int) - middle) <= 16).all(axis=2).mean()
    assert blank_share(pixels) == pytest.approx(near)
    wide = np.pad(pixels, ((0, -height % CELL), (0, -width % CELL), (0, 0)), mode="edge")
    rows, columns = (side // CELL for side in wide.shape[:2])
    means = wide.reshape(rows, CELL, columns, CELL, 3).mean(axis=(1, 3))
    expected = np.ptp(means.reshape(-1, 3), axis=0).max()
    assert abs(blank_spread(pixels) - expected) <= 2  # means of means are rounded


def test_no_rows() -> None:
    assert Placeholder()({"image": []}) == {name: [] for name in Placeholder.writes.names}


def test_refuses_parameters() -> None:
    with pytest.raises(ValueError, match="tiny is a number of pixels, 0 or more, got -1"):
        Placeholder(-1)
