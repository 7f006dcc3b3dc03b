"""Columns of lists as scorers get them: vectors as rows of numpy, everything else as it is."""

import numpy as np
import pyarrow as pa

from pipeline.columns import values_of


def column(*chunks: list, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    kind = kind or pa.list_(pa.float32())
    return pa.chunked_array([pa.array(chunk, kind) for chunk in chunks], kind)


def test_vectors_of_one_length_are_rows_of_numpy():
    found = values_of(column([[1, 2], None, [3, 4]], [[5, 6]]))
    assert found[1] is None
    assert [row.tolist() for row in found if row is not None] == [[1, 2], [3, 4], [5, 6]]
    assert all(isinstance(row, np.ndarray) for row in found if row is not None)


def test_lists_of_several_lengths_stay_lists():
    assert values_of(column([[1], [], [2, 3], None])) == [[1], [], [2, 3], None]


def test_lists_without_a_number_stay_lists():
    assert values_of(column([[], []], [], [[], None])) == [[], [], [], None]


def test_a_vector_with_a_gap_stays_a_list():
    assert values_of(column([[1, None]])) == [[1, None]]


def test_words_stay_lists():
    assert values_of(column([["a"], None], kind=pa.list_(pa.string()))) == [["a"], None]
