"""What was measured: for each scorer, how its columns are spread over all rows and kept ones."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.record import BuildRecord
from pipeline.report_charts import Line, draw, histogram, magnified
from pipeline.report_conditions import parts_of
from pipeline.report_html import (
    Content,
    Html,
    count,
    el,
    join,
    number,
    rows_of,
    share,
    short,
    table,
)
from pipeline.report_sample import Sample

_TOP_VALUES = 8
_MANY_VALUES = 50  # beyond so many different texts, no list of the frequent ones says much
_LEGEND = (("all", "all rows with a value"), ("kept", "kept rows"))


def thresholds(summary: Mapping[str, Any]) -> dict[str, list[Line]]:
    """For each column the numbers that steps compare it with, and the cuts that `top` made."""
    found: dict[str, list[Line]] = {}
    for step in summary["steps"]:
        if step["kind"] == "where":
            for part in parts_of(step["condition"]):
                for one in part.thresholds:
                    label = f"{step['name']} {one.sign} {number(one.value)}".replace("  ", " ")
                    found.setdefault(one.column, []).append(Line(one.value, label))
        if step["kind"] == "top":
            lines = [_cut(step, cut) for cut in summary["cuts"] if cut["step"] == step["name"]]
            found.setdefault(step["column"], []).extend(lines)
    return {column: list(dict.fromkeys(lines)) for column, lines in found.items()}


def _cut(step: Mapping[str, Any], cut: Mapping[str, Any]) -> Line:
    sign = "≤" if step["lowest"] else "≥"
    group = " ".join("(none)" if name is None else short(name, 12) for name in cut["group"])
    return Line(cut["value"], f"{step['name']} {group} {sign} {number(cut['value'])}")


def measured(record: BuildRecord, sample: Sample, lines: Mapping[str, Sequence[Line]]) -> Html:
    """A chart or a list for every column, by scorer; columns that say nothing in one line."""
    parts: list[Content] = [_legend()]
    for scorer, told in record.scorers.items():
        parts.append(el("h3", scorer))
        parts.append(el("p", _state(sample, scorer, told), class_="soft small"))
        plain = {name: _plain(sample, name) for name in told["columns"]}
        cards = [
            el("div", el("h4", el("code", name)), *_drawn(sample, name, lines), class_="chart")
            for name, words in plain.items()
            if words is None
        ]
        parts.append(el("div", *cards, class_="charts") if cards else None)
        rest = [join([el("code", name), ": ", words]) for name, words in plain.items() if words]
        parts.append(el("p", _sentence(rest), class_="soft small") if rest else None)
    return join(parts)


def _sentence(parts: Sequence[Html]) -> Html:
    return join(part for n, one in enumerate(parts) for part in ("; " if n else None, one))


def _legend() -> Html:
    keys: list[Content] = []
    for name, text in _LEGEND:
        keys += [el("i", class_=f"key {name}"), text]
    keys += [el("span", "┆", class_="cut"), " threshold of a step"]
    note = "Below each chart: the median, and what 90 % of the values lie between."
    return join([el("p", *keys, class_="small soft legend"), el("p", note, class_="small soft")])


def _state(sample: Sample, scorer: str, told: Mapping[str, Any]) -> str:
    errors = sample.columns[f"{scorer}_error"]
    failed = len(errors) - errors.null_count
    asked = ", asked about some rows only" if "-" in told["folder"] else ""
    bad = f", failed for {rows_of(failed)}" if failed else ""
    return f"{told['class']}{asked}{bad}"


def _plain(sample: Sample, name: str) -> str | None:
    """What there is to say of a column that no chart would show; None for the others."""
    column = sample.columns.get(name)
    if column is None or pa.types.is_nested(column.type):
        return "lists"
    rows = len(column) - column.null_count
    missing = f", {rows_of(column.null_count)} without" if column.null_count else ""
    if not rows:
        return "no row has a value"
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    values = int(pc.count_distinct(column, mode="only_valid").as_py())
    if values == 1:
        only = _word(column.drop_null()[0].as_py())
        return f"{short(only, 80)} in {rows_of(rows)}{missing}"
    if _is_listed(column.type):
        first = counted(column)[:_TOP_VALUES]
        if values <= _MANY_VALUES or first[0][1] >= 0.01 * rows:
            return None
    elif _is_number(column.type):
        return None
    return f"{count(values)} different values in {rows_of(rows)}{missing}"


def _drawn(sample: Sample, name: str, lines: Mapping[str, Sequence[Line]]) -> Iterator[Html]:
    column = sample.columns[name]
    if _is_listed(column.type):
        return _values(sample, column)
    return _histogram(sample, name, lines.get(name, ()))


def _is_listed(kind: Any) -> bool:
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return bool(text or pa.types.is_boolean(kind))


def _is_number(kind: Any) -> bool:
    """Of 64 bits without a sign are hashes, whose size means nothing."""
    whole = pa.types.is_integer(kind) and not pa.types.is_uint64(kind)
    return bool(whole or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _histogram(sample: Sample, name: str, lines: Sequence[Line]) -> Iterator[Html]:
    numbers = sample.columns[name].cast(pa.float64()).to_numpy()
    there = np.isfinite(numbers)
    values, kept = numbers[there], sample.kept[there]
    drawn = histogram(values, kept, lines)
    yield draw(drawn, lines, f"{name}: {_middle(values)}")
    missing = len(numbers) - len(values)
    without = f", {rows_of(missing)} without" if missing else ""
    yield el("p", f"all {_middle(values)}{without}")
    if kept.any():
        factor = magnified(drawn)
        taller = f" (drawn {factor:,} × taller)" if factor > 1 else ""
        yield el("p", f"kept {_middle(values[kept])}{taller}")


def _middle(values: npt.NDArray[np.float64]) -> str:
    low, middle, high = (float(v) for v in np.quantile(values, [0.05, 0.5, 0.95]))
    return f"{number(middle)} ({number(low)} – {number(high)})"


def _values(sample: Sample, column: "pa.ChunkedArray[Any]") -> Iterator[Html]:
    every, missing = counted(column), column.null_count
    kept = dict(counted(column.filter(pa.array(sample.kept))))
    most = every[0][1]
    rows = [
        (short(_word(value), 40), _bars(rows, kept.get(value, 0), most), count(rows),
         share(kept.get(value, 0), rows))
        for value, rows in every[:_TOP_VALUES]
    ]  # fmt: skip
    rest = every[_TOP_VALUES:]
    if rest:
        rows.append(_rest(rest, kept))
    if missing:
        rows.append(("(none)", Html(), count(missing), ""))
    yield table(("value", "", "rows", "kept"), rows, texts=2)


def _rest(rest: Sequence[tuple[Any, int]], kept: Mapping[Any, int]) -> tuple[str, Html, str, str]:
    rows, left = sum(n for _, n in rest), sum(kept.get(value, 0) for value, _ in rest)
    return f"{count(len(rest))} others", Html(), count(rows), share(left, rows)


def _word(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _bars(rows: int, kept: int, most: int) -> Html:
    """A bar of kept rows within one of all rows."""
    full, inner = 100 * rows / most, 100 * kept / most
    return el(
        "div",
        el("i", class_="kept", style=f"width:{inner:.1f}%"),
        el("i", class_="all", style=f"width:{full - inner:.1f}%"),
        class_="bar",
    )


def counted(column: "pa.ChunkedArray[Any]") -> list[tuple[Any, int]]:
    """The values of a column with their number, most frequent first, ties by value; no NULL."""
    pairs = pc.value_counts(column.drop_null())
    values, counts = pairs.field("values").to_pylist(), pairs.field("counts").to_pylist()
    found = list(zip(values, counts, strict=True))
    return sorted(found, key=lambda pair: (-pair[1], str(pair[0])))
