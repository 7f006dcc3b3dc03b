"""The heads as a network: what torch learns is what the encoder computes."""

import numpy as np
import pytest
import torch

from filters import embedded
from pipeline.errors import CurationError
from pipeline.tuning.config import TuningOptions
from pipeline.tuning.heads import FIXED, Features, HeadLearner, HeadNetwork, arrays_of, heads_bytes


def features(count, seed=0):
    dice = np.random.default_rng(seed)
    return Features(
        dice.gamma(0.5, size=(count, 1280)).astype(np.float32),
        dice.normal(size=(count, 1000)).astype(np.float32),
        embedded._unit(dice.normal(size=(count, 512)).astype(np.float32)),
        *(np.arange(count) for _ in range(2)),
    )


def several(count):
    """Heads with some members, each a little another."""
    dice, heads = np.random.default_rng(1), embedded.read_heads()
    for name in heads.keys() - set(FIXED):
        members = np.repeat(heads[name][:1], count, axis=0)
        heads[name] = members + dice.normal(0, 0.01, members.shape).astype(np.float32)
    return heads


@pytest.mark.parametrize("count", [1, 3])
def test_the_network_is_the_encoder(count):
    heads, part = several(count), features(20)
    learner = HeadLearner(embedded, heads, (part, part), TuningOptions(batch=20))
    learner.network.eval()
    (batch,) = learner.held_out()
    with torch.no_grad():
        seen, read, _ = learner.encode(batch)
    order = batch.images.numpy()
    expected = embedded.embed_features(part.features[order], part.logits[order], heads)
    np.testing.assert_allclose(seen.numpy(), expected, atol=2e-6)
    expected = embedded.embed_sentences(part.sentences[order], heads)
    np.testing.assert_allclose(read.numpy(), expected, atol=2e-6)


def test_what_is_not_learnt_stays():
    heads, part = embedded.read_heads(), features(8)
    learner = HeadLearner(embedded, heads, (part, part), TuningOptions(batch=8))
    (batch,) = learner.batches(1)
    learner.encode(batch)[0].sum().backward()
    learnt = {name for name, value in learner.network.named_parameters() if value.requires_grad}
    assert not {name.replace(".", "_") for name in FIXED} & learnt
    assert learner.network.image_out.grad is not None


def test_equal_heads_are_equal_bytes_and_stay_what_they_are(tmp_path):
    heads = embedded.read_heads()
    network = HeadNetwork(heads, 0.0)
    data = heads_bytes(arrays_of(network, network.state_dict()))
    assert data == heads_bytes(heads)
    (tmp_path / "h").write_bytes(data)
    for name, array in embedded.read_heads(tmp_path / "h").items():
        assert np.array_equal(array, heads[name])


def test_an_encoder_of_another_kind_is_refused():
    class Other:
        embed_features = staticmethod(embedded.embed_features)

        @staticmethod
        def embed_sentences(sentences, heads):
            return embedded.embed_sentences(sentences, heads)[:, ::-1]

    part = features(8)
    with pytest.raises(CurationError, match="of another kind"):
        HeadLearner(Other, embedded.read_heads(), (part, part), TuningOptions())
