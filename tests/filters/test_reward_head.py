"""Reward heads: values by hand, independence of companions, and files that are refused."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from filters.reward_head import head_digest, read_head
from tests.filters import reward_files

V, T = np.array([[0.6, 0.8]], np.float32), np.array([[0.8, 0.6]], np.float32)


def test_a_linear_head_by_hand(tmp_path):
    head = read_head(reward_files.write(tmp_path / "head.safetensors"))
    # 0.6 + 2 * 0.6 + 3 * 0.48 + 4 * 0.2 + 0.5 + 10 * 0.96
    np.testing.assert_allclose(head.scores(V, T), [[14.14]], rtol=1e-6)


def test_a_hidden_layer_by_hand(tmp_path):
    arrays = {
        "hidden": np.array([[1, 0], [0, -1]], np.float32),  # v0 t0, - v1 t1
        "hidden_bias": np.array([0, 0.1], np.float32),
        "out": np.array([[2, 5]], np.float32),
        "bias": np.array([-1], np.float32),
        "cosine": np.array([0], np.float32),
    }
    head = read_head(reward_files.write(tmp_path / "h", arrays, blocks=["product"]))
    # relu(0.48), relu(-0.48 + 0.1) = 0
    np.testing.assert_allclose(head.scores(V, T), [[2 * 0.48 - 1]], rtol=1e-6)


def test_the_reward_is_the_mean_by_weights(tmp_path):
    arrays = {
        "out": np.array([[1, 0], [0, 1]], np.float32),
        "bias": np.zeros(2, np.float32),
        "cosine": np.zeros(2, np.float32),
    }
    criteria = {"accuracy": 3.0, "wording": 1.0}
    head = read_head(
        reward_files.write(tmp_path / "h", arrays, blocks=["image"], criteria=criteria)
    )
    scores = head.scores(V, T)
    np.testing.assert_allclose(scores, V)
    np.testing.assert_allclose(head.rewards(scores), [(3 * 0.6 + 0.8) / 4], rtol=1e-6)


@pytest.mark.parametrize("count", [1, 255, 256, 257, 700])
def test_a_value_does_not_depend_on_its_companions(tmp_path, count):
    size = 48
    dice = np.random.default_rng(count)
    arrays = {
        "hidden": dice.standard_normal((16, 4 * size), np.float32),
        "hidden_bias": dice.standard_normal(16, np.float32),
        "out": dice.standard_normal((1, 16), np.float32),
        "bias": np.zeros(1, np.float32),
        "cosine": np.ones(1, np.float32),
    }
    head = read_head(reward_files.write(tmp_path / "h", arrays, dimension=size))
    v, t = dice.standard_normal((2, count, size), np.float32)
    together = head.scores(v, t)
    for row in {0, count // 2, count - 1}:
        alone = head.scores(v[row : row + 1], t[row : row + 1])
        assert np.array_equal(alone[0], together[row])


def test_nothing_in_nothing_out(tmp_path):
    head = read_head(reward_files.write(tmp_path / "h"))
    empty = np.zeros((0, 0), np.float32)
    assert head.scores(empty, empty).shape == (0, 1)
    assert head.rewards(head.scores(empty, empty)).shape == (0,)


def test_vectors_of_another_length_are_refused(tmp_path):
    head = read_head(reward_files.write(tmp_path / "h"))
    with pytest.raises(ValueError, match=r"vectors of 3 numbers.* trained on 2 \(encoder 'toy'\)"):
        head.scores(np.ones((1, 3), np.float32), np.ones((1, 3), np.float32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format 2, known is 1"),
        ({"dimension": 3}, r"out has the shape \(1, 8\), wanted \(1, 12\)"),
        ({"blocks": ["sum"]}, "blocks 'sum', known are image"),
        ({"blocks": []}, "blocks"),
        ({"criteria": {}}, "criteria"),
        ({"criteria": {"a": -1.0}}, "above 0"),
        ({"criteria": 5}, "no reward head"),
        ({"criteria": {"A; drop": 1.0}}, "criteria are names of lower-case letters"),
    ],
)
def test_a_head_that_does_not_fit_together_is_refused(tmp_path, changes, message):
    path = reward_files.write(tmp_path / "h", **changes)
    with pytest.raises(ValueError, match=message):
        read_head(path)


def test_arrays_too_many_too_few_or_not_finite_are_refused(tmp_path):
    extra = reward_files.linear(more=np.zeros(1, np.float32))
    lacking = reward_files.linear(bias=None)
    broken = reward_files.linear(bias=np.array([np.nan], np.float32))
    for number, (arrays, message) in enumerate(
        [(extra, "arrays bias, cosine, more"), (lacking, "wanted bias"), (broken, "bias holds NaN")]
    ):
        path = reward_files.write(tmp_path / str(number), arrays)
        with pytest.raises(ValueError, match=message):
            read_head(path)


def test_other_files_are_refused(tmp_path):
    noise = tmp_path / "noise"
    noise.write_bytes(b"\x80\x04 pickled")
    with pytest.raises(ValueError, match="is no safetensors file"):
        read_head(str(noise))
    plain = tmp_path / "plain"
    save_file(reward_files.linear(), plain)
    with pytest.raises(ValueError, match="holds no reward head: it has no `reward` metadata"):
        read_head(str(plain))
    other = tmp_path / "other"
    save_file(reward_files.linear(), other, {"reward": json.dumps([1])})
    with pytest.raises(ValueError, match="holds no reward head"):
        read_head(str(other))
    with pytest.raises(ValueError, match="there is no such file"):
        read_head(str(tmp_path / "missing"))


def test_a_file_that_was_replaced_is_read_again(tmp_path):
    path = reward_files.write(tmp_path / "h")
    before, digest = read_head(path).scores(V, T), head_digest(path)
    reward_files.write(tmp_path / "h", reward_files.linear(bias=np.array([1.5], np.float32)), x=1)
    np.testing.assert_allclose(read_head(path).scores(V, T), before + 1, rtol=1e-6)
    assert head_digest(path) != digest
