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
from pipeline.report_html import Content, Html, count, el, join, number, share, short, table
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
    """A chart or a list for every column, by scorer."""
    parts: list[Content] = [_legend()]
    for scorer, told in record.scorers.items():
        parts.append(el("h3", scorer, id=f"scorer-{scorer}"))
        parts.append(el("p", _state(sample, scorer, told), class_="soft small"))
        cards = [_card(sample, name, lines.get(name, ())) for name in told["columns"]]
        parts.append(el("div", *cards, class_="charts"))
    return join(parts)


def _legend() -> Html:
    keys: list[Content] = []
    for name, text in _LEGEND:
        keys += [el("i", class_=f"key {name}"), text]
    keys += [el("span", " ┆", style="color: var(--cut); margin-left: .9em"), " threshold of a step"]
    return el("p", *keys, class_="small soft")


def _state(sample: Sample, scorer: str, told: Mapping[str, Any]) -> str:
    errors = sample.columns[f"{scorer}_error"]
    failed = len(errors) - errors.null_count
    asked = ", asked about some rows only" if "-" in told["folder"] else ""
    bad = f", failed for {count(failed)} rows" if failed else ""
    return f"{told['class']}{asked}{bad}"


def _card(sample: Sample, name: str, lines: Sequence[Line]) -> Html:
    title = el("h4", el("code", name))
    column = sample.columns.get(name)
    if column is None:
        return el("div", title, el("p", "a list; not drawn"), class_="chart")
    return el("div", title, *_content(sample, name, column, lines), class_="chart")


def _content(
    sample: Sample, name: str, column: pa.ChunkedArray, lines: Sequence[Line]
) -> Iterator[Html]:
    kind = column.type
    if column.null_count == len(column):
        yield el("p", "no row has a value")
    elif pa.types.is_boolean(kind) or pa.types.is_string(kind):
        yield from _values(sample, column)
    elif _is_number(kind):
        yield from _histogram(sample, name, column, lines)
    else:
        yield el("p", _identifiers(column))


def _is_number(kind: pa.DataType) -> bool:
    """Of 64 bits without a sign are hashes, whose size means nothing."""
    whole = pa.types.is_integer(kind) and not pa.types.is_uint64(kind)
    return bool(whole or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _histogram(
    sample: Sample, name: str, column: pa.ChunkedArray, lines: Sequence[Line]
) -> Iterator[Html]:
    numbers = column.cast(pa.float64()).to_numpy()
    there = np.isfinite(numbers)
    values, kept = numbers[there], sample.kept[there]
    drawn = histogram(values, kept, lines)
    yield draw(drawn, lines, f"{name}: {_middle(values)}")
    factor = magnified(drawn)
    taller = f"; bars of kept rows drawn {factor:,} × taller" if factor > 1 else ""
    missing = len(numbers) - len(values)
    without = f"; {count(missing)} rows without" if missing else ""
    yield el("p", f"all: {_middle(values)}{without}")
    if kept.any():
        yield el("p", f"kept: {_middle(values[kept])}{taller}")


def _middle(values: npt.NDArray[np.float64]) -> str:
    low, middle, high = (float(v) for v in np.quantile(values, [0.05, 0.5, 0.95]))
    return f"median {number(middle)}, 90 % in {number(low)} to {number(high)}"


def _values(sample: Sample, column: pa.ChunkedArray) -> Iterator[Html]:
    every, missing = counted(column), column.null_count
    kept = dict(counted(column.filter(pa.array(sample.kept))))
    if len(every) > _MANY_VALUES and every[0][1] < 0.01 * len(column):
        few = ", ".join(short(str(value), 40) for value, _ in every[:3])
        yield el("p", f"{count(len(every))} different values, such as {few}")
        return
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


def _identifiers(column: pa.ChunkedArray) -> str:
    values = pc.count_distinct(column).as_py()
    rows = len(column) - column.null_count
    return f"{count(values)} different values in {count(rows)} rows"


def counted(column: pa.ChunkedArray) -> list[tuple[Any, int]]:
    """The values of a column with their number, most frequent first, ties by value; no NULL."""
    pairs = [(p["values"], p["counts"]) for p in pc.value_counts(column.drop_null()).to_pylist()]
    return sorted(pairs, key=lambda pair: (-pair[1], str(pair[0])))
