"""Recall, accuracy and what is left of them: by hand, against a reference, in any order."""

import numpy as np
import pytest

from pipeline.tuning.retrieval import (
    Hits,
    class_vectors,
    retained,
    retrieval,
    separation,
    zero_shot,
)


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def pairs_of(count):
    return np.stack([np.arange(count)] * 2, axis=1)


def reference(images, texts, own, at):
    """Share of images with a partner among the `at` nearest, all that is as near before it."""
    partners = {n: {m for i, m in own.tolist() if i == n} for n in range(len(images))}
    hits = 0
    for n, mine in partners.items():
        cosines = {m: float(images[n] @ texts[m]) for m in range(len(texts))}
        best = max(cosines[m] for m in mine)
        hits += sum(c >= best for m, c in cosines.items() if m not in mine) < at
    return hits / len(images)


def test_three_by_three_by_hand():
    images = np.eye(3, dtype=np.float32)
    # Of image 0 its own text is the nearest, of 1 the second, of 2 the third.
    texts = np.array([[0.9, 0.8, 0.5], [0.1, 0.7, 0.6], [0.2, 0.3, 0.4]], np.float32)
    means = retrieval(images, texts, pairs_of(3)).means()
    assert means == {"text recall@1": pytest.approx(1 / 3), "image recall@1": 1.0}


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_reference_with_several_texts_and_images(seed):
    dice = np.random.default_rng(seed)
    images, texts = unit(dice.normal(size=(14, 6))), unit(dice.normal(size=(21, 6)))
    texts[5] = texts[6]
    more = [(int(dice.integers(14)), m) for m in range(21)]
    own = np.array([*{*more, *((n, n) for n in range(14))}])
    means = retrieval(images, texts, own).means()
    for at in (1, 5, 10):
        assert means[f"text recall@{at}"] == reference(images, texts, own, at)
        assert means[f"image recall@{at}"] == reference(texts, images, own[:, ::-1], at)
    assert means["text recall@1"] <= means["text recall@5"] <= means["text recall@10"]


def test_the_order_does_not_matter():
    dice = np.random.default_rng(0)
    images, texts = unit(dice.normal(size=(30, 4))), unit(dice.normal(size=(30, 4)))
    order, other = dice.permutation(30), dice.permutation(30)
    places = np.stack([np.argsort(order), np.argsort(other)], axis=1)
    found = retrieval(images[order], texts[other], places).means()
    assert found == retrieval(images, texts, pairs_of(30)).means()


def test_an_encoder_that_says_the_same_of_everything_finds_nothing():
    same = np.ones((30, 4), np.float32) / 2
    assert retrieval(same, same, pairs_of(30)).mean() == 0
    assert zero_shot(same, same[:3], np.arange(30) % 3).mean() == 0


def test_recall_that_cannot_fail_is_no_figure():
    vectors = unit(np.random.default_rng(0).normal(size=(7, 4)))
    names = retrieval(vectors, vectors, pairs_of(7)).names
    assert names == ("text recall@1", "text recall@5", "image recall@1", "image recall@5")


def test_accuracy_of_classes():
    images = unit([[1, 0.1], [0.2, 1], [1, 0.9]])
    assert zero_shot(images, unit([[1, 0], [0, 1]]), np.array([0, 1, 1])).means() == {
        "accuracy": pytest.approx(2 / 3)
    }


def test_a_class_is_the_mean_of_what_templates_say():
    said = {"a cat": [1.0, 0.0], "cat": [0.0, 1.0]}
    found = class_vectors(["cat"], ["a {}", "{}"], lambda texts: np.array([said[t] for t in texts]))
    np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5]])


def test_what_is_left_with_its_interval():
    before = Hits(("a",), np.array([[1.0], [1], [1], [0]]), np.arange(4))
    after = Hits(("a",), np.array([[1.0], [0], [1], [1]]), np.arange(4))
    kept = retained(before, after)
    assert (kept.before, kept.after, kept.left.value) == (0.75, 0.75, 1.0)
    assert kept.left.low < 1 < kept.left.high
    assert retained(before, before).left.low == retained(before, before).left.high == 1
    nothing = Hits(("a",), np.zeros((4, 1)), np.arange(4))
    assert retained(before, nothing).left.value == 0


def test_right_pairs_above_wrong_ones():
    right, wrong = np.array([0.1, 0.5, 0.9]), np.array([0.5, 0.2])
    expected = np.mean([(r > w) + (r == w) / 2 for r in right for w in wrong])
    assert separation(right, wrong) == pytest.approx(float(expected))
