"""UniME-like embeddings: two vectors of a multimodal LLM, and their cosine."""

import numpy as np
import pytest

from filters import hub_weights, mllm
from filters.unime import IMAGE_PROMPT, TEXT_PROMPT, UniMe
from filters.unread import UNREAD, Unread
from tests import pictures
from tests.conftest import RECIPE
from tests.filters.tiny_mllm import SIDE, save_mllm


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_mllm(tmp_path_factory.mktemp("unime") / "qwen", "qwen")


@pytest.fixture(autouse=True)
def _never_writes(model, monkeypatch):
    """No test of this file may let the model generate."""

    def refuse(*_, **__):
        raise AssertionError("generate was called")

    monkeypatch.setattr(mllm.load(hub_weights.Source(model)).model, "generate", refuse)


def scorer(model, **more):
    return UniMe(model, text_tokens=16, max_side=SIDE, batch_size=3, embeddings=True, **more)


def batch(*texts):
    return {"image": [pictures.photo(i) for i in range(len(texts))], "caption": list(texts)}


def test_the_prompts_are_these():
    assert IMAGE_PROMPT == "Sum up the picture above in one word:"
    assert TEXT_PROMPT == "{text}\nSum up the sentence above in one word:"


def test_the_score_is_the_cosine_of_the_vectors_it_writes(model):
    found = scorer(model)(batch("a dog", "two old houses", "a red car on the road"))
    assert found["unime_truncated"] == [False] * 3
    for score, seen, read in zip(*(found[n] for n in _NAMES), strict=True):
        assert seen.dtype == np.float16
        assert np.linalg.norm(seen.astype(float)) == pytest.approx(1, abs=1e-3)
        assert score == pytest.approx(float(seen.astype(float) @ read.astype(float)), abs=2e-3)
    assert len(set(found["unime_score"])) == 3


_NAMES = ("unime_score", "unime_image", "unime_text")


def test_the_same_text_twice_has_the_cosine_one(model):
    found = scorer(model)(batch("a dog", "a red car", "a dog"))
    first, second, again = (row.astype(float) for row in found["unime_text"])
    assert first @ again == pytest.approx(1, abs=1e-3)
    assert first @ second < first @ again - 1e-4


def test_single_rows_have_the_values_of_the_batch(model):
    whole = scorer(model)(batch("a dog", "a red car on the road", "two old houses"))
    rows = batch("a dog", "a red car on the road", "two old houses")
    for place in range(3):
        row = scorer(model)({name: [values[place]] for name, values in rows.items()})
        assert row["unime_score"][0] == whole["unime_score"][place]


def test_blank_texts_have_a_reason_and_long_ones_are_flagged(model):
    found = scorer(model)(batch(" ", "<|im_end|>", "a red car near two old houses " * 9))
    assert [type(score) for score in found["unime_score"]] == [Unread, Unread, float]
    assert found["unime_score"][0].kept["unime_image"] is found["unime_image"][0] is not None
    assert found["unime_text"][0] is None
    assert UniMe(model, text_tokens=16, max_side=SIDE)(batch(" "))["unime_score"] == [UNREAD]
    assert found["unime_truncated"] == [False, False, True]


def test_columns_identity_and_what_is_refused(model):
    plain = UniMe(model, text_tokens=16, max_side=SIDE)
    assert plain.writes.names == ["unime_score", "unime_truncated"]
    assert scorer(model).writes.names[2:] == ["unime_image", "unime_text"]
    assert UniMe(model, text_prompt="{text}:").identity != UniMe(model).identity
    assert str(model).removeprefix("local-dir:") not in str(plain.identity)
    assert len(plain.weights_digest) == 64
    with pytest.raises(ValueError, match="takes no `form`"):
        UniMe(model, form="input")
    with pytest.raises(ValueError, match="once"):
        UniMe(model, text_prompt="no place for a text")
    with pytest.raises(ValueError, match="40 hexadecimal"):
        UniMe("some/model", revision="main")


@pytest.mark.slow
def test_a_build_stores_the_vectors(model, make_build):
    recipe = RECIPE.partition("score:")[0] + (
        f"score:\n  unime: {{scorer: 'filters.unime:UniMe', model: '{model}', text_tokens: 16,"
        f" max_side: {SIDE}, batch_size: 4, embeddings: true}}\n"
    )
    build = make_build(recipe, after="ingest")
    build.score()
    pool = build.open_pool()
    written = build.resolve(pool)[0].writers["unime_score"]
    rows = [row for shard in pool.shards for row in written.read(shard).to_pylist()]
    good = [row for row in rows if row["unime_score"] is not None]
    assert len(good) == 13
    for row in good:
        assert np.dot(row["unime_image"], row["unime_text"]) == pytest.approx(
            row["unime_score"], abs=2e-3
        )
