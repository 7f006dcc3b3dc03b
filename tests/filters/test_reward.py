"""The reward scorer: its columns, where vectors come from, and encoders that don't fit."""

import numpy as np
import pyarrow as pa
import pytest

from filters import embedded, reward_head
from filters.clip import ClipScore
from filters.reward import RewardScore
from filters.unread import UNREAD
from tests.filters import reward_files


@pytest.fixture(scope="module")
def embedded_head(tmp_path_factory):
    return reward_files.write_embedded(tmp_path_factory.mktemp("heads") / "embedded.safetensors")


def half(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float16)


def test_it_scores_stored_vectors(tmp_path):
    scorer = RewardScore(reward_files.write(tmp_path / "h"))
    assert scorer.reads == ("clip_image", "clip_text")
    assert scorer.writes == pa.schema([("reward", pa.float32())])
    batch = {"clip_image": [half(1, 0), half(0, 1)], "clip_text": [half(1, 0), half(1, 0)]}
    # 1 + 3 + 0.5 + 10; and 4 * 1 + 0.5
    assert scorer(batch)["reward"] == pytest.approx([14.5, 4.5])


def test_several_criteria_have_columns_of_their_own(tmp_path):
    arrays = {
        "out": np.array([[1, 0], [0, 1]], np.float32),
        "bias": np.zeros(2, np.float32),
        "cosine": np.zeros(2, np.float32),
    }
    criteria = {"accuracy": 1.0, "wording": 1.0}
    path = reward_files.write(tmp_path / "h", arrays, blocks=["text"], criteria=criteria)
    scorer = RewardScore(path, image="l14_image", text="l14_text")
    assert scorer.writes.names == ["reward", "reward_accuracy", "reward_wording"]
    found = scorer({"l14_image": [half(0, 0)], "l14_text": [half(1, 0.5)]})
    assert found == {"reward": [0.75], "reward_accuracy": [1.0], "reward_wording": [0.5]}


def test_an_empty_batch_gives_empty_columns(tmp_path):
    scorer = RewardScore(reward_files.write(tmp_path / "h"))
    assert scorer({"clip_image": [], "clip_text": []}) == {"reward": []}


@pytest.mark.slow
def test_it_encodes_by_itself_as_if_vectors_were_stored(embedded_head):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    pairs = {"image": [image, image[::-1]], "caption": ["a cat", "größe 猫"]}
    stored = ClipScore(embeddings=True)(pairs)
    direct = RewardScore(embedded_head, image="image", text="caption")
    assert direct.reads == ("image", "caption")
    expected = RewardScore(embedded_head)(stored)
    assert direct(pairs) == {**expected, "reward_truncated": [False, False]}
    # Half precision costs the cosine three digits.
    assert direct(pairs)["reward"] == pytest.approx(
        [10 * c for c in stored["clip_score"]], abs=2e-2
    )


def test_a_text_in_which_nothing_is_read_has_a_reason_where_it_is_encoded(embedded_head):
    pairs = {"image": [np.zeros((64, 64, 3), np.uint8)] * 2, "caption": [" ", "a cat"]}
    found = RewardScore(embedded_head, image="image", text="caption")(pairs)
    stored = ClipScore(embeddings=True)(pairs)
    assert [value is UNREAD for value in found["reward"]] == [True, False]
    assert [vector is None for vector in stored["clip_text"]] == [True, False]


def test_captions_longer_than_the_encoder_reads_are_flagged(embedded_head):
    image = np.zeros((64, 64, 3), np.uint8)
    direct = RewardScore(embedded_head, image="image", text="caption")
    assert direct.writes.field("reward_truncated").type == pa.bool_()
    batch = {"image": [image] * 2, "caption": ["a cat " * 400, "a cat"]}
    assert direct(batch)["reward_truncated"] == [True, False]
    assert RewardScore(embedded_head).writes.names == ["reward"]  # clip_truncated says it


def test_what_it_needs_depends_on_where_vectors_come_from(embedded_head):
    stored = RewardScore(embedded_head)
    assert stored.needs == {"clip_image": "numbers", "clip_text": "numbers"}
    named = RewardScore(embedded_head, image="a", text="b")
    assert named.needs == {"image": "numbers", "text": "numbers"}
    assert RewardScore().needs == {"caption": "text"}
    assert RewardScore(text="title").needs == {"text": "text"}


def test_weights_of_another_encoder_are_refused(tmp_path, embedded_head):
    toy = reward_files.write(tmp_path / "h")
    with pytest.raises(ValueError, match=r"encoder 'toy' \(dddddddddddd\), these are of"):
        RewardScore(toy, image="image", text="caption")
    writer = ClipScore(embeddings=True)
    with pytest.raises(ValueError, match="train the reward again"):
        RewardScore(toy).check_inputs({"clip_image": writer, "clip_text": writer})
    RewardScore(embedded_head).check_inputs({"clip_image": writer, "clip_text": writer})
    RewardScore(toy).check_inputs({"clip_image": object()})  # an import says nothing of its encoder


def test_vectors_that_are_not_finite_are_refused(tmp_path):
    scorer = RewardScore(reward_files.write(tmp_path / "h"))
    with pytest.raises(ValueError, match="NaN or infinity"):
        scorer({"clip_image": [half(np.nan, 0)], "clip_text": [half(1, 0)]})


def test_the_place_of_the_weights_is_no_part_of_its_identity(tmp_path):
    one, other = (RewardScore(reward_files.write(tmp_path / name)) for name in ("a", "b"))
    assert one.identity == other.identity == {"image": "clip_image", "text": "clip_text"}
    assert one.weights_digest == other.weights_digest == reward_head.head_digest(one.weights)


def test_the_encoder_is_part_of_the_identity_when_it_encodes(embedded_head):
    direct = RewardScore(embedded_head, image="image", text="caption")
    assert embedded.weights_digest() in direct.weights_digest


@pytest.mark.parametrize("size", [0, -1])
def test_wrong_parameters_are_refused(size):
    with pytest.raises(ValueError, match="batch_size"):
        RewardScore("any", batch_size=size)


def test_missing_weights_are_said_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="there is no such file; `pairmill reward"):
        RewardScore(str(tmp_path / "none")).prepare()
