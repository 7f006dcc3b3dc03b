"""CoCa's captions: the likeliest words one after the other, or drawn; each picture by itself."""

import dataclasses

import numpy as np
import pytest

from filters import clip_weights, coca
from recaption.coca_captioner import CocaCaptioner
from tests import pictures
from tests.filters.tiny_blip import save_coca


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_coca(tmp_path_factory.mktemp("coca") / "model")


def captioner(model, **more):
    return CocaCaptioner(model, **{"batch_size": 3, "max_tokens": 8, **more})


def images(count=4):
    return [pictures.photo(i, (40 + i, 60)) for i in range(count)]


def captions(scorer, seen):
    return scorer({"image": list(seen)})["captions"]


@pytest.mark.slow
def test_a_batch_says_what_single_pictures_say(model):
    asked = captioner(model)
    together = captions(asked, images())
    assert together == captions(asked, images())
    assert together == [captions(asked, [image])[0] for image in images()]
    assert captions(asked, []) == []
    ((caption,), *_) = together
    assert caption["model"].startswith("model@")
    assert (caption["kind"], caption["language"], caption["prompt"]) == ("short", "en", None)
    assert caption["tokens"] <= 8


@pytest.mark.slow
def test_greedy_words_are_the_likeliest_by_the_whole_model(model):
    """Against `CoCa.forward` itself, asked for every prefix anew."""
    import torch

    asked = captioner(model)
    loaded = coca.load(asked._source)
    image = images(1)[0]
    pixels = clip_weights.prepared(loaded, image)[None]
    ids = [loaded.tokenize.sot_token_id]
    end = loaded.tokenize.eot_token_id
    with torch.inference_mode():
        while len(ids) <= 8 and ids[-1] != end:
            logits = loaded.model(pixels, torch.tensor([ids]), output_labels=False)["logits"]
            order = logits[0, -1].argsort(descending=True).tolist()
            barred = {0, ids[0], *([end] if len(ids) <= 4 else [])}
            ids.append(next(token for token in order if token not in barred))
    own = [token for token in ids[1:] if token != end]
    ((caption,),) = captions(asked, [image])
    assert caption["text"].split() == loaded.tokenize.decode(own).split()
    assert caption["tokens"] == len(ids) - 1
    assert (caption["flags"] == ["cut"]) == (ids[-1] != end)


@pytest.mark.slow
def test_samples_differ_and_depend_on_nothing_beside_them(model):
    asked = captioner(model, samples=3, top_p=1.0)
    first, second = captions(asked, images(2))
    assert len({caption["text"] for caption in first}) == 3
    assert captions(asked, images(2)[::-1]) == [second, first]
    assert captions(dataclasses.replace(asked, seed=1), images(1)) != [first]


def test_odd_pictures_are_captioned_like_others(model):
    odd = [
        np.full((1, 1, 3), 9, np.uint8),
        np.full((30, 40, 3), 127, np.uint8),
        np.full((3, 900, 3), 5, np.uint8),
    ]
    assert [len(row) for row in captions(captioner(model), odd)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"max_tokens": 99}, "at most 15"),
        ({"samples": 2, "temperature": 0.0}, "temperature above 0"),
        ({"precision": "int8"}, "known are auto"),
        ({"batch_size": 0}, "at least 1"),
    ],
)
def test_wrong_parameters_are_refused(model, parameters, message):
    with pytest.raises(ValueError, match=message):
        captioner(model, **parameters)


def test_a_model_without_a_decoder_is_refused():
    with pytest.raises(ValueError, match="writes no captions"):
        CocaCaptioner("ViT-B-32", "openai")


def test_the_identity_is_of_content_not_of_place(model, tmp_path):
    copy = captioner(save_coca(tmp_path / "copy"))
    assert copy.identity == captioner(model).identity
    assert copy.weights_digest == captioner(model).weights_digest
    other = captioner(save_coca(tmp_path / "other", seed=1))
    assert other.weights_digest != captioner(model).weights_digest
