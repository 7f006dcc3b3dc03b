"""ComCLIP: it is the plain cosine where parts say nothing, and parts are where boxes are."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from filters import comclip
from filters.clip import ClipScore
from filters.comclip import WHOLE, ComClip, combined, weights_of
from filters.roles import find_roles
from filters.unread import UNREAD
from tests.filters.test_clip_builds import columns, recipe
from tests.pictures import photo

TEXTS = ["a dog chasing a cat", "a red car", "", "two men riding a horse", "a boat on the lake"]
TEXTS += ["a cat sitting on a mat. " + "It is a nice cat. " * 300]
ASKED = [0, 3, 5]


def unit(count: int, width: int = 8, seed: int = 0) -> Any:
    rows = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def images(count: int = len(TEXTS)) -> list[Any]:
    return [photo(i, (90 + 20 * i, 64)) for i in range(count)]


@pytest.fixture(params=["embedded", "clip"])
def model(request: pytest.FixtureRequest, models: dict[str, str]) -> str:
    return models.get(request.param, request.param)


def test_parts_that_show_the_whole_picture_change_nothing(model):
    batch = {"image": images(), "caption": TEXTS}
    plain = ClipScore(model)(batch)["clip_score"]
    found = ComClip(model, depth=0)(batch)
    for i in ASKED:
        assert found["comclip_score"][i] == pytest.approx(plain[i], abs=1e-5)
        assert [part["box"] for part in found["comclip_parts"][i]] == [list(WHOLE)] * 3


@pytest.mark.slow
def test_a_caption_without_three_parts_is_not_asked(model):
    scorer = ComClip(model)
    found = scorer({"image": images(), "caption": TEXTS})
    for name in ("comclip_score", "comclip_parts"):
        assert [i for i, value in enumerate(found[name]) if value not in (None, UNREAD)] == ASKED
    assert scorer({"image": [], "caption": []}) == {name: [] for name in scorer.writes.names}
    roles = find_roles(TEXTS[3])
    parts = found["comclip_parts"][3]
    assert roles is not None
    assert [part["words"] for part in parts] == list(roles) == ["men", "riding", "horse"]
    assert [part["role"] for part in parts] == ["subject", "predicate", "object"]
    assert sum(part["weight"] for part in parts) in (0, pytest.approx(1))


def test_long_captions_are_flagged_asked_or_not(model):
    found = ComClip(model, depth=0)({"image": images(), "caption": TEXTS})
    assert found["comclip_truncated"] == [False] * 5 + [True]


def test_nothing_is_read_in_no_text_and_a_caption_that_is_not_asked_is_null(model):
    for name in (model, "embedded"):
        found = ComClip(name)({"image": images()[:2], "caption": [" ", "a red dog"]})
        assert found["comclip_score"] == [UNREAD, None]
        assert found["comclip_parts"] == [None, None]


def test_the_score_is_that_of_the_formula(model):
    """Step by step, for boxes that are given: crops, black pictures, weights, cosine."""
    image, text = photo(1, (100, 60)), "a dog chasing a cat"
    boxes = [[0.0, 0.0, 0.5, 1.0, 0.9], [0.5, 0.5, 1.0, 1.0, 0.8]]
    labels = ["brown dog", "cats"]
    scorer = ComClip(model, boxes="boxes", labels="names", temperature=0.2)
    batch = {"image": [image], "caption": [text], "boxes": [boxes], "names": [labels]}
    found = scorer(batch)
    subject, object_, both = (np.zeros_like(image) for _ in range(3))
    subject[:, :50] = both[:, :50] = image[:, :50]
    object_[30:, 50:] = both[30:, 50:] = image[30:, 50:]
    clip = ClipScore(model)
    x, *parts = clip.encode_images([image, subject, both, object_]).astype(float)
    t, *words = clip.encode_texts([text, "dog", "chasing", "cat"]).astype(float)
    support = np.array([part @ word for part, word in zip(parts, words, strict=True)])
    weights = np.exp(support / 0.2) / np.exp(support / 0.2).sum()
    if np.maximum(support, 0).sum() == 0:
        weights = np.zeros(3)
    joined = x + sum(w * part for w, part in zip(weights, parts, strict=True))
    expected = joined @ t / np.linalg.norm(joined)
    assert found["comclip_score"][0] == pytest.approx(expected, abs=1e-5)
    assert [p["support"] for p in found["comclip_parts"][0]] == pytest.approx(support, abs=1e-5)
    assert [p["box"] for p in found["comclip_parts"][0]] == [
        [0, 0, 0.5, 1],
        [0, 0, 1, 1],
        [0.5, 0.5, 1, 1],
    ]


@pytest.mark.slow
def test_companions_make_no_difference(model):
    scorer = ComClip(model, batch_size=4)
    pictures, texts = images() * 2, TEXTS * 2
    together = scorer({"image": pictures, "caption": texts})
    for i in range(len(TEXTS)):
        alone = scorer({"image": [pictures[i]], "caption": [texts[i]]})
        assert {n: v[0] for n, v in alone.items()} == {n: v[i] for n, v in together.items()}


def test_weights_sum_to_one_and_are_guarded():
    for support in ([0.1, 0.2, 0.3], [-0.5, 0.1, 0.0], [1.0, -1.0, 1e-3]):
        weights = weights_of(np.array(support), 0.1)
        assert weights.sum() == pytest.approx(1)
        assert (weights > 0).all()
        assert (np.argsort(weights) == np.argsort(support)).all()
    assert weights_of(np.array([0.3, 0.29, 0.1]), 1e-4) == pytest.approx([1, 0, 0])
    # By a / sum a these would be -100 and 101, or nothing.
    assert weights_of(np.array([-0.100, -0.101]), 0.1).tolist() == [0, 0]
    assert weights_of(np.zeros(3), 0.1).tolist() == [0, 0, 0]


def test_without_support_it_is_the_plain_cosine():
    whole, caption = unit(1)[0], unit(1, seed=1)
    seen = unit(3, seed=2)
    found = combined(whole, seen, np.concatenate([caption, -seen]), 0.1)
    assert found.weights == [0, 0, 0]
    assert found.score == pytest.approx(float(whole @ caption[0]), abs=1e-6)
    opposite = combined(whole, -np.stack([whole] * 3), np.stack([caption[0], *[-whole] * 3]), 0.1)
    assert opposite.score == pytest.approx(float(whole @ caption[0]), abs=1e-6)


def test_the_order_of_parts_does_not_matter():
    whole, seen, read = unit(1)[0], unit(3, seed=1), unit(4, seed=2)
    expected = combined(whole, seen, read, 0.1)
    order = [2, 0, 1]
    found = combined(whole, seen[order], read[[0, 3, 1, 2]], 0.1)
    assert found.score == pytest.approx(expected.score, abs=1e-6)
    assert found.weights == pytest.approx([expected.weights[i] for i in order])


def test_no_parts_is_the_plain_cosine():
    whole, caption = unit(1)[0], unit(1, seed=1)
    found = combined(whole, np.zeros((0, 8), np.float32), caption, 0.1)
    assert found.score == pytest.approx(float(whole @ caption[0]), abs=1e-6)


def ask(asking: Any, encode: Any) -> Any:
    return comclip.together([asking], encode)[0]


def mean_colour(pictures: list[Any]) -> Any:
    return np.stack([p.reshape(-1, 3).mean(axis=0) / 255 for p in pictures]).astype(np.float32)


def test_crops_close_in_on_what_agrees():
    image = np.zeros((90, 90, 3), np.uint8)
    image[60:, 60:] = (255, 0, 0)
    image[:45, :45] = (0, 255, 0)
    red_green = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    whole = mean_colour([image])[0]
    once, twice = (
        ask(comclip.tried(image, red_green, whole, depth), mean_colour) for depth in (1, 2)
    )
    assert once[0] == [pytest.approx((1 / 3, 1 / 3, 1, 1))]
    assert once[1] == [pytest.approx((0, 0, 2 / 3, 2 / 3))]
    assert twice[0] == [pytest.approx((5 / 9, 5 / 9, 1, 1))]
    assert twice[1] == [pytest.approx((0, 0, 4 / 9, 4 / 9))]


def test_where_no_crop_agrees_better_it_is_the_whole():
    image = np.full((60, 80, 3), 100, np.uint8)
    whole = mean_colour([image])[0]
    entities = np.eye(3, dtype=np.float32)[:2]
    assert ask(comclip.tried(image, entities, whole, 3), mean_colour) == [[WHOLE], [WHOLE]]
    halves = [(0.0, 0.0, 0.5, 1.0)]
    assert ask(comclip.chosen(image, entities, whole, halves), mean_colour) == [[WHOLE], [WHOLE]]
    assert ask(comclip.chosen(image, entities, whole, []), mean_colour) == [[WHOLE], [WHOLE]]


def test_of_boxes_without_labels_the_best_is_chosen():
    image = np.zeros((60, 80, 3), np.uint8)
    image[:, :20], image[:30, 60:] = (255, 0, 0), (0, 255, 0)
    boxes = [(0.75, 0.0, 1.0, 0.5), (0.0, 0.0, 0.25, 1.0)]
    found = ask(
        comclip.chosen(image, np.eye(3, dtype=np.float32)[:2], mean_colour([image])[0], boxes),
        mean_colour,
    )
    assert found == [[boxes[1]], [boxes[0]]]


def test_boxes_come_flat_or_nested_and_best_first():
    flat = [0, 0, 0.5, 1, 0.2, -1, 0.5, 2, 1, 0.9, 0.5, 0.5, 0.5, 1, 1]
    expected = [((0, 0.5, 1, 1), "b"), ((0, 0, 0.5, 1), "a")]
    assert comclip.given_boxes(flat, ["a", "b", "c"]) == expected  # the third has no area
    assert comclip.given_boxes(np.reshape(flat, (-1, 5)).tolist(), ["a", "b", "c"]) == expected
    assert comclip.given_boxes([], None) == comclip.given_boxes([], []) == []
    with pytest.raises(ValueError, match="five finite numbers each, found 4 numbers"):
        comclip.given_boxes([0, 0, 1, 1], None)
    with pytest.raises(ValueError, match="five finite numbers"):
        comclip.given_boxes([0, 0, 1, float("nan"), 1], None)
    with pytest.raises(ValueError, match="1 boxes have 2 labels"):
        comclip.given_boxes([0, 0, 1, 1, 1], ["a", "b"])


def test_labels_are_matched_by_word():
    left, right, low = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0), (0.0, 0.5, 1.0, 1.0)
    boxes = [(left, "black Dog"), (right, "two dogs"), (low, "hotdog stand")]
    assert comclip.labelled(boxes, "dogs") == [left, right]
    assert comclip.labelled(boxes, "cat") == [WHOLE]
    assert comclip.labelled([(left, "glass"), (right, "gla")], "glass") == [left]


def test_outside_of_boxes_it_is_black():
    image = photo(0, (40, 30))
    shown = comclip.only(image, [(0.25, 0.5, 0.5, 1.0), (0.0, 0.0, 0.1, 0.1)])
    inside = np.zeros((30, 40), bool)
    inside[15:, 10:20] = inside[:3, :4] = True
    assert np.array_equal(shown[inside], image[inside])
    assert not shown[~inside].any()
    assert comclip.only(image, [WHOLE, (0.0, 0.0, 0.1, 0.1)]) is image
    assert comclip.around([(0.2, 0.5, 0.5, 1.0), (0.0, 0.6, 0.1, 0.7)]) == (0.0, 0.5, 0.5, 1.0)
    tiny = np.full((1, 1, 3), 7, np.uint8)
    assert comclip.cut(tiny, (0.999, 0.999, 1.0, 1.0)).tolist() == [[[7, 7, 7]]]
    assert comclip.cut(image, (1.0, 1.0, 1.0, 1.0)).shape == (1, 1, 3)


def test_it_names_what_decides_about_its_values(models):
    scorer = ComClip(models["siglip"], text="title", boxes="b", labels="l")
    assert scorer.reads == ("image", "title", "b", "l")
    assert scorer.precision != "auto"
    assert scorer.identity != ComClip(models["siglip"], text="title", boxes="b").identity
    assert scorer.weights_digest == ClipScore(models["siglip"]).weights_digest
    assert scorer.image_request == 2 * ClipScore(models["siglip"]).image_request
    scorer.prepare()
    found = ComClip(models["siglip"], depth=1)({"image": [photo(0)], "caption": [TEXTS[0]]})
    assert -1 <= found["comclip_score"][0] <= 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"depth": 5}, "depth must be 0 to 4, got 5"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"temperature": float("nan")}, "temperature must be above 0"),
        ({"labels": "l"}, "labels 'l' are of no use without `boxes`"),
        ({"model": "ViT-B-32"}, "needs `pretrained`"),
    ],
)
def test_what_it_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        ComClip(**wrong)


@pytest.mark.slow
def test_a_build(make_build, tmp_path):
    for i in range(3):
        (tmp_path / "photos" / f"0{i}.txt").write_text("a dog chasing a cat")
    build = make_build(recipe('  parts: {scorer: "filters.comclip:ComClip", depth: 1}\n'))
    build.ingest()
    build.score()
    found = columns(build, "comclip_score", "comclip_parts")
    assert sum(value is not None for value in found["comclip_score"]) == 3
    parts = next(value for value in found["comclip_parts"] if value is not None)
    assert pa.array([parts], ComClip().writes.field("comclip_parts").type).to_pylist() == [parts]
    assert [part["words"] for part in parts] == ["dog", "chasing", "cat"]
