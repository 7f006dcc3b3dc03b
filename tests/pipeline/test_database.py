from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.database import OutOfMemory, SqlError, literal, open_database, quoted, readable, short
from pipeline.errors import RecipeError


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_text('{path}')",
        "select * from read_csv('{path}')",
        "select * from '{path}'",
        "copy (select 1) to '{path}'",
        "attach '{path}' as other",
        "export database '{path}'",
        "load httpfs",
        "install httpfs",
        "set enable_external_access = true",
        "set temp_directory = '/tmp'",
        "reset memory_limit",
    ],
)
def test_no_statement_reaches_out_or_changes_a_setting(sql: str, tmp_path: Path) -> None:
    path = tmp_path / "sentinel.csv"
    path.write_text("a,b\n1,2\n")
    with open_database() as database, pytest.raises(SqlError):
        database.execute(sql.format(path=path)).fetchall()
    assert path.read_text() == "a,b\n1,2\n"


def test_a_python_variable_is_not_a_table() -> None:
    secret = pa.table({"a": [1]})
    with open_database() as database, pytest.raises(SqlError):
        database.execute("select * from secret").fetchall()
    assert len(secret) == 1


def test_a_limit_that_is_no_size_is_refused() -> None:
    with pytest.raises(RecipeError, match="memory limit 'plenty'"):
        open_database(memory_limit="plenty")


def test_without_a_folder_it_does_not_spill() -> None:
    with open_database(memory_limit="20MB") as database, pytest.raises(OutOfMemory):
        database.execute("create table t as select random() a from range(10_000_000)")


def test_names_and_texts_are_quoted() -> None:
    with open_database() as database:
        text, name = literal("it's"), quoted('a "b" group')
        row = database.execute(f"select {text} as {name}")
        assert row.description is not None
        assert row.description[0][0] == 'a "b" group'
        assert row.fetchall() == [("it's",)]


def test_messages_are_one_line() -> None:
    with open_database() as database:
        with pytest.raises(SqlError) as caught:
            database.execute("select nope from range(3)")
        assert short(caught.value) == 'Referenced column "nope" not found in FROM clause!'


def test_what_is_not_finite_is_null() -> None:
    nan, inf = float("nan"), float("inf")
    table = pa.table({"a": [1.0, nan, None, inf], "b": pa.array([1, nan, -inf, 2], pa.float16())})
    assert readable(table).to_pydict() == {"a": [1.0, None, None, None], "b": [1, None, None, 2]}
    whole = pa.table({"a": [1.0, 2.0]})
    assert readable(whole) is whole
