"""What a step means to a person: its rule in words, its parts, and the numbers it cuts at."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pipeline.conditions import columns_of
from pipeline.database import Database, small_database

_SIGNS = {
    "COMPARE_GREATERTHANOREQUALTO": "≥",
    "COMPARE_LESSTHANOREQUALTO": "≤",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "≠",
}
_MIRRORED = {"≥": "≤", "≤": "≥", ">": "<", "<": ">"}
Node = dict[str, Any]
Step = Mapping[str, Any]  # as a selection's summary describes it


@dataclass(frozen=True)
class Threshold:
    """A number that a condition compares a column with; no sign where NOT would make it lie."""

    column: str
    sign: str
    value: float


@dataclass(frozen=True)
class Part:
    """One of the conditions that a `where` joins by AND: its text, what it reads, its numbers."""

    text: str
    columns: tuple[str, ...]
    thresholds: tuple[Threshold, ...]


@lru_cache(maxsize=256)
def parts_of(condition: str) -> tuple[Part, ...]:
    """The parts of a condition all of which must hold. The condition has passed a selection."""
    with small_database() as database:
        row = database.execute("select json_serialize_sql(?)", [f"select\n{condition}\n"])
        statement = json.loads(row.fetchall()[0][0])["statements"][0]
        tree = statement["node"]["select_list"][0]
        return tuple(_part(database, statement, node) for node in _conjuncts(tree))


def _conjuncts(node: Node) -> Iterator[Node]:
    if node["type"] != "CONJUNCTION_AND":
        yield node
        return
    for child in node["children"]:
        yield from _conjuncts(child)


def _part(database: Database, statement: Node, node: Node) -> Part:
    """The text is DuckDB's own writing of the expression, without the outer parentheses."""
    alone = {**statement, "node": {**statement["node"], "select_list": [node]}}
    tree = json.dumps({"error": False, "statements": [alone]})
    row = database.execute("select json_deserialize_sql(?)", [tree]).fetchall()
    text = str(row[0][0]).removeprefix("SELECT ")
    text = text[1:-1] if _is_wrapped(text) else text
    return Part(text, tuple(sorted(columns_of(text))), tuple(_thresholds(node)))


def _is_wrapped(text: str) -> bool:
    """Whether the first parenthesis closes with the last."""
    depth, quoted = 0, ""
    for position, sign in enumerate(text):
        if quoted or sign in "'\"":
            quoted = "" if sign == quoted else quoted or sign
            continue
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return position == len(text) - 1 and len(text) > 1
    return False


def _thresholds(node: Node) -> Iterator[Threshold]:
    found = list(_nodes(node))
    negated = any(inner["type"] == "OPERATOR_NOT" for inner in found)
    for inner in found:
        for column, sign, value in _comparisons(inner):
            if column is not None and value is not None:
                yield Threshold(column, "" if negated else sign, value)


def _comparisons(node: Node) -> Iterator[tuple[str | None, str, float | None]]:
    if node["class"] == "BETWEEN":
        column = _column(node["input"])
        yield column, "≥", _number(node["lower"])
        yield column, "≤", _number(node["upper"])
    elif node["class"] == "COMPARISON":
        sign = _SIGNS.get(node["type"], "")
        yield _column(node["left"]), sign, _number(node["right"])
        yield _column(node["right"]), _MIRRORED.get(sign, sign), _number(node["left"])


def _nodes(value: Any) -> Iterator[Node]:
    if isinstance(value, dict):
        if "class" in value:
            yield value
        for inner in value.values():
            yield from _nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _nodes(inner)


def _column(node: Node) -> str | None:
    return str(node["column_names"][0]) if node["class"] == "COLUMN_REF" else None


def _number(node: Node) -> float | None:
    literal = node.get("literal", {})
    if literal.get("kind") not in ("INTEGER", "NUMERIC"):
        return None
    return float(str(literal["text"]).replace("_", ""))


def columns_read(step: Step) -> tuple[str, ...]:
    """The columns that decide in a step."""
    if step["kind"] == "where":
        return tuple(sorted(columns_of(step["condition"])))
    if step["kind"] == "subset":
        return ("source_key",)
    named = [step.get("column"), step.get("group"), step.get("best"), step.get("by")]
    return tuple(dict.fromkeys(n for n in [*named, *step["per"]] if isinstance(n, str)))


def rule(step: Step) -> str:
    """The rule of a step on one line."""
    kind = step["kind"]
    if kind == "where":
        return " ".join(step["condition"].split())
    if kind == "top":
        count, fraction = step["count"], step["fraction"]
        much = f"{count:,}" if count is not None else f"{100 * fraction:g} %"
        end = "lowest" if step["lowest"] else "highest"
        way = ", as DataComp does" if step["mode"] == "datacomp" else ""
        return f"{end} {much} by {step['column']}{_per(step)}{way}"
    if kind == "one_per":
        end = "lowest" if step["lowest"] else "highest"
        best = f", {end} {step['best']}" if step["best"] is not None else ", smallest key"
        return f"one per {step['group']}{best}{_per(step)}"
    if kind == "draw":
        count = "" if step["count"] is None else f"{step['count']:,} rows "
        copies = ", with copies" if step["repeat"] else ""
        return f"draw {count}by {step['by']}{_per(step)}{copies}, seed {step['seed']}"
    return f"on the list with sha256 {str(step.get('path', ''))[:16]}…"


def _per(step: Step) -> str:
    return f", per {', '.join(step['per'])}" if step["per"] else ""
