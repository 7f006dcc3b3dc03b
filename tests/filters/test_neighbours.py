"""Pairs and components equal those of a comparison of all with all, in bounded memory."""

import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import neighbours
from filters.neighbours import Hashes, Pairs, components, pairs_within


def all_pairs(hashes: Hashes, distance: int) -> set[tuple[int, int]]:
    """The slow reference."""
    values = [int(value) for value in hashes]
    return {
        (i, j)
        for i, j in combinations(range(len(values)), 2)
        if (values[i] ^ values[j]).bit_count() <= distance
    }


def all_components(hashes: Hashes, distance: int) -> list[int]:
    """The slow reference: the smallest index that each can be reached from."""
    pairs = all_pairs(hashes, distance)
    label = list(range(len(hashes)))
    while True:
        before = list(label)
        for i, j in pairs:
            label[i] = label[j] = min(label[i], label[j])
        if label == before:
            return label


def found(hashes: Hashes, distance: int) -> list[tuple[int, int]]:
    return [pair for i, j in pairs_within(hashes, distance) for pair in zip(i, j, strict=True)]


def unique(values: list[int]) -> Hashes:
    return np.unique(np.array(values, np.uint64))


def near_copies(rng: np.random.Generator, size: int, bits: int, most: int) -> Hashes:
    """Half of them random below 2**bits, half copies with up to `most` bits flipped."""
    made = rng.integers(0, (1 << bits) - 1, size // 2, dtype=np.uint64, endpoint=True)
    copies = rng.choice(made, size - len(made))
    for _ in range(most):
        copies ^= np.uint64(1) << rng.integers(0, 64, len(copies), dtype=np.uint64)
    return np.unique(np.concatenate([made, copies]))


@st.composite
def crowds(draw: st.DrawFn) -> Hashes:
    """Hashes that share most of their bits, spread over the 64 places."""
    places = draw(st.permutations(range(64)))[:14]
    patterns = draw(st.lists(st.integers(0, (1 << 14) - 1), max_size=60))
    base = draw(st.integers(0, (1 << 64) - 1))
    return unique(
        [
            base ^ sum((pattern >> bit & 1) << place for bit, place in enumerate(places))
            for pattern in patterns
        ]
    )


@given(crowds(), st.integers(0, 10), st.booleans())
@settings(max_examples=100, deadline=None)
def test_agrees_with_comparing_all_with_all(hashes: Hashes, distance: int, tables: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if tables:  # make tables and recursion pay for a few hashes
            patch.setattr(neighbours, "SORT_COST", 1e-9)
            patch.setattr(neighbours, "SHORT_RUN", 3)
            patch.setattr(neighbours, "LONG_RUN", 6)
            patch.setattr(neighbours, "TILE", 16)
        pairs = found(hashes, distance)
        assert len(pairs) == len(set(pairs))
        assert set(pairs) == all_pairs(hashes, distance)
        assert components(hashes, distance).tolist() == all_components(hashes, distance)


@pytest.mark.slow
@pytest.mark.parametrize("distance", [0, 1, 4, 7, 10])
@pytest.mark.parametrize("bits", [12, 20, 64])
def test_agrees_on_thousands(bits: int, distance: int) -> None:
    hashes = near_copies(np.random.default_rng(distance), 2000, bits, distance)
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None]) <= distance
    i, j = np.nonzero(np.triu(apart, 1))
    assert sorted(found(hashes, distance)) == list(zip(i, j, strict=True))


@pytest.mark.parametrize("long_run", [4, 20, 4096])
@pytest.mark.parametrize("distance", [1, 2, 4])
def test_agrees_where_hashes_crowd(
    monkeypatch: pytest.MonkeyPatch, distance: int, long_run: int
) -> None:
    monkeypatch.setattr(neighbours, "SORT_COST", 10.0)
    monkeypatch.setattr(neighbours, "SHORT_RUN", 3)
    monkeypatch.setattr(neighbours, "LONG_RUN", long_run)
    rng = np.random.default_rng(distance)
    crowded = rng.choice(rng.integers(0, 1 << 63, 10, dtype=np.uint64), 900)
    for _ in range(distance + 1):
        crowded ^= np.uint64(1) << rng.integers(0, 64, len(crowded), dtype=np.uint64)
    hashes = np.unique(crowded)
    pairs = found(hashes, distance)
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == all_pairs(hashes, distance)
    assert components(hashes, distance).tolist() == all_components(hashes, distance)


@pytest.mark.parametrize("values", [[], [0], [2**64 - 1]])
def test_nothing_to_compare(values: list[int]) -> None:
    hashes = np.array(values, np.uint64)
    assert found(hashes, 4) == []
    assert components(hashes, 4).tolist() == list(range(len(values)))


def test_extremes_of_the_range() -> None:
    hashes = np.array([0, 1, 2**63, 2**64 - 1], np.uint64)
    assert set(found(hashes, 2)) == {(0, 1), (0, 2), (1, 2)}
    assert components(hashes, 1).tolist() == [0, 0, 0, 3]


def test_a_long_chain_is_one_component() -> None:
    chain = [0]
    for step in range(2000):  # each differs in one bit from the one before: a Gray code
        chain.append(step + 1 ^ step + 1 >> 1)
    assert not components(unique(chain), 1).any()


def test_smaller_index_comes_first() -> None:
    hashes = near_copies(np.random.default_rng(3), 5000, 64, 3)
    for i, j in pairs_within(hashes, 3):
        assert (i < j).all()


@pytest.mark.parametrize("distance", [-1, 11])
def test_refuses_distance(distance: int) -> None:
    with pytest.raises(ValueError, match=rf"distance {distance} between 3 hashes .*0 to 10"):
        pairs_within(np.arange(3, dtype=np.uint64), distance)


def test_refuses_wide_distance_between_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "MANY_HASHES", 100)
    hashes = np.arange(101, dtype=np.uint64)
    assert not components(hashes, 4).any()
    with pytest.raises(ValueError, match=r"distance 5 between 101 hashes .*0 to 4 beyond"):
        components(hashes, 5)


@pytest.mark.parametrize("values", [[1, 0], [1, 1]])
def test_refuses_hashes_out_of_order(values: list[int]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        pairs_within(np.array(values, np.uint64), 1)


def test_memory_is_bounded_where_all_share_three_of_four_words() -> None:
    hashes = np.arange(1 << 14, dtype=np.uint64) << np.uint64(20)
    expected = len(hashes) * (14 + 91 + 364 + 1001) // 2
    tracemalloc.start()
    count = 0
    for i, _ in pairs_within(hashes, 4):
        count += len(i)
        assert len(i) < 2 * neighbours.PAIRS_PER_CHUNK
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == expected  # 12 million: 193 MB if they were kept
    assert peak < 130e6


def test_pairs_come_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "PAIRS_PER_CHUNK", 10)
    chunks: list[Pairs] = list(pairs_within(np.arange(64, dtype=np.uint64), 1))
    assert sum(len(i) for i, _ in chunks) == 64 * 6 // 2
