"""The rows that a report looks at one by one: all of a small pool, whole shards of a large one.

Counts of a report are exact and come from the selection; what is drawn, listed or shown comes
from here, and says so when it is a sample.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.pool import BASE, Shard, read_base
from pipeline.record import BuildRecord
from pipeline.report_conditions import columns_read
from pipeline.verdicts import FAILED, KEPT, Verdicts

SAMPLE_ROWS = 100_000
TAKEDOWN = "takedown"
_SHOWN = ("key", "source", "source_key", "url", "caption", "extension", "failed", "detail")
_NESTED = ("list", "large_list", "fixed_size_list", "struct", "map")
Rows = npt.NDArray[np.int64]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Sample:
    """Rows of whole shards in pool order, and everything measured about them.

    `columns` holds base columns and scorers' columns by name; a row is a position in each.
    `shard` is a position in `shards`, `stage` how far a row came: -1 failed, n dropped by step n
    of `steps`, one more than all of them kept.
    """

    shards: tuple[Shard, ...]
    shard: Rows
    stage: Rows
    steps: tuple[str, ...]
    columns: Mapping[str, pa.ChunkedArray]
    pool_rows: int

    @property
    def rows(self) -> int:
        return len(self.shard)

    @property
    def is_whole(self) -> bool:
        return self.rows == self.pool_rows

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        return np.equal(self.stage, len(self.steps))

    def dropped_by(self, step: str) -> Rows:
        """The rows that a step dropped."""
        return np.flatnonzero(self.stage == self.steps.index(step))

    def values(self, name: str, rows: Rows) -> list[Any]:
        """A column's values at some rows."""
        found: list[Any] = self.columns[name].take(pa.array(rows)).to_pylist()
        return found

    def table(self, names: Sequence[str], rows: Rows) -> pa.Table:
        """Some columns at some rows."""
        taken = [self.columns[name].take(pa.array(rows)) for name in names]
        return pa.table(taken, names=list(names))


def take_sample(record: BuildRecord, verdicts: Verdicts, limit: int = SAMPLE_ROWS) -> Sample:
    """Shards spread evenly over the pool, of some `limit` rows, and at least one."""
    shards = spread(record.pool.shards, record.pool.rows, limit)
    summary = verdicts.summary
    names = [step["name"] for step in summary["steps"]]
    steps = [*([TAKEDOWN] if TAKEDOWN in summary["dropped"] else []), *names]
    wanted = _wanted(record, summary["steps"])
    stages = {FAILED: -1, **{name: number for number, name in enumerate(steps)}, KEPT: len(steps)}
    tables, parts = [], []
    for number, shard in enumerate(shards):
        tables.append(_read(record, shard, wanted))
        found = verdicts.of_shard(shard.name)["verdict"].to_pylist()
        stage = [stages[verdict] for verdict in found]
        parts.append(np.array([[number] * len(stage), stage], np.int64))
    whole = pa.concat_tables(tables)
    places = np.concatenate(parts, axis=1)
    return Sample(
        shards=shards,
        shard=places[0],
        stage=places[1],
        steps=tuple(steps),
        columns=dict(zip(whole.column_names, whole.columns, strict=True)),
        pool_rows=record.pool.rows,
    )


def spread(items: Sequence[Item], rows: int, limit: int) -> tuple[Item, ...]:
    """As many of the items, which hold so many rows, as hold some `limit`, at equal distances."""
    count = len(items) if rows <= limit else max(1, len(items) * limit // rows)
    return tuple(items[number * len(items) // count] for number in range(count))


def is_nested(kind: str) -> bool:
    """Whether a column of this type holds lists or records, which a report does not read."""
    return kind.split("<")[0].split("[")[0] in _NESTED


def _wanted(record: BuildRecord, steps: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The columns to read, by scorer; those of the pool itself under no name.

    Lists can be embeddings, so of them only what a step reads is read.
    """
    deciding = {name for step in steps for name in columns_read(step)}
    base = [name for name in BASE.names if name in _SHOWN or name in deciding]
    wanted = {"": base}
    for scorer, told in record.scorers.items():
        kinds = told["columns"].items()
        names = [name for name, kind in kinds if name in deciding or not is_nested(kind)]
        wanted[scorer] = [*names, f"{scorer}_error"]
    return wanted


def _read(record: BuildRecord, shard: Shard, wanted: Mapping[str, Sequence[str]]) -> pa.Table:
    table = read_base(record.pool.root, shard, wanted[""]).replace_schema_metadata(None)
    for scorer, names in wanted.items():
        if not scorer:
            continue
        columns = record.columns[f"{scorer}_error"]
        given = columns.read(shard, names)
        for name in names:
            table = table.append_column(name, given[name])
    return table
