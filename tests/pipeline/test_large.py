"""Large types hold the same values, and their sizes are those of the values."""

from typing import Any

import pyarrow as pa
import pytest

from pipeline.large import large, large_type, taken, value_bytes
from pipeline.pool import CAPTION

VALUES: list[tuple[pa.DataType, list[Any], int]] = [
    (pa.string(), ["ab", None, "", "ü"], 4 * 8 + 4),
    (pa.binary(), [b"ab", None, b"", b"c"], 4 * 8 + 3),
    (pa.int32(), [1, None, 2, 3], 16),
    (pa.binary(16), [b"0" * 16, None, b"1" * 16, b"2" * 16], 64),
    (pa.list_(pa.string()), [["a"], None, [], ["b", "cd"]], 4 * 8 + 3 * 8 + 4),
    (pa.list_(pa.float32(), 2), [[1.0, 2.0], None, [3.0, 4.0], [5.0, 6.0]], 24),
    (pa.struct([("x", pa.int64()), ("y", pa.string())]), [{"x": 1, "y": "z"}, None] * 2, 66),
    (pa.dictionary(pa.int32(), pa.string()), ["a", "b", None, "a"], 4 * 8 + 3),
    (pa.list_(CAPTION), [[{"text": "a", "box": [0.5]}], None, [], [{"flags": ["b"]}]], 0),
]


@pytest.mark.parametrize(("kind", "values", "size"), VALUES, ids=lambda value: str(value)[:20])
def test_values_stay_the_same(kind: pa.DataType, values: list[Any], size: int) -> None:
    table = pa.table({"x": pa.array(values, kind)})
    wide = large(pa.concat_tables([table, table]))
    assert wide["x"].to_pylist() == (table["x"].to_pylist()) * 2
    assert "string" not in str(wide["x"].type).replace("large_string", "")
    assert large(wide).schema == wide.schema
    if not pa.types.is_dictionary(kind):
        assert wide["x"].cast(kind).chunk(0).equals(table["x"].chunk(0))
    if size:
        assert value_bytes(wide) == 2 * size
    assert value_bytes(wide) == value_bytes(wide.combine_chunks())
    assert value_bytes(wide.slice(4)) == value_bytes(large(table))


def test_rows_are_taken_in_one_piece() -> None:
    table = pa.table({"x": pa.chunked_array([["a", "b"], [], ["c"]]), "y": [1, 2, 3]})
    batch = taken(table, pa.array([2, 0]))
    assert batch.to_pylist() == [{"x": "c", "y": 3}, {"x": "a", "y": 1}]
    assert taken(table.slice(0, 0), pa.array([], pa.int64())).num_rows == 0


@pytest.mark.slow
def test_two_gigabytes_of_text_are_taken() -> None:
    text = "x" * (1 << 20)
    chunk = pa.array([text] * 1100)
    table = large(pa.table({"x": pa.chunked_array([chunk, chunk])}))
    order = pa.array(range(2199, -1, -1))
    assert taken(table, order).slice(2199).to_pylist() == [{"x": text}]
    assert large_type(pa.string()) == pa.large_string()
