"""What a selection reports of itself: attrition, cuts, breakdowns by value, warnings."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise

from pipeline.database import Database, quoted
from pipeline.select_input import Intake
from pipeline.select_plan import FAILED_CODE, TAKEDOWN_CODE, Plan
from pipeline.steps import FAILED, MAX_DROP, TAKEDOWN, Top

TOP_VALUES = 50


@dataclass(frozen=True)
class Cut:
    """Where `top` cut one group: of `rows` rows with a value `kept` were kept, down to `value`."""

    step: str
    group: tuple[str | None, ...]
    rows: int
    kept: int
    value: float


@dataclass(frozen=True)
class ValueCount:
    """Rows of the pool that have one value in a column, and how many of them were kept."""

    value: str | None
    rows: int
    kept: int


@dataclass(frozen=True)
class Breakdown:
    """The most frequent values of a column, and all others together."""

    column: str
    values: tuple[ValueCount, ...]
    other_values: int
    other_rows: int
    other_kept: int


@dataclass(frozen=True)
class Summary:
    """What a selection did, in counts of rows.

    `attrition` is what is left: of the pool, without failed rows, without taken-down rows (if a
    list was given), and after each step. `copies` counts kept rows as often as they are written.
    """

    attrition: tuple[tuple[str, int], ...]
    copies: int
    cuts: tuple[Cut, ...]
    breakdowns: tuple[Breakdown, ...]
    warnings: tuple[str, ...]

    @property
    def kept(self) -> int:
        return self.attrition[-1][1]


def summarise(database: Database, plan: Plan, intake: Intake) -> Summary:
    """Count what happened; call it when all stages have run."""
    dropped = dict(intake.codes)
    sql = "select __code, count(*) from __outcome where __code <> 0 group by all"
    dropped.update(database.execute(sql).fetchall())
    attrition = _attrition(plan, intake.rows, dropped)
    cuts = tuple(_cuts(database, plan))
    copies = 0
    if intake.rows:
        sql = "select coalesce(sum(__times), 0)::bigint from __survivors"
        copies = int(database.execute(sql).fetchall()[0][0])
    return Summary(
        attrition=attrition,
        copies=copies,
        cuts=cuts,
        breakdowns=tuple(
            _breakdown(database, position, column)
            for position, column in enumerate(plan.report_by)
            if intake.rows
        ),
        warnings=tuple(_warnings(plan, attrition, cuts)),
    )


def _attrition(plan: Plan, rows: int, dropped: Mapping[int, int]) -> tuple[tuple[str, int], ...]:
    names = {"pool": 0, FAILED: dropped.get(FAILED_CODE, 0)}
    if plan.takedown is not None:
        names[TAKEDOWN] = dropped.get(TAKEDOWN_CODE, 0)
    names.update({step.name: dropped.get(step.code, 0) for step in plan.steps})
    left = accumulate(names.values(), lambda before, gone: before - gone, initial=rows)
    return tuple(zip(names, list(left)[1:], strict=True))


def _warnings(
    plan: Plan, attrition: tuple[tuple[str, int], ...], cuts: tuple[Cut, ...]
) -> list[str]:
    limits = {step.name: step.step.max_drop for step in plan.steps}
    ranked = {step.name: step.step.column for step in plan.steps if isinstance(step.step, Top)}
    cut = {one.step for one in cuts}
    found = []
    for (_, before), (name, after) in pairwise(attrition):
        limit = limits.get(name)
        limit = MAX_DROP if limit is None else limit
        if name in limits and before and (before - after) / before > limit:
            found.append(
                f"step {name!r} drops {before - after} of {before} rows,"
                f" {(before - after) / before:.1%} (limit {limit:.0%})"
            )
            if name in ranked and name not in cut:
                found[-1] += f": {ranked[name]!r} is NULL in all of them"
    return found


def _cuts(database: Database, plan: Plan) -> list[Cut]:
    """The cuts of every step, of its largest groups."""
    rows = database.execute(
        f"""
        select code, groups, total, kept, value from __cuts
        qualify row_number() over (partition by code order by total desc, groups) <= {TOP_VALUES}
        order by code, total desc, groups
        """
    ).fetchall()
    return [
        Cut(plan.names[code], tuple(groups), total, kept, value)
        for code, groups, total, kept, value in rows
    ]


def _breakdown(database: Database, position: int, column: str) -> Breakdown:
    database.execute(
        f"""
        create or replace temp table __by_value as
        with pool as (
            select value, sum(rows)::bigint as rows from __seen where position = {position}
            group by all
        ), kept as (
            select {quoted(column)}::varchar as value, count(*) as kept from __survivors
            group by all
        )
        select p.value, rows, coalesce(kept, 0) as kept,
            row_number() over (order by rows desc, p.value nulls last) as place
        from pool p left join kept k on p.value is not distinct from k.value
        """
    )
    top = database.execute(
        f"select value, rows, kept from __by_value where place <= {TOP_VALUES} order by place"
    ).fetchall()
    others, rows, kept = database.execute(
        "select count(*), coalesce(sum(rows), 0)::bigint, coalesce(sum(kept), 0)::bigint"
        f" from __by_value where place > {TOP_VALUES}"
    ).fetchall()[0]
    return Breakdown(column, tuple(ValueCount(*row) for row in top), others, rows, kept)
