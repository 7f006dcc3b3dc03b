"""Groups are what the rule says, whichever way they are found."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import groups
from filters.groups import leaders


def slow_leaders(hashes: list[int], rank: list[int], distance: int, cap: int) -> list[int]:
    """The rule, word by word."""
    leader = list(range(len(hashes)))
    waiting = [set(leader)]
    while waiting:
        for part in connected(waiting.pop(), hashes, distance):
            best = min(part, key=rank.__getitem__)
            near = {n for n in part if (hashes[n] ^ hashes[best]).bit_count() <= cap}
            for node in near:
                leader[node] = best
            waiting.append(part - near)
    return leader


def connected(nodes: set[int], hashes: list[int], distance: int) -> list[set[int]]:
    parts = []
    left = set(nodes)
    while left:
        growing = [left.pop()]
        part = set(growing)
        while growing:
            at = growing.pop()
            near = {n for n in left if (hashes[n] ^ hashes[at]).bit_count() <= distance}
            left -= near
            part |= near
            growing.extend(near)
        parts.append(part)
    return parts


@given(
    st.lists(st.integers(0, 2**13 - 1), max_size=80, unique=True),
    st.integers(0, 4),
    st.integers(0, 4),
    st.sampled_from([0, 3, 40, 1 << 25]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=120, deadline=None)
def test_agrees_with_the_rule(
    values: list[int], distance: int, more: int, most_links: int, random: Random
) -> None:
    hashes = sorted(values)
    rank = list(range(len(hashes)))
    random.shuffle(rank)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "MOST_LINKS", most_links)
        found = leaders(np.array(hashes, np.uint64), np.array(rank, int), distance, distance + more)
    assert found.tolist() == slow_leaders(hashes, rank, distance, distance + more)


@pytest.mark.parametrize("most_links", [0, 1 << 25])
def test_agrees_on_hundreds(monkeypatch: pytest.MonkeyPatch, most_links: int) -> None:
    monkeypatch.setattr(groups, "MOST_LINKS", most_links)
    rng = np.random.default_rng(1)
    for bits, distance in ((16, 2), (18, 3), (22, 4)):
        hashes = np.unique(rng.integers(0, 1 << bits, 700, dtype=np.uint64))
        rank = rng.permutation(len(hashes))
        expected = slow_leaders(hashes.tolist(), rank.tolist(), distance, 2 * distance)
        assert leaders(hashes, rank, distance, 2 * distance).tolist() == expected


def test_a_chain_breaks_at_the_cap() -> None:
    chain = np.array([0b0, 0b1, 0b11, 0b111, 0b1111, 0b11111], np.uint64)
    assert leaders(chain, np.arange(6), 1, 2).tolist() == [0, 0, 0, 3, 3, 3]


def test_the_best_takes_from_both_sides_and_the_ends_fall_apart() -> None:
    chain = np.array([0b0, 0b1, 0b11, 0b111, 0b1111, 0b11111], np.uint64)
    assert leaders(chain, np.array([5, 4, 3, 0, 2, 1]), 1, 1).tolist() == [1, 1, 3, 3, 3, 5]


def test_neighbours_of_a_settled_hash_do_not_join_through_it() -> None:
    star = np.array([0b0011, 0b0101, 0b1001, 0b1111], np.uint64)  # two bits apart, pair by pair
    assert leaders(star, np.array([0, 1, 2, 3]), 2, 2).tolist() == [0, 0, 0, 0]
    line = np.array([0b000000, 0b000011, 0b001111, 0b111111], np.uint64)
    assert leaders(line, np.array([3, 0, 1, 2]), 2, 2).tolist() == [1, 1, 1, 3]


@pytest.mark.parametrize("size", [0, 1])
def test_nothing_to_group(size: int) -> None:
    assert leaders(np.zeros(size, np.uint64), np.arange(size), 4, 8).tolist() == [0] * size
