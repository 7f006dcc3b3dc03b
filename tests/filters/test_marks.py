"""Marks: what is drawn over a picture raises the likelihood; sizes and wrong parameters."""

import cv2
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from filters import marks_head
from filters.marks import Marks
from tests.pictures import photo

SIZE = (480, 360)


def with_tiles(picture, opacity=0.4):
    """The picture under tiles of a text."""
    ink = np.zeros(picture.shape[:2], np.float32)
    for row in range(40, picture.shape[0], 70):
        for left in range(-40 + row % 100, picture.shape[1], 190):
            cv2.putText(
                ink, "PREVIEW", (left, row), cv2.FONT_HERSHEY_DUPLEX, 1, 1.0, 2, cv2.LINE_AA
            )
    return _laid(picture, ink, opacity)


def with_logo(picture):
    """The picture with a disc that has a triangle cut out, in the corner."""
    ink = np.zeros(picture.shape[:2], np.float32)
    cv2.circle(ink, (60, 60), 40, 1.0, -1, cv2.LINE_AA)
    cv2.fillPoly(ink, [np.array([[45, 80], [75, 80], [60, 40]])], 0.0, cv2.LINE_AA)
    return _laid(picture, ink, 1.0)


def _laid(picture, ink, opacity):
    alpha = ink[:, :, None] * opacity
    return (picture * (1 - alpha) + 255 * alpha).round().astype(np.uint8)


def likely(*images):
    found = Marks()({"image": list(images)})
    return np.array([found["watermark_likelihood"], found["logo_likelihood"]]).T


@pytest.mark.parametrize("seed", range(4))
def test_a_watermark_is_seen(seed):
    picture = photo(seed, SIZE)
    plain, faint, marked = likely(picture, with_tiles(picture, 0.25), with_tiles(picture))
    assert marked[0] > plain[0] + 0.3
    assert faint[0] > plain[0]


@pytest.mark.parametrize("seed", range(4))
def test_a_logo_is_seen(seed):
    picture = photo(seed, SIZE)
    plain, marked = likely(picture, with_logo(picture))
    assert marked[1] > plain[1]


def test_values_are_of_the_picture_alone():
    pictures = [photo(1, SIZE), with_tiles(photo(2, (300, 500))), photo(3, (64, 64))]
    together = likely(*pictures)
    assert (together == np.concatenate([likely(picture) for picture in pictures])).all()
    assert (together == likely(*pictures[::-1])[::-1]).all()
    assert together.astype(np.float32).tolist() == together.tolist()
    assert ((together >= 0) & (together <= 1)).all()


@pytest.mark.parametrize("shape", [(1, 1), (20, 5000), (5000, 20), (31, 33), (2, 700), (1200, 900)])
def test_any_size(shape):
    found = likely(np.full((*shape, 3), 200, np.uint8))
    assert ((found >= 0) & (found <= 1)).all()


def test_views_and_no_pictures():
    picture = photo(5, SIZE)
    turned = picture[:, ::-1]
    assert (likely(turned) == likely(turned.copy())).all()
    assert Marks()({"image": []}) == {"watermark_likelihood": [], "logo_likelihood": []}


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((1000, 500), (256, 512)),
        ((500, 1000), (512, 256)),
        ((200, 150), (288, 384)),
        ((1, 1), (32, 32)),
        ((5000, 20), (32, 512)),
    ],
)
def test_what_is_seen(size, seen):
    assert marks_head.fit(np.zeros((*size[::-1], 3), np.uint8)).shape == (*seen, 3)


def test_golden():
    found = likely(photo(0, SIZE), with_tiles(photo(0, SIZE)))
    assert found == pytest.approx(np.array(GOLDEN), abs=2e-3)


GOLDEN = [[0.028894, 0.035922], [0.556652, 0.189864]]


def test_what_it_is():
    scorer = Marks()
    scorer.prepare()
    assert scorer.writes.names == ["watermark_likelihood", "logo_likelihood"]
    assert {str(field.type) for field in scorer.writes} == {"float"}
    assert scorer.precision == "fp32"
    assert len(scorer.weights_digest) == 64
    assert marks_head.HEAD.stat().st_size < 1_000_000


def test_a_head_that_is_none(tmp_path):
    arrays = load_file(marks_head.HEAD)
    arrays.pop("map.bias")
    save_file(arrays, tmp_path / "head.safetensors")
    with pytest.raises(ValueError, match=r"no head for marks: see map\.bias"):
        marks_head.read_head(tmp_path / "head.safetensors")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"label": "watermark"}, "takes no `label`"),
        ({"revision": "0" * 40}, "takes no `revision`"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"precision": "fp8"}, "known are auto"),
        ({"model": "somebody/marks", "revision": "0" * 40}, "needs `label`"),
        ({"model": "somebody/marks", "label": "watermark"}, "needs `revision`"),
        ({"model": "marks", "label": "watermark"}, "name a folder"),
        ({"model": "local-dir:/nowhere", "label": "watermark"}, "there is no such file"),
    ],
)
def test_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Marks(**given)
