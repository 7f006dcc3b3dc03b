import datetime
import gzip
import json
import os
import uuid
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import RecipeError
from pipeline.sources.delimited import BROKEN
from pipeline.sources.tables import (
    check_columns,
    plain,
    read_rows,
    table_columns,
    table_files,
    table_format,
    table_units,
    text_of,
)
from tests.privileges import permissions_hold

ROWS = [{"url": "u1", "text": "größe"}, {"url": "u2", "text": None}]


def write(path, rows=ROWS):
    """The rows in the format that the name says."""
    name = str(path).removesuffix(".gz")
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
        return str(path)
    if name.endswith("sv"):
        sign = "," if name.endswith(".csv") else "\t"
        lines = [list(rows[0]), *([v or "" for v in row.values()] for row in rows)]
        data = "".join(sign.join(line) + "\n" for line in lines).encode()
    else:
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if str(path).endswith(".gz") else data)
    return str(path)


def read(path):
    return [row for unit in table_units(str(path), "s") for row in read_rows(unit)]


NAMES = ["t.parquet", "t.csv", "t.tsv", "t.jsonl", "t.csv.gz", "t.tsv.gz", "t.jsonl.gz", "t.ndjson"]


@pytest.mark.parametrize("name", NAMES)
def test_every_format_gives_the_same_rows(tmp_path, name):
    path = write(tmp_path / name)
    assert read(path) == ROWS
    assert table_columns(path) == ["url", "text"]


@pytest.mark.parametrize("name", NAMES)
def test_tables_are_read_from_any_store(tmp_path, name):
    folder = f"memory://{uuid.uuid4().hex}"
    with fsspec.open(f"{folder}/{name}", "wb") as stream:
        stream.write(Path(write(tmp_path / name)).read_bytes())
    assert read(f"{folder}/*") == ROWS
    if not name.endswith("ndjson"):
        assert read(folder) == ROWS


@pytest.mark.parametrize("name", ["t.parquet.gz", "t.txt", "t", "t.csv.zip"])
def test_other_formats_are_refused_with_those_that_are_known(name):
    with pytest.raises(RecipeError, match="known tables are parquet, csv, tsv, jsonl"):
        table_format(name)


def test_a_pattern_without_files_and_a_file_that_is_missing_are_errors(tmp_path):
    with pytest.raises(RecipeError, match="source 's': there is no table at"):
        table_files(str(tmp_path / "*.csv"), "s")
    with pytest.raises(RecipeError, match="source 's': there is no table at"):
        table_files(str(tmp_path), "s")
    write(tmp_path / "0.csv")
    with pytest.raises(RecipeError, match=r"1 of the 2 files of .* are missing: .*1\.csv"):
        table_files(str(tmp_path / "{0..1}.csv"), "s")


def test_a_missing_column_is_an_error_with_those_that_are_there(tmp_path):
    path = write(tmp_path / "t.csv")
    with pytest.raises(RecipeError, match="has no column 'URL'; its columns are 'url', 'text'"):
        check_columns(path, ["url", "URL"], "s")
    (tmp_path / "two.csv").write_text("url,url\n")
    with pytest.raises(RecipeError, match="has 2 columns 'url'"):
        check_columns(str(tmp_path / "two.csv"), ["url"], "s")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(RecipeError, match="its columns are none"):
        check_columns(str(tmp_path / "empty.csv"), ["url"], "s")


def test_many_or_long_columns_do_not_fill_the_screen(tmp_path):
    (tmp_path / "wide.csv").write_text(",".join([*map(str, range(1000)), "x" * 500]) + "\n")
    with pytest.raises(RecipeError, match="and 971 more") as error:
        check_columns(str(tmp_path / "wide.csv"), ["url"], "s")
    assert len(str(error.value)) < 1000


def test_columns_of_sparse_json_lines_are_those_of_all_its_first_rows(tmp_path):
    (tmp_path / "t.jsonl").write_text('oops\n{"url": "u"}\n{"text": "t"}\n')
    assert table_columns(str(tmp_path / "t.jsonl")) == ["url", "text"]


def test_broken_json_lines_are_rows_with_a_reason(tmp_path):
    lines = ['{"a": 1}', "{", "[1]", "", '"x"', "[" * 100_000, '{"a": NaN}', '{"a": "\\ud800"}']
    data = "\n".join(lines).encode() + b'\n{"a": "\xff"}\n' + b'{"a": 2}'
    (tmp_path / "t.jsonl").write_bytes(b"\xef\xbb\xbf" + data)
    found = read(tmp_path / "t.jsonl")
    assert [BROKEN in row for row in found] == [False, True, True, True, True, False, False, True,
                                                False]  # fmt: skip
    assert found[2][BROKEN] == "line 3: no object"
    assert found[3][BROKEN] == "line 5: no object"
    assert found[-1] == {"a": 2}


@pytest.mark.parametrize("name", ["t.csv.gz", "t.jsonl.gz"])
def test_a_cut_gzip_file_ends_with_a_reason(tmp_path, name):
    path = tmp_path / name
    write(path, [{"url": f"u{i}", "text": os.urandom(20).hex()} for i in range(5000)])
    path.write_bytes(path.read_bytes()[:-5000])
    *whole, last = read(path)
    assert len(whole) > 1000
    assert not any(BROKEN in row for row in whole[:-1])
    assert "can't be read further" in last[BROKEN]


def test_what_is_no_gzip_file_is_an_error_before_anything_runs(tmp_path):
    (tmp_path / "t.csv.gz").write_text("a,b\n")
    with pytest.raises(RecipeError, match=r"t\.csv\.gz: can't be read"):
        check_columns(str(tmp_path / "t.csv.gz"), ["a"], "s")


def test_what_is_no_parquet_is_an_error_before_anything_runs(tmp_path):
    for data in (b"", b"PAR1", b"x" * 100):
        (tmp_path / "t.parquet").write_bytes(data)
        with pytest.raises(RecipeError, match=r"t\.parquet: can't be read as Parquet"):
            table_units(str(tmp_path / "t.parquet"), "s")


def test_a_damaged_row_group_costs_its_own_rows(tmp_path):
    path = tmp_path / "t.parquet"
    noise = [os.urandom(8).hex() for _ in range(300)]
    pq.write_table(pa.table({"a": noise}), path, row_group_size=100, compression="zstd")
    data = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    data[start + 40 : start + 400] = b"\xff" * 360
    path.write_bytes(data)
    found = read(path)
    assert [row.get("a") for row in found] == [*noise[:100], *[None] * 100, *noise[200:]]
    assert all("row group 1 can't be read" in row[BROKEN] for row in found[100:200])


def test_large_parquet_is_read_in_parts_that_end_with_a_row_group(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": range(120_000)}), path, row_group_size=20_000)
    units = table_units(str(path), "s")
    assert [(u.start, u.stop) for u in units] == [(0, 60_000), (60_000, 120_000)]
    assert [row["a"] for u in units for row in read_rows(u)] == list(range(120_000))
    assert next(row["a"] for row in read_rows(units[1])) == 60_000


def test_a_table_without_rows_has_no_units_or_no_rows(tmp_path):
    pq.write_table(pa.table({"a": pa.array([], pa.string())}), tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("a,b\n")
    assert read(tmp_path / "t.parquet") == read(tmp_path / "t.csv") == []


def test_a_file_that_can_not_be_opened_is_named(tmp_path):
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(RecipeError, match=r"t\.csv: can't be opened: Is a directory"):
        table_columns(str(tmp_path / "t.csv"))


def test_a_file_without_permission_is_named(tmp_path):
    path = write(tmp_path / "t.csv")
    os.chmod(path, 0)
    message = r"t\.csv: can't be opened: Permission denied"
    with permissions_hold(), pytest.raises(RecipeError, match=message):
        table_columns(path)


def test_values_become_what_json_can_hold():
    when = datetime.datetime(2024, 1, 2, 3, 4, 5)
    value = {"a": float("nan"), "b": [1.5, float("inf")], "c": b"x", "d": when, "e": {"f": (1,)}}
    assert plain(value) == {
        "a": None,
        "b": [1.5, None],
        "d": "2024-01-02T03:04:05",
        "e": {"f": [1]},
    }


def test_cells_become_text():
    cells = ["x", 1, 1.5, True, None, float("nan"), b"caf\xc3\xa9", "\udce9", "\ud800", np.nan]
    assert [text_of(cell) for cell in cells] == [
        "x", "1", "1.5", "True", None, None, "café", "\ufffd", "?", None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.csv", "url,text\n".encode("utf-16"), "is in UTF-16, and tables are in UTF-8"),
        ("t.tsv", gzip.compress(b"url", mtime=0), "is packed by gzip, and its name does not end"),
        ("t.json", b'[{"url": "u1"}]', "line 1: no object; in JSON each line of a table is an"),
        ("t.json", b'{\n"url": "u1"\n}', "line 1: Expecting property name"),
        ("t.jsonl", b"{}", "line 1: an empty object; in JSON"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused_with_what_it_is(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RecipeError, match=f"{name}: {message}"):
        table_columns(str(tmp_path / name))
