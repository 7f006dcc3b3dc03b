"""Rows of a pool on their way into a selection: judged by the first steps as they come in.

What is dropped at once costs a few bytes; only survivors take the columns along that later steps
read.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.database import Database, readable
from pipeline.errors import RecipeError
from pipeline.retry_record import RETRIED
from pipeline.select_plan import FAILED_CODE, KEPT_CODE, TAKEDOWN_CODE, Plan, named_errors
from pipeline.step_sql import Numbered
from pipeline.steps import Draw, Subset, Top, check_steps, uniform, words_of
from pipeline.subsets import copies_in

_CHUNK_ROWS, _SCAN_ROWS = 250_000, 50_000


@dataclass(frozen=True)
class Intake:
    """How many rows came in, and how many of them got which code at once."""

    rows: int
    codes: Mapping[int, int]


def take_in(database: Database, batches: Iterable[pa.RecordBatch], plan: Plan) -> Intake:
    """Judge rows by the first stage and keep what the others need.

    Makes `__rows` (all of them, __code NULL if a row goes on), `__state_0` (the survivors; not if
    there is no row at all), `__seen` (rows by value of each column to report by) and `__pool_N`.
    """
    _make_tables(database)
    codes: Counter[int] = Counter()
    spans: list[tuple[int, int]] = []
    rise = True
    for chunk in _chunks(batches):
        if not spans:
            _check(chunk.schema, plan)
        with named_errors(plan.stages[0].steps):
            rows = _judged(database, _prepared(chunk, plan), plan)
            _store(database, rows, plan, create=not spans)
            _count_values(database, _current(rows, chunk["failed"]), plan)
        found = np.unique_counts(_codes(rows))
        codes.update(dict(zip(found.values.tolist(), found.counts.tolist(), strict=True)))
        place = rows["__place"].to_numpy()
        rise = rise and bool((np.diff(place) > 0).all())
        spans.append((int(place.min()), int(place.max())))
    apart = all(last < first for (_, last), (first, _) in pairwise(sorted(spans)))
    if not (rise and apart):
        _check_places(database)
    return Intake(codes.total(), codes)


def _check_places(database: Database) -> None:
    sql = "select count(*) - count(distinct __place) from __rows"
    if database.execute(sql).fetchall() != [(0,)]:
        raise ValueError("two rows have the same shard and row")


def _make_tables(database: Database) -> None:
    database.execute(
        """
        create table __rows (__place bigint, __hi ubigint, __lo ubigint, __code smallint);
        create table __outcome (__place bigint, __code smallint, __times bigint);
        create table __cuts (code smallint, groups varchar[], total bigint, kept bigint,
            value double);
        create table __seen (position integer, value varchar, rows bigint);
        """
    )


def _chunks(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows in tables of a good size for one query."""
    waiting: list[pa.RecordBatch] = []
    held = 0
    for batch in batches:
        for start in range(0, len(batch), _CHUNK_ROWS):
            waiting.append(batch.slice(start, _CHUNK_ROWS))
            held += len(waiting[-1])
            if held >= _CHUNK_ROWS:
                yield pa.Table.from_batches(waiting)
                waiting, held = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting)


def _check(schema: pa.Schema, plan: Plan) -> None:
    """Raise RecipeError when a step can't run over these columns, ValueError without a key."""
    for name in ("shard", "row", "key", "failed"):
        if name not in schema.names:
            raise ValueError(f"rows for a selection have no column {name!r}")
    types = {field.name: field.type for field in schema}
    check_steps({step.name: step.step for step in plan.steps}, types)
    for column in plan.report_by:
        if column not in types:
            raise RecipeError(f"report by {column!r}: there is no such column")
    lower = Counter(name.lower() for name in plan.reads)
    if clash := [name for name in plan.reads if lower[name.lower()] > 1]:
        raise RecipeError(f"columns {', '.join(clash)}: in SQL, their names are the same")


def _prepared(chunk: pa.Table, plan: Plan) -> pa.Table:
    """The columns that are read, with place, key and the extra columns of the first steps."""
    chunk = chunk.combine_chunks()
    key = _one_array(chunk["key"])
    upper, lower = words_of(key)
    place = (chunk["shard"].to_numpy().astype(np.int64) << 32) | chunk["row"].to_numpy()
    code = np.where(chunk["failed"].is_valid().to_numpy(), FAILED_CODE, KEPT_CODE)
    if plan.takedown is not None:
        taken = pc.is_in(key, value_set=plan.takedown).to_numpy(zero_copy_only=False)
        code = np.where((code == KEPT_CODE) & taken, TAKEDOWN_CODE, code)
    rows = readable(chunk.select(list(plan.reads)))
    if "source_key" not in plan.reads and plan.subsets:
        rows = rows.append_column("source_key", chunk["source_key"])
    own = {"__key": key, "__place": place, "__hi": upper, "__lo": lower}
    own["__code"] = pa.array(code.astype(np.int16), mask=code == KEPT_CODE)
    for name, column in own.items():
        rows = rows.append_column(name, pa.array(column))
    return _with_extras(rows, plan.stages[0].steps, plan)


def _with_extras(rows: pa.Table, steps: Iterable[Numbered], plan: Plan) -> pa.Table:
    """The rows with the draws and the counts of copies that steps need."""
    for numbered in steps:
        step = numbered.step
        if isinstance(step, Draw):
            drawn = uniform(_one_array(rows["__key"]), step.seed, numbered.name)
            rows = rows.append_column(numbered.extra, pa.array(drawn))
        elif isinstance(step, Subset):
            found = copies_in(plan.subsets[step.path], rows["source_key"])
            rows = rows.append_column(numbered.extra, pa.array(found))
    return rows


def _judged(database: Database, rows: pa.Table, plan: Plan) -> pa.Table:
    """The rows with the code of the step of the first stage that drops them, and their copies."""
    stage = plan.stages[0]
    if not stage.local:
        return rows.append_column("__times", pa.array(np.ones(len(rows), np.int64)))
    database.register("__chunk", _scanned_by_all(rows))
    code = stage.code_sql(["when __code is not null then __code"])
    found = database.sql(
        f"select {code} as __new_code, {stage.times_sql('1')} as __times from __chunk"
    ).to_arrow_table()
    database.unregister("__chunk")
    rows = rows.drop_columns(["__code"])
    return rows.append_column("__code", found["__new_code"]).append_column(
        "__times", found["__times"]
    )


def _store(database: Database, rows: pa.Table, plan: Plan, *, create: bool) -> None:
    """Append rows to the tables of the selection, and survivors to theirs."""
    _insert(database, "__rows", rows.select(["__place", "__hi", "__lo", "__code"]))
    valid = rows.filter(pa.array(_codes(rows) != FAILED_CODE))
    for numbered in plan.steps:
        step = numbered.step
        if isinstance(step, Top) and step.mode == "datacomp":
            values = valid.select([step.column]).rename_columns(["__value"]).drop_null()
            _insert(database, f"__pool_{numbered.code}", values, create=create)
    columns = ["__place", "__hi", "__lo", "__times", *plan.columns_after(0)]
    extras = plan.extras_after(0)
    sources = ["__key", "source_key"] if extras and plan.subsets else ["__key"]
    alive = rows.select(list(dict.fromkeys([*columns, *sources]))).filter(rows["__code"].is_null())
    alive = _with_extras(alive, extras, plan).select([*columns, *(step.extra for step in extras)])
    _insert(database, "__state_0", alive, create=create)


def _current(rows: pa.Table, failed: "pa.ChunkedArray[Any]") -> pa.Table:
    """The rows but for earlier attempts of rows that were tried again: each that came in once."""
    again = pc.fill_null(pc.equal(failed, RETRIED), False)
    return rows.filter(pc.invert(again)) if pc.any(again).as_py() else rows


def _count_values(database: Database, rows: pa.Table, plan: Plan) -> None:
    """Add to the counts of rows by value of each column to report by."""
    for position, column in enumerate(plan.report_by):
        counts = rows[column].value_counts().flatten()
        seen = pa.table(counts, names=["value", "rows"])
        _insert(database, "__seen", seen, f"{position}, value::varchar, rows")


def _insert(
    database: Database, name: str, rows: pa.Table, columns: str = "*", *, create: bool = False
) -> None:
    database.register("__chunk", _scanned_by_all(rows))
    if create:
        database.execute(f"create table {name} as select {columns} from __chunk limit 0")
    database.execute(f"insert into {name} select {columns} from __chunk")
    database.unregister("__chunk")


def _scanned_by_all(rows: pa.Table) -> pa.Table:
    """The same rows in batches: DuckDB gives each thread one at a time."""
    whole = rows.combine_chunks()
    return pa.Table.from_batches(whole.to_batches(max_chunksize=_SCAN_ROWS), schema=whole.schema)


def _codes(rows: pa.Table) -> npt.NDArray[np.int16]:
    """The codes of the steps that dropped rows; KEPT_CODE for those that go on."""
    code: npt.NDArray[np.int16] = rows["__code"].fill_null(pa.scalar(KEPT_CODE)).to_numpy()
    return code


def _one_array(column: "pa.ChunkedArray[Any]") -> "pa.Array[Any]":
    chunks = column.chunks or [pa.array([], column.type)]
    whole: pa.Array[Any] = pa.concat_arrays(chunks)
    return whole
