"""ImageTextMatching says what transformers' BLIP says, and what the embedded encoder can say."""

import dataclasses
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filters import blip, embedded
from filters.hub_weights import Source, parted
from filters.matching import ImageTextMatching
from filters.unread import UNREAD
from filters.vocabulary import altered
from tests.filters.matching_pairs import CAPTIONS, one_by_one, pairs, pictures
from tests.filters.tiny_blip import CAPTIONING, ENC, edit_json, save_blip, save_llava


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_blip(tmp_path_factory.mktemp("models") / "matching")


@pytest.fixture
def copied(model: str, tmp_path: Path) -> Path:
    """A copy of the model's folder, which may be damaged."""
    folder = Path(model.removeprefix("local-dir:"))
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def scorer(model: str, **options: Any) -> ImageTextMatching:
    return ImageTextMatching(model=model, **{"batch_size": 4, "max_tokens": 12} | options)


def reference(model: str, first: int | None = None) -> tuple[list[float], list[float]]:
    """What the class of transformers gives for each pair alone, without padding."""
    import torch
    from PIL import Image

    loaded = blip.load_matching(Source(model))
    scores, cosines = [], []
    for image, text in zip(*pairs().values(), strict=True):
        given = loaded.processor(Image.fromarray(image), text, return_tensors="pt")
        if first is not None:
            given["input_ids"][0, 0] = first
        with torch.no_grad():
            logits = loaded.model(**given).itm_score
            cosines.append(float(loaded.model(**given, use_itm_head=False).itm_score[0, 0]))
        scores.append(float(logits.softmax(dim=1)[0, 1]))
    return scores, cosines


def test_equals_transformers_pair_by_pair(model: str) -> None:
    found = scorer(model, cosine=True)(pairs())
    scores, cosines = reference(model)
    assert found["itm_score"] == pytest.approx(scores, abs=1e-5)
    assert found["itm_cosine"] == pytest.approx(cosines, abs=1e-5)
    assert max(scores) - min(scores) > 0.01
    assert found["itm_truncated"] == [False] * 5
    other = scorer(model, first_token=ENC)(pairs())["itm_score"]
    assert other == pytest.approx(reference(model, ENC)[0], abs=1e-5)
    assert other != pytest.approx(scores, abs=1e-3)


@pytest.mark.parametrize("size", [1, 2, 16])
def test_companions_and_padding_make_no_difference(model: str, size: int) -> None:
    one = scorer(model, cosine=True, batch_size=size)
    whole = one(pairs())
    assert one_by_one(one, pairs()) == whole
    wide = scorer(model, cosine=True, batch_size=3, max_tokens=40)(pairs())
    assert wide["itm_score"] == pytest.approx(whole["itm_score"], abs=1e-5)


def test_the_image_and_the_caption_both_count(model: str) -> None:
    found = scorer(model)(pairs())["itm_score"]
    swapped = scorer(model)({"image": pictures(), "caption": list(CAPTIONS[::-1])})["itm_score"]
    assert all(abs(a - b) > 1e-6 for a, b in zip(found[:2], swapped[:2], strict=True))
    mirrored = {"image": pictures()[::-1], "caption": list(CAPTIONS)}
    assert scorer(model)(mirrored)["itm_score"][0] != pytest.approx(found[0], abs=1e-6)


def test_captions_that_are_nothing_too_long_or_made_to_mislead(model: str) -> None:
    captions = (
        *("", " \n", "dog " * 18, "dog " * 19, "x" * 100_000, "a [SEP] dog [PAD] [DEC]"),
        *("\x00 �😀 größe", "a [ SEP] dog [ PAD] [ DEC]"),
    )
    found = scorer(model, max_tokens=20)(pairs(captions))
    assert [value is UNREAD for value in found["itm_score"]] == [True, True] + [False] * 6
    assert found["itm_truncated"] == [False, False, False, True, True, False, False, False]
    assert all(0 <= value <= 1 for value in found["itm_score"][2:])
    ids = blip.tokens(blip.load_matching(Source(model)), captions[-3:], 20, None).ids
    assert ids[0].tolist() == ids[2].tolist()
    assert (ids[0] == ids[0][-1]).sum() > 1  # padded, and that within the caption is none
    assert parted("a<End> b", {"<end>", "<", " "}) == "a< End> b"


def test_pictures_of_any_shape(model: str) -> None:
    shapes = [(1, 1, 3), (3000, 2, 3), (2, 3000, 3), (33, 31, 3)]
    images = [np.full(shape, 200, np.uint8) for shape in shapes]
    found = scorer(model)({"image": images, "caption": ["a dog"] * 4})["itm_score"]
    assert all(0 < value < 1 for value in found)
    assert found == pytest.approx(found[:1] * 4, abs=1e-5)  # one colour is one colour


def test_half_precision_is_near(model: str) -> None:
    found = scorer(model, precision="bf16")(pairs())["itm_score"]
    assert found == pytest.approx(scorer(model)(pairs())["itm_score"], abs=0.05)


def test_identity_is_content_not_place(model: str, copied: Path) -> None:
    one, other = scorer(model), scorer(f"local-dir:{copied}")
    assert one.weights_digest == other.weights_digest
    assert one.identity == other.identity
    assert one.identity["precision"] == "fp32"
    edit_json(copied / "config.json", note="changed")
    assert scorer(f"local-dir:{copied}").weights_digest != one.weights_digest
    assert one.image_request == 64


def test_weights_that_do_not_fit_are_refused_before_data_is_read(tmp_path: Path) -> None:
    captioner = save_blip(tmp_path / "captioner", CAPTIONING)
    with pytest.raises(ValueError, match=r"have no 'itm_head\.', .* of BlipForConditional"):
        scorer(captioner)
    with pytest.raises(ValueError, match="a model of type 'llava'; this takes blip"):
        scorer(save_llava(tmp_path / "llava"))
    with pytest.raises(ValueError, match=r"config\.json: there is no such file"):
        scorer("local-dir:/nowhere")
    with pytest.raises(ValueError, match="the path after local-dir: must be absolute"):
        scorer("local-dir:nowhere")


def test_damaged_folders(copied: Path) -> None:
    path = f"local-dir:{copied}"
    (copied / "model.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(ValueError, match="is no file of safetensors"):
        scorer(path)
    (copied / "model.safetensors").write_bytes(b"\x02" + bytes(7) + b"[]")
    with pytest.raises(ValueError, match="its header is no JSON object"):
        scorer(path)
    (copied / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="holds no weights"):
        scorer(path)
    (copied / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="is no JSON object"):
        scorer(path)


def test_weights_that_lack_a_part_or_have_another_shape(copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copied / "model.safetensors")
    bias = weights.pop("itm_head.bias")
    save_file(weights, copied / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"1 are missing or of another shape, such as itm_head\."):
        scorer(f"local-dir:{copied}").prepare()
    both = {**weights, "itm_head.bias": bias.repeat(2)}
    save_file(both, copied / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ValueError, match=r"1 are missing or of another shape, such as \(?'?itm_head"
    ):
        scorer(f"local-dir:{copied}", batch_size=5).prepare()


def test_a_tokenizer_of_more_words_than_the_weights(copied: Path) -> None:
    import transformers

    processor = transformers.AutoProcessor.from_pretrained(copied)
    processor.tokenizer.add_tokens(["zeppelin"])
    processor.save_pretrained(copied)
    with pytest.raises(ValueError, match="its tokenizer has 23 tokens, its weights 22"):
        scorer(f"local-dir:{copied}").prepare()


def test_weights_that_are_cut_off_are_called_by_their_model(copied: Path) -> None:
    path = copied / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="can't be loaded: SafetensorError") as caught:
        scorer(f"local-dir:{copied}").prepare()
    assert str(copied) in str(caught.value)


def test_a_model_of_a_hub_needs_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="needs `revision`, the commit of 40 hex"):
        scorer("somebody/blip")
    with pytest.raises(ValueError, match="found 'main'"):
        scorer("somebody/blip", revision="main")
    with pytest.raises(ValueError, match="name a folder"):
        scorer("blip")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    pinned = scorer("somebody/blip", revision="0" * 40)
    assert pinned.image_request is None
    assert pinned.weights_digest == f"somebody/blip {'0' * 40}"
    with pytest.raises(ValueError, match="'somebody/blip' can't be loaded"):
        pinned.prepare()


def test_parameters_that_make_no_sense(model: str) -> None:
    for options, message in (
        ({"precision": "fp8"}, "known are auto, fp32"),
        ({"copies": 0}, "copies must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"max_tokens": 2}, "max_tokens must be at least 3"),
        ({"revision": "0" * 40}, "`revision`"),
    ):
        for name in (model, "embedded"):
            with pytest.raises(ValueError, match=message):
                scorer(name, **options)
    with pytest.raises(ValueError, match="300 in all, the model has positions for 40"):
        scorer(model, max_tokens=300).prepare()


# The embedded encoder


@pytest.mark.slow
def test_embedded_is_a_softmax_over_the_caption_and_the_average_copy() -> None:
    one = ImageTextMatching(cosine=True)
    captions = ("a red dog", "three horses in front of a house", "Un chamois.", "", "dog")
    found = one(pairs(captions))
    for image, text, score, cosine in zip(
        pictures(), captions, found["itm_score"], found["itm_cosine"], strict=True
    ):
        copies = altered(text, 16)
        seen = embedded.encode_images([image])[0]
        own, *others = (embedded.encode_texts([text, *copies]) @ seen).tolist()
        if not copies:
            assert score is (None if text else UNREAD)
            continue
        up = math.exp(own / 0.05)
        average = sum(math.exp(other / 0.05) for other in others) / len(others)
        assert score == pytest.approx(up / (up + average), abs=1e-5)
        assert cosine == pytest.approx(own, abs=1e-6)
    assert [value is None for value in found["itm_score"]] == [False, False, True, False, False]
    assert [value is None for value in found["itm_cosine"]] == [False, False, False, True, False]
    assert one_by_one(one, pairs(captions)) == found


@pytest.mark.parametrize(("name", "value"), [("precision", "bf16"), ("first_token", 1)])
def test_what_means_nothing_to_the_model_is_refused(model: str, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"model 'embedded' takes no `{name}`; remove it"):
        ImageTextMatching(**{name: value})
    ImageTextMatching(model=model, **{name: value})
    with pytest.raises(ValueError, match="takes no `copies`"):
        ImageTextMatching(model=model, copies=3)
    settled = ImageTextMatching(precision="fp32", max_tokens=35, copies=3)
    assert dataclasses.replace(settled, batch_size=2).batch_size == 2


@pytest.mark.slow
def test_embedded_says_which_captions_are_cut() -> None:
    texts = ["a dog", "a dog " * 400, "a dog" + " " * 3000, ""]
    scorer = ImageTextMatching()
    found = scorer({"image": pictures()[:1] * 4, "caption": texts})
    assert found["itm_truncated"] == [False, True, False, False]
    assert list(found) == scorer.writes.names == ["itm_score", "itm_truncated"]


@pytest.mark.slow
def test_embedded_of_a_caption_and_its_only_copy_add_up_to_one() -> None:
    image = pictures(1) * 2
    found = ImageTextMatching()({"image": image, "caption": ["it is open", "it is closed"]})
    assert sum(found["itm_score"]) == pytest.approx(1, abs=1e-6)


@pytest.mark.slow
def test_embedded_depends_on_the_list_of_words_and_the_number_of_copies() -> None:
    assert " " in ImageTextMatching().weights_digest
    assert ImageTextMatching().identity != ImageTextMatching(copies=4).identity
    long = {"image": pictures(1), "caption": ["red dog " * 5000]}
    assert ImageTextMatching()(long)["itm_score"][0] is not None
