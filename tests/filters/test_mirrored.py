"""The mirrored score is the score of the mirrored image."""

from typing import Any

import numpy as np
import pytest

from filters.clip import ClipScore
from filters.mirrored import Mirrored
from filters.unread import UNREAD


def pictures() -> list[Any]:
    dice = np.random.default_rng(0)
    return [dice.integers(0, 256, (40, 50 + n, 3), dtype=np.uint8) for n in range(3)]


@pytest.fixture(params=["embedded", "clip"])
def model(request: pytest.FixtureRequest, models: dict[str, str]) -> str:
    return models.get(request.param, request.param)


def test_it_is_that_of_the_mirrored_image(model: str) -> None:
    texts = ["a dog", "", "zwei Hunde"]
    images = pictures()
    turned = [image[:, ::-1].copy() for image in images]
    expected = ClipScore(model)({"image": turned, "caption": texts})["clip_score"]
    found = Mirrored(model)({"image": images, "caption": texts})["mirrored_score"]
    assert found == expected
    assert Mirrored(model)({"image": images[:2], "caption": ["a dog", "a dog " * 400]})[
        "mirrored_truncated"
    ] == [False, True]
    assert found[1] is UNREAD
    assert found != ClipScore(model)({"image": images, "caption": texts})["clip_score"]


def test_a_symmetric_image_scores_the_same(model: str) -> None:
    half = pictures()[0]
    image = np.concatenate([half, half[:, ::-1]], axis=1)
    batch = {"image": [image], "caption": ["a dog"]}
    assert Mirrored(model)(batch)["mirrored_score"] == ClipScore(model)(batch)["clip_score"]


def test_it_is_the_scorer_that_clip_is(model: str) -> None:
    mirrored, clip = Mirrored(model, text="title"), ClipScore(model, text="title")
    assert mirrored.reads == clip.reads == ("image", "title")
    assert mirrored.image_request == clip.image_request
    assert mirrored.device == clip.device
    assert mirrored.weights_digest == clip.weights_digest
    assert mirrored.precision == clip.precision != "auto"
    assert mirrored.identity == {**clip.identity, "clip": ClipScore.version}
    mirrored.prepare()


def test_it_refuses_what_clip_refuses() -> None:
    with pytest.raises(ValueError, match="needs `pretrained`"):
        Mirrored("ViT-B-32")
