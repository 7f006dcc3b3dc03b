"""Which rows a report shows of a step, and the values that decided about each.

The choice is a function of the rows alone: those nearest to the threshold, others spread over
the rest, ties by key.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.conditions import evaluate
from pipeline.errors import CurationError
from pipeline.report_conditions import Part, Step, columns_read, parts_of
from pipeline.report_html import number, short
from pipeline.report_sample import Rows, Sample, spread

SHOWN = 12
_PAIRS = 6
_GROUPS = 8  # parts of a condition that have pictures
_TARS = 12  # opening one costs reading it up to the last picture that is wanted


@dataclass(frozen=True)
class Item:
    """A row to show, with the values that decided; `other` is the row that stayed in its place."""

    row: int
    reason: str
    other: int | None = None


@dataclass(frozen=True)
class Group:
    """Rows that one condition dropped, or all that a step did, and how many there are of them."""

    title: str
    rows: int
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Reasoned:
    """Rows of one group before the choice: with a distance from the threshold where there is one.

    None is a row that has no value to measure.
    """

    title: str
    rows: Rows
    distances: Sequence[float | None]
    reasons: Mapping[int, str] = field(default_factory=dict)


def choose(sample: Sample, step: Step, cuts: Sequence[Mapping[str, Any]]) -> list[Group]:
    """What to show of the rows that a step dropped."""
    rows = sample.dropped_by(step["name"])
    if not len(rows):
        return []
    if step["kind"] == "one_per":
        return [_pairs(sample, step, rows)]
    groups = list(_groups(sample, step, rows, cuts))
    quota = max(3, SHOWN // len(groups))
    return [_chosen(sample, group, quota if n < _GROUPS else 0) for n, group in enumerate(groups)]


def choose_kept(sample: Sample) -> tuple[Item, ...]:
    """Some rows that were kept, at random but always the same."""
    rows = np.flatnonzero(sample.kept)
    return tuple(Item(row, "") for row in _by_key(sample, _near(sample, rows, SHOWN))[:SHOWN])


def _groups(
    sample: Sample, step: Step, rows: Rows, cuts: Sequence[Mapping[str, Any]]
) -> Iterator[Reasoned]:
    if step["kind"] == "where":
        yield from _by_part(sample, rows, parts_of(step["condition"]))
    elif step["kind"] == "top":
        yield _below_cut(sample, step, rows, cuts)
    else:
        yield Reasoned("", rows, [None] * len(rows), _told(sample, columns_read(step), rows))


def _by_part(sample: Sample, rows: Rows, parts: Sequence[Part]) -> Iterator[Reasoned]:
    """A group for each part of a condition: the rows for which it is the first not to hold."""
    left = rows
    for part in parts:
        if not len(left):
            return
        holds = np.array(_holds(sample, part, left), bool)
        failing, left = left[~holds], left[holds]
        if len(failing):
            title = part.text if len(parts) > 1 else ""
            told = _told(sample, part.columns, failing)
            yield Reasoned(title, failing, _distances(sample, part, failing), told)


def _holds(sample: Sample, part: Part, rows: Rows) -> list[bool]:
    if not part.columns:
        return [False] * len(rows)
    try:
        return evaluate(part.text, sample.table(part.columns, rows))
    except CurationError:  # alone it meets values that another part had kept from it
        return [False] * len(rows)


def _distances(sample: Sample, part: Part, rows: Rows) -> list[float | None]:
    """How far each row's value is from the nearest number that the part compares it with."""
    columns = {threshold.column for threshold in part.thresholds}
    if len(columns) != 1 or columns != set(part.columns):
        return [None] * len(rows)
    limits = [threshold.value for threshold in part.thresholds]
    values = sample.values(*columns, rows)
    return [_distance(value, limits) for value in values]


def _distance(value: Any, limits: Iterable[float]) -> float | None:
    if not isinstance(value, int | float):
        return None
    return min(abs(float(value) - limit) for limit in limits)


def _below_cut(
    sample: Sample, step: Step, rows: Rows, cuts: Sequence[Mapping[str, Any]]
) -> Reasoned:
    """The rows that `top` dropped, by how far they are from the cut of their group."""
    found = {tuple(cut["group"]): cut["value"] for cut in cuts if cut["step"] == step["name"]}
    values = sample.values(step["column"], rows)
    per = [sample.values(name, rows) for name in step["per"]]
    groups = list(zip(*per, strict=True)) if per else [()] * len(rows)
    limits = [found.get(tuple(_as_text(v) for v in group)) for group in groups]
    distances = [
        None if limit is None else _distance(value, [limit])
        for value, limit in zip(values, limits, strict=True)
    ]
    reasons = {
        row: _valued(step["column"], value) + ("" if limit is None else f", cut {number(limit)}")
        for row, value, limit in zip(rows.tolist(), values, limits, strict=True)
    }
    return Reasoned("", rows, distances, reasons)


def _as_text(value: Any) -> str | None:
    """A value of a group as the selection writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


def _told(sample: Sample, columns: Sequence[str], rows: Rows) -> dict[int, str]:
    """The deciding values of each row in words; its caption is shown anyway."""
    named = [name for name in columns if name != "caption" and name in sample.columns]
    values = [sample.values(name, rows) for name in named]
    return {
        row: ", ".join(_valued(name, column[n]) for name, column in zip(named, values, strict=True))
        for n, row in enumerate(rows.tolist())
    }


def _valued(name: str, value: Any) -> str:
    if value is None:
        return f"{name} is NULL"
    if isinstance(value, bool):
        return f"{name} is {str(value).lower()}"
    if isinstance(value, int | float):
        return f"{name} {number(value)}"
    if isinstance(value, list):
        return f"{name} of {len(value)}"
    return f"{name} {value.hex()[:12] if isinstance(value, bytes) else short(str(value), 40)}"


def _chosen(sample: Sample, group: Reasoned, quota: int) -> Group:
    """Half of them nearest to the threshold, half spread over the rest, rows without last."""
    distance = dict(zip(group.rows.tolist(), group.distances, strict=True))
    near = _near(sample, group.rows, quota)
    measured = [row for row in near.tolist() if distance[row] is not None]
    others = _by_key(sample, np.array(sorted(set(near.tolist()) - set(measured)), np.int64))
    keys = dict(zip(measured, sample.values("key", np.array(measured, np.int64)), strict=True))
    measured.sort(key=lambda row: (distance[row], keys[row]))
    places = min(len(others), max(quota // 3, quota - len(measured)))
    rows = _spread_out(measured, quota - places) + others[:places]
    return Group(
        title=group.title,
        rows=len(group.rows),
        items=tuple(Item(row, group.reasons.get(row, "")) for row in rows),
    )


def _spread_out(rows: Sequence[int], room: int) -> list[int]:
    """The first half from the beginning, the second at equal distances up to the last."""
    if len(rows) <= room:
        return list(rows)
    near = (room + 1) // 2
    rest, far = rows[near:], room - near
    return [*rows[:near], *(rest[(n + 1) * len(rest) // far - 1] for n in range(far))]


def _near(sample: Sample, rows: Rows, wanted: int) -> Rows:
    """Those of the rows that are in a few shards, so that few are opened, if these are enough."""
    few = spread(range(len(sample.shards)), len(sample.shards), _TARS)
    inside = rows[np.isin(sample.shard[rows], np.array(few, np.int64))]
    return inside if len(inside) >= wanted else rows


def _by_key(sample: Sample, rows: Rows) -> list[int]:
    """Rows in the order of their keys, which is as good as random."""
    keys = sample.values("key", rows)
    return [row for _, row in sorted(zip(keys, rows.tolist(), strict=True))]


def _pairs(sample: Sample, step: Step, rows: Rows) -> Group:
    """Rows that lost their group to another, each with the row that stayed."""
    names = [step["group"], *step["per"]]
    survivors = np.flatnonzero(sample.stage > sample.steps.index(step["name"]))
    columns = [sample.values(name, survivors) for name in names]
    stayed = dict(zip(zip(*columns, strict=True), survivors.tolist(), strict=True))
    ordered = np.array(_by_key(sample, _near(sample, rows, _PAIRS)), np.int64)
    groups = list(zip(*[sample.values(name, ordered) for name in names], strict=True))
    found = [(row, stayed.get(group)) for row, group in zip(ordered.tolist(), groups, strict=True)]
    found = [*(p for p in found if p[1] is not None), *(p for p in found if p[1] is None)]
    items = tuple(Item(row, _won(sample, step, row, other), other) for row, other in found[:_PAIRS])
    return Group("", len(rows), items)


def _won(sample: Sample, step: Step, row: int, other: int | None) -> str:
    best = step["best"]
    if best is None or other is None:
        return "" if other is not None else "the one that stayed is not in the sample"
    lost, won = sample.values(best, np.array([row, other], np.int64))
    sides = ["NULL" if value is None else number(value) for value in (lost, won)]
    return f"{best} {sides[0]}, stays with {sides[1]}"
