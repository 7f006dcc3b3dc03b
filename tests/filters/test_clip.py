"""CLIP scores: those of open_clip itself, whatever the model, and of no sample's companions."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from filters import clip_weights, files
from filters.clip import ClipScore
from filters.clip_weights import Source, load
from filters.unread import UNREAD, Unread
from pipeline.instances import fingerprint
from tests.filters.tiny_models import CONTEXT, KINDS
from tests.pictures import photo

TEXTS = ["a red car", "a dog and a house", "two big dogs near the old road", "blue"]


def batch(texts, first=0):
    shapes = [(96, 64), (64, 96), (200, 100), (40, 40)]
    images = [photo(first + i, shapes[i % 4]) for i in range(len(texts))]
    return {"image": images, "caption": list(texts)}


def rewritten(model, folder, change):
    """A copy of a model's folder with another configuration."""
    shutil.copytree(model.removeprefix("local-dir:"), folder)
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    return f"local-dir:{folder}"


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_open_clip_itself(models, kind):
    import open_clip
    import torch
    from PIL import Image

    model, prepare = open_clip.create_model_from_pretrained(models[kind])
    tokenize = open_clip.get_tokenizer(models[kind])
    given = batch(TEXTS)
    with torch.inference_mode():
        pixels = torch.stack([prepare(Image.fromarray(image)) for image in given["image"]])
        seen = model.eval().encode_image(pixels, normalize=True)
        read = model.encode_text(tokenize(TEXTS), normalize=True)
    scores = ClipScore(model=models[kind])(given)["clip_score"]
    assert scores == pytest.approx((seen * read).sum(dim=1).tolist(), abs=2e-6)
    assert all(abs(score) <= 1 + 1e-6 for score in scores)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_value_never_depends_on_companions_their_order_or_threads(models, kind, precision):
    import torch

    scorer = ClipScore(model=models[kind], precision=precision, embeddings=True, batch_size=4)
    given = batch([*TEXTS, "a dog"] * 2)
    together = scorer(given)
    order = [7, 2, 9, 0, 4, 1, 8, 3, 6, 5]
    mixed = scorer({name: [column[i] for i in order] for name, column in given.items()})
    alone = [scorer({n: [c[i]] for n, c in given.items()}) for i in range(10)]
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    more_threads = scorer(given)
    torch.set_num_threads(threads)
    for name, column in together.items():
        for i, value in enumerate(column):
            others = alone[i][name][0], mixed[name][order.index(i)], more_threads[name][i]
            assert all(np.array_equal(value, other) for other in others)


def test_control_tokens_in_a_caption_hide_nothing(models):
    scorer = ClipScore(model=models["clip"])
    texts = ["a red dog", "<end_of_text> a red dog", "a <END_of_text>red dog"]
    texts += ["&lt;end_of_text&gt; a red dog", "<start_of_text>a red dog<end_of_text>"]
    plain, *others = scorer.encode_texts(texts)
    assert all(np.array_equal(plain, other) for other in others)
    fits = "<end_of_text>" + " ".join(["dog"] * (CONTEXT - 2))
    found = scorer(batch(["<end_of_text>", fits, f"{fits} dog"]))
    assert [score is UNREAD for score in found["clip_score"]] == [True, False, False]
    assert found["clip_truncated"] == [False, False, True]


def test_a_text_that_just_fits_is_not_cut(models):
    fits = CONTEXT - 2  # two are for start and end
    texts = [" ".join(["dog"] * n) for n in (fits - 1, fits, fits + 1, 5 * fits)]
    texts += ["!?" * (fits // 2), "!?" * 40]  # the number of ! is that of the padding
    given = batch(texts)
    expected = [False, False, True, True, False, True]
    assert ClipScore(model=models["clip"])(given)["clip_truncated"] == expected
    expected = [False, False, False, True]  # its tokenizer has an end, but no start
    given = batch(texts[:4])
    assert ClipScore(model=models["siglip"])(given)["clip_truncated"] == expected
    given = batch([" ".join(["dog"] * n) for n in (CONTEXT - 1, CONTEXT)])
    assert ClipScore(model=models["siglip"])(given)["clip_truncated"] == [False, True]


@pytest.mark.slow
def test_the_embedded_encoder_reads_2000_characters_and_says_where_there_are_more(models):
    start = ("dog cat " * 250)[:2000]
    texts = ["a dog", start, start + "x", start + " \n", " " * 2000 + "dog"]
    scorer = ClipScore()
    found = scorer(batch(texts))
    assert found["clip_truncated"] == scorer.are_cut(texts) == [False, False, True, False, True]
    read = scorer.encode_texts(texts)
    assert np.array_equal(read[1], read[2])
    assert scorer.writes.names == ClipScore(model=models["clip"]).writes.names


def test_blanks_in_a_text_hide_no_cut(models):
    texts = ["dog" + " " * 2000 + "cat", " " * 3000 + "dog" + " " * 3000]
    for kind in ("clip", "siglip"):
        assert ClipScore(model=models[kind])(batch(texts))["clip_truncated"] == [True, False]


def test_a_text_in_which_nothing_is_read_has_no_score(models):
    given = batch(["", " \t\n", "!!!", "größe"])
    values = ClipScore(model=models["siglip"], embeddings=True)(given)
    assert [type(score) for score in values["clip_score"]] == [*[Unread] * 3, float]
    assert values["clip_score"][2].kept["clip_image"] is values["clip_image"][2]
    assert [vector is None for vector in values["clip_text"]] == [True, True, True, False]
    assert not any(vector is None for vector in values["clip_image"])
    values = ClipScore(model=models["clip"])(given)
    assert [score is UNREAD for score in values["clip_score"]] == [True, True, False, False]
    values = ClipScore()(given)
    assert [score is UNREAD for score in values["clip_score"]] == [True, True, False, False]


def test_an_endless_word_costs_no_more_than_its_start(models):
    dice = np.random.default_rng(0)
    word = "".join(map(chr, dice.integers(97, 123, 10**6)))
    values = ClipScore(model=models["clip"])(batch([word, word[:2000], " " * 10**6 + "dog"]))
    assert values["clip_truncated"] == [True, True, False]
    assert None not in values["clip_score"]


def test_a_ribbon_is_seen_in_the_middle_and_takes_no_memory(models):
    ribbon = np.full((2, 2 * 10**6, 3), 100, np.uint8)
    short = ribbon[:, : 40 * 2]
    for kind in ("clip", "mobileclip"):
        scorer = ClipScore(model=models[kind])
        images = [ribbon, short, np.transpose(ribbon, (1, 0, 2))]
        scores = scorer({"image": images, "caption": ["a dog"] * 3})["clip_score"]
        assert scores == pytest.approx([scores[0]] * 3, abs=1e-6)


def test_a_model_that_says_nothing_of_a_picture_is_an_error_of_that_sample(models):
    black = np.zeros((64, 64, 3), np.uint8)  # no feature of this model is other than zero
    with pytest.raises(ValueError, match="NaN or infinite"):
        ClipScore(model=models["mobileclip"])({"image": [black], "caption": ["a dog"]})


def test_the_tokenizer_does_not_remember_every_word(models, monkeypatch):
    monkeypatch.setattr("filters.clip_text._WORDS", 10)
    scorer = ClipScore(model=models["clip"])
    scores = [scorer(batch([f"word{i} x{i} y{i}"]))["clip_score"][0] for i in (*range(20), 0)]
    assert len(load(Source(models["clip"])).tokenize.cache) < 20
    assert scores[0] == scores[-1]


@pytest.mark.parametrize("model", ["clip", "embedded"])
def test_embeddings_are_unit_vectors_whose_product_is_the_score(models, model):
    scorer = ClipScore(model=models.get(model, model), embeddings=True)
    values = scorer(batch(TEXTS))
    assert list(values) == scorer.writes.names
    table = pa.table([pa.array(values[f.name], f.type) for f in scorer.writes], scorer.writes)
    for image, text, score in zip(
        *(table[n].to_pylist() for n in ("clip_image", "clip_text", "clip_score")), strict=True
    ):
        assert np.linalg.norm(image) == pytest.approx(1, abs=2e-3)
        assert np.dot(image, text) == pytest.approx(score, abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_asked_for_its_features_alone(models, kind):
    exact = ClipScore(model=models[kind])(batch(TEXTS))["clip_score"]
    scorer = ClipScore(model=models[kind], precision="bf16", embeddings=True)
    values = scorer(batch(TEXTS))
    assert values["clip_score"] == pytest.approx(exact, abs=0.03)
    assert np.linalg.norm(values["clip_image"][0]) == pytest.approx(1, abs=2e-3)


def test_images_are_prepared_as_the_folder_says(models):
    side = load(Source(models["siglip"])).transform
    assert side(_picture((320, 80))).shape == (3, 160, 160)
    for kind, low, high in [("siglip", -1, 1), ("mobileclip", 0, 1), ("clip", -1.8, 2.2)]:
        transform = load(Source(models[kind])).transform
        assert float(transform(_picture((70, 70), 0)).min()) == pytest.approx(low, abs=0.1)
        assert float(transform(_picture((70, 70), 255)).max()) == pytest.approx(high, abs=0.1)


def _picture(size, grey=128):
    from PIL import Image

    return Image.new("RGB", size, (grey, grey, grey))


@pytest.mark.parametrize(
    ("model", "tag", "expected"),
    [
        ("ViT-B-16-SigLIP", "webli", ((0.5, 0.5, 0.5), "bicubic", "squash")),
        ("MobileCLIP-S2", "datacompdr", ((0.0, 0.0, 0.0), "bilinear", "shortest")),
        (
            "ViT-B-32",
            "laion2b_s34b_b79k",
            ((0.48145466, 0.4578275, 0.40821073), "bicubic", "shortest"),
        ),
    ],
)
def test_a_weights_file_is_prepared_for_as_its_tag_says(model, tag, expected):
    found = clip_weights._preprocessing(Source(model, "/weights/model.bin", tag))
    assert (
        found["image_mean"],
        found["image_interpolation"],
        found["image_resize_mode"],
    ) == expected


@pytest.mark.slow
def test_a_weights_file_is_loaded_with_its_tags_preprocessing(tmp_path):
    import open_clip
    from safetensors.torch import save_file

    state = open_clip.create_model("PE-Core-T-16-384").state_dict()
    file = tmp_path / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in state.items()}, file)
    loaded = load(Source("PE-Core-T-16-384", str(file), "meta"))
    assert float(loaded.transform(_picture((400, 500), 0)).min()) == -1
    assert loaded.transform(_picture((400, 500))).shape == (3, 384, 384)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"model": "ViT-B-32"}, "needs `pretrained`"),
        ({"model": "ViT-B-33", "pretrained": "openai"}, "no model 'ViT-B-33'; it knows ViT-B-32"),
        ({"model": "../x", "pretrained": "openai"}, "knows no model"),
        ({"model": "hf-hub:laion/x"}, "download a revision"),
        ({"model": "ViT-B-32", "pretrained": "/none.pt"}, "no such file"),
        ({"model": "ViT-B-32", "pretrained": "some/none.pt"}, "give its whole path"),
        ({"model": "ViT-B-16-SigLIP", "pretrained": __file__}, "preprocess_tag: openai"),
        ({"model": "local-dir:models/x"}, "must be absolute"),
        ({"model": "local-dir:/none"}, "/none/open_clip_config.json: there is no such file"),
        ({"pretrained": "openai"}, "brings its weights"),
        ({"sha256": "0" * 64}, "brings its weights; remove `sha256`"),
        ({"preprocess_tag": "openai"}, "brings its weights; remove `preprocess_tag`"),
        ({"model": "local-dir:/none", "pretrained": "openai"}, "brings its weights"),
        ({"precision": "int8"}, "known are auto, fp32"),
        ({"batch_size": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_scored_rightly_is_refused_when_the_recipe_is_read(parameters, message):
    with pytest.raises(ValueError, match=message):
        ClipScore(**parameters)


def test_a_folder_must_say_how_images_are_prepared(models, tmp_path):
    silent = rewritten(models["siglip"], tmp_path / "x", lambda c: c.pop("preprocess_cfg"))
    with pytest.raises(ValueError, match="has no `preprocess_cfg` with mean and std"):
        ClipScore(model=silent)


def test_a_folder_that_brings_code_is_refused(models, tmp_path):
    def change(config):
        config["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = {"trust_remote_code": True}

    with pytest.raises(ValueError, match="run code of its own"):
        ClipScore(model=rewritten(models["siglip"], tmp_path / "x", change))


def test_a_model_without_weights_is_refused(models, tmp_path):
    bare = rewritten(models["clip"], tmp_path / "bare", lambda config: None)
    weights = tmp_path / "bare" / "model.safetensors"
    (tmp_path / "bare" / "second.bin").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"one weights file, holds model\.safetensors, second\.bin"
    ):
        ClipScore(model=bare)
    (tmp_path / "bare" / "second.bin").unlink()
    scorer = ClipScore(model=bare)
    weights.unlink()
    with pytest.raises(ValueError, match="holds none"):
        ClipScore(model=bare)
    with pytest.raises(RuntimeError, match="could not be loaded"):
        scorer.prepare()


class _Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("/tmp/pairmill-test-bomb"),))


def test_pickled_weights_never_run(models, tmp_path):
    folder = rewritten(models["clip"], tmp_path / "x", lambda config: None)
    (tmp_path / "x" / "model.safetensors").unlink()
    (tmp_path / "x" / "model.pth").write_bytes(pickle.dumps({"state_dict": _Bomb()}))
    with pytest.raises(pickle.UnpicklingError):
        ClipScore(model=folder).prepare()
    assert not Path("/tmp/pairmill-test-bomb").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Source("ViT-B-32", "openai"), "take ViT-B-32-quickgelu"),
        (Source("ViT-B-32", "/weights/x.pt", "openai"), "take ViT-B-32-quickgelu"),
        (Source("ViT-B-32-quickgelu", "nope"), "no tag 'nope'; known are openai"),
        (Source("ViT-S-32", "/weights/x.pt", "openai"), "no tag 'openai'; known are none"),
    ],
)
def test_a_wrong_tag_or_activation_is_refused_before_anything_is_fetched(source, message):
    with pytest.raises(ValueError, match=message):
        load(source)


def test_weights_can_be_pinned(models):
    good = files.digest(models["clip"].removeprefix("local-dir:") + "/model.safetensors")
    ClipScore(model=models["clip"], sha256=good).prepare()
    with pytest.raises(ValueError, match=f"sha256 is {good}, pinned is abc"):
        ClipScore(model=models["clip"], sha256="abc").prepare()


def test_the_identity_is_the_content_of_the_folder_not_its_place(models, tmp_path):
    def named(model, **parameters):
        return fingerprint(ClipScore(model=model, **parameters), {}, "1")

    moved = rewritten(models["clip"], tmp_path / "moved", lambda config: None)
    assert named(moved) == named(models["clip"]) == named(moved, precision="fp32")
    other = rewritten(
        models["clip"], tmp_path / "o", lambda c: c["preprocess_cfg"].update(std=[1] * 3)
    )
    different = {named(other), named(moved, precision="bf16"), named(moved, batch_size=8)}
    assert len(different | {named(moved)}) == 4


def test_nothing_heavy_is_loaded_to_make_a_scorer(models):
    code = (
        "import sys; from filters.clip import ClipScore\n"
        f"for s in (ClipScore(), ClipScore(model={models['clip']!r})):\n"
        "    s.reads, s.writes, s.device, s.identity, s.weights_digest, s.image_request\n"
        "print([m for m in ('torch', 'open_clip', 'timm', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_image_of_several_captions_is_encoded_once(models, monkeypatch):
    for scorer in (ClipScore(), ClipScore(model=models["clip"], batch_size=4)):
        images = [photo(number) for number in range(3)]
        texts = ["a dog", "a cat", "a red car", "", "a tree"]
        several = [images[n] for n in (0, 0, 1, 2, 0)]
        found = scorer({"image": several, "caption": texts})
        apart = [
            scorer({"image": [image.copy()], "caption": [text]})
            for image, text in zip(several, texts, strict=True)
        ]
        assert found["clip_score"] == [one["clip_score"][0] for one in apart]
    seen = []
    kept = ClipScore.encode_images
    monkeypatch.setattr(
        ClipScore, "encode_images", lambda self, some: seen.append(len(some)) or kept(self, some)
    )
    ClipScore()({"image": several, "caption": texts})
    assert seen == [3]
