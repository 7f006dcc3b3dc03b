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
from pipeline.report_html import apart, number, short
from pipeline.report_sample import Rows, Sample, spread

SHOWN = 12
_PAIRS = 6
_GROUPS = 8  # parts of a condition that have pictures
_TARS = 12  # opening one costs reading it up to the last picture that is wanted
_NOT_SAID = ("caption", "captions")  # a caption is shown anyway


@dataclass(frozen=True)
class Item:
    """A row to show, with the values that decided; `other` is the row that stayed in its place."""

    row: int
    reason: str
    other: "Item | None" = None


@dataclass(frozen=True)
class Group:
    """Rows that one condition dropped, or all that a step did, and how many there are of them."""

    title: str
    rows: int
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Reasoned:
    """Rows of one group before the choice: how far each is from the threshold, where there is one.

    A distance is None for a row that has no value to measure.
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
        told = _told(sample, columns_read(step), rows, {})
        yield Reasoned("", rows, [None] * len(rows), told)


def _by_part(sample: Sample, rows: Rows, parts: Sequence[Part]) -> Iterator[Reasoned]:
    """A group for each part of a condition: the rows for which it is the first not to hold."""
    left = rows
    for part in parts:
        if not len(left):
            return
        holds = np.array(_holds(sample, part, left), bool)
        failing, left = left[~holds], left[holds]
        if len(failing):
            limits: dict[str, list[float]] = {}
            for one in part.thresholds:
                limits.setdefault(one.column, []).append(one.value)
            title = part.text if len(parts) > 1 else ""
            told = _told(sample, part.columns, failing, limits)
            yield Reasoned(title, failing, _distances(sample, part, failing, limits), told)


def _holds(sample: Sample, part: Part, rows: Rows) -> list[bool]:
    if not part.columns:
        return [False] * len(rows)
    try:
        return evaluate(part.text, sample.table(part.columns, rows))
    except CurationError:  # alone it meets values that another part had kept from it
        return [False] * len(rows)


def _distances(
    sample: Sample, part: Part, rows: Rows, limits: Mapping[str, Sequence[float]]
) -> list[float | None]:
    """How far each row's value is from the nearest number that the part compares it with."""
    if len(limits) != 1 or set(limits) != set(part.columns):
        return [None] * len(rows)
    column = next(iter(limits))
    return [_distance(value, limits[column]) for value in sample.values(column, rows)]


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
    distances: list[float | None] = []
    reasons = {}
    for row, value, limit in zip(rows.tolist(), values, limits, strict=True):
        near = [] if limit is None else [limit]
        distances.append(_distance(value, near) if near else None)
        cut = "" if limit is None else f" (cut {number(limit)})"
        reasons[row] = _valued(step["column"], value, near) + cut
    return Reasoned("", rows, distances, reasons)


def _as_text(value: Any) -> str | None:
    """A value of a group as the selection writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


def _told(
    sample: Sample, columns: Sequence[str], rows: Rows, limits: Mapping[str, Sequence[float]]
) -> dict[int, str]:
    """The deciding values of each row in words."""
    named = [name for name in columns if name not in _NOT_SAID and name in sample.columns]
    values = [sample.values(name, rows) for name in named]
    near = [limits.get(name, ()) for name in named]
    return {
        row: ", ".join(
            _valued(name, column[n], limit)
            for name, column, limit in zip(named, values, near, strict=True)
        )
        for n, row in enumerate(rows.tolist())
    }


def _valued(name: str, value: Any, limits: Sequence[float] = ()) -> str:
    """A column and its value; a number with the digits that tell it from the nearest limit."""
    if value is None:
        return f"{name} is NULL"
    if isinstance(value, bool):
        return f"{name} is {str(value).lower()}"
    if isinstance(value, int | float):
        limit = min(limits, key=lambda one: abs(one - value), default=None)
        return f"{name} {number(value) if limit is None else apart(value, limit)}"
    if isinstance(value, list):
        return f"{name} of {len(value)}"
    return f"{name} {value.hex()[:12] if isinstance(value, bytes) else short(str(value), 40)}"


def _chosen(sample: Sample, group: Reasoned, quota: int) -> Group:
    """Most of them with a distance, two thirds at least if there are some without."""
    distance = dict(zip(group.rows.tolist(), group.distances, strict=True))
    near = _near(sample, group.rows, quota)
    measured = [row for row in near.tolist() if distance[row] is not None]
    others = _by_key(sample, np.array(sorted(set(near.tolist()) - set(measured)), np.int64))
    keys = dict(zip(measured, sample.values("key", np.array(measured, np.int64)), strict=True))
    measured.sort(key=lambda row: (distance[row], keys[row]))
    places = min(len(others), max(quota // 3, quota - len(measured)))
    rows = [*_spread_out(measured, quota - places), *others[:places]]
    items = tuple(Item(row, group.reasons.get(row, "")) for row in rows)
    return Group(group.title, len(group.rows), items)


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
    """Rows that lost their group to another, each with the row that stayed if it is known."""
    names = [step["group"], *step["per"]]
    survivors = np.flatnonzero(sample.stage > sample.steps.index(step["name"]))
    columns = [sample.values(name, survivors) for name in names]
    stayed = dict(zip(zip(*columns, strict=True), survivors.tolist(), strict=True))
    ordered = np.array(_by_key(sample, _near(sample, rows, _PAIRS)), np.int64)
    groups = zip(*[sample.values(name, ordered) for name in names], strict=True)
    found = [(row, stayed.get(group)) for row, group in zip(ordered.tolist(), groups, strict=True)]
    found.sort(key=lambda pair: pair[1] is None)
    items = tuple(_pair(sample, step["best"], row, other) for row, other in found[:_PAIRS])
    return Group("", len(rows), items)


def _pair(sample: Sample, best: str | None, row: int, other: int | None) -> Item:
    there = [row] if other is None else [row, other]
    told = [""] * len(there)
    if best is not None:
        values = sample.values(best, np.array(there, np.int64))
        limits = [v for v in values if isinstance(v, int | float)]
        told = [_valued(best, v, [one for one in limits if one != v]) for v in values]
    return Item(row, told[0], None if other is None else Item(other, told[1]))
