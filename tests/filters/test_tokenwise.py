"""FILIP: its formulas, what must not matter to them, and words that nothing in a picture is."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from filters import embedded, tokens
from filters.clip import ClipScore
from filters.tokens import Words
from filters.tokenwise import FEWEST, TokenWise, interaction, standardised
from filters.unread import UNREAD
from tests.filters.embedded_rows import key
from tests.filters.test_clip_builds import columns, recipe
from tests.pictures import photo

TEXTS = ["a red car on the road", "an old house", "two dogs", "blue sky", "a boat", "apple pie"]
TEXTS += ["green trees", "a bird", "an aeroplane", "mountains and snow"]


def unit(count: int, width: int = 8, seed: int = 0) -> Any:
    rows = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def rows_of(texts: list[str], name: str = "caption") -> pa.Table:
    keys = pa.array([key(n) for n in range(len(texts))], pa.binary(16))
    return pa.table({"key": keys, name: texts}).sort_by("key")


@pytest.fixture(params=["embedded", "clip"])
def scorer(request: pytest.FixtureRequest, models: dict[str, str]) -> TokenWise:
    return TokenWise(models.get(request.param, request.param), batch_size=4)


def reference(patches: Any, words: Any) -> tuple[float, float]:
    """The formulas, word by word and patch by patch."""
    i2t = [max(float(np.dot(p, w)) for w in words) for p in patches]
    t2i = [max(float(np.dot(p, w)) for p in patches) for w in words]
    return sum(i2t) / len(i2t), sum(t2i) / len(t2i)


def test_long_texts_are_flagged(scorer):
    batch = {"image": [photo(1)] * 3, "caption": ["", "a dog", "a dog near the house " * 200]}
    found = scorer(batch, scorer.fit(rows_of(TEXTS)))
    assert found["filip_truncated"] == [False, False, True]
    assert [score is UNREAD for score in found["filip_score"]] == [True, False, False]


@pytest.mark.parametrize("text", ["\x00", ".", "\N{FACE WITH TEARS OF JOY}"])
def test_the_reason_is_told_where_nothing_is_read(text):
    scorer = TokenWise()
    found = scorer({"image": [photo(1)], "caption": [text]}, scorer.fit(rows_of(TEXTS)))
    assert str(found["filip_score"][0]) == "nothing is read in the text"


def test_the_formulas():
    patches, words = unit(9), unit(5, seed=1)
    found = interaction(patches, words)
    assert (found.i2t, found.t2i) == pytest.approx(reference(patches, words), abs=1e-6)
    assert found.best == pytest.approx((patches @ words.T).max(axis=0))


def test_a_case_by_hand():
    patches = np.array([[1, 0], [0, 1]], np.float32)
    words = np.array([[1, 0], [0.6, 0.8], [-1, 0]], np.float32)
    found = interaction(patches, words)
    assert found.i2t == pytest.approx((1 + 0.8) / 2)
    assert found.t2i == pytest.approx((1 + 0.8 + 0) / 3)
    assert found.best.tolist() == pytest.approx([1, 0.8, 0])


def test_one_token_each_is_a_cosine():
    patch, word = unit(1), unit(1, seed=1)
    found = interaction(patch, word)
    assert found.i2t == found.t2i == pytest.approx(float(patch[0] @ word[0]))


def test_order_and_copies_of_patches_do_not_matter():
    patches, words = unit(9), unit(5, seed=1)
    expected = interaction(patches, words)
    for other in (patches[::-1], np.concatenate([patches, patches])):
        found = interaction(other, words)
        assert (found.i2t, found.t2i) == pytest.approx((expected.i2t, expected.t2i), abs=1e-6)


def test_a_patch_that_equals_a_word_only_adds():
    patches, words = unit(9), unit(5, seed=1)
    before = interaction(patches, words)
    after = interaction(np.concatenate([patches, words[:1]]), words)
    assert after.t2i > before.t2i
    assert (after.best >= before.best).all()
    assert after.best[0] == pytest.approx(1)


def test_support_is_that_beside_other_words_in_the_picture():
    patches, others = unit(9), unit(20, seed=2)
    usual = (patches @ others.T).max(axis=0)
    found = standardised(usual, patches, others)
    assert np.mean(found) == pytest.approx(0, abs=1e-5)
    assert np.std(found) == pytest.approx(1, abs=1e-5)
    assert standardised(usual, patches, others[: FEWEST - 1]) is None
    assert standardised(usual, patches, np.repeat(others[:1], 20, axis=0)) is None


def test_scores_are_those_of_patches_and_words(scorer):
    images = [photo(i, (80, 64)) for i in range(3)]
    fitted = scorer.fit(rows_of(TEXTS))
    found = scorer({"image": images, "caption": TEXTS[:3]}, fitted)
    clip = ClipScore(scorer.model)
    patches, words = tokens.patches(clip, images), tokens.words(clip, TEXTS[:3])
    for i, (p, w) in enumerate(zip(patches, words, strict=True)):
        i2t, t2i = reference(p, w.vectors)
        assert found["filip_i2t"][i] == pytest.approx(i2t, abs=1e-5)
        assert found["filip_t2i"][i] == pytest.approx(t2i, abs=1e-5)
        assert found["filip_score"][i] == pytest.approx((i2t + t2i) / 2, abs=1e-5)
        best = [max(float(x @ w.vectors[w.last[k]]) for x in p) for k in w.content]
        usual = [max(float(x @ o) for x in p) for o in fitted["words"]]
        least = (min(best) - np.mean(usual)) / np.std(usual)
        assert found["filip_min_word"][i] == pytest.approx(least, abs=1e-3)


def test_words_below_the_threshold_are_listed(scorer):
    batch = {"image": [photo(0)], "caption": ["the red car, a dog and the red house"]}
    fitted = scorer.fit(rows_of(TEXTS))
    all_ = TokenWise(scorer.model, threshold=1e6)(batch, fitted)["unsupported_words"][0]
    assert all_ == ["red", "car", "dog", "house"]
    none = TokenWise(scorer.model, threshold=-1e6)(batch, fitted)["unsupported_words"][0]
    assert none == []
    least = scorer(batch, fitted)["filip_min_word"][0]
    only = TokenWise(scorer.model, threshold=least + 1e-6)(batch, fitted)["unsupported_words"][0]
    assert len(only) == 1


def test_a_word_that_is_there_twice_counts_at_its_worst():
    others = unit(10, seed=3)
    patches, twice = others[:2], np.stack([-others[0], others[0]])
    (least,) = standardised((patches @ twice[:1].T).max(axis=0), patches, others)
    scorer = TokenWise(threshold=least + 1e-3)
    for vectors in (twice, twice[::-1]):
        row = scorer._row(patches, Words(vectors, ["red", "red"], [0, 1]), others)
        assert row["filip_min_word"] == pytest.approx(least, abs=1e-5)
        assert row["unsupported_words"] == ["red"]


@pytest.mark.slow
def test_companions_make_no_difference(scorer):
    images = [photo(i, (70 + 30 * i, 64)) for i in range(5)]
    texts = ["a red car", "", "two dogs", "a house " * 500, "größe"]
    fitted = scorer.fit(rows_of(TEXTS))
    together = scorer({"image": images, "caption": texts}, fitted)
    for i in range(5):
        alone = scorer({"image": [images[i]], "caption": [texts[i]]}, fitted)
        assert {n: v[0] for n, v in alone.items()} == {n: v[i] for n, v in together.items()}
    assert together["filip_score"][1] is UNREAD
    told = {n for n, v in together.items() if v[1] is not None}
    assert told == {"filip_score", "filip_truncated"}
    assert all(values[3] is not None for values in together.values())


def test_nothing_in_nothing_out(scorer):
    fitted = scorer.fit(rows_of(TEXTS))
    found = scorer({"image": [], "caption": []}, fitted)
    assert found == {name: [] for name in scorer.writes.names}


def test_fitting_takes_one_content_word_of_each_caption(scorer):
    texts = [*TEXTS, "", "..."]
    rows = rows_of(texts)
    found = scorer.fit(rows)["words"]
    assert len(found) == len(TEXTS)
    again = scorer.fit(rows.take(list(range(len(texts)))[::-1]))["words"]
    assert np.array_equal(found, again)
    if scorer.model == "embedded":
        known = {word for text in TEXTS for word in text.split() if tokens.is_content(word)}
        vectors = embedded.encode_texts(sorted(known))
        assert (found @ vectors.T).max(axis=1) == pytest.approx(1, abs=1e-5)


def test_few_captions_leave_words_unjudged(scorer):
    for texts in ([], TEXTS[: FEWEST - 1]):
        fitted = scorer.fit(rows_of(texts)) if texts else scorer.fit(rows_of(["x"]).slice(1))
        found = scorer({"image": [photo(0)], "caption": ["a dog"]}, fitted)
        assert found["filip_score"][0] is not None
        assert found["filip_min_word"] == found["unsupported_words"] == [None]


def test_it_names_what_decides_about_its_values(models):
    scorer = TokenWise(models["clip"], text="title")
    assert scorer.reads == ("image", "title")
    assert scorer.fit_reads == ("title",)
    assert scorer.precision != "auto"
    assert scorer.identity != TokenWise(models["clip"], text="title", threshold=-2.0).identity
    clip = ClipScore(models["clip"])
    assert scorer.weights_digest == clip.weights_digest
    assert scorer.image_request == clip.image_request
    scorer.prepare()


def test_what_it_refuses(models):
    with pytest.raises(ValueError, match="has no patches and words"):
        TokenWise(models["siglip"])
    with pytest.raises(ValueError, match="needs `pretrained`"):
        TokenWise("ViT-B-32")
    with pytest.raises(ValueError, match="threshold must be a finite number, got nan"):
        TokenWise(threshold=float("nan"))


@pytest.mark.slow
def test_builds_fit_and_score_alike_in_shards_of_any_size(make_build):
    names = ("filip_score", "filip_min_word", "unsupported_words")
    score = '  filip: {scorer: "filters.tokenwise:TokenWise", fit_rows: 10}\n'
    found = []
    for out, size in (("small", 5), ("large", 500)):
        build = make_build(recipe(score).replace("shard: 5", f"shard: {size}"), out)
        build.ingest()
        build.score()
        found.append(columns(build, *names))
    scored = [[value is not None for value in found[0][name]] for name in names]
    assert scored[0] == scored[1] == scored[2]
    assert sum(scored[0]) == 13  # of 17: broken, foreign, mute and doubled have none
    assert found[0] == found[1]
