"""Rows of pictures for the tests of duplicates, and what becomes of them, in plain values."""

from typing import Any

import pyarrow as pa

from filters.duplicates import Duplicates

Row = dict[str, Any]

SCHEMA = pa.schema(
    {
        "key": pa.binary(16),
        "phash": pa.uint64(),
        "hash_contrast": pa.float32(),
        "image_sha256": pa.binary(32),
        "width": pa.int32(),
        "height": pa.int32(),
        "caption": pa.string(),
    }
)
PHOTO = 0x0F3C_55AA_96E1_2D78  # 32 bits set, as every photo's hash has


def row(key: int, phash: int | None = None, sha: int | None = None, **more: Any) -> Row:
    """A picture of 10x10 with contrast, unless told otherwise."""
    values = {"hash_contrast": 40.0, "width": 10, "height": 10, "caption": None} | more
    sha256 = None if sha is None else sha.to_bytes(32, "big")
    return {"key": key.to_bytes(16, "big"), "phash": phash, "image_sha256": sha256} | values


def reduced(rows: list[Row], **parameters: Any) -> dict[int, Row]:
    """What becomes of each key, with the keys of groups as integers."""
    table = pa.Table.from_pylist(rows, SCHEMA)
    scorer = Duplicates(**parameters)
    result = scorer.reduce(table.select(["key", *scorer.reads]))
    assert result.schema == scorer.writes
    result.validate(full=True)
    keys = [int.from_bytes(key, "big") for key in table["key"].to_pylist()]
    return {key: readable(out) for key, out in zip(keys, result.to_pylist(), strict=True)}


def readable(out: Row) -> Row:
    group = out["dup_group"]
    return out | {"dup_group": None if group is None else int.from_bytes(group, "big")}


def column(name: str, rows: list[Row], **parameters: Any) -> list[Any]:
    return [out[name] for out in reduced(rows, **parameters).values()]
