"""Patches and words: those of the model, none of the padding, the same in any company."""

from typing import Any

import numpy as np
import pytest

from filters import embedded, tokens
from filters.clip import ClipScore
from tests.filters.tiny_models import CONTEXT
from tests.pictures import photo

LONG = "a red car near the old house on the road and two dogs " * 400


@pytest.fixture(params=["embedded", "clip"])
def clip(request: pytest.FixtureRequest, models: dict[str, str]) -> ClipScore:
    return ClipScore(models.get(request.param, request.param), batch_size=4)


@pytest.fixture
def native(models: dict[str, str]) -> ClipScore:
    return ClipScore(models["clip"], batch_size=4)


def test_patches_are_what_the_last_block_leaves_of_them(native):
    import torch
    from PIL import Image

    images = [photo(i, (60, 60)) for i in range(3)]
    loaded = tokens.load(native)
    visual = loaded.model.visual
    with torch.inference_mode():
        pixels = torch.stack([loaded.transform(Image.fromarray(image)) for image in images])
        states = visual.ln_post(visual.transformer(visual._embeds(pixels)))
        expected = (states[:, 1:] @ visual.proj).numpy()
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    found = list(tokens.patches(native, images))
    assert [p.shape for p in found] == [(16, 24)] * 3
    assert np.stack(found) == pytest.approx(expected, abs=1e-6)


def test_the_projected_end_of_a_text_is_its_vector(native):
    loaded = tokens.load(native)
    texts = ["a red car", "two dogs near the house"]
    ids = loaded.tokenize(texts)
    ends = ids.argmax(dim=1).tolist()
    found = tokens._text_tokens(loaded, ids, 4)[[0, 1], ends]
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    expected = native.encode_texts(texts)
    assert found == pytest.approx(expected, abs=1e-5)


def test_what_is_not_read_of_a_text_is_told(clip):
    embedded_ = clip.model == "embedded"
    many = tokens.MOST_WORDS if embedded_ else CONTEXT - 2
    words = [f"{chr(97 + i // 26)}{chr(97 + i % 26)}q" for i in range(many + 1)]
    words = words if embedded_ else ["dog"] * (many + 1)
    fits, over = " ".join(words[:-1]), " ".join(words)
    gap = "dog" + " " * 2000 + "cat"
    texts = ["", fits, over, f"the {fits} of it" if embedded_ else fits, gap, "dog" + " " * 3000]
    assert tokens.are_cut(clip, texts) == [False, False, True, False, True, False]
    assert tokens.are_cut(clip, []) == []
    assert len(next(tokens.words(clip, [over])).names) == many


def test_words_are_told_from_tokens(native):
    (found,) = tokens.words(native, ["The Dog's größe, 2 zebrafinches!"])
    assert found.names == ["the", "dog", "'s", "größe", "2", "zebrafinches"]
    ids = tokens.load(native).tokenize.encode("größe zebrafinches")
    assert len(ids) > 2, "a word of several tokens is needed here"
    assert len(found.vectors) == len(ids) + 4
    assert found.last[-1] == len(found.vectors) - 1
    assert [found.names[i] for i in found.content] == ["dog", "größe", "2", "zebrafinches"]
    assert np.linalg.norm(found.vectors, axis=1) == pytest.approx(1, abs=1e-6)


def test_words_of_the_embedded_encoder_are_encoded_one_by_one():
    found, marks, plain = tokens.words(ClipScore(), ["A “dog”, and (größe)!", "... !", "of the"])
    assert found.names == ["dog", "größe"]
    assert np.array_equal(found.vectors, embedded.encode_texts(["dog", "größe"]))
    assert marks.names == []
    assert marks.vectors.shape == (0, embedded.dimension())
    assert plain.names == ["of", "the"]
    assert plain.content == [0, 1]


def test_padding_has_no_part_in_words(native):
    import torch

    loaded = tokens.load(native)
    texts = ["a red car", "two old dogs near the house"]
    before = list(tokens.words(native, texts))
    table = loaded.model.token_embedding.weight
    kept = table[0].clone()
    try:
        with torch.no_grad():
            table[0] = 100.0  # the padding's vector, also that of "!"
        after = list(tokens.words(native, texts))
    finally:
        with torch.no_grad():
            table[0] = kept
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one.vectors, other.vectors)


@pytest.mark.slow
def test_companions_make_no_difference(clip):
    images = [photo(i, (90 + 20 * i, 64)) for i in range(6)]
    texts = ["a red car", "", "two dogs", LONG, "größe", "the"]
    together = list(tokens.patches(clip, images)), list(tokens.words(clip, texts))
    for i in range(6):
        (alone,) = tokens.patches(clip, images[i : i + 1])
        assert np.array_equal(alone, together[0][i])
        (words,) = tokens.words(clip, texts[i : i + 1])
        assert words.names == together[1][i].names
        assert np.array_equal(words.vectors, together[1][i].vectors)
    assert list(tokens.patches(clip, [])) == list(tokens.words(clip, [])) == []


def test_a_text_is_read_as_far_as_the_model_reads(clip):
    empty, long, letters = tokens.words(clip, [" \n", LONG, "x" * 50_000])
    assert len(empty.vectors) == len(empty.names) == len(empty.last) == 0
    most = tokens.MOST_WORDS if clip.model == "embedded" else CONTEXT - 2
    assert len(long.names) == len(long.vectors) == most
    assert len(letters.vectors) in (1, most)
    assert len(letters.names) == (clip.model == "embedded")  # a word that is cut has no name


def test_special_tokens_in_a_caption_are_no_words(native):
    (found,) = tokens.words(native, ["<start_of_text>dog <end_of_text> house"])
    assert found.names == ["dog", "house"]


@pytest.mark.parametrize(
    ("size", "rows", "columns"), [((70, 70), 7, 7), ((70, 10), 1, 7), ((5, 400), 7, 1)]
)
def test_cells_beside_the_picture_are_left_out(size, rows, columns):
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    inside = embedded.cells_of(image).reshape(7, 7)
    assert inside.sum(axis=0).max() == rows
    assert inside.sum(axis=1).max() == columns
    assert inside[3, 3]
    (found,) = tokens.patches(ClipScore(), [image])
    assert found.shape == (rows * columns, embedded.dimension())


def test_half_a_cell_counts_when_its_centre_does():
    # Of 224 pixels 97 are more than three cells, 95 less: the centres lie 32 apart.
    assert embedded.cells_of(np.zeros((97, 224, 3), np.uint8)).sum() == 7 * 3
    assert embedded.cells_of(np.zeros((64, 224, 3), np.uint8)).sum() == 7 * 1
    assert embedded.cells_of(np.zeros((65, 224, 3), np.uint8)).sum() == 7 * 3


def test_cells_average_to_what_the_backbone_says():
    images = [photo(i, (96, 96)) for i in range(5)]
    batches = embedded._backbone_batches(images, "cpu", by_cell=True)
    features, logits = map(np.concatenate, zip(*batches, strict=True))
    expected = embedded.image_features(images)
    assert features[:5].mean(axis=1) == pytest.approx(expected[0], abs=1e-5)
    assert logits[:5].mean(axis=1) == pytest.approx(expected[1], abs=1e-4)


@pytest.mark.parametrize("kind", ["siglip", "coca", "mobileclip"])
def test_towers_without_tokens_are_refused(models, kind):
    with pytest.raises(ValueError, match="has no patches and words in one space: its image"):
        tokens.check(models[kind])


def test_models_are_refused_by_their_configuration():
    for model in ("RN50", "ViT-B-16-SigLIP", "roberta-ViT-B-32", "coca_ViT-B-32", "ViT-H-14-CLIPA"):
        with pytest.raises(ValueError, match="has no patches and words in one space"):
            tokens.check(model)
    for model in ("ViT-B-32", "ViT-L-14-336-quickgelu", "embedded"):
        tokens.check(model)


def test_nan_is_refused(native, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: Any) -> Any:
        return np.full((1, 16, 24), np.nan, np.float32)

    monkeypatch.setattr(tokens, "_patch_tokens", broken)
    with pytest.raises(ValueError, match="NaN or infinite"):
        list(tokens.patches(native, [photo(0)]))
