"""The mix: its regression equals a slow one, and its weights mean what they say."""

import math
from typing import Any

import numpy as np
import pytest

from filters import logistic
from filters.mix import Mix
from filters.too_few import NotEnoughRows
from tests.filters.embedded_rows import auc, table


def drawn(count: int = 600) -> tuple[dict[str, Any], Any]:
    """Two columns that know something of the label, one that knows nothing."""
    dice = np.random.default_rng(3)
    good = dice.random(count) < 0.7
    columns = {
        "clip": 0.25 + 0.05 * good + 0.05 * dice.normal(size=count),
        "words": 100.0 * good + 120 * dice.normal(size=count),
        "noise": dice.normal(size=count),
    }
    return columns, good


def descended(columns: Any, labels: Any, penalty: float) -> Any:
    """The slow reference: plain gradient descent, with steps that can't overshoot."""
    full = np.concatenate([np.ones((len(columns), 1)), columns], axis=1)
    ridge = np.array([0, *[penalty] * columns.shape[1]])
    beta = np.zeros(full.shape[1])
    step = 1 / (np.linalg.norm(full, 2) ** 2 / 4 + penalty)
    for _ in range(20_000):
        beta -= step * (full.T @ (1 / (1 + np.exp(-full @ beta)) - labels) + ridge * beta)
    return beta


@pytest.mark.parametrize("penalty", [0.1, 100.0])
def test_the_regression_equals_gradient_descent(penalty: float) -> None:
    columns, good = drawn(200)
    matrix = np.stack([(c - c.mean()) / c.std() for c in columns.values()], axis=1)
    found = logistic.fit(matrix, good, penalty)
    assert found.coefficients == pytest.approx(descended(matrix, good, penalty), abs=1e-5)


def test_the_regression_by_hand() -> None:
    """Of no use, a column leaves the share; of 3 to 1 and 1 to 3, the log odds are log 3."""
    values = np.array([1.0] * 4 + [-1.0] * 4)[:, None]
    labels = np.array([1, 1, 1, 0, 1, 0, 0, 0], bool)
    found = logistic.fit(values, labels, 0.0)
    assert found.coefficients == pytest.approx([0, math.log(3)], abs=1e-6)
    # the curvature is 8 * 3/16 for both
    assert found.errors == pytest.approx([math.sqrt(2 / 3)] * 2, rel=1e-6)
    assert found.intervals[1] == pytest.approx(
        math.log(3) + np.array([-1, 1]) * 1.96 * 0.8165, 1e-3
    )
    useless = logistic.fit(np.zeros((8, 1)), np.arange(8) < 6, 1.0)
    assert useless.coefficients == pytest.approx([math.log(3), 0], abs=1e-6)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    dice = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        values = dice.normal(size=(300, 1))
        labels = dice.random(300) < logistic.probability(0.5 + 0.8 * values[:, 0])
        low, high = logistic.fit(values, labels, 0.01).intervals[1]
        held += low <= 0.8 <= high
    assert 180 <= held <= 199


def test_labels_that_a_column_tells_apart_make_nothing_infinite() -> None:
    values = np.concatenate([np.full(20, 5.0), np.full(20, -5.0)])[:, None]
    labels = values[:, 0] > 0
    for penalty in logistic.PENALTIES:
        found = logistic.fit(values, labels, penalty)
        assert np.isfinite(found.coefficients).all()
        assert np.isfinite(found.errors).all()
    assert logistic.best_penalty(values, labels)[0] == min(logistic.PENALTIES)


def test_a_useless_column_gets_the_largest_penalty() -> None:
    dice = np.random.default_rng(5)
    penalty, losses = logistic.best_penalty(dice.normal(size=(300, 2)), dice.random(300) < 0.5)
    assert penalty >= 1000
    assert losses.shape == (len(logistic.PENALTIES),)


def test_the_learned_mix_is_better_than_its_parts() -> None:
    columns, good = drawn()
    scorer = Mix(of=tuple(columns), label="good")
    assert scorer.fit_reads == ("clip", "words", "noise", "good")
    fitted = scorer.fit(table(**columns, good=good))
    found = scorer({name: list(values) for name, values in columns.items()}, fitted)["mix_score"]
    assert auc(found, good) > max(auc(values, good) for values in columns.values())
    assert np.mean(found) == pytest.approx(good.mean(), abs=0.01)
    low, high = fitted["intervals"].T
    assert low[1] > 0
    assert low[2] > 0
    assert low[3] < 0 < high[3]


def test_scales_of_columns_do_not_matter() -> None:
    columns, good = drawn()
    other = {**columns, "clip": 1000 * columns["clip"] - 5}
    scorer = Mix(of=tuple(columns), label="good")
    one, two = (
        scorer({n: list(v) for n, v in c.items()}, scorer.fit(table(**c, good=good)))["mix_score"]
        for c in (columns, other)
    )
    assert one == pytest.approx(two, abs=1e-6)


def test_given_weights_by_hand() -> None:
    """Of 1, 2, 3 the mean is 2, the deviation .8165; the ranks are 1/6, 1/2, 5/6."""
    columns: dict[str, list[Any]] = {"a": [1, 2, 3], "b": [5.0, 5.0, 5.0]}
    scorer = Mix(weights={"a": 0.5, "b": 2.0})
    assert scorer.reads == scorer.fit_reads == ("a", "b")
    found = scorer(columns, scorer.fit(table(**columns)))["mix_score"]
    assert found == pytest.approx([-0.5 / 0.8165, 0, 0.5 / 0.8165], abs=1e-4)
    ranked = Mix(weights={"a": 0.5, "b": 2.0}, scale="rank")
    found = ranked(columns, ranked.fit(table(**columns)))["mix_score"]
    assert found == pytest.approx([0.5 / 6 + 1, 0.25 + 1, 2.5 / 6 + 1])


@pytest.mark.parametrize("scale", ["standard", "rank"])
def test_companions_make_no_difference(scale: str) -> None:
    columns, good = drawn()
    scorer = Mix(of=tuple(columns), label="good", scale=scale)
    fitted = scorer.fit(table(**columns, good=good.astype(int)))
    whole = scorer({n: list(v) for n, v in columns.items()}, fitted)["mix_score"]
    assert scorer({n: list(v[-7:]) for n, v in columns.items()}, fitted)["mix_score"] == whole[-7:]


def test_what_it_refuses() -> None:
    for nothing in ({}, {"label": "x"}):
        with pytest.raises(TypeError, match="a mix needs columns"):
            Mix(**nothing)  # type: ignore[arg-type]
    for wrong in ({"of": ("a",)}, {"of": ("a",), "weights": {"a": 1.0}}):
        with pytest.raises(ValueError, match="give `of` and `label`"):
            Mix(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weights: a: expected a number, got nan"):
        Mix(weights={"a": math.nan})
    with pytest.raises(ValueError, match="weights: a: expected a number, got 'b'"):
        Mix(weights={"a": "b"})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="weights: expected columns with numbers, got 'a'"):
        Mix(weights="a")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="scale 'log': known are standard, rank"):
        Mix(weights={"a": 1.0}, scale="log")
    with pytest.raises(ValueError, match="different columns, and not the label"):
        Mix(of=("a", "b"), label="a")
    scorer = Mix(of=("a",), label="good")
    with pytest.raises(NotEnoughRows, match="a row that has all the columns, found none"):
        scorer.fit(table(a=[1.0], good=[True]).slice(1))
    with pytest.raises(ValueError, match="must hold true and false, found"):
        scorer.fit(table(a=[1.0, 2.0], good=[1, 3]))
    with pytest.raises(NotEnoughRows, match="5 rows of each label, found 1 of one, of 9"):
        scorer.fit(table(a=list(range(9)), good=[True] + [False] * 8))
