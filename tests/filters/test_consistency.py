"""Score consistency: exact views, near nothing for what nobody attacked, and attacks caught."""

import numpy as np
import pytest

from filters.clip import ClipScore
from filters.consistency import VIEWS, ClipConsistency, at_most, blurred, cropped, halved_and_back
from filters.unread import UNREAD
from tests.filters.attack import image_vectors, raised, scene
from tests.pictures import photo

TEXTS = ["a cat on a sofa", "a red sports car", "a plate of food", "mountains and a lake"]


def consistency(images, texts=TEXTS, **options):
    given = {"image": list(images), "caption": [texts[i % len(texts)] for i in range(len(images))]}
    return ClipConsistency(**options)(given)["clip_consistency"]


@pytest.mark.parametrize("kind", ["clip", "embedded"])
def test_it_is_the_score_less_the_median_of_the_views(models, kind):
    model = models.get(kind, kind)
    side = ClipScore(model=model).image_request // (2 if kind == "clip" else 1)
    image = at_most(photo(1, (300, 260)), side)
    seen = [image, *(view(image) for view in VIEWS.values())]
    given = {"image": seen, "caption": [TEXTS[0]] * 5}
    first, *others = ClipScore(model=model)(given)["clip_score"]
    found = consistency([photo(1, (300, 260))], model=model)
    assert found == [pytest.approx(first - np.median(others), abs=1e-7)]
    assert consistency([image], model=model, views=("crop",)) == [
        pytest.approx(first - others[2], abs=1e-7)
    ]


@pytest.mark.parametrize("kind", ["clip", "embedded"])
def test_values_depend_on_no_companions(models, kind):
    model = models.get(kind, kind)
    images = [photo(i, (80 + 30 * i, 70)) for i in range(4)]
    together = consistency(images, model=model)
    for i in (2, 0):
        assert consistency([images[i]], [TEXTS[i]], model=model) == [together[i]]


def test_long_captions_are_flagged():
    given = {"image": [photo(0), photo(1)], "caption": ["a cat " * 400, "a cat"]}
    assert ClipConsistency()(given)["consistency_truncated"] == [True, False]


def test_nothing_read_no_pictures_and_tiny_ones():
    assert consistency([]) == []
    assert consistency([photo(0)], [" "]) == [UNREAD]
    tiny = [np.zeros(shape, np.uint8) for shape in ((1, 1, 3), (1, 500, 3), (2, 2, 3))]
    assert None not in consistency(tiny, ["a dog"])


def test_parameters():
    for wrong in ("jpeg", (), ("png",)):
        with pytest.raises(ValueError, match="views is a list of jpeg, resize, crop, blur"):
            ClipConsistency(views=wrong)
    with pytest.raises(ValueError, match="needs `pretrained`"):
        ClipConsistency(model="ViT-B-32")
    first, second = ClipConsistency(), ClipConsistency(views=("jpeg", "blur"))
    assert first.identity != second.identity
    assert first.weights_digest == second.weights_digest == ClipScore().weights_digest


def test_views_by_hand():
    dot = np.zeros((5, 5, 3), np.uint8)
    dot[2, 2] = 160
    assert blurred(dot)[1:4, 1:4, 0].tolist() == [[10, 20, 10], [20, 40, 20], [10, 20, 10]]
    flat = np.full((7, 10, 3), (10, 20, 30), np.uint8)
    for view in VIEWS.values():
        assert np.abs(view(flat).astype(int) - (10, 20, 30)).max() <= 2
    assert halved_and_back(photo(0, (61, 33))).shape == (33, 61, 3)
    assert cropped(np.zeros((40, 100, 3), np.uint8)).shape == (36, 90, 3)
    assert at_most(np.zeros((300, 600, 3), np.uint8), 100).shape == (100, 200, 3)
    small = photo(0)
    assert at_most(small, 100) is small


def attacked(count, radius, first=0):
    """Scenes, texts that are not theirs, and scenes that were optimised for them."""
    images = np.stack([scene(first + i) for i in range(count)])
    texts = [TEXTS[i % len(TEXTS)] for i in range(count)]
    return images, texts, raised(images, texts, radius=radius)


@pytest.mark.slow
def test_an_attack_stays_in_its_bounds_and_raises_the_score():
    images, texts, fooling = attacked(2, radius=2)
    assert np.abs(fooling.astype(int) - images).max() <= 2
    before = ClipScore()({"image": list(images), "caption": texts})["clip_score"]
    after = ClipScore()({"image": list(fooling), "caption": texts})["clip_score"]
    assert all(b > a + 0.1 for a, b in zip(before, after, strict=True))
    assert min(consistency(fooling)) > max(consistency(images))


def test_the_attacker_sees_the_encoder_as_it_is():
    import torch

    from filters import embedded

    images = [scene(i) for i in range(2)]
    vectors = image_vectors(torch.from_numpy(np.stack(images)).float()).detach().numpy()
    assert np.abs(vectors - embedded.encode_images(images)).max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("radius", [2, 8])
def test_attacks_are_caught(radius):
    """At least nine in ten, with one in twenty false alarms, by a threshold from other scenes."""
    trusted = consistency([scene(1000 + i) for i in range(60)])
    threshold = np.quantile(trusted, 0.98)
    images, _, fooling = attacked(30, radius)
    assert np.mean(np.array(consistency(images)) > threshold) <= 0.05
    assert np.mean(np.array(consistency(fooling)) > threshold) >= 0.9
