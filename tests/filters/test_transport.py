"""Word-region transport: near the true optimum, and blind to what must not matter."""

import itertools
import math
from typing import Any

import numpy as np
import pytest

from filters import tokens
from filters.clip import ClipScore
from filters.transport import WordRegionTransport, distance, plan
from filters.unread import UNREAD
from tests.filters.test_clip_builds import columns, recipe
from tests.pictures import photo

TEXTS = ["a red car", "", "two dogs near the house", "the old road " * 300]


def unit(count: int, width: int = 8, seed: int = 0) -> Any:
    rows = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def exact(costs: Any) -> float:
    """The least cost of all: with equal weights it is that of an assignment (Birkhoff).

    Rows and columns are copied until there are as many of the one as of the other.
    """
    rows, columns = costs.shape
    size = math.lcm(rows, columns)
    square = np.repeat(np.repeat(costs, size // rows, axis=0), size // columns, axis=1)
    ways = np.array(list(itertools.permutations(range(size))))
    return float(square[np.arange(size), ways].mean(axis=1).min())


@pytest.mark.parametrize("shape", [(4, 4), (2, 3), (6, 3), (1, 5), (7, 7)])
def test_it_comes_near_the_optimum(shape):
    words, regions = unit(shape[0]), unit(shape[1], seed=1)
    costs = 1 - words @ regions.T
    least = exact(costs)
    assert distance(words, regions) == pytest.approx(least, abs=5e-3)
    assert float((plan(costs, rounds=500) * costs).sum()) == pytest.approx(least, abs=2e-4)


def test_the_algorithm_is_that_of_the_paper():
    costs = 1 - unit(5) @ unit(9, seed=1).T
    m, n = costs.shape
    kernel, flow = np.exp(-costs.T / 0.5), np.ones((n, m))
    sigma = np.full(m, 1 / m)
    for _ in range(50):
        q = kernel * flow
        delta = 1 / (n * q @ sigma)
        sigma = 1 / (m * q.T @ delta)
        flow = np.diag(delta) @ q @ np.diag(sigma)
    assert plan(costs) == pytest.approx(flow.T, abs=1e-5)


def test_everything_is_carried_and_everything_filled():
    flow = plan(1 - unit(7) @ unit(16, seed=1).T)
    assert (flow >= 0).all()
    assert flow.sum(axis=1) == pytest.approx(1 / 7, abs=1e-6)
    assert flow.sum(axis=0) == pytest.approx(1 / 16, abs=5e-4)


def test_equal_sets_cost_nothing_and_opposite_ones_two():
    words = unit(6)
    assert distance(words, words) == pytest.approx(0, abs=1e-4)
    assert distance(words[:1], -words[:1]) == pytest.approx(2, abs=1e-6)
    far = distance(np.repeat(words[:1], 80, axis=0), np.repeat(-words[:1], 600, axis=0))
    assert far == pytest.approx(2, abs=1e-4)


def test_order_does_not_matter_and_sides_hardly():
    words, regions = unit(5), unit(9, seed=1)
    expected = distance(words, regions)
    assert distance(words[::-1], regions[[3, 1, 0, 2, 8, 7, 6, 5, 4]]) == pytest.approx(expected)
    assert distance(regions, words) == pytest.approx(expected, abs=5e-4)


def test_what_matches_costs_less_than_what_does_not():
    words = unit(5)
    near = words + 0.1 * unit(5, seed=1)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    assert distance(words, near) < 0.1 < distance(words, unit(5, seed=2))


@pytest.fixture(params=["embedded", "clip"])
def scorer(request: pytest.FixtureRequest, models: dict[str, str]) -> WordRegionTransport:
    return WordRegionTransport(models.get(request.param, request.param), batch_size=3)


def test_scores_are_those_of_words_and_patches(scorer):
    images = [photo(i, (80, 64)) for i in range(4)]
    found = scorer({"image": images, "caption": TEXTS})
    clip = ClipScore(scorer.model)
    pairs = zip(tokens.words(clip, TEXTS), tokens.patches(clip, images), strict=True)
    for i, (words, patches) in enumerate(pairs):
        if i == 1:
            assert (found["ot_score"][i], found["ot_distance"][i]) == (UNREAD, None)
            continue
        expected = distance(words.vectors, patches)
        assert found["ot_distance"][i] == pytest.approx(expected, abs=1e-5)
        assert found["ot_score"][i] == 1 - found["ot_distance"][i]


def test_companions_make_no_difference(scorer):
    images = [photo(i, (60 + 40 * i, 64)) for i in range(4)]
    together = scorer({"image": images, "caption": TEXTS})
    for i in range(4):
        alone = scorer({"image": [images[i]], "caption": [TEXTS[i]]})
        assert {n: v[0] for n, v in alone.items()} == {n: v[i] for n, v in together.items()}
    assert together["ot_truncated"] == [False] * 3 + [True]
    nothing = scorer({"image": [], "caption": []})
    assert nothing == {"ot_score": [], "ot_distance": [], "ot_truncated": []}


def test_it_names_what_decides_about_its_values(models):
    scorer = WordRegionTransport(models["clip"], text="title")
    clip = ClipScore(models["clip"], text="title")
    assert scorer.reads == clip.reads == ("image", "title")
    assert scorer.precision == clip.precision
    assert scorer.identity == {**clip.identity, "clip": ClipScore.version}
    assert scorer.weights_digest == clip.weights_digest
    assert scorer.image_request == clip.image_request
    scorer.prepare()
    with pytest.raises(ValueError, match="has no patches and words"):
        WordRegionTransport(models["coca"])


def test_a_build(models, make_build):
    score = 'score_: {scorer: "filters.transport:WordRegionTransport", model: MODEL}\n'
    build = make_build(recipe("  " + score.replace("MODEL", f"'{models['clip']}'")), after="ingest")
    build.score()
    found = columns(build, "ot_score")["ot_score"]
    assert sum(value is not None for value in found) == 13
