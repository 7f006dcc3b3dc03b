"""SQL conditions of a recipe: parsed, checked against the columns there are, and evaluated.

Column names, literals, operators, plain casts and the functions listed here pass; everything else
is refused by name, so that a condition can compute nothing but a truth value of its row. DuckDB's
own parser says what a condition consists of: nothing is guessed from the text.
"""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyarrow as pa

from pipeline.database import Database, SqlError, literal, readable, short, small_database
from pipeline.errors import CurationError, RecipeError

MAX_CHARACTERS = 20_000
_FUNCTION_NAMES = """
abs ceil ceiling exp floor greatest least ln log log10 log2 mod pow power round sign sqrt trunc
isfinite isinf isnan if nullif
concat contains ends_with hex instr lcase left length lower ltrim position prefix regexp_extract
regexp_full_match regexp_matches regexp_replace replace reverse right rtrim split_part starts_with
string_split strlen strpos substr substring suffix trim ucase unicode upper
array_length len list_avg list_contains list_count list_distinct list_extract list_has_all
list_has_any list_max list_min list_position list_sum list_unique list_value struct_extract
"""
_OPERATOR_NAMES = """
+ - * / // % ** ^ & | || ^@ ~~ !~~ ~~* !~~* ~~~
like_escape not_like_escape ilike_escape not_ilike_escape
"""
_CAST_NAMES = """
boolean bool tinyint smallint integer int bigint long hugeint utinyint usmallint uinteger ubigint
int1 int2 int4 int8 float float4 real double float8 varchar text string
"""
_NUMBER_NAMES = """
TINYINT SMALLINT INTEGER BIGINT HUGEINT UTINYINT USMALLINT UINTEGER UBIGINT UHUGEINT
FLOAT DOUBLE DECIMAL
"""
_OPERATOR_NODE_NAMES = """
OPERATOR_NOT OPERATOR_IS_NULL OPERATOR_IS_NOT_NULL OPERATOR_COALESCE COMPARE_IN COMPARE_NOT_IN
ARRAY_EXTRACT ARRAY_SLICE STRUCT_EXTRACT
"""
FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
_OPERATORS = frozenset(_OPERATOR_NAMES.split())
_CASTS = frozenset(_CAST_NAMES.split())
_NUMBERS = frozenset(_NUMBER_NAMES.split())
_PLAIN_NODES = frozenset(
    ("COLUMN_REF", "CONSTANT", "COMPARISON", "CONJUNCTION", "BETWEEN", "CASE", "CAST")
)
_OPERATOR_NODES = frozenset(_OPERATOR_NODE_NAMES.split())
_REFUSED = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function",
    "LAMBDA": "a lambda or `->`",
    "PARAMETER": "a parameter",
    "STAR": "`*` or COLUMNS()",
    "COLLATE": "a collation",
    "DEFAULT": "`default`",
    "POSITIONAL_REFERENCE": "a column by number",
}
_MEANT = {"=>": ">=", "=<": "<=", "===": "=", "!==": "<>", "!": "not", "&&": "and"}
_ONE = "must be one expression and nothing else, such as width >= 256 and caption_words > 3"
Node = dict[str, Any]


@dataclass(frozen=True)
class Condition:
    """A condition that was checked; `columns` are those it reads, sorted."""

    text: str
    columns: tuple[str, ...]


def check_condition(text: str, columns: Mapping[str, pa.DataType]) -> Condition:
    """The condition, checked for use over `columns`.

    Raises RecipeError when it is no SQL, uses what is refused, reads a column that is not there,
    compares text with numbers or is no truth value.
    """
    names = tuple(sorted(columns_of(text)))
    for name in names:
        if name not in columns:
            is_text = f'"{name}"' in text
            hint = f"; a text is written {literal(name)}, in single quotes" if is_text else ""
            raise RecipeError(unknown_column(name, columns) + hint)
    # One row of NULLs: DuckDB converts some literals only when there is a row to compare.
    schema = pa.schema([(name, columns[name]) for name in names])
    row = pa.table([pa.array([None], field.type) for field in schema], schema=schema)
    with small_database() as database:
        database.register("__row", _scannable(row, names))
        try:
            _refuse_mixed(database, text)
            kind = _types(database, [embedded(text)])[0]
            database.execute(f"select {embedded(text)} from __row").fetchall()
        except SqlError as error:
            raise RecipeError(f"condition {_shown(text)}: {short(error)}") from error
    if kind != "BOOLEAN":
        raise RecipeError(f"condition {_shown(text)} must be true or false, but is {kind}")
    return Condition(text, names)


def columns_of(text: str) -> set[str]:
    """The names of the columns that a condition reads, as written in it."""
    nodes = _nodes(_parsed(text))
    return {node["column_names"][0] for node in nodes if node["class"] == "COLUMN_REF"}


def embedded(text: str) -> str:
    """A condition as SQL within a longer statement; it must have been parsed before."""
    return f"(\n{text}\n)"


def evaluate(text: str, table: pa.Table) -> list[bool]:
    """For every row of a table whether the condition holds; NULL does not.

    Raises RecipeError as `check_condition` does, CurationError when a value can't be computed.
    """
    condition = check_condition(text, {field.name: field.type for field in table.schema})
    with small_database() as database:
        database.register("__row", _scannable(table, condition.columns))
        try:
            sql = f"select coalesce({embedded(text)}, false) as holds from __row"
            holds = database.sql(sql).to_arrow_table()["holds"]
        except SqlError as error:
            raise CurationError(f"condition {_shown(text)}: {short(error)}") from error
        return [bool(value) for value in holds.to_pylist()]


def unknown_column(name: str, columns: Mapping[str, Any]) -> str:
    """`unknown column 'clip_scor'; did you mean 'clip_score'? known: ...`."""
    lower = {column.lower(): column for column in columns}
    close = [lower[c] for c in difflib.get_close_matches(name.lower(), lower, n=2)]
    guess = f" did you mean {' or '.join(map(repr, close))}?" if close else ""
    known = ", ".join(sorted(columns)) or "none"
    return f"unknown column {name!r};{guess} known: {known}"


@lru_cache(maxsize=256)
def _parsed(text: str) -> Node:
    """The expression as DuckDB parses it; RecipeError unless it is one, of permitted parts."""
    if len(text) > MAX_CHARACTERS:
        raise RecipeError(f"a condition of {len(text)} characters (limit {MAX_CHARACTERS})")
    if any(ord(sign) < 32 and sign not in "\t\r\n" for sign in text):
        raise RecipeError(f"condition {_shown(text)}: a control character")
    statement = _statement(f"select\n{text}\n", text)
    for node in _nodes(statement):
        refused = _refusal(node)
        if refused is not None:
            raise RecipeError(f"condition {_shown(text)}: {refused} is not allowed")
    chosen = statement["node"].pop("select_list", [])
    if len(chosen) != 1 or statement != _bare_statement() or chosen[0]["alias"]:
        raise RecipeError(f"condition {_shown(text)}: {_ONE}")
    # What runs is the text within parentheses: it must mean there what it means alone.
    if _statement(f"select {embedded(text)}", text)["node"]["select_list"] != chosen:
        raise RecipeError(f"condition {_shown(text)}: {_ONE}")
    expression: Node = chosen[0]
    return expression


@lru_cache(maxsize=1)
def _bare_statement() -> Node:
    """A statement with nothing but a select list, the list taken out."""
    statement = _statement("select true", "true")
    del statement["node"]["select_list"]
    return statement


def _statement(sql: str, text: str) -> Node:
    with small_database() as database:
        try:
            row = database.execute("select json_serialize_sql(?)", [sql]).fetchone()
            found = _plain(json.loads(row[0] if row else "{}"))
        except SqlError as error:
            raise RecipeError(f"condition {_shown(text)}: {short(error)}") from error
        except RecursionError as error:
            raise RecipeError(f"condition {_shown(text)}: nested too deeply") from error
    if found.get("error"):
        raise RecipeError(f"condition {_shown(text)}: {_in_words(found['error_message'], text)}")
    if len(found["statements"]) != 1:
        raise RecipeError(f"condition {_shown(text)}: more than one statement; {_ONE}")
    statement: Node = found["statements"][0]
    return statement


def _in_words(message: str, text: str) -> str:
    """What DuckDB's parser says about a text, which is no SELECT to who wrote it, in one line."""
    message = " ".join(message.split())
    if message.startswith("Only SELECT"):
        return f"more than one statement; {_ONE}"
    if message.startswith("SELECT clause without"):
        return f"{_ONE} ({message})" if text.strip() else f"is empty ({message})"
    if message.startswith("syntax error"):
        return f"{message}; {_ONE}; a column named like a word of SQL is written in double quotes"
    return message


def _plain(value: Any) -> Any:
    """The same without the places in the text, so that equal expressions are equal."""
    if isinstance(value, dict):
        places = ("query_location", "query_location_length")
        return {key: _plain(inner) for key, inner in value.items() if key not in places}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _nodes(value: Any) -> Iterator[Node]:
    """Every expression within a value, wherever the parser put it."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            if "class" in found:
                yield found
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


def _refusal(node: Node) -> str | None:
    """What is not allowed about one expression; None when it may pass."""
    kind = node["class"]
    if kind in _PLAIN_NODES:
        return None
    if kind == "OPERATOR":
        return None if node["type"] in _OPERATOR_NODES else f"the operator {node['type']}"
    if kind == "FUNCTION":
        return _refused_function(node)
    if kind == "TYPE":
        name = node["type_name"]
        plain = name.lower() in _CASTS and not (node["children"] or node["schema"])
        return None if plain else f"a cast to {name}"
    return _REFUSED.get(kind, str(kind).lower())


def _refused_function(node: Node) -> str | None:
    name = node["function_name"].lower()
    shown = ".".join(node["qualified_name"]["path"])
    if name not in (_OPERATORS if node["is_operator"] else FUNCTIONS):
        what = "the operator" if node["is_operator"] else "the function"
        close = difflib.get_close_matches(name, FUNCTIONS, n=2, cutoff=0.8)
        close = [_MEANT[name]] if name in _MEANT else close
        return f"{what} {shown}" + (f" (did you mean {' or '.join(close)}?)" if close else "")
    special = node["filter"] or node["order_bys"]["orders"] or node["distinct"]
    named = any(argument["name"] for argument in node["arguments"])
    if special or named or node["schema"] or node["catalog"] or node["export_state"]:
        return f"this use of {shown}"
    return None


def _refuse_mixed(database: Database, text: str) -> None:
    """Raise RecipeError where text and numbers are compared: DuckDB would convert one of them."""
    for node in _nodes(_parsed(text)):
        if node["class"] == "COMPARISON":
            sides = [node["left"], node["right"]]
        elif node["class"] == "BETWEEN":
            sides = [node["input"], node["lower"], node["upper"]]
        elif node["type"] in ("COMPARE_IN", "COMPARE_NOT_IN"):
            sides = node["children"]
        else:
            continue
        texts = [_as_text(database, side) for side in sides]
        kinds = map(_family, _types(database, texts))
        families = dict(zip(kinds, texts, strict=True))
        if {"text", "number"} <= set(families):
            raise RecipeError(
                f"condition {_shown(text)}: {families['text']} is text and {families['number']} is"
                " a number, they can't be compared without a cast"
            )


def _as_text(database: Database, expression: Node) -> str:
    """An expression as DuckDB writes it."""
    statement = {**_bare_statement()["node"], "select_list": [expression]}
    tree = {"error": False, "statements": [{**_bare_statement(), "node": statement}]}
    row = database.execute("select json_deserialize_sql(?)", [json.dumps(tree)]).fetchall()
    return str(row[0][0]).removeprefix("SELECT ")


def _types(database: Database, expressions: list[str]) -> list[str]:
    """The types of expressions over the table that was registered."""
    described = database.execute(f"describe select {', '.join(expressions)} from __row").fetchall()
    return [str(kind) for _, kind, *_ in described]


def _family(kind: str) -> str:
    if kind == "VARCHAR":
        return "text"
    return "number" if kind.split("(")[0] in _NUMBERS else "other"


def _scannable(table: pa.Table, names: tuple[str, ...]) -> pa.Table:
    """The columns of these names; DuckDB can't scan rows that have no column at all."""
    rows = pa.table({"__none": pa.nulls(table.num_rows)})
    for name in names:
        rows = rows.append_column(name, table[name])
    return readable(rows)


def _shown(text: str) -> str:
    one_line = " ".join(text.split())
    return repr(one_line if len(one_line) <= 80 else f"{one_line[:77]}...")
