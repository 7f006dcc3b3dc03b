"""The numbers of a tokenwise head: by hand, by a plain reference, and what it is refused for."""

import numpy as np
import pytest

from filters import embedded, reward_head, reward_tokens, tokens
from filters.clip import ClipScore
from filters.reward import RewardScore
from filters.tokens import Words
from filters.unread import UNREAD
from tests import pictures
from tests.filters import reward_files
from tests.filters.test_tuned_heads import write as write_heads
from tests.filters.tiny_models import save_model

PARTS = (2, 1)
OTHERS = {
    "others.texts": np.array([[1, 0, 0], [0, 1, 0]], np.float16),
    "others.words": np.array([[0, 0, 1], [0.6, 0.8, 0]], np.float16),
}


def unit(dice, *shape):
    rows = dice.standard_normal(shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def arrays(**changes):
    """Over the nine numbers of vectors in two parts: 1, 2, ... 9 times each, and no cosine."""
    return {
        "out": np.arange(1, 10, dtype=np.float32)[None],
        "bias": np.array([0.5], np.float32),
        "cosine": np.array([0], np.float32),
        **OTHERS,
        **changes,
    }


def write(path, weights=None, **changes):
    told = {"blocks": [], "parts": list(PARTS), "dimension": 3, **changes}
    return reward_files.write(path, arrays() if weights is None else weights, **told)


def test_vectors_by_hand():
    v, t = np.array([[0.6, 0.0, 0.8]], np.float32), np.array([[0.0, 0.6, -0.8]], np.float32)
    found = reward_tokens.of_vectors(v, t, OTHERS["others.texts"].astype(np.float32), PARTS)[0]
    # The parts are (0.6, 0) and (0, 0.6), then 0.8 and -0.8; cosines with others are 0.6 and 0.
    soft = np.log((np.exp(20 * 0.6) + 1) / 2) / 20
    np.testing.assert_allclose(found, [0, -1, 0.3, 0.3, soft], rtol=1e-6)


def test_tokens_by_hand():
    patches = np.eye(3, dtype=np.float32)
    words = Words(np.array([[1, 0, 0], [0, 0.6, 0.8]], np.float32), ["red", "cat"], [0, 1])
    found = reward_tokens.of_tokens(patches, words, OTHERS["others.words"].astype(np.float32))
    # Patches find 1, 0.6, 0.8 and words 1, 0.8; the others 1 and 0.8.
    np.testing.assert_allclose(found, [0.8, 0.9, 0.9, 0.1], rtol=2e-3)


def test_nothing_read_finds_nothing():
    words = Words(np.zeros((0, 3), np.float32), [], [])
    found = reward_tokens.of_tokens(np.eye(3, dtype=np.float32), words, OTHERS["others.words"])
    assert found[:2].tolist() == [0, 0]
    assert reward_tokens.one_word(words, 0) is None


def test_a_head_is_the_sum_of_its_numbers(tmp_path):
    dice = np.random.default_rng(0)
    v, t, found = unit(dice, 300, 3), unit(dice, 300, 3), unit(dice, 300, 4)
    head = reward_head.read_head(write(tmp_path / "h"))
    assert head.is_tokenwise
    scores = head.scores(v, t, found)
    own = reward_tokens.of_vectors(v, t, head.others.texts, PARTS)
    expected = np.concatenate([own, found], axis=1) @ np.arange(1, 10) + 0.5
    np.testing.assert_allclose(scores[:, 0], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(head.scores(v[7:8], t[7:8], found[7:8]), scores[7:8])
    with pytest.raises(ValueError, match="what words and patches find"):
        head.scores(v, t)


@pytest.mark.parametrize(
    ("weights", "changes", "said"),
    [
        ({}, {"parts": [2, 2]}, r"parts \[2, 2\] are not those of vectors of 3 numbers"),
        ({}, {"blocks": ["product"]}, "blocks 'product'"),
        (
            {"others.words": np.zeros((2, 4), np.float32)},
            {},
            r"others.words has the shape \(2, 4\)",
        ),
        ({"others.texts": np.full((2, 3), np.nan)}, {}, "others.texts holds NaN"),
        ({"out": np.zeros((1, 8), np.float32)}, {}, r"out has the shape \(1, 8\), wanted"),
    ],
)
def test_heads_that_do_not_fit_together_are_refused(tmp_path, weights, changes, said):
    path = write(tmp_path / "h", arrays(**weights), **changes)
    with pytest.raises(ValueError, match=said):
        reward_head.read_head(path)


def test_others_belong_to_tokenwise_heads_alone(tmp_path):
    path = reward_files.write(tmp_path / "h", {**reward_files.linear(), **OTHERS})
    with pytest.raises(ValueError, match=r"arrays .*others\.texts"):
        reward_head.read_head(path)


def test_encoders_without_words_and_patches_are_refused(tmp_path):
    reward_tokens.check(ClipScore())
    reward_tokens.check(ClipScore(save_model(tmp_path / "clip")))
    with pytest.raises(ValueError, match="does not know other heads"):
        reward_tokens.check(ClipScore(weights=write_heads(tmp_path / "heads")))
    with pytest.raises(ValueError, match="projects no patches"):
        reward_tokens.check(ClipScore(save_model(tmp_path / "m", "siglip")))
    with pytest.raises(ValueError, match="`merge` joins them"):
        reward_tokens.check(ClipScore(save_model(tmp_path / "v"), merge="tome:1"))


def shipped(pairs):
    return RewardScore()(pairs)["reward"]


@pytest.mark.slow
def test_the_shipped_head_scores_pixels_and_captions():
    scorer = RewardScore()
    scorer.prepare()
    assert scorer.reads == ("image", "caption")
    assert embedded.weights_digest() in scorer.weights_digest
    assert RewardScore(model="embedded") == scorer
    photo, other = pictures.photo(0), pictures.photo(1)
    pairs = {"image": [photo, other, photo], "caption": ["a red car", "...", "a cat on a mat"]}
    first, nothing, last = shipped(pairs)
    assert nothing is UNREAD
    assert shipped({"image": [photo], "caption": ["a red car"]}) == [first]
    assert shipped({"image": [photo], "caption": ["a cat on a mat"]}) == [last]
    assert shipped({"image": [], "caption": []}) == []


def test_the_shipped_head_equals_a_plain_reading_of_its_formula():
    image, caption = pictures.photo(2), "a small red car by the sea"
    head = reward_head.read_head(reward_head.SHIPPED)
    half = [x.astype(np.float16).astype(float) for x in (
        embedded.encode_images([image])[0], embedded.encode_texts([caption])[0]
    )]  # fmt: skip
    (patches,) = tokens.patches(ClipScore(), [image])
    (words,) = tokens.words(ClipScore(), [caption])
    texts, others = head.others
    v, t = half
    cosines = [
        v[a:b] @ t[a:b] / np.linalg.norm(v[a:b]) / np.linalg.norm(t[a:b])
        for a, b in ((0, 768), (768, 1280))
    ]
    usual = texts @ v
    found = patches @ words.vectors.T
    best = (patches @ others.T).max(axis=0)
    numbers = [
        *cosines, usual.mean(), usual.std(), np.log(np.exp(20 * usual).mean()) / 20,
        found.max(axis=1).mean(), found.max(axis=0).mean(), best.mean(), best.std(),
    ]  # fmt: skip
    expected = head.weights["out"][0] @ numbers + head.weights["bias"][0]
    expected += head.weights["cosine"][0] * (v @ t)
    assert shipped({"image": [image], "caption": [caption]}) == pytest.approx([expected], abs=1e-3)


def test_a_changed_file_is_not_the_shipped_head(tmp_path, monkeypatch):
    path = write(tmp_path / "h")
    monkeypatch.setattr(reward_head, "_SHIPPED_FILE", tmp_path / "h")
    with pytest.raises(ValueError, match="pinned is"):
        reward_head.read_head(reward_head.SHIPPED)
    assert path == str(tmp_path / "h")


def test_it_is_small():
    assert reward_head.head_path(reward_head.SHIPPED).stat().st_size < 2_000_000


@pytest.mark.parametrize("text", ["\x00", ".", "\N{FACE WITH TEARS OF JOY}"])
def test_the_reason_is_told_where_nothing_is_read(text):
    (found,) = shipped({"image": [pictures.photo(0)], "caption": [text]})
    assert isinstance(found, ValueError)
    assert str(found) == "nothing is read in the text"


def test_captions_of_more_words_than_are_read_are_flagged():
    words = [f"thing{n}" for n in range(tokens.MOST_WORDS + 1)]
    pairs = {"image": [pictures.photo(0)] * 2, "caption": [" ".join(words), " ".join(words[1:])]}
    assert RewardScore()(pairs)["reward_truncated"] == [True, False]


def test_stored_vectors_are_not_enough(tmp_path):
    for weights in (reward_head.SHIPPED, write(tmp_path / "h")):
        with pytest.raises(ValueError, match="look at patches and words of encoder"):
            RewardScore(weights, image="clip_image", text="clip_text")


def test_heads_that_look_at_words_read_pixels_by_default(tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(reward_head.head_path(reward_head.SHIPPED).read_bytes())
    mine = RewardScore(str(path))
    assert mine.reads == ("image", "caption")
    pairs = {"image": [pictures.photo(0)], "caption": ["a red car"]}
    assert mine(pairs) == RewardScore()(pairs)
