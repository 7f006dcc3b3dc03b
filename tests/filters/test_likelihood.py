"""CaptionLikelihood equals a slow loop that asks each model for one token after the other."""

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filters import blip, clip_weights, coca, embedded, hub_weights, prompted
from filters.likelihood import CaptionLikelihood, _blank
from filters.unread import UNREAD
from filters.vocabulary import content_words, things_and_properties
from tests.filters.matching_pairs import one_by_one, pairs, pictures
from tests.filters.tiny_blip import CAPTIONING, DEC, SEP, save_blip, save_coca, save_llava
from tests.filters.tiny_models import save_model

pytestmark = pytest.mark.slow

ODD = ("", " \n", "dog " * 3000, "a [SEP] dog <image> </s>", "a &lt;end_of_text&gt; dog", "!?! �😀")
KINDS = ("blip", "coca", "llava", "embedded")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("captioners")
    return {
        "blip": save_blip(folder / "blip", CAPTIONING),
        "coca": save_coca(folder / "coca"),
        "llava": save_llava(folder / "llava"),
        "embedded": "embedded",
    }


def scorer(model: str, **options: Any) -> CaptionLikelihood:
    given = {"batch_size": 4, "max_tokens": 12} | options
    if model == "embedded":  # which refuses it
        del given["max_tokens"]
    return CaptionLikelihood(model=model, **given)


def slow_blip(model: str, image: Any, text: str) -> list[float]:
    import torch
    from PIL import Image

    loaded = blip.load_captioner(hub_weights.Source(model))
    tokenizer = loaded.processor.tokenizer
    given = [DEC, *tokenizer("a picture of", add_special_tokens=False)["input_ids"]]
    own = [*tokenizer(text, add_special_tokens=False)["input_ids"], SEP]
    pixels = loaded.processor.image_processor(Image.fromarray(image), return_tensors="pt")

    def logits(ids: list[int]) -> Any:
        return loaded.model(**pixels, input_ids=torch.tensor([ids])).logits[0, -1]

    return token_by_token(logits, given, own)


def slow_coca(model: str, image: Any, text: str) -> list[float]:
    import torch
    from PIL import Image

    loaded = clip_weights.load(clip_weights.Source(model))
    own = [*loaded.tokenize.encode(text), loaded.tokenize.eot_token_id]
    pixels = loaded.transform(Image.fromarray(image))[None]

    def logits(ids: list[int]) -> Any:
        said = loaded.model(pixels, torch.tensor([ids]), output_labels=False)
        return said["logits"][0, -1]

    return token_by_token(logits, [loaded.tokenize.sot_token_id], own)


def slow_llava(model: str, image: Any, text: str) -> list[float]:
    import torch
    from PIL import Image

    loaded = prompted.load(hub_weights.Source(model))
    asked = "<image> Describe the image in one sentence. near:"
    given = loaded.processor(text=[asked], images=[Image.fromarray(image)], return_tensors="pt")
    own = loaded.processor.tokenizer(text, add_special_tokens=False)["input_ids"]

    def logits(ids: list[int]) -> Any:
        tokens = torch.tensor([ids])
        said = loaded.model(pixel_values=given["pixel_values"], input_ids=tokens)
        return said.logits[0, -1]

    return token_by_token(logits, given["input_ids"][0].tolist(), own)


def token_by_token(logits: Any, given: list[int], own: list[int]) -> list[float]:
    """The log probability of each token after those before it."""
    import torch

    logs = []
    with torch.no_grad():
        for place, token in enumerate(own):
            before = logits([*given, *own[:place]])
            logs.append(float(before.double().log_softmax(dim=0)[token]))
    return logs


@functools.cache
def vector(word: str) -> Any:
    return embedded.encode_texts([word])[0].astype(float)


def slow_embedded(_: str, image: Any, text: str) -> list[float]:
    seen = embedded.encode_images([image])[0]
    logs = []
    for word in content_words(text, 24):
        rivals = [vector(other) for other in things_and_properties() if other != word]
        cosines = np.stack([vector(word), *rivals]) @ seen
        odds = np.exp(cosines / 0.1)
        logs.append(math.log(odds[0] / odds.sum()))
    return logs


SLOW = {"blip": slow_blip, "coca": slow_coca, "llava": slow_llava, "embedded": slow_embedded}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_slow_loop(models: dict[str, str], kind: str) -> None:
    batch = pairs(("a red car", "the old zeppelin near two house", "road"))
    found = scorer(models[kind], max_tokens=30)(batch)
    for row, (image, text) in enumerate(zip(*batch.values(), strict=True)):
        logs, blank = (SLOW[kind](models[kind], look, text) for look in (image, _blank(image)))
        mean = sum(logs) / len(logs)
        assert found["caption_logp"][row] == pytest.approx(mean, abs=1e-5)
        gain = mean - sum(blank) / len(blank)
        assert found["caption_gain"][row] == pytest.approx(gain, abs=1e-5)
        assert abs(gain) > 1e-5
        assert found["caption_logp_tokens"][row] == len(logs)
        assert found["caption_logp_truncated"][row] is False


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_companions_make_no_difference(models: dict[str, str], kind: str) -> None:
    batch = pairs(("a red car", *ODD))
    whole = scorer(models[kind])(batch)
    assert one_by_one(scorer(models[kind]), batch) == whole
    small = scorer(models[kind], batch_size=1)(batch)
    for name in ("caption_logp", "caption_gain"):
        for one, other in zip(whole[name], small[name], strict=True):
            assert one == (pytest.approx(other, abs=1e-5) if isinstance(other, float) else other)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_captions_that_are_nothing_too_long_or_made_to_mislead(
    models: dict[str, str], kind: str
) -> None:
    found = scorer(models[kind], max_tokens=60 if kind == "llava" else 30)(pairs(ODD))
    nothing = {"caption_logp": UNREAD, "caption_gain": None, "caption_logp_tokens": None}
    for name, value in nothing.items():
        assert found[name][:2] == [value] * 2
        assert None not in found[name][2:5]
    assert all(value <= 0 for value in found["caption_logp"][2:5])
    assert found["caption_logp_truncated"] == [False] * 2 + [True] + [False] * 3


def test_padding_makes_no_difference(models: dict[str, str]) -> None:
    texts = pairs(("a red car", "the old dog near two house"))
    short, long = (scorer(models["blip"], max_tokens=n)(texts) for n in (7, 30))
    for name in ("caption_logp", "caption_gain"):
        assert short[name] == pytest.approx(long[name], abs=1e-5)


def test_only_what_was_read_is_scored(models: dict[str, str]) -> None:
    """A cut caption has no end; one that just fits has."""
    for kind, fits in (("blip", 12), ("coca", 14)):
        found = scorer(models[kind])(pairs(("car " * fits, "car " * (fits + 1))))
        assert found["caption_logp_truncated"] == [False, True]
        assert found["caption_logp_tokens"] == [fits + 1, fits]
    found = scorer("embedded")(pairs((" ".join(f"q{'x' * n}" for n in range(1, 30)),)))
    assert (found["caption_logp_tokens"], found["caption_logp_truncated"]) == ([24], [True])


def test_control_tokens_in_a_caption_are_words(models: dict[str, str]) -> None:
    loaded = clip_weights.load(clip_weights.Source(models["coca"]))
    text = "a dog <end_of_text> &lt;start_of_text&gt; car"
    ids = coca.tokens(loaded, [text]).ids[0].tolist()
    plain = coca.tokens(loaded, ["a dog car"]).ids[0].tolist()
    assert ids == plain
    answer = prompted.answers(prompted.load(hub_weights.Source(models["llava"])), ["<image>"], 9)
    assert 3 not in answer.ids[0]
    assert len(answer.ids[0]) > 1


def test_the_sign_that_is_also_padding_is_no_target(models: dict[str, str]) -> None:
    loaded = clip_weights.load(clip_weights.Source(models["coca"]))
    text = "!\u0300a"  # whose first token is 0
    assert 0 in loaded.tokenize.encode(text)
    read = coca.tokens(loaded, [text])
    assert all(int(read.ids[0, place]) != 0 for place in read.targets[0])
    assert len(read.targets[0]) == len(loaded.tokenize.encode(text)) + 1 - 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_of_one_colour_gains_nothing(models: dict[str, str], kind: str) -> None:
    grey = np.full((30, 40, 3), 99, np.uint8)
    found = scorer(models[kind])({"image": [grey], "caption": ["a red car"]})
    assert found["caption_gain"] == [pytest.approx(0, abs=1e-9)]
    alone = scorer(models[kind], gain=False)
    assert "caption_gain" not in alone.writes.names
    assert alone({"image": [grey], "caption": ["a red car"]})["caption_logp"] == pytest.approx(
        found["caption_logp"], abs=1e-6
    )


def test_the_prompt_is_given_and_not_scored(models: dict[str, str]) -> None:
    for kind in ("blip", "llava"):
        one, other = (scorer(models[kind], prompt=p)(pairs()) for p in (None, "near two dog"))
        assert one["caption_logp_tokens"] == other["caption_logp_tokens"]
        assert one["caption_logp"] != pytest.approx(other["caption_logp"], abs=1e-4)
    assert scorer(models["blip"], prompt="")(pairs())["caption_logp"][0] < 0


@pytest.mark.parametrize("kind", ["blip", "coca"])
def test_half_precision_is_near(models: dict[str, str], kind: str) -> None:
    found = scorer(models[kind], precision="bf16")(pairs())["caption_logp"]
    assert found == pytest.approx(scorer(models[kind])(pairs())["caption_logp"], abs=0.2)


def test_models_that_write_no_captions_are_refused(tmp_path: Path, models: dict[str, str]) -> None:
    matching, clip = save_blip(tmp_path / "itm"), save_model(tmp_path / "clip")
    for options, message in (
        ({"model": matching}, r"have no 'text_decoder\.', .* of BlipForImageTextRetrieval"),
        ({"model": clip}, "writes no captions: it has no `multimodal_cfg`"),
        ({"model": "ViT-B-32", "pretrained": "openai"}, "writes no captions"),
        ({"model": "coca_ViT-B-32"}, "needs `pretrained`"),
        ({"model": "coca_roberta-ViT-B-32", "pretrained": "x"}, "only CoCa with CLIP's tokenizer"),
        ({"model": "somebody/model"}, "needs `revision`"),
        ({"model": "embedded", "prompt": "a"}, "'embedded' takes no `prompt`"),
        ({"model": models["coca"], "revision": "0" * 40}, "takes no `revision`"),
        ({"model": models["blip"], "pretrained": "x"}, "takes no `pretrained`"),
        ({"model": "local-dir:/nowhere"}, "there is no such file"),
        ({"precision": "fp8"}, "known are auto"),
        ({"max_tokens": 0}, "max_tokens must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            CaptionLikelihood(**options)


def test_a_model_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    model = save_llava(tmp_path / "mute")
    (tmp_path / "mute" / "chat_template.jinja").unlink()
    with pytest.raises(ValueError, match="has no chat template"):
        scorer(model).prepare()


def test_identity_and_requests(models: dict[str, str]) -> None:
    assert [scorer(models[kind]).image_request for kind in KINDS] == [64, 64, None, 224]
    digests = {scorer(models[kind]).weights_digest for kind in KINDS}
    assert len(digests) == len(KINDS)
    hub = scorer("somebody/model", revision="0" * 40)
    assert hub.identity["model"] == "somebody/model"
    assert hub.identity["revision"] == "0" * 40
    assert scorer(models["blip"], gain=False).identity != scorer(models["blip"]).identity


def test_blank_has_the_size_and_mean_colour() -> None:
    image = pictures(1)[0]
    blank = _blank(image)
    assert blank.shape == image.shape
    assert np.abs(blank[0, 0] - image.reshape(-1, 3).mean(axis=0)).max() <= 0.5
    assert (blank == blank[0, 0]).all()
