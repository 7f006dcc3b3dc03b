"""Agreement: ranks are those that counting gives, and a value alone decides about its own."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.agreement import Agreement, rank
from filters.too_few import NotEnoughRows
from tests.filters.embedded_rows import table


def test_by_hand() -> None:
    """Ranks of 1, 2, 2, 4: .125, .5, .5, .875; of 8, 6, 4, 2: .875, .625, .375, .125."""
    scorer = Agreement(("a", "b"), quantile=0.5)
    columns: dict[str, list[Any]] = {"a": [1, 2, 2, 4], "b": [8.0, 6.0, 4.0, 2.0]}
    found = scorer(columns, scorer.fit(table(**columns)))
    assert found["agreement_min"] == [0.125, 0.5, 0.375, 0.125]
    assert found["agreement_mean"] == [0.5, 0.5625, 0.4375, 0.5]
    assert found["agreement_count"] == [1, 2, 1, 1]


NUMBERS = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0]), min_size=1, max_size=20)


@given(NUMBERS, NUMBERS)
@settings(max_examples=60, deadline=None)
def test_ranks_are_those_of_counting(values: list[float], sample: list[float]) -> None:
    expected = [
        (sum(s < v for s in sample) + sum(s == v for s in sample) / 2) / len(sample) for v in values
    ]
    assert rank(np.array(values), np.sort(sample)).tolist() == pytest.approx(expected)


def test_scales_do_not_matter_and_order_does() -> None:
    dice = np.random.default_rng(0)
    one, other = dice.normal(size=200), dice.normal(size=200)
    scorer = Agreement(("a", "b"))
    plain = {"a": one.tolist(), "b": other.tolist()}
    bent = {"a": np.exp(one).tolist(), "b": (3 * other - 7).tolist()}
    expected = scorer(plain, scorer.fit(table(**plain)))
    assert scorer(bent, scorer.fit(table(**bent))) == expected
    assert np.mean(expected["agreement_mean"]) == pytest.approx(0.5)
    turned = {**plain, "b": (-other).tolist()}
    assert scorer(turned, scorer.fit(table(**turned))) != expected


def test_companions_make_no_difference() -> None:
    columns = {"a": [0.3, 0.1, 0.2], "b": [1, 2, 3], "c": [True, False, True]}
    scorer = Agreement(("a", "b", "c"))
    fitted = scorer.fit(table(**columns))
    whole = scorer(columns, fitted)
    last = scorer({name: values[2:] for name, values in columns.items()}, fitted)
    assert all(last[name] == whole[name][2:] for name in last)


def test_values_outside_the_sample() -> None:
    scorer = Agreement(("a", "b"), quantile=1.0)
    fitted = scorer.fit(table(a=[1, 2], b=[1, 2]))
    found = scorer({"a": [9, -9], "b": [9, 9]}, fitted)
    assert found["agreement_min"] == [1.0, 0.0]
    assert found["agreement_count"] == [2, 1]


def test_what_it_refuses() -> None:
    with pytest.raises(ValueError, match=r"two different columns or more, got \['a'\]"):
        Agreement(("a",))
    with pytest.raises(ValueError, match="two different columns"):
        Agreement(("a", "a"))
    with pytest.raises(ValueError, match=r"quantile must be in \[0, 1\], got 50"):
        Agreement(("a", "b"), quantile=50)
    with pytest.raises(NotEnoughRows, match="a row that has all the scores, found none"):
        Agreement(("a", "b")).fit(table(a=[1], b=[1]).slice(1))
    with pytest.raises(ValueError, match="column 'a' must hold numbers, found str"):
        Agreement(("a", "b")).fit(table(a=["x"], b=[1]))
