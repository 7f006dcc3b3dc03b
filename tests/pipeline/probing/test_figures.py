"""Intervals and verdicts: hand-computed values, and what any interval must satisfy."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.probes.figures import ABOVE, AT, BELOW, NONE, difference, share, wilson
from pipeline.probes.questions import Counts


def test_wilson_s_interval_is_the_published_one():
    # Newcombe 1998, Statistics in Medicine 17, 857, table I, method 3.
    for right, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        assert wilson(right, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@given(st.integers(1, 2000), st.data())
def test_wilson_s_ends_are_where_the_score_test_decides(n, data):
    right = data.draw(st.integers(0, n))
    low, high = wilson(right, n)
    assert 0 <= low <= right / n <= high <= 1
    assert wilson(n - right, n) == pytest.approx((1 - high, 1 - low))
    for end in (low, high):
        if 0 < end < 1:
            z = abs(right / n - end) / math.sqrt(end * (1 - end) / n)
            assert z == pytest.approx(1.959964, abs=1e-4)


def test_a_verdict_goes_by_the_interval():
    # Wilson's lower ends are 0.4920 and 0.5020.
    assert share("", Counts(59, 0, 100, 0), 0.5).verdict == AT
    assert share("", Counts(60, 0, 100, 0), 0.5).verdict == ABOVE
    assert share("", Counts(0, 100, 100, 0), 0.5).verdict == BELOW
    empty = share("", Counts(0, 0, 0, 7), 0.5)
    assert (empty.verdict, empty.value, empty.unanswered) == (NONE, None, 7)


def test_a_difference_is_of_pairs():
    # 9 gained, 2 lost of 30: (10 - 3) / 32 -+ 1.96 sqrt((13/32 - (7/32)^2) / 32)
    pairs = [(True, False)] * 9 + [(False, True)] * 2 + [(True, True)] * 19
    found = difference("", pairs, 3)
    half = 1.959964 * math.sqrt((13 / 32 - (7 / 32) ** 2) / 32)
    assert found.value == pytest.approx(7 / 30, abs=1e-6)
    assert (found.low, found.high) == pytest.approx((7 / 32 - half, 7 / 32 + half), abs=1e-5)
    assert (found.n, found.unanswered, found.is_fault) == (30, 3, True)


def test_a_difference_of_all_has_an_interval_too():
    found = difference("", [(True, False)] * 12, 0)
    assert found.value == 1
    assert found.low is not None
    assert 0.5 < found.low < 1
    assert found.high == 1
