"""T-MARS: what is painted over, with which colour, and what that does to a score."""

import numpy as np
import pytest

from filters.clip import ClipScore
from filters.tmars import MaskedClipScore, masked
from filters.unread import UNREAD
from tests.pictures import photo


def flat(height=20, width=40, colour=(100, 150, 200)):
    return np.full((height, width, 3), colour, np.uint8)


def box(left, top, right, bottom):
    return [left, top, right, bottom, 0.9]


def test_without_boxes_it_is_the_picture_itself():
    picture = photo(0)
    assert masked(picture, []) is picture
    assert masked(picture, box(0.5, 0.5, 0.5, 0.9)) is picture


def test_a_box_takes_the_mean_of_the_three_pixels_around_it():
    picture = flat()
    picture[8:12, 10:30] = 0
    picture[5:8, 7:33] = (100, 150, 110)  # the strip above: 3 x 26 of 3 x 26 x 2 + 2 x 3 x 4
    ring = 26 * 3 * 2 + 2 * 3 * 4
    blue = round((78 * 110 + (ring - 78) * 200) / ring)
    result = masked(picture, box(10 / 40, 8 / 20, 30 / 40, 12 / 20))
    assert (result[8:12, 10:30] == (100, 150, blue)).all()
    outside = np.ones((20, 40), bool)
    outside[8:12, 10:30] = False
    assert np.array_equal(result[outside], picture[outside])
    assert picture[9, 20].tolist() == [0, 0, 0]


def test_other_boxes_lend_no_colour_and_borders_are_no_matter():
    picture = flat()
    picture[:10] = 0
    both = box(0, 0, 1, 0.25) + box(0, 0.25, 1, 0.5)
    result = masked(picture, both)
    # Around the upper box is only the lower one; the whole picture is half black.
    assert (result[:5] == (50, 75, 100)).all()
    assert (result[5:10] == (100, 150, 200)).all()
    assert (masked(picture, box(0, 0, 1, 1)) == (50, 75, 100)).all()
    assert (masked(np.zeros((1, 1, 3), np.uint8), box(-1, -1, 2, 2)) == 0).all()


@pytest.mark.parametrize("kind", ["clip", "embedded"])
def test_a_score_is_that_of_clip_for_the_masked_picture(models, kind):
    model = models.get(kind, kind)
    images = [photo(i, (96, 64)) for i in range(3)]
    boxes = [[], box(0.1, 0.1, 0.9, 0.6), box(0, 0, 1, 1)]
    texts = ["a red car", "a dog", " "]
    scorer = MaskedClipScore(model=model)
    values = scorer({"image": images, "text_boxes": boxes, "caption": texts})
    painted = [masked(i, b) for i, b in zip(images, boxes, strict=True)]
    of_clip = ClipScore(model=model)({"image": painted, "caption": texts})
    expected, cut = of_clip["clip_score"], of_clip["clip_truncated"]
    assert values == {"tmars_score": expected, "tmars_truncated": cut}
    assert expected[2] is UNREAD
    assert scorer.identity == {**ClipScore(model=model).identity, "clip": ClipScore.version}
    assert scorer.weights_digest == ClipScore(model=model).weights_digest


def test_no_pictures_and_wrong_parameters():
    nothing = MaskedClipScore()({"image": [], "text_boxes": [], "caption": []})
    assert nothing == {"tmars_score": [], "tmars_truncated": []}
    assert MaskedClipScore(text="title").reads == ("image", "text_boxes", "title")
    with pytest.raises(ValueError, match="needs `pretrained`"):
        MaskedClipScore(model="ViT-B-32")
    with pytest.raises(ValueError, match="batch_size"):
        MaskedClipScore(batch_size=0)
