"""Select rows: named steps in order over columns, one verdict for every row of the pool.

The same verdicts come out whatever the order of the rows, the number of threads and the memory.
A row that failed takes part in nothing; a taken-down row is dropped before the first step.
"""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from pipeline.database import Database, open_database, quoted
from pipeline.errors import CurationError
from pipeline.select_input import Intake, take_in
from pipeline.select_plan import KEPT_CODE, Plan, make_plan, named_errors
from pipeline.select_summary import Summary, summarise
from pipeline.step_sql import HELP_TABLES, decide
from pipeline.steps import Step

_VERDICT_TYPES: dict[str, pa.DataType] = {
    "shard": pa.int32(),
    "row": pa.int32(),
    "key": pa.binary(16),
    "verdict": pa.string(),
    "times": pa.int32(),
}
VERDICTS = pa.schema(_VERDICT_TYPES)
_MOST_TIMES = 2**31 - 1
_LEAST_ROWS = 1 << 18  # of a block of verdicts


@dataclass(frozen=True)
class Resources:
    """What a selection may use: beyond `memory_limit` it spills to a folder in `temp_dir`.

    Rows on their way in and out take some 300 MB more. `threads` None is all cores.
    """

    temp_dir: Path
    memory_limit: str = "2GB"
    threads: int | None = None


class Selection:
    """A finished selection; a class because its verdicts wait in a database until it is closed."""

    def __init__(self, database: Database, folder: Path, plan: Plan, intake: Intake) -> None:
        self._database, self._folder = database, folder
        self._names = plan.names
        self.summary: Summary = summarise(database, plan, intake)

    def verdicts(self) -> Iterator[pa.RecordBatch]:
        """One row of VERDICTS for each row of the pool, in the order of (shard, row)."""
        names = pa.array(self._names, pa.string())
        for first, last in _blocks(self._database):
            with named_errors(()):
                found = self._database.sql(_verdict_sql(first, last)).to_arrow_table()
            yield _verdicts(found, names)

    def close(self) -> None:
        """Give back the memory and the temporary files."""
        self._database.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def select(
    batches: Iterable[pa.RecordBatch],
    steps: Mapping[str, Step],
    resources: Resources,
    *,
    takedown: Iterable[bytes] | None = None,
    report_by: Sequence[str] = (),
) -> Selection:
    """Run the steps over the rows of a pool; close the result after use.

    Batches hold shard and row (int32, together unique), key (16 bytes, unique among rows that did
    not fail), failed (string; NULL when the row did not fail), and the columns that the steps and
    `report_by` read; their order does not matter. `takedown` are keys. Raises RecipeError when a
    step can't run over these columns, CurationError when a value can't be computed.
    """
    plan = make_plan(steps, takedown, report_by)
    resources.temp_dir.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="select-", dir=resources.temp_dir))
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        database = undo.enter_context(
            open_database(
                memory_limit=resources.memory_limit, threads=resources.threads, temp_dir=folder
            )
        )
        with named_errors(()):
            intake = take_in(database, batches, plan)
            if intake.rows:
                _run(database, plan)
            selection = Selection(database, folder, plan, intake)
        undo.pop_all()
    return selection


def _run(database: Database, plan: Plan) -> None:
    """Run the stages after the first, and note how often the rows that are left are repeated."""
    database.execute("create view __survivors as from __state_0")
    for number in range(1, len(plan.stages)):
        with named_errors(plan.stages[number].steps):
            _run_stage(database, plan, number)
    sql = "select coalesce(max(__times), 1) from __survivors"
    most = database.execute(sql).fetchall()[0][0]
    if most > _MOST_TIMES:
        raise CurationError(f"select: {most} copies of one row (limit {_MOST_TIMES})")
    database.execute(
        f"""
        insert into __outcome
        select __place, {KEPT_CODE}, __times from __survivors where __times <> 1
        """
    )


def _run_stage(database: Database, plan: Plan, number: int) -> None:
    """Make `__state_N` of the survivors before, and note which were dropped."""
    stage = plan.stages[number]
    assert stage.whole is not None
    decision = decide(database, stage.whole)
    carried = [quoted(column) for column in plan.columns_after(number)]
    carried += [step.extra for step in plan.extras_after(number)]
    key = ["__hi", "__lo"] if number + 1 < len(plan.stages) else []
    columns = ", ".join(["__place", *key, *carried])
    dropped = f"when {decision.dropped} then {stage.whole.code}"
    database.execute(
        f"""
        create table __state_{number} as
        select {columns}, {stage.code_sql([dropped])} as __new_code,
            {stage.times_sql(f"__s.__times * {decision.times}")} as __new_times
        from __survivors __s {decision.joins}
        """
    )
    database.execute(f"alter table __state_{number} rename __new_code to __code")
    database.execute(f"alter table __state_{number} rename __new_times to __times")
    database.execute(
        f"""
        insert into __outcome
        select __place, __code, 0 from __state_{number} where __code is not null
        """
    )
    database.execute(
        f"""
        create or replace view __survivors as
        select * exclude (__code) from __state_{number} where __code is null
        """
    )
    for name in (f"__state_{number - 1}", *HELP_TABLES):
        database.execute(f"drop table if exists {name}")


def _blocks(database: Database) -> Iterator[tuple[int, int]]:
    """First and last shards of blocks of rows; at most some 256 of them, none very small."""
    sql = "select __place >> 32 as shard, count(*) from __rows group by all order by shard"
    shards = database.execute(sql).fetchall()
    enough = max(_LEAST_ROWS, sum(rows for _, rows in shards) // 256)
    first, held = None, 0
    for shard, rows in shards:
        first, held = shard if first is None else first, held + rows
        if held >= enough:
            yield first, shard
            first, held = None, 0
    if first is not None:
        yield first, shards[-1][0]


def _verdict_sql(first: int, last: int) -> str:
    within = f"where __place between {first << 32} and {(last + 1 << 32) - 1}"
    return f"""
        select r.__place as place, __hi as hi, __lo as lo,
            coalesce(r.__code, o.__code, {KEPT_CODE})::smallint as code,
            case when r.__code is null then coalesce(o.__times, 1) else 0 end::integer as times
        from (from __rows {within}) r left join (from __outcome {within}) o using (__place)
        """


def _verdicts(found: pa.Table, names: "pa.Array[Any]") -> pa.RecordBatch:
    place = found["place"].to_numpy()
    if (np.diff(place) < 0).any():  # the join keeps the order of the rows as a rule, not by promise
        found = found.take(np.argsort(place))
        place = found["place"].to_numpy()
    words = np.stack([found["hi"].to_numpy(), found["lo"].to_numpy()], axis=1).astype(">u8")
    key = pa.Array.from_buffers(pa.binary(16), len(found), [None, pa.py_buffer(words.tobytes())])
    columns: list[pa.Array[Any]] = [
        pa.array((place >> 32).astype(np.int32)),
        pa.array(place.astype(np.int32)),
        key,
        names.take(pa.array(found["code"].to_numpy())),
        pa.array(found["times"].to_numpy()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=VERDICTS)
