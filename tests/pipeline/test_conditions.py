import os
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.conditions import FUNCTIONS, check_condition, columns_of, evaluate
from pipeline.database import small_database
from pipeline.errors import CurationError, RecipeError

COLUMNS = {
    "caption_words": pa.int32(),
    "clip_score": pa.float32(),
    "language": pa.string(),
    "has_face": pa.bool_(),
    "long_score": pa.list_(pa.float32()),
    "captions": pa.list_(pa.struct([("text", pa.string()), ("kind", pa.string())])),
    "box": pa.struct([("left", pa.int32())]),
    "group": pa.int64(),
    "image_sha256": pa.binary(32),
    "label": pa.dictionary(pa.int8(), pa.string()),
}


@pytest.mark.parametrize(
    "text",
    [
        "caption_words >= 3 and clip_score > 0.28",
        "not (has_face or language in ('de', 'fr'))",
        "caption_words between 3 and 100",
        "clip_score is not null",
        "language ilike 'EN%' escape '!'",
        "language like '%x' or language not like 'y%' or language similar to 'a|b'",
        "language ~ '^[a-z]{2}$'",
        "case when language = 'en' then clip_score >= 0.28 else clip_score >= 0.26 end",
        "list_max(long_score) > 0.3 and long_score[1] > 0.1 and len(long_score[1:2]) = 2",
        "captions[1].text = 'x' and box.left < 3",
        '"group" % 10 = 3',
        "try_cast(language as integer) > 2",
        "caption_words::double / 3 < 0.5 and -caption_words < 0 and 2 ** caption_words > 8",
        "coalesce(clip_score, 0.0) > 0 and ifnull(caption_words, 1) = 1",
        "greatest(caption_words, 3) = least(caption_words, 5)",
        "lower(trim(language)) || 'x' = 'enx' and starts_with(hex(image_sha256), 'AB')",
        "label = 'x' and length(label) > 3",
        "has_face is distinct from true",
        "caption_words > 2 -- at least three words\n and clip_score /* L/14 */ > 0.2",
        "true",
    ],
)
def test_plain_sql_passes(text: str) -> None:
    assert check_condition(text, COLUMNS).text == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "clip_scor > 0.3",
            r"unknown column 'clip_scor'; did you mean 'clip_score' .*\? known: box,",
        ),
        ("Language = 'en'", "did you mean 'language'"),
        ("group > 3", "syntax error"),
        ("clip_score >", "syntax error"),
        ("", "SELECT clause without selection list"),
        ("language = 'en", "unterminated string"),
        ("caption_words", "must be true or false, but is INTEGER"),
        ("null", "must be true or false"),
        ("language > 5", ".language. is text and 5 is a number"),
        ("language = caption_words", ".language. is text and caption_words is a number"),
        ("caption_words > '5'", "'5' is text and caption_words is a number"),
        ("caption_words in (1, 'a')", "'a' is text"),
        ("language between 1 and 2", ".language. is text"),
        ("abs(language) > 1", r"No function matches the given name and argument types 'abs\(VARC"),
        ("language ~ '['", "missing ]"),
        ("caption_words > 1) or (true", "syntax error"),
        ("true; select 1", "more than one statement"),
        ("true;", "syntax error"),
        ("true as t", "must be one expression and nothing else"),
        ("true, false", "must be one expression"),
        ("true limit 1", "must be one expression"),
        ("true from t", "must be one expression"),
        ("true union select false", "must be one expression"),
        ("(select true)", "a subquery is not allowed"),
        ("language in (select 'en')", "a subquery is not allowed"),
        ("caption_words = any([1])", "a subquery is not allowed"),
        ("count(*) > 1", "the function count_star is not allowed"),
        ("sum(caption_words) > 1", "the function sum is not allowed"),
        ("row_number() over () = 1", "a window function is not allowed"),
        ("random() < 0.5", "the function random is not allowed"),
        ("now() is null", "the function now is not allowed"),
        ("current_date is null", "unknown column 'current_date'"),
        ("lenght(language) > 1", r"the function lenght \(did you mean length"),
        ("main.abs(caption_words) > 1", "this use of main.abs is not allowed"),
        ("list_max(long_score order by 1) > 1", "this use of list_max"),
        ("abs(distinct caption_words) > 1", "this use of abs"),
        ("round(x := caption_words) > 1", "this use of round"),
        ("len(list_transform(long_score, x -> x)) > 1", "list_transform is not allowed|a lambda"),
        ("columns('.*') > 1", r"`\*` or COLUMNS"),
        ("caption_words > ?", "a parameter is not allowed"),
        ("caption_words > $one", "a parameter is not allowed"),
        ("language collate nocase = 'EN'", "a collation is not allowed"),
        ("caption_words::json is null", "a cast to .* is not allowed"),
        ("language::regclass is null", "a cast to regclass is not allowed"),
        ("#1", "a column by number"),
        ("caption_words > 1\0", "a control character"),
        ("not " * 900 + "has_face", "nested too deeply|depth limit"),
        ("has_face or " * 5000 + "has_face", "limit 20000"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        check_condition(text, COLUMNS)


HOSTILE = [
    "(select count(*) from read_text('{path}')) > 0",
    "exists (from read_csv('{path}'))",
    "exists (from '{path}')",
    "(from '{path}' limit 1) is null",
    "language in (select content from read_text('{path}'))",
    'language = (table "{path}")',
    "read_text('{path}') is null",
    "read_blob('{path}') is null",
    "read_csv_auto('{path}') is null",
    "read_parquet('{path}') is null",
    "read_json('{path}') is null",
    "glob('{path}') is null",
    "sniff_csv('{path}') is null",
    "parquet_metadata('{path}') is null",
    "getenv('HOME') is null",
    "getvariable('x') is null",
    "query('select 1') is null",
    "query_table('{path}') is null",
    "json_execute_serialized_sql('x') is null",
    "json_deserialize_sql('x') is null",
    "current_setting('temp_directory') is null",
    "pragma_version() is null",
    "nextval('s') > 0",
    "set_config('a', 'b', true) is null",
    "error('{path}') is null",
    "write_log('{path}') is null",
    "checkpoint() is null",
    "system.main.read_text('{path}') is null",
    "list_aggregate(long_score, 'sum') > 1",
    "list_reduce(long_score, (x, y) -> x + y) > 1",
    "[x for x in long_score if x > 1] is null",
    "unnest(long_score) > 1",
    "'{path}'::regclass is null",
    "columns(c -> c like '%') is null",
    "*",
    "t.*",
    "true) from read_text('{path}') --",
    "true from read_text('{path}')",
    "true; copy (select 1) to '{path}'; select true",
    "true; attach '{path}' as x",
    "true; install httpfs; load httpfs; select true",
    "true union all select true from '{path}'",
    "true qualify row_number() over () = 1",
    "uuid() is null",
    "txid_current() > 1",
    "today() is null",
    "in_search_path('a', 'b')",
    "add_parquet_key('a', 'b') is null",
]
WRAPPERS = [
    "{}",
    "has_face and not ({})",
    "coalesce({}, true)",
    "case when has_face then {} else true end",
    "true in ({})",
    "[{}][1]",
    "{} -- x",
    "/* x */ {}\n/**/",
]


def test_hostile_conditions_are_refused_and_open_nothing(tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel.csv"
    sentinel.write_text("content\ntrue\n")
    os.utime(sentinel, (0, 2**30))  # read before it was written: any reading moves this time
    table = pa.table({name: pa.array([None], kind) for name, kind in COLUMNS.items()})
    for payload in HOSTILE:
        for wrapper in WRAPPERS:
            text = wrapper.format(payload.format(path=sentinel))
            with pytest.raises(RecipeError):
                check_condition(text, COLUMNS)
            with pytest.raises(RecipeError):
                columns_of(text)
            with pytest.raises(RecipeError):
                evaluate(text, table)
    assert sentinel.stat().st_atime == 0
    assert sentinel.read_text() == "content\ntrue\n"


WORDS = """
caption_words clip_score language has_face group true null 1 0.5 'a' ( ) [ ] , ; . * + - / = < and
or not in is between case when then else end select from where union over read_text abs lower cast
as :: int {} -> lambda : x -- /* */ $1 ? "language" limit exists columns filter
""".split()  # noqa: SIM905


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join))
def test_whatever_is_written_is_checked_or_refused(text: str) -> None:
    try:
        condition = check_condition(text, COLUMNS)
    except RecipeError:
        return
    assert set(condition.columns) <= set(COLUMNS)
    row = pa.table({name: pa.array([None], kind) for name, kind in COLUMNS.items()})
    assert len(evaluate(text, row)) == 1


def test_every_function_is_pure() -> None:
    with small_database() as database:
        rows = database.execute(
            "select function_name, function_type, stability from duckdb_functions()"
        ).fetchall()
    known = {name for name, *_ in rows}
    assert known >= FUNCTIONS
    kinds = {(kind, stability) for name, kind, stability in rows if name in FUNCTIONS}
    assert kinds == {("scalar", "CONSISTENT"), ("macro", None)}


def test_columns_are_those_that_are_read() -> None:
    text = "captions[1].text = language or (\"group\" > 3 and 'clip_score' = 'x')"
    assert columns_of(text) == {"captions", "language", "group"}
    assert check_condition(text, COLUMNS).columns == ("captions", "group", "language")
    assert columns_of("true") == set()


def test_null_and_nan_never_pass_even_under_not() -> None:
    table = pa.table({"score": [0.9, 0.1, None, float("nan")]})
    assert evaluate("score > 0.5", table) == [True, False, False, False]
    assert evaluate("not (score > 0.5)", table) == [False, True, False, False]
    assert evaluate("score is null", table) == [False, False, True, True]


def test_a_condition_without_columns_holds_for_every_row() -> None:
    assert evaluate("true", pa.table({"a": [1, 2]})) == [True, True]
    assert evaluate("true", pa.table({"a": pa.array([], pa.int64())})) == []


def test_a_value_that_cannot_be_computed_is_an_error_of_the_data() -> None:
    table = pa.table({"language": ["1", "en"]})
    assert evaluate("try_cast(language as integer) = 1", table) == [True, False]
    with pytest.raises(CurationError, match=r"condition .*: Could not convert string 'en'"):
        evaluate("cast(language as integer) = 1", table)


def test_a_column_may_have_any_name() -> None:
    table = pa.table({"__s": [1], "select": [2], 'a"b': [3], "größe": [4]})
    assert evaluate('"select" = 2 and "a""b" = 3 and größe = 4', table) == [True]
