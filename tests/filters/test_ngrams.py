"""Ngrams: ranks and counts equal those of a sorted list of all words and pairs."""

import random
from collections import Counter
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.frequency import fold_text
from filters.ngrams import Ngrams

WORDS = st.sampled_from(["a", "b", "c", "A", "é", "猫", "a\u00a0b", "ﬁ", ""])
CAPTIONS = st.lists(st.one_of(st.none(), st.lists(WORDS, max_size=5).map(" ".join)), max_size=12)


def ranked(captions: list[str | None], fold: bool = True) -> list[tuple[Any, Any]]:
    half = len(captions) // 2
    chunks = pa.chunked_array([captions[:half], captions[half:]], pa.string())
    scorer = Ngrams(fold)
    found = scorer.reduce(pa.table({"caption": chunks}))
    assert found.schema == scorer.writes
    found.validate(full=True)
    return list(zip(*(column.to_pylist() for column in found.columns), strict=True))


def ngrams(caption: str | None, fold: bool) -> list[tuple[str, ...]]:
    words = ((fold_text(caption) if fold else caption) if caption is not None else "").split()
    return [(word,) for word in words] + list(pairwise(words))


@given(CAPTIONS, st.booleans())
@settings(max_examples=150, deadline=None)
def test_agrees_with_a_sorted_list(captions: list[str | None], fold: bool) -> None:
    counts = Counter(ngram for caption in captions for ngram in ngrams(caption, fold))
    falling = sorted(counts.values(), reverse=True)
    for caption, (rank, count) in zip(captions, ranked(captions, fold), strict=True):
        own = [counts[ngram] for ngram in ngrams(caption, fold)]
        if not own:
            assert (rank, count) == (None, None)
            continue
        assert count == min(own)
        assert falling[rank - 1] == count  # its place is among those of its count


@given(CAPTIONS)
@settings(max_examples=50, deadline=None)
def test_the_order_of_rows_makes_no_difference(captions: list[str | None]) -> None:
    places = list(range(len(captions)))
    random.Random(0).shuffle(places)
    whole = ranked(captions)
    assert ranked([captions[place] for place in places]) == [whole[place] for place in places]


def test_a_vocabulary_of_the_n_most_frequent() -> None:
    captions = ["a dog", "a dog", "A  Dog", "a cat", "a cat", "one zyzzyva"]
    found = ranked(captions)
    # a 5; dog, a dog 3; cat, a cat 2; one, zyzzyva, one zyzzyva 1
    assert [count for _, count in found] == [3, 3, 3, 2, 2, 1]
    assert [rank for rank, _ in found] == [3, 3, 3, 5, 5, 8]
    kept = [[rank <= n for rank, _ in found] for n in (2, 3, 4, 5, 7, 8)]
    assert [sum(row) for row in kept] == [0, 3, 3, 5, 5, 6]


def test_a_pair_of_frequent_words_may_be_rare() -> None:
    captions = ["a dog", "dog house", "a house", "house a"]
    assert [count for _, count in ranked(captions)] == [1, 1, 1, 1]
    assert ranked(["a a", "a a a"])[0] == (2, 3)  # of "a" 5, of the pair 3


def test_equal_counts_are_in_one_order_everywhere() -> None:
    found = ranked(["alpha", "beta", "gamma", "beta gamma", None, " "])
    assert found == [(3, 1), (1, 2), (2, 2), (4, 1), (None, None), (None, None)]


@pytest.mark.parametrize("captions", [[], [None], [""], [" \n"]])
def test_without_a_word_there_is_no_rank(captions: list[str | None]) -> None:
    assert ranked(captions) == [(None, None)] * len(captions)


def test_empty_table() -> None:
    for empty in (
        pa.table({"caption": pa.array([], pa.string())}),
        pa.schema({"caption": pa.string()}).empty_table(),
    ):
        assert len(Ngrams().reduce(empty)) == 0


def test_case_counts_when_it_is_not_folded() -> None:
    assert [count for _, count in ranked(["A", "a", "a"], fold=False)] == [1, 2, 2]
    assert [count for _, count in ranked(["A", "a", "a"])] == [3, 3, 3]
