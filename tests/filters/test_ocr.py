"""Text in pictures: found where it was drawn, read, and compared with the caption."""

import cv2
import numpy as np
import pytest

from filters.ocr import TextBoxes, covered, overlap
from filters.textboxes import Line, decoded, detect, lines_of
from tests.pictures import photo

pytestmark = pytest.mark.slow

pytest.importorskip("rapidocr")
pytest.importorskip("onnxruntime")


def written(text, at=(40, 110), size=(480, 320), scale=1.4, colour=(250, 250, 250)):
    """A dark picture with a line of text, and the box of its letters: left, top, right, bottom."""
    picture = (photo(5, size) // 3).astype(np.uint8)
    font = cv2.FONT_HERSHEY_DUPLEX
    (wide, high), below = cv2.getTextSize(text, font, scale, 2)
    cv2.putText(picture, text, at, font, scale, colour, 2, cv2.LINE_AA)
    return picture, (at[0], at[1] - high, at[0] + wide, at[1] + below)


def measure(*images, captions=None, **options):
    captions = captions or ["a picture"] * len(images)
    return TextBoxes(**options)({"image": list(images), "caption": captions})


def test_golden():
    picture, place = written("SUMMER SALE 2024")
    values = measure(picture, photo(1, (480, 320)), captions=["Summer sale", "sale"], read=True)
    assert values["text_lines"] == [1, 0]
    assert values["ocr_text"] == ["SUMMER SALE 2024", ""]
    assert values["ocr_overlap"] == [1.0, 0.0]
    assert values["text_boxes"][1] == []
    box = np.array(values["text_boxes"][0][:4]) * (480, 320, 480, 320)
    assert np.abs(box - place).max() < 14
    wide, high = box[2] - box[0], box[3] - box[1]
    assert values["text_share"] == [pytest.approx(wide * high / 480 / 320, rel=0.1), 0.0]


@pytest.mark.parametrize("turn", [0, 1, 3])
@pytest.mark.parametrize("side", [320, 480, 640])
def test_a_line_is_found_in_any_direction_and_size(turn, side):
    picture, _ = written("limited edition", scale=1.6)
    found = measure(np.rot90(picture, turn).copy(), side=side)
    assert found["text_lines"] == [1]
    assert 0.05 < found["text_share"][0] < 0.35


def test_values_depend_on_no_companions():
    pictures = [written(text)[0] for text in ("one two", "three")] + [photo(2), photo(3, (50, 90))]
    together = measure(*pictures, read=True)
    for i in (2, 0, 3, 1):
        alone = measure(pictures[i], read=True)
        assert {n: v[0] for n, v in alone.items()} == {n: v[i] for n, v in together.items()}


def test_a_box_in_which_nothing_is_read_is_no_line(monkeypatch):
    picture, _ = written("SUMMER SALE")
    monkeypatch.setattr("filters.textboxes.read", lambda image, line: "Q")
    assert measure(picture)["text_lines"] == [0]
    assert measure(picture)["text_share"] == [0.0]
    assert measure(picture, confirm=False)["text_lines"] == [1]
    assert measure(picture, confirm=False, read=True)["ocr_text"] == ["Q"]


def test_what_is_written_and_read():
    assert TextBoxes().writes.names == ["text_share", "text_lines", "text_boxes"]
    assert TextBoxes().reads == ("image",)
    assert TextBoxes(read=True, text="title").reads == ("image", "title")
    assert TextBoxes().weights_digest == TextBoxes(read=True).weights_digest
    assert TextBoxes().weights_digest != TextBoxes(confirm=False).weights_digest
    assert TextBoxes(confirm=False).image_request == 480
    for wrong in ({"side": 8}, {"side": 4096}, {"threshold": 0.0}, {"threshold": 1.5}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TextBoxes(**wrong)


def test_no_pictures_tiny_ones_and_ribbons():
    assert all(values == [] for values in measure(read=True).values())
    tiny = [np.zeros(shape, np.uint8) for shape in ((1, 1, 3), (2, 4000, 3), (4000, 2, 3))]
    assert measure(*tiny, read=True)["text_lines"] == [0, 0, 0]
    assert measure(*tiny, read=True)["ocr_text"] == ["", "", ""]


def test_the_package_finds_the_same_lines():
    from rapidocr.ch_ppocr_det.utils import DBPostProcess

    from filters import textboxes

    picture, _ = written("compare with me")
    seen = cv2.resize(picture, (480, 320))
    (ink,) = textboxes._detector()(textboxes._prepared(seen))
    theirs = DBPostProcess(0.3, 0.5, 1000, 1.6, "fast", True)(ink, (320, 480))
    ours = lines_of(ink[0, 0], 0.5)
    assert np.abs(np.array([line.corners for line in ours]) - theirs[0]).max() <= 2
    assert [line.score for line in ours] == pytest.approx(theirs[1], abs=1e-4)
    assert len(detect(picture, 480, 0.5)) == len(ours) == 1


def test_lines_of_a_map_by_hand():
    ink = np.zeros((64, 96), np.float32)
    ink[20:30, 10:50] = 0.8
    ink[50:52, 10:12] = 0.9  # too thin
    ink[40:48, 60:90] = 0.4  # too faint
    (line,) = lines_of(ink, 0.5)
    # The mask is one pixel larger; contours run through the middle of pixels.
    wide, high = 40.0, 10.0
    grown = wide * high * 1.6 / (wide + high)
    low, size = line.corners.min(axis=0), np.ptp(line.corners, axis=0)
    assert size.tolist() == pytest.approx([wide + grown, high + grown], abs=1.5)
    assert low.tolist() == pytest.approx([10 - grown / 2, 20 - grown / 2], abs=1.5)
    assert 0.6 < line.score <= 0.8


def test_decoded_by_hand():
    characters = ("", "a", "b", " ")
    odds = np.eye(4, dtype=np.float32)[[1, 1, 0, 1, 2, 3, 2, 2, 0, 3]]
    assert decoded(odds, characters) == "aab b"
    assert decoded(odds * 0.4, characters) == ""
    assert decoded(np.eye(4, dtype=np.float32)[[0, 0]], characters) == ""


def test_lines_that_overlap_are_counted_once():
    square = np.array([[0, 0], [9, 0], [9, 9], [0, 9]], np.float32)
    assert covered([], 10, 20) == 0.0
    assert covered([Line(square, 1.0)] * 2, 10, 20) == 0.5
    assert covered([Line(square * 100, 1.0)], 10, 20) == 1.0


@pytest.mark.parametrize(
    ("caption", "said", "share"),
    [
        ("Fresh coffee!", "FRESH COFFEE\n2024", 1.0),
        ("fresh coffee in a cup", "FRESHCOFFEE", 0.4),
        ("Café", "CAFE", 1.0),
        ("in a cup", "inacup", 0.0),
        ("a dog", "", 0.0),
        ("", "text", None),
        ("!?", "text", None),
        ("\ud800 \x00", "", None),
        ("咖啡时间", "咖啡", 0.5),
    ],
)
def test_overlap(caption, said, share):
    assert overlap(caption, said) == share


def test_a_huge_caption():
    assert overlap("word " * 10**6, "word") == 1.0
