"""What each step means in SQL over the survivors of the steps before it.

Survivors are a table `__survivors`: __place (where a row stands in the pool), __hi and __lo (its
key), __times (its copies), the columns that are still to be read, and for each random step
__extra_N. A step that looks at one row at a time is an expression; any other leaves tables behind
that the survivors are joined with.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from pipeline.conditions import embedded
from pipeline.database import Database, quoted
from pipeline.steps import Draw, OnePer, Step, Subset, Top, Where, offset

BUCKETS = 4096
HELP_TABLES = ("__edge", "__ranked", "__threshold", "__others", "__copies")  # made by decide()
_BY_KEY = "__hi, __lo, __place"
_WEIGHT_BITS, _OFFSET_BITS = 30, 20


@dataclass(frozen=True)
class Numbered:
    """A step with its name and the number by which tables call it."""

    code: int
    name: str
    step: Step

    @property
    def extra(self) -> str:
        """The column that holds what the step needs beside the columns it names."""
        return f"__extra_{self.code}"

    @property
    def needs_extra(self) -> bool:
        return isinstance(self.step, Draw | Subset)

    @property
    def is_local(self) -> bool:
        """Whether the step decides about each row by that row alone."""
        step = self.step
        if isinstance(step, Draw):
            return step.count is None and not step.per
        return isinstance(step, Where | Subset)


def passes(numbered: Numbered) -> str:
    """Whether a row passes a local step: true or false, never NULL."""
    step = numbered.step
    if isinstance(step, Where):
        return f"coalesce({embedded(step.condition)}, false)"
    if isinstance(step, Draw) and not step.repeat:
        return f"coalesce({numbered.extra} < {_number(step.by)}, false)"
    return f"{copies(numbered)} > 0"


def copies(numbered: Numbered) -> str | None:
    """How often a local step repeats a row that passes; None when it repeats none."""
    step = numbered.step
    if isinstance(step, Subset):
        return numbered.extra
    if isinstance(step, Draw) and step.repeat:
        by = f"greatest({_number(step.by)}, 0)"
        whole = f"floor({by})"
        return f"(least({whole}, 1e12)::bigint + ({numbered.extra} < {by} - {whole})::bigint)"
    return None


@dataclass(frozen=True)
class Decision:
    """How a step over all survivors decides: joins with `__survivors __s`, and what they say."""

    joins: str
    dropped: str
    times: str = "1"


def decide(database: Database, numbered: Numbered) -> Decision:
    """Run a step that looks at all survivors."""
    step = numbered.step
    if isinstance(step, OnePer):
        return _one_per(database, step)
    if isinstance(step, Top) and step.mode == "datacomp":
        return _threshold_of_pool(database, numbered.code, step)
    if isinstance(step, Top):
        name = quoted(step.column)
        sign, order = ("-", "asc") if step.lowest else ("", "desc")
        rank = Rank(f"{sign}{name}::double", f"{name} {order}", name, step.per)
        decision = _keep_best(database, rank, kept_rows(step.fraction, step.count))
        _note_cuts(database, numbered.code, len(step.per))
        return decision
    assert isinstance(step, Draw)
    return _resample(database, numbered) if step.repeat else _draw_rows(database, numbered)


def kept_rows(fraction: float | None, count: int | None) -> str:
    """How many of __total rows are kept: SQL in whole numbers, for 0.3 of 10 is 3.

    The fraction is the decimal number that was written, not the binary one nearest to it.
    """
    if fraction is None:
        return f"least({count}::hugeint, __total)"
    written = Fraction(repr(fraction))
    top, bottom = written.numerator, written.denominator
    return f"((__total::hugeint * {top} + {bottom - 1}) // {bottom})"


@dataclass(frozen=True)
class Rank:
    """An order of rows, best first: by `order`, then by key.

    `value` is a double that grows as rows get better; it may be coarser than `order`. Rows whose
    `present` is NULL have no rank.
    """

    value: str
    order: str
    present: str
    per: tuple[str, ...]


def _keep_best(database: Database, rank: Rank, kept: str) -> Decision:
    """Keep so many of the best rows of each group.

    Sorting all rows is what costs: so they are counted in buckets by value, and only the bucket
    in which the last kept row lies is sorted (`__edge`: one row for each group).
    """
    names, grouped, same = _groups(rank.per)
    bucket = _bucket(database, rank)
    database.execute(
        f"""
        create table __edge as
        with buckets as (
            select {grouped}, {bucket} as __bucket, count(*)::hugeint as __rows
            from __survivors where {rank.present} is not null group by all
        ), totals as (
            select *, sum(__rows) over (partition by {names}) as __total,
                sum(__rows) over (partition by {names} order by __bucket desc) as __upto
            from buckets
        )
        select {names}, __bucket, __total, {kept} as __kept, __kept - __upto + __rows as __need
        from totals where __upto - __rows < {kept} and __upto >= {kept}
        """
    )
    database.execute(
        f"""
        create table __ranked as
        select __place, {names}, {rank.present} as __value, __need, row_number() over (
            partition by {names} order by {rank.order}, {_BY_KEY}) as __rank
        from __survivors __s join __edge __e on {same} and {bucket} = __e.__bucket
        where {rank.present} is not null
        """
    )
    return Decision(
        joins=f"left join __edge __e on {same} left join __ranked __r using (__place)",
        dropped=f"{rank.present} is null or {bucket} < __e.__bucket or __r.__rank > __r.__need",
    )


def _groups(per: tuple[str, ...]) -> tuple[str, str, str]:
    """SQL of grouping columns: their names, their selection, and the join on them."""
    if not per:
        return "__g0", "0 as __g0", "__e.__g0 = 0"
    names = [f"__g{position}" for position in range(len(per))]
    columns = [quoted(column) for column in per]
    pairs = list(zip(names, columns, strict=True))
    grouped = ", ".join(f"{column} as {name}" for name, column in pairs)
    same = " and ".join(f"__s.{column} is not distinct from __e.{name}" for name, column in pairs)
    return ", ".join(names), grouped, same


def _bucket(database: Database, rank: Rank) -> str:
    """SQL of a bucket that never falls while the value grows, whatever rounding does."""
    sql = f"select min({rank.value}), max({rank.value}) from __survivors"
    low, high = database.execute(sql).fetchall()[0]
    if low is None or high == low:
        return "0"
    scale = BUCKETS / (high - low)
    if not 0 < scale < math.inf:  # values as far apart, or as close, as doubles can be
        return "0"
    return f"floor(({rank.value} - '{low!r}'::double) * '{scale!r}'::double)::integer"


def _note_cuts(database: Database, code: int, groups: int) -> None:
    """Remember the value at which each group was cut."""
    names = [f"__g{position}" for position in range(groups)]
    group = ", ".join(f"r.{name}::varchar" for name in names)
    same = " and ".join(f"r.{n} is not distinct from e.{n}" for n in names) or "true"
    database.execute(
        f"""
        insert into __cuts select {code}, [{group}]::varchar[], e.__total, e.__kept, r.__value
        from __ranked r join __edge e on {same} where r.__rank = r.__need
        """
    )


def _threshold_of_pool(database: Database, code: int, step: Top) -> Decision:
    """DataComp's rule; `__pool_N` holds the values of the whole pool.

    `int(n * fraction)` in binary arithmetic as published, but clamped at the last row.
    """
    assert step.fraction is not None
    name = quoted(step.column)
    rows = database.execute(f"select count(*) from __pool_{code}").fetchall()[0][0]
    place = min(int(rows * step.fraction), rows - 1)
    database.execute(
        f"""
        create table __threshold as select __value from __pool_{code}
        order by __value desc limit 1 offset {max(place, 0)}
        """
    )
    database.execute(
        f"""
        insert into __cuts select {code}, []::varchar[], {rows},
            (select count(*) from __pool_{code} p where p.__value >= t.__value), t.__value
        from __threshold t
        """
    )
    return Decision("left join __threshold __t on true", f"coalesce({name} < __t.__value, true)")


def _one_per(database: Database, step: OnePer) -> Decision:
    columns = ", ".join(map(quoted, (step.group, *step.per)))
    best = ""
    if step.best is not None:
        best = f"{quoted(step.best)} {'asc' if step.lowest else 'desc'} nulls last, "
    database.execute(
        f"""
        create table __others as
        select __place from (
            select __place, row_number() over (
                partition by {columns} order by {best}{_BY_KEY}) as __rank
            from __survivors where {quoted(step.group)} is not null
        ) where __rank > 1
        """
    )
    return Decision("left join __others __o using (__place)", "__o.__place is not null")


def _draw_rows(database: Database, numbered: Numbered) -> Decision:
    """So many rows of each group: those with the smallest draws, or the smallest for their weight.

    A weight w divides the logarithm of the draw (Efraimidis and Spirakis 2006).
    """
    step, drawn = numbered.step, numbered.extra
    assert isinstance(step, Draw)
    if isinstance(step.by, str):
        weight = _number(step.by)
        value = f"case when {weight} > 0 then ln(1 - {drawn}) / {weight} end"
        rank = Rank(value, f"{value} desc", value, step.per)
    else:
        rank = Rank(f"-{drawn}", f"{drawn} asc", drawn, step.per)
    fraction = float(step.by) if step.count is None else None  # only a number goes uncounted
    return _keep_best(database, rank, kept_rows(fraction, step.count))


def _resample(database: Database, numbered: Numbered) -> Decision:
    """So many copies in each group, by systematic resampling in the order of the draws.

    Points stand at equal distance along the running sum of the weights; a row gets one copy for
    each point in its part. Weights are read as multiples of 2^-30 of the largest: the sums are
    whole numbers and do not depend on the order of adding.
    """
    step, drawn = numbered.step, numbered.extra
    assert isinstance(step, Draw)
    assert step.count is not None
    first = offset(step.seed, numbered.name)
    scale, steps = 2**_WEIGHT_BITS, 2**_OFFSET_BITS
    partition = f"partition by {', '.join(map(quoted, step.per))}" if step.per else ""
    upto = f"sum(__whole) over ({partition} order by {drawn}, {_BY_KEY} rows unbounded preceding)"
    points = " - ".join(  # how many points lie before a place on the line
        f"(({place} * {step.count * steps} - {first} * __total + {steps} * __total - 1)"
        f" // ({steps} * __total))"
        for place in ("__upto", "(__upto - __whole)")
    )
    database.execute(
        f"""
        create table __copies as
        with weighted as (
            select *, greatest(coalesce({_number(step.by)}, 0), 0) as __weight from __survivors
        ), whole as (
            select *, case when __weight > 0 then
                floor(__weight / max(__weight) over ({partition}) * {scale})::bigint else 0
                end as __whole
            from weighted
        ), summed as (
            select __place, __whole, {upto} as __upto,
                sum(__whole) over ({partition}) as __total
            from whole
        )
        select __place, case when __total > 0 then {points} else 0 end::bigint as __times
        from summed
        """
    )
    return Decision("join __copies __c using (__place)", "__c.__times = 0", "__c.__times")


def _number(by: float | str) -> str:
    return f"{quoted(by)}::double" if isinstance(by, str) else f"'{float(by)!r}'::double"
