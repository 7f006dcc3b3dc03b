"""Other heads under the embedded encoder: they are run, named by content, and checked."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from filters import embedded, tuned_heads
from filters.clip import ClipScore
from tests.pictures import photo


def write(path, **changes):
    heads = embedded.read_heads() | changes
    arrays = {name: array.astype(np.float16) for name, array in heads.items() if array is not None}
    save_file(arrays, path)
    return str(path)


def test_the_shipped_heads_elsewhere_give_the_same_scores(tmp_path):
    path = write(tmp_path / "h")
    batch = {"image": [photo(n) for n in range(5)], "caption": ["a cat", "größe", "猫", "", "a b"]}
    given, shipped = (ClipScore(weights=w, embeddings=True)(batch) for w in (path, None))
    for one, other in zip(given["clip_score"], shipped["clip_score"], strict=True):
        if isinstance(other, Exception):
            assert str(one) == str(other) == "ValueError: nothing is read in the text"
        else:
            assert one == pytest.approx(other, abs=1e-6)
    images = ClipScore(weights=path).encode_images(batch["image"])
    for one, other in zip(images.astype(np.float16), given["clip_image"], strict=True):
        assert np.array_equal(one, other)


@pytest.mark.slow
def test_a_value_does_not_depend_on_companions(tmp_path):
    path, images = write(tmp_path / "h"), [photo(n) for n in range(5)]
    together = tuned_heads.encode_images(path, images)
    for row, image in zip(together, images, strict=True):
        assert np.array_equal(tuned_heads.encode_images(path, [image])[0], row)


def test_they_count_by_content(tmp_path):
    one, two = (ClipScore(weights=write(tmp_path / name)) for name in "ab")
    assert one.identity == two.identity == ClipScore().identity
    assert one.weights_digest == two.weights_digest
    other = write(tmp_path / "c", **{"text.bias": embedded.read_heads()["text.bias"] + 1})
    assert ClipScore(weights=other).weights_digest != one.weights_digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text.bias": None}, "text.bias is missing"),
        ({"more": np.zeros(3)}, "no heads of the embedded encoder: more is no part of them"),
        ({"text.bias": np.zeros((1, 1))}, r"image.bias has the shape .* wanted \(1,"),
        ({"share": np.array([np.nan])}, "share holds NaN or infinity"),
    ],
)
def test_what_is_no_heads_file_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        ClipScore(weights=write(tmp_path / "h", **changes))  # before anything is read


def test_missing_damaged_or_for_another_model(tmp_path):
    with pytest.raises(ValueError, match="no such file; `pairmill filter train` makes one"):
        ClipScore(weights=str(tmp_path / "none"))
    (tmp_path / "x").write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match="is no safetensors file"):
        ClipScore(weights=str(tmp_path / "x"))
    with pytest.raises(ValueError, match="weights are heads for 'embedded'"):
        ClipScore(model="ViT-B-32", pretrained="openai", weights="x")


def test_heads_may_be_of_another_number_than_the_shipped_ones(tmp_path):
    heads = embedded.read_heads()
    one = {n: a[:1] if n not in tuned_heads._ALONE else a for n, a in heads.items()}
    found = tuned_heads.encode_texts(write(tmp_path / "h", **one), ["a cat"])
    expected = embedded.embed_sentences(embedded.sentence_features(["a cat"]), one)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    uneven = one | {"image.bias": np.concatenate([one["image.bias"]] * 2)}
    with pytest.raises(ValueError, match=r"image\.bias has the shape"):
        tuned_heads.read(write(tmp_path / "u", **uneven))
