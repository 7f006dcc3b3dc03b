"""Scores of changed copies of a picture: of merged tokens, and of what was prepared ahead."""

from typing import Any

import pytest

from filters.clip import ClipScore
from filters.consistency import ClipConsistency
from filters.mirrored import Mirrored
from filters.tmars import MaskedClipScore
from pipeline.contract import interface
from pipeline.instances import fingerprint
from tests.filters.test_merging_builds import deep
from tests.pictures import photo

__all__ = ["deep"]  # the fixture
KINDS: list[Any] = [Mirrored, MaskedClipScore, ClipConsistency]
TEXTS = ["a red car", "", "two dogs near the house", "the old road"]
BOXES = [[], [0.1, 0.1, 0.9, 0.6, 0.9], [0.0, 0.0, 1.0, 1.0, 0.5], []]


def batch() -> dict[str, list[Any]]:
    images = [photo(i, (90 + 40 * i, 70)) for i in range(4)]
    return {"image": images, "caption": list(TEXTS), "text_boxes": list(BOXES)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", ["clip", "siglip", "embedded"])
def test_a_batch_may_hold_what_was_prepared_before_in_place_of_images(models, kind, model):
    scorer = kind(model=models.get(model, model), batch_size=4)
    given = batch()
    prepared = [scorer.prepare_image(image) for image in given["image"]]
    expected = scorer(given)
    assert scorer({**given, "image": prepared}) == expected
    mixed = [prepared[0], given["image"][1], prepared[2], given["image"][3]]
    assert scorer({**given, "image": mixed}) == expected
    assert interface(scorer)


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_merged_as_for_clip(models, deep, kind):
    plain, merged = (kind(model=deep, merge=plan) for plan in (None, "tome:4"))
    given = batch()
    assert merged(given) != plain(given)
    assert fingerprint(merged, {}, "") != fingerprint(plain, {}, "")
    assert "merge" not in plain.identity
    prepared = [merged.prepare_image(image) for image in given["image"]]
    assert merged({**given, "image": prepared}) == merged(given)
    clip = ClipScore(model=deep, merge="tome:4")
    assert merged.identity["merge"] == clip.identity["merge"]
    for wrong, message in ((models["mobileclip"], "merge"), ("embedded", "merge")):
        with pytest.raises(ValueError, match=message):
            kind(model=wrong, merge="tome:4")


def test_the_scores_of_merged_tokens_are_those_of_clip(deep):
    given = batch()
    model = {"model": deep, "merge": "tome:4"}
    turned = [image[:, ::-1].copy() for image in given["image"]]
    expected = ClipScore(**model)({**given, "image": turned})["clip_score"]
    assert Mirrored(**model)(given)["mirrored_score"] == expected
    bare = {**given, "text_boxes": [[]] * 4}
    expected = ClipScore(**model)(given)["clip_score"]
    assert MaskedClipScore(**model)(bare)["tmars_score"] == expected
