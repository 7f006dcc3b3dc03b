"""Tokenwise heads: numbers of pairs, what is learnt of them, and the way from pixels to scores."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from filters import reward_tokens
from filters.clip import ClipScore
from filters.reward import RewardScore
from filters.reward_head import Head, read_head
from pipeline.errors import CurationError, RecipeError
from pipeline.reward import tokenwise
from pipeline.reward import train as training
from pipeline.reward.card import CARD_JSON
from pipeline.reward.config import HeadOptions
from pipeline.reward.encoders import choose_encoder
from pipeline.reward.evaluate import scores_of
from pipeline.reward.tokenwise import Others, PairNumbers, TokenwiseHead
from pipeline.reward.training import head_for, train
from tests import pictures
from tests.filters.tiny_models import save_model
from tests.pipeline.reward import toys
from tests.pipeline.reward.test_train import write

OPTIONS = HeadOptions(kind="tokenwise", dropout=0.0)
LONG = toys.OPTIONS.model_copy(update={"epochs": 15, "patience": 15, "rate": 0.1})
PARTS = (4, 4)


def with_numbers(table, seed):
    """Beside the vectors what they say, and four more numbers: the last tells which is better."""
    dice = np.random.default_rng(seed)
    codes = tokenwise.codes_of(table)
    images, texts = codes // len(table.texts), codes % len(table.texts)
    others = Others(table.texts[:5], table.texts[5:9])
    own = reward_tokens.of_vectors(table.images[images], table.texts[texts], others.texts, PARTS)
    more = dice.standard_normal((len(codes), 4)).astype(np.float32)
    more[:, 3] = 100 + table.texts[texts, 0]
    values = np.concatenate([own, more], axis=1)
    cosines = tokenwise.cosines_of(table.images[images], table.texts[texts])
    made = PairNumbers(codes, cosines, values, len(table.texts), others, PARTS)
    return replace(table, numbers=made)


def run(folder):
    made = toys.run(folder, OPTIONS, LONG)
    parts = (with_numbers(table, seed) for seed, table in enumerate((made.train, made.validation)))
    return replace(made, **dict(zip(("train", "validation"), parts, strict=True)))


def test_a_pair_has_the_numbers_that_were_given_to_it():
    table = with_numbers(toys.table(4), 0)
    pairs = np.concatenate([table.worse, table.better])
    cosines, found = table.numbers.rows(pairs[:, 0], pairs[:, 1])
    images, texts = table.images[pairs[:, 0]], table.texts[pairs[:, 1]]
    np.testing.assert_allclose(cosines, (images * texts).sum(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[:, -1], 100 + texts[:, 0], rtol=1e-6)
    assert torch.equal(table.inputs(table.better)[1], found[len(table) :])


def test_it_begins_as_the_cosine_and_learns_what_the_numbers_tell(tmp_path):
    made = run(tmp_path)
    head = head_for(made)
    assert isinstance(head, TokenwiseHead)
    progress = train(made)
    better, worse = made.validation.cosines()
    head.load_state_dict(progress.best)
    own, other = scores_of(head, made.validation)
    assert (own > other).mean() > 0.95 > (better > worse).mean()
    fresh = head_for(made)
    with torch.no_grad():
        fresh.cosine.fill_(7)
    np.testing.assert_allclose(scores_of(fresh, made.validation)[0][:, 0], 7 * better, rtol=1e-4)


def test_the_scorer_computes_what_was_trained(tmp_path):
    made = run(tmp_path)
    head = head_for(made)
    head.load_state_dict(train(made).best)
    numbers = made.train.numbers
    arrays = tokenwise.arrays_of(head.state_dict(), numbers.others, np.ones(1, np.float32))
    stored = Head(
        *((), ("preference",), (1.0,), toys.SIZE, "toy", "d" * 64, {}),
        weights={name: array.astype(np.float32) for name, array in arrays.items()},
        parts=PARTS,
    )
    side = made.train.better
    more = numbers.rows(side[:, 0], side[:, 1])[1].numpy()[:, -4:]
    found = stored.scores(made.train.images[side[:, 0]], made.train.texts[side[:, 1]], more)
    np.testing.assert_allclose(found, scores_of(head, made.train)[0] - 1, rtol=1e-3, atol=5e-3)


def test_others_do_not_depend_on_the_order_of_texts():
    encoder = choose_encoder()
    texts = [f"a dog number {n}" for n in range(7)]
    one, other = (tokenwise.others_of(encoder, some, 0) for some in (texts, texts[::-1]))
    assert np.array_equal(one.texts, other.texts)
    assert np.array_equal(one.words, other.words)
    assert one.texts.shape == one.words.shape == (7, encoder.dimension)
    with pytest.raises(CurationError, match="no words to compare with"):
        tokenwise.others_of(encoder, ["..."], 0)


def changed(tmp_path, more):
    path = write(tmp_path, images=12)
    text = (tmp_path / "train.yaml").read_text()
    text = text.replace("head: {kind: mlp, hidden: 4}", "head: {kind: tokenwise}")
    (tmp_path / "train.yaml").write_text(text + more)
    return path


def test_what_it_can_not_learn_from_is_refused(tmp_path):
    path = changed(tmp_path, "teacher: {scores: answers.jsonl}\n")
    with pytest.raises(RecipeError, match="not those of a teacher"):
        training.train_reward(path, str(tmp_path / "out"))


def test_an_encoder_without_patches_is_refused_where_it_is_named(tmp_path):
    name = save_model(tmp_path / "m", "siglip")
    path = changed(tmp_path, f'encoder: "{name}"\n')
    with pytest.raises(RecipeError, match="projects no patches") as caught:
        training.train_reward(path, str(tmp_path / "out"))
    assert "train.yaml" in str(caught.value.where)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["embedded", "clip"])
def test_from_preferences_to_scores(tmp_path, model):
    name = "embedded" if model == "embedded" else save_model(tmp_path / "m")
    path = changed(tmp_path, f'encoder: "{name}"\n')
    card = training.train_reward(path, str(tmp_path / "out"))
    assert card["figures"]["overall"]["accuracy"] is not None
    weights = str(tmp_path / "out" / training.WEIGHTS)
    head = read_head(weights)
    assert head.is_tokenwise
    assert head.parts == ((768, 512) if model == "embedded" else (head.dimension,))
    scorer = RewardScore(weights, image="image", text="caption", model=name)
    scorer.prepare()
    batch = {"image": [pictures.photo(n) for n in range(3)], "caption": ["a dog", "größe 1", "b"]}
    together = scorer(batch)
    assert together.keys() == {*scorer.writes.names}
    alone = [scorer({n: c[i : i + 1] for n, c in batch.items()})["reward"][0] for i in range(3)]
    assert alone == together["reward"]
    assert ClipScore(model=name).encoder == head.encoder
    with pytest.raises(ValueError, match="look at patches and words of encoder"):
        RewardScore(weights, image="clip_image")
    before = (tmp_path / "out" / training.WEIGHTS).read_bytes()
    (tmp_path / "out/work/checkpoint.safetensors").unlink()
    training.train_reward(path, str(tmp_path / "out"))
    assert (tmp_path / "out" / training.WEIGHTS).read_bytes() == before
    assert json.loads((tmp_path / "out" / CARD_JSON).read_text()) == card
