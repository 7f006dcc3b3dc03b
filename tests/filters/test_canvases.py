"""The few shapes that pictures are shown in."""

import numpy as np
import pytest

from filters.canvases import canvas_of, filled


@pytest.mark.parametrize(
    ("width", "height", "canvas"),
    [
        (640, 480, (896, 672)),
        (480, 640, (672, 896)),
        (500, 500, (756, 756)),
        (1920, 1080, (1036, 588)),
        (600, 400, (952, 616)),
        (5000, 20, (1036, 588)),
        (1, 900, (588, 1036)),
    ],
)
def test_a_picture_gets_the_canvas_next_to_its_shape(width, height, canvas):
    assert canvas_of(np.zeros((height, width, 3), np.uint8), 768) == canvas


@pytest.mark.parametrize("ratio", [0.5, 0.6, 0.7, 0.9, 1.0, 1.14, 1.2, 1.45, 1.6, 2.0])
def test_a_picture_fills_its_canvas(ratio):
    image = np.full((200, round(200 * ratio), 3), 250, np.uint8)
    canvas = canvas_of(image, 224)
    shown = np.asarray(filled(image, canvas))
    assert shown.shape == (canvas[1], canvas[0], 3)
    assert (shown == 250).all()
    assert 0.8 < canvas[0] * canvas[1] / 224**2 < 1.25


def test_a_ribbon_is_whole_on_grey():
    image = np.full((10, 500, 3), 250, np.uint8)
    shown = np.asarray(filled(image, (336, 196)))
    assert (shown[0] == 127).all()
    assert (shown[:, 100] == 250).sum() == 3 * 7
