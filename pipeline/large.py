"""Tables whose text may exceed 2 GB: offsets of 64 bits in place of Arrow's usual 32."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def large_type(kind: pa.DataType) -> pa.DataType:
    """The type for the same values with 64-bit offsets wherever there are offsets."""
    if pa.types.is_string(kind):
        return pa.large_string()
    if pa.types.is_binary(kind):
        return pa.large_binary()
    if pa.types.is_dictionary(kind):
        return large_type(kind.value_type)
    if pa.types.is_struct(kind):
        return pa.struct([_large_field(field) for field in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.large_list(_large_field(kind.value_field))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_large_field(kind.value_field), kind.list_size)
    return kind


def _large_field(field: "pa.Field[Any]") -> "pa.Field[Any]":
    return field.with_type(large_type(field.type))


def large(table: pa.Table) -> pa.Table:
    """The same table with 64-bit offsets; the text itself is not copied."""
    return table.cast(pa.schema([_large_field(field) for field in table.schema]))


def taken(table: pa.Table, indices: pa.Array) -> pa.RecordBatch:
    """The rows at `indices`, in one piece; works on one column after the other.

    Memory: the rows taken, and a copy of the largest column.
    """
    names = table.column_names
    arrays = [table[name].combine_chunks().take(indices) for name in names]
    return pa.RecordBatch.from_arrays(arrays, schema=table.schema)


def value_bytes(table: pa.Table) -> int:
    """What the values need in memory, whatever pieces or slices they are in."""
    return sum(_bytes(chunk) for column in table.columns for chunk in column.chunks)


def _bytes(array: Any) -> int:
    kind = array.type
    if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        return 8 * len(array) + int(pc.sum(pc.binary_length(array)).as_py() or 0)
    if pa.types.is_large_list(kind):
        return 8 * len(array) + _bytes(array.flatten())
    if pa.types.is_fixed_size_list(kind):
        return _bytes(array.flatten())
    if pa.types.is_struct(kind):
        return sum(_bytes(field) for field in array.flatten())
    try:
        return int(kind.bit_width) * len(array) // 8
    except ValueError:  # a type with offsets that is seldom met
        return int(array.nbytes)
