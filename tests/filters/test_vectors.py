"""Vectors: the same numbers whatever stands beside them, and refusals of what is none."""

from fractions import Fraction
from operator import mul

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import vectors
from tests.filters.embedded_rows import directions, key


def test_unit() -> None:
    found = vectors.unit(np.array([[3, 4], [0, 0.5]], np.float16))
    assert found.dtype == np.float64
    assert found.tolist() == pytest.approx(np.array([[0.6, 0.8], [0, 1]]), abs=2**-24)


@pytest.mark.parametrize("width", [3, 512, 2048])
def test_products_are_exact(width: int) -> None:
    """Equal to those of fractions, whatever the order of the sum."""
    some = vectors.unit(directions(4, width) * np.float16(7))
    rows = [[Fraction(number) for number in row] for row in some.tolist()]
    exact = [[sum(map(mul, one, other)) for other in rows] for one in rows]
    assert (some @ some.T).tolist() == [[float(value) for value in row] for row in exact]
    assert all(Fraction(float(value)) == value for row in exact for value in row)


@pytest.mark.parametrize("row", [[0, 0], [np.nan, 1], [np.inf, 1]])
def test_what_has_no_direction(row: list[float]) -> None:
    with pytest.raises(ValueError, match="a vector of zeros, or with NaN"):
        vectors.unit(np.array([[1, 0], row], np.float16))


def test_stacked() -> None:
    assert vectors.stacked([np.ones(3, np.float16), [1, 2, 3]]).shape == (2, 3)
    with pytest.raises(ValueError, match=r"different lengths: \[2, 3\]"):
        vectors.stacked([[1, 2, 3], [1, 2]])


@pytest.mark.parametrize("kind", [pa.list_(pa.float16()), pa.large_list(pa.float32())])
def test_a_column(kind: pa.DataType) -> None:
    rows = directions(5, 3)
    chunked = pa.chunked_array([pa.array(list(rows[:2]), kind), pa.array(list(rows[2:]), kind)])
    for start in (0, 3):
        found = vectors.column(pa.table({"v": chunked}).slice(start), "v")
        assert np.array_equal(found, rows[start:])
    assert vectors.column(pa.table({"v": pa.array([], kind)}), "v").shape == (0, 0)


@pytest.mark.parametrize("rows", [[[1.0], [1.0, 2.0, 3.0]], [[1.0, 2.0], [3.0]]])
def test_a_column_of_different_lengths(rows: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="different lengths"):
        vectors.column(pa.table({"v": pa.array(rows, pa.list_(pa.float16()))}), "v")


def test_names_tell_equal_vectors() -> None:
    rows = directions(500, 7)
    rows[400] = rows[3]
    found = vectors.names(rows)
    assert found[400] == found[3]
    assert len(set(found.tolist())) == 499
    swapped = rows[:, ::-1]
    assert not set(vectors.names(swapped).tolist()) & set(found.tolist())


def test_names_are_the_same_in_every_version() -> None:
    rows = np.array([[1, 2, 3, 4, 5], [0, 0, 0, 0, 1]], np.float16)
    # (4400 4200 4000 3c00, 4500) and (0, 3c00) as numbers, by the first two of SplitMix64
    first, second = 0xE220A8397B1DCDAF | 1, 0x6E789E6AA1B965F4 | 1
    expected = (0x4400420040003C00 * first + 0x4500 * second) % 2**64
    assert vectors.names(rows).tolist() == [expected, 0x3C00 * second % 2**64]


@given(st.integers(1, 600), st.integers(0, 599))
@settings(max_examples=20, deadline=None)
def test_neither_companions_nor_places_make_a_difference(count: int, place: int) -> None:
    rows = vectors.unit(directions(600, 24))
    other = vectors.unit(directions(50, 24, seed=1))
    whole = vectors.in_blocks(lambda some: some @ other.T, rows)
    part = rows[place : place + count]
    found = vectors.in_blocks(lambda some: some @ other.T, part)
    assert np.array_equal(found, whole[place : place + count])


def test_the_order_of_a_draw() -> None:
    keys = [key(n) for n in range(50)]
    order = vectors.draw_order(keys, 0, "x").tolist()
    assert sorted(order) == list(range(50))
    drawn = [keys[place] for place in order]
    backwards = vectors.draw_order(keys[::-1], 0, "x").tolist()
    assert [keys[::-1][place] for place in backwards] == drawn
    assert order != vectors.draw_order(keys, 1, "x").tolist()
    assert order != vectors.draw_order(keys, 0, "y").tolist()
    assert vectors.draw_order([], 0, "x").shape == (0,)
