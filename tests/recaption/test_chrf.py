import pytest
from hypothesis import given
from hypothesis import strategies as st

from recaption.chrf import chrf, corpus_chrf


def test_equal_texts_have_all_and_disjoint_ones_nothing():
    assert chrf("abc", "abc") == 100
    assert chrf("abc", "xyz") == 0
    assert chrf("", "") == 100
    assert chrf("", "abc") == chrf("abc", "") == 0


def test_by_hand():
    """abcd against abce: 3/4 of single signs, 2/3 of pairs, 1/2 of threes, 0/1 of fours."""
    mean = (3 / 4 + 2 / 3 + 1 / 2 + 0) / 4
    assert chrf("abcd", "abce") == pytest.approx(100 * mean)


def test_recall_weighs_four_times_as_much_as_precision():
    """ab against abcd: P = (1 + 1) / 2, R = (2/4 + 1/3) / 2; lengths 3 and 4 are in one alone."""
    recall = (1 / 2 + 1 / 3) / 2
    assert chrf("ab", "abcd") == pytest.approx(100 * 5 * recall / (4 + recall))
    assert chrf("abcd", "ab") == pytest.approx(100 * 5 * recall / (4 * recall + 1))


def test_repeated_signs_count_as_often_as_both_have_them():
    """aaa against a: one of three; longer runs are in one text alone."""
    assert chrf("aaa", "a") == pytest.approx(100 * 5 * (1 / 3) / (4 / 3 + 1))


def test_white_space_is_left_out_and_case_counts():
    assert chrf("a b c", "abc") == 100
    assert chrf("A", "a") == 0


def test_a_corpus_adds_up_counts():
    """ab/ab and cd/ce: 3 of 4 signs and 1 of 2 pairs."""
    assert corpus_chrf(["ab", "cd"], ["ab", "ce"]) == pytest.approx(100 * (3 / 4 + 1 / 2) / 2)
    assert corpus_chrf(["ab"], ["abcd"]) == chrf("ab", "abcd")


def _plain(found: str, wanted: str) -> float:
    """chrF by lists: each n-gram of the one takes its first equal in the other."""
    one, other = found.replace(" ", ""), wanted.replace(" ", "")
    rates = []
    for n in range(1, 7):
        here = [one[i : i + n] for i in range(len(one) - n + 1)]
        there = [other[i : i + n] for i in range(len(other) - n + 1)]
        if here and there:
            rest, hits = list(there), 0
            for gram in here:
                if gram in rest:
                    rest.remove(gram)
                    hits += 1
            rates.append((hits / len(here), hits / len(there)))
    if not rates:
        return 100.0 if one == other == "" else 0.0
    p, r = (sum(column) / len(rates) for column in zip(*rates, strict=True))
    return 0.0 if p + r == 0 else 100 * 5 * p * r / (4 * p + r)


@given(st.text("abc ", max_size=12), st.text("abc ", max_size=12))
def test_it_equals_the_plain_way(found, wanted):
    assert chrf(found, wanted) == pytest.approx(_plain(found, wanted))
