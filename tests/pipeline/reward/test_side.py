"""The network beside a frozen encoder: what it computes, leaves alone, and what is scored."""

import json

import numpy as np
import pytest
import torch

from filters import embedded, reward_side, side_layers
from filters.clip import ClipScore
from filters.clip_weights import Source, load
from filters.reward import RewardScore
from filters.reward_head import read_head
from pipeline.reward import train as training
from pipeline.reward.card import CARD_JSON
from pipeline.reward.config import HeadOptions
from pipeline.reward.heads import RewardHead, arrays_of
from pipeline.reward.side import Layers, SideNetwork
from tests import pictures
from tests.filters.tiny_models import KINDS, save_model
from tests.pipeline.reward.test_train import write

SIZE, SHAPE, TOKENS = 12, (3, 10), 7


def material(count=5, seed=0):
    dice = torch.Generator().manual_seed(seed)
    final = torch.nn.functional.normalize(torch.randn(count, SIZE, generator=dice), dim=1)
    tokens = torch.randn(count, SHAPE[0], TOKENS, SHAPE[1], generator=dice)
    mask = torch.arange(TOKENS) < torch.randint(1, TOKENS + 1, (count, 1), generator=dice)
    return final, tokens, mask


def network(learnt=True):
    torch.manual_seed(1)
    made = SideNetwork(SIZE, SHAPE, rank=4)
    if learnt:
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return made


def reference(net, final, tokens, mask):
    """UniPT's steps for one vector, one layer after the other, one token after the other."""
    anchor = net.anchor((final * SIZE**0.5).relu())
    said, agreements = [], []
    for layer in range(SHAPE[0]):
        small = [
            net.down[layer] @ tokens[layer, t].relu() + net.down_bias[layer]
            for t in range(TOKENS)
            if mask[t]
        ]
        weights = [float((anchor @ one).relu()) for one in small]
        total = max(sum(weights), 1e-6)
        said.append(sum(w / total * one for w, one in zip(weights, small, strict=True)) + small[0])
        agreements.append(net.confidence @ (anchor * (sum(small) / len(small))))
    shares = torch.stack(agreements).softmax(0)
    mixed = sum(share * one for share, one in zip(shares, said, strict=True))
    whole = final + net.up(mixed)
    return whole / whole.norm()


def test_it_begins_as_the_final_vector():
    given = material()
    with torch.no_grad():
        torch.testing.assert_close(network(learnt=False)(*given), given[0])


def test_it_is_the_reference():
    net, given = network(), material()
    with torch.no_grad():
        found = net(*given)
        expected = [reference(net, *(part[n] for part in given)) for n in range(len(found))]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_the_shares_of_the_layers_sum_to_one():
    _, shares = network().layers(*material())
    torch.testing.assert_close(shares.sum(1), torch.ones(5))
    assert float(shares.std()) > 0


def test_what_is_masked_has_no_effect():
    net, (final, tokens, mask) = network(), material()
    noisy = torch.where(mask[:, None, :, None], tokens, 1e3 * torch.ones_like(tokens))
    assert not mask.all()
    with torch.no_grad():
        torch.testing.assert_close(net(final, noisy, mask), net(final, tokens, mask))


def test_the_scorer_computes_what_was_trained():
    options = HeadOptions(kind="side", rank=4)
    head = RewardHead(options, SIZE, (False,), (SHAPE, SHAPE))
    head.sides["image"] = network()
    arrays = arrays_of(head.state_dict(), options.blocks, np.zeros(1, np.float32))
    assert reward_side.problem(reward_side.arrays_of(arrays), SIZE) is None
    given = material()
    found = reward_side.beside(arrays, "image", *(part.numpy() for part in given))
    with torch.no_grad():
        expected = head.sides["image"](*given).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    alone = reward_side.beside(arrays, "image", *(part[2:3].numpy() for part in given))
    assert np.array_equal(alone[0], found[2])


def test_arrays_that_do_not_fit_are_named():
    options = HeadOptions(kind="side", rank=4)
    head = RewardHead(options, SIZE, (False,), (SHAPE, SHAPE))
    arrays = arrays_of(head.state_dict(), options.blocks, np.zeros(1, np.float32))
    beside = reward_side.arrays_of(arrays)
    wrong = beside | {"text.up.weight": np.zeros((3, 3), np.float32)}
    assert "text.up.weight has the shape (3, 3)" in str(reward_side.problem(wrong, SIZE))
    lacking = {name: array for name, array in beside.items() if name != "image.confidence"}
    assert "of image, wanted" in str(reward_side.problem(lacking, SIZE))
    none = {name: array for name, array in beside.items() if name != "text.down"}
    assert "text.down must have three axes" in str(reward_side.problem(none, SIZE))
    nan = beside | {"text.confidence": np.full(4, np.nan, np.float32)}
    assert "holds NaN" in str(reward_side.problem(nan, SIZE))
    with pytest.raises(ValueError, match="layers and width of the image tower are"):
        reward_side.beside(
            arrays, "image", np.ones((1, SIZE), "f4"), np.ones((1, 2, 3, 4), "f4"), None
        )


def test_the_blocks_are_those_of_the_embedded_backbone():
    image = pictures.photo(3)
    head = embedded._folded(embedded.image_backbone(), "_conv_head", "_bn1", 1)
    with torch.inference_mode():
        features = head(side_layers._maps(image)[-1]).mean((2, 3)).numpy()
    np.testing.assert_allclose(features, embedded.image_features([image])[0], atol=2e-4)
    layers = ClipScore().image_layers([image])
    assert layers.shape == (1, 3, 17, 320)
    mean = side_layers._maps(image)[4].mean((2, 3)).numpy()[0]
    np.testing.assert_allclose(layers[0, 0, 0, : len(mean)], mean, rtol=1e-6)
    assert not layers[0, 0, :, len(mean) :].any()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_layers_of_models_of_open_clip(tmp_path, kind):
    clip = ClipScore(model=save_model(tmp_path / "m", kind))
    images, texts = [pictures.photo(n) for n in range(3)], ["a red dog", "car", "old house on road"]
    seen = clip.image_layers(images)
    assert seen.shape[2] == 17
    assert np.array_equal(clip.image_layers(images[1:2])[0], seen[1])
    if kind == "coca":
        with pytest.raises(ValueError, match="ends in a token"):
            clip.text_layers(texts)
        return
    read, mask = clip.text_layers(texts)
    assert read.shape[2] == mask.shape[1] == 17
    assert np.array_equal(clip.text_layers(texts[1:2])[0][0], read[1])
    if kind == "clip":  # start, words; the end itself stands before them
        assert mask.sum(1).tolist() == [1 + 1 + 3, 1 + 1 + 1, 1 + 1 + 4]


def test_nothing_of_the_encoder_can_learn(tmp_path):
    name = save_model(tmp_path / "m")
    clip = ClipScore(model=name)
    layers = Layers(
        clip.image_layers([pictures.photo(0)]).astype(np.float16), np.ones((1, 17), bool)
    )
    final = torch.from_numpy(clip.encode_images([pictures.photo(0)]))
    net = SideNetwork(final.shape[1], layers.shape, rank=4)
    net(final, *layers.rows(np.array([0]))).sum().backward()
    assert net.up.weight.grad is not None
    assert all(p.grad is None for p in load(Source(name)).model.parameters())


SIDE = "head: {kind: side, rank: 4}"


@pytest.mark.slow
@pytest.mark.parametrize("model", ["embedded", "clip"])
def test_from_preferences_to_scores(tmp_path, model):
    path = write(tmp_path, images=12)
    name = "embedded" if model == "embedded" else save_model(tmp_path / "m")
    text = (tmp_path / "train.yaml").read_text().replace("head: {kind: mlp, hidden: 4}", SIDE)
    (tmp_path / "train.yaml").write_text(f'{text}encoder: "{name}"\n')
    card = training.train_reward(path, str(tmp_path / "out"))
    assert card["figures"]["overall"]["accuracy"] is not None
    weights = str(tmp_path / "out" / training.WEIGHTS)
    head = read_head(weights)
    assert head.has_side
    scorer = RewardScore(weights, image="image", text="caption", model=name)
    scorer.prepare()
    batch = {"image": [pictures.photo(n) for n in range(3)], "caption": ["a dog", "größe 1", "b"]}
    together = scorer(batch)
    assert together.keys() == {*scorer.writes.names}
    alone = [scorer({n: c[i : i + 1] for n, c in batch.items()})["reward"][0] for i in range(3)]
    assert alone == together["reward"]
    with pytest.raises(ValueError, match="look at layers of encoder"):
        RewardScore(weights, image="clip_image")
    before = (tmp_path / "out" / training.WEIGHTS).read_bytes()
    (tmp_path / "out/work/checkpoint.safetensors").unlink()
    training.train_reward(path, str(tmp_path / "out"))
    assert (tmp_path / "out" / training.WEIGHTS).read_bytes() == before
    assert json.loads((tmp_path / "out" / CARD_JSON).read_text()) == card
