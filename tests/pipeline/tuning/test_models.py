"""Tuning models of open_clip: what is saved is what the scorer loads, twice the same bytes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from filters import clip_weights
from filters.clip import ClipScore
from filters.clip_text import tokenized
from pipeline.reward.config import EncoderOptions
from pipeline.tuning import train as tuning
from pipeline.tuning.models import load_trainable, prepared, save_model, tokens_of
from pipeline.tuning.rows import Pair
from tests.filters.tiny_models import KINDS
from tests.filters.tiny_models import save_model as make_model
from tests.pictures import photo
from tests.pipeline.tuning import colours
from tests.pipeline.tuning.test_train import Killed

CONFIG = """\
trusted: {{pool: "{pool}", where: "source_key like 't%'"}}
anchors:
  - {{pool: "{pool}", where: "source_key like 'a%'", retain: 0.01}}
encoder: "{model}"
training: {{epochs: 2, batch: 8, rate: 0.001}}
split: {{validation: 0.2, test: 0.2}}
"""


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return colours.write_pool(tmp_path_factory.mktemp("pool"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "clip")


def write(folder, pool, model):
    path = folder / "tune.yaml"
    path.write_text(CONFIG.format(pool=pool, model=model))
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_scores_as_the_one_it_was(tmp_path, kind):
    name = make_model(tmp_path / "model", kind)
    trainable = load_trainable(EncoderOptions(model=name), "cpu")
    saved = save_model(trainable, trainable.network.state_dict(), name, str(tmp_path / "saved"))
    images, texts = [photo(n) for n in range(3)], ["a red car", "a dog", "old house"]
    batch = {"image": images, "caption": texts}
    assert ClipScore(model=saved)(batch) == ClipScore(model=name)(batch)
    assert "preprocess_cfg" in json.loads((tmp_path / "saved/open_clip_config.json").read_text())


@pytest.mark.parametrize(("kind", "crops"), [("clip", True), ("siglip", False)])
def test_what_is_learnt_from_is_what_the_scorer_sees(tmp_path, kind, crops):
    name = make_model(tmp_path / "model", kind)
    trainable = load_trainable(EncoderOptions(model=name), "cpu")
    loaded = clip_weights.load(clip_weights.Source(name))
    assert trainable.crops == loaded.crops == crops
    for size in ((40, 30), (1500, 4), (4, 1500)):
        image = photo(1, size)
        assert torch.equal(prepared(trainable, image), clip_weights.prepared(loaded, image))


@pytest.mark.slow
def test_it_learns_and_the_scorer_loads_what_was_written(tmp_path, pool, model):
    card = tuning.tune_filter(write(tmp_path, pool, model), str(tmp_path / "out"))
    history = card["training"]["history"]
    assert history[-1][1] < history[0][1]
    assert card["learnt"]["after"]["separation"] > card["learnt"]["before"]["separation"]
    name = f"local-dir:{tmp_path / 'out' / tuning.MODEL}"
    assert name in card["use"]
    sheet = np.full((64, 64, 3), 200, np.uint8)
    batch = {"image": [sheet], "caption": ["the colour red"]}
    assert ClipScore(model=name)(batch) != ClipScore(model=model)(batch)


@pytest.mark.slow
def test_killed_in_between_it_goes_on_to_the_same_bytes(tmp_path, pool, model):
    path = write(tmp_path, pool, model)

    def kill(epoch):
        raise Killed

    with pytest.raises(Killed):
        tuning.tune_filter(path, str(tmp_path / "killed"), after_epoch=kill)
    done = []
    tuning.tune_filter(path, str(tmp_path / "killed"), after_epoch=done.append)
    assert done == [2]
    torch.manual_seed(99)  # what was drawn before is nothing to it
    tuning.tune_filter(path, str(tmp_path / "whole"))
    weights = [weights_of(tmp_path / name) for name in ("killed", "whole")]
    assert weights[0] == weights[1]


def weights_of(out: Path) -> bytes:
    return (out / tuning.MODEL / "open_clip_model.safetensors").read_bytes()


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_what_is_learnt_is_read_as_the_scorer_reads_it(tmp_path, kind):
    name = make_model(tmp_path / "model", kind)
    trainable = load_trainable(EncoderOptions(model=name), "cpu")
    loaded = clip_weights.load(clip_weights.Source(name))
    texts = ["a <end_of_text> red dog", "a </s> red dog", "&lt;end_of_text&gt; dog", "a dog"]
    pairs = [Pair(f"{n}", bytes([n]), text) for n, text in enumerate(texts)]
    assert torch.equal(tokens_of(trainable, pairs), tokenized(loaded, texts))
    if kind == "clip":
        assert not torch.equal(tokens_of(trainable, pairs), trainable.tokenize(texts))
