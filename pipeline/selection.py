"""The select verb's plan: steps of the recipe over column sets of the pool, to verdicts on disk.

What is wrong with a step is found before any data is read. A selection has a digest of its
steps and of every column set it reads; verdicts of that digest are never made twice.
"""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import amplification, storage, verdicts
from pipeline.columns import ColumnSet
from pipeline.errors import CurationError, RecipeError
from pipeline.pool import BASE, Pool, Shard, read_base_range
from pipeline.recipe import Recipe, StepEntry
from pipeline.retry_record import RETRIED
from pipeline.scoring import Resolved
from pipeline.select import Resources, select
from pipeline.select_summary import Summary
from pipeline.steps import (
    TAKEDOWN,
    Step,
    Subset,
    check_steps,
    columns_read,
    parse_step,
    steps_until,
)
from pipeline.takedown_record import TAKEN_DOWN, Taken
from pipeline.verdicts import Verdicts, VerdictWriter

VERSION = 1  # raise it when the same steps would give other verdicts
BATCH_ROWS = 100_000
REPORT_BY = ("source", "domain", "language", amplification.COLUMN)


@dataclass(frozen=True)
class SelectionPlan:
    """Steps, the column sets they read, and where the verdicts go; `takedown` comes before all."""

    steps: Mapping[str, Step]
    inputs: Mapping[str, ColumnSet]
    report_by: tuple[str, ...]
    folder: str
    work: str
    pool_digest: str
    takedown: Taken | None = None

    @property
    def digest(self) -> str:
        """Names the selection: equal digests are equal verdicts."""
        value = {
            "steps": describe(self.steps),
            "columns": {name: s.folder_name for name, s in sorted(self.inputs.items())},
            "pool": self.pool_digest,
            "version": VERSION,
            "report_by": self.report_by,
        }
        if self.takedown is not None:
            value["takedown"] = self.takedown.digest
        text = json.dumps(value, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def until(self, step: str, folder: str) -> "SelectionPlan":
        """The selection up to and including a step, with a folder of its own."""
        steps = steps_until(self.steps, step)
        reads = set(columns_read(steps))
        inputs = {name: s for name, s in self.inputs.items() if name in reads}
        return replace(self, steps=steps, inputs=inputs, report_by=(), folder=folder)

    def open(self) -> Verdicts | None:
        """The verdicts of this very selection, if they are there."""
        return verdicts.open_verdicts(self.folder, self.digest)


def plan_selection(
    recipe: Recipe, out: str, resolved: Resolved, made: Pool | None
) -> SelectionPlan:
    """The selection of a recipe. Raises RecipeError that points at the step that is wrong."""
    steps: dict[str, Step] = {}
    for entry in recipe.steps:
        try:
            step = _step(recipe, entry)
            check_steps({entry.name: step}, resolved.types)
        except RecipeError as error:
            raise recipe.error(error.message, *entry.path) from error
        steps[entry.name] = step
    writers = resolved.writers
    report_by = tuple(n for n in REPORT_BY if n in BASE.names or n in writers)
    wanted = [*columns_read(steps), *report_by]
    return SelectionPlan(
        steps=steps,
        inputs={name: writers[name] for name in wanted if name in writers},
        report_by=report_by,
        folder=storage.join(out, "verdicts"),
        work=storage.join(out, "work"),
        pool_digest=made.digest if made else "",
    )


def _step(recipe: Recipe, entry: StepEntry) -> Step:
    written = entry.rule.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    if entry.max_drop is not None:
        written["max_drop"] = entry.max_drop
    step = parse_step(written)
    if isinstance(step, Subset):
        path = recipe.resolve(step.path)
        if not storage.exists(path):
            raise RecipeError(f"step {entry.name!r}: there is no file {path}")
        step = replace(step, path=path)
    return step


def survivors_of(recipe: Recipe, step: str) -> tuple[str, frozenset[str]]:
    """What the selection up to a step is made of, and the columns that it reads."""
    steps = {entry.name: _step(recipe, entry) for entry in recipe.steps}
    prefix = steps_until(steps, step)
    return json.dumps(describe(prefix), sort_keys=True), frozenset(columns_read(prefix))


def describe(steps: Mapping[str, Step]) -> list[dict[str, Any]]:
    """Steps as plain data, in order; a subset by the digest of its list, not by its place."""
    return [{"name": name, "kind": step.keyword, **_identity(step)} for name, step in steps.items()]


def _identity(step: Step) -> dict[str, Any]:
    fields = dataclasses.asdict(step)
    if isinstance(step, Subset):
        with storage.open_input(step.path) as stream:
            fields["path"] = hashlib.sha256(stream.read()).hexdigest()
    return fields


def run_selection(plan: SelectionPlan, made: Pool, memory_limit: str) -> Verdicts:
    """Make the verdicts unless they are there; beyond `memory_limit` it spills to the disk."""
    found = plan.open()
    if found is not None:
        return found
    if not storage.is_local(plan.work):
        raise CurationError(f"{plan.work}: selecting needs a local output directory to spill to")
    verdicts.clear(plan.folder)
    failed: Counter[str] = Counter()
    resources = Resources(Path(storage.local(plan.work)) / "spill", memory_limit)
    rows = _counted(batches(plan, made), failed)
    keys = None if plan.takedown is None else plan.takedown.keys.to_pylist()
    with select(rows, plan.steps, resources, takedown=keys, report_by=plan.report_by) as selection:
        writer = VerdictWriter(plan.folder, made)
        for batch in selection.verdicts():
            writer.write(pa.Table.from_batches([batch]))
        summary = _summary(plan, made, selection.summary, failed)
        return writer.finish(plan.digest, summary)


def _counted(rows: Iterator[pa.RecordBatch], failed: Counter[str]) -> Iterator[pa.RecordBatch]:
    """The same batches; the reasons of failed rows are counted on the way."""
    for batch in rows:
        for pair in pc.value_counts(batch["failed"].drop_null()).to_pylist():
            failed[pair["values"]] += pair["counts"]
        yield batch


def _summary(
    plan: SelectionPlan, made: Pool, found: Summary, failed: Counter[str]
) -> dict[str, Any]:
    """The selection in plain data: what the report, the manifest and the ledger are made from.

    A row that was tried again counts once, as it is now; `retried` are the attempts before, which
    have verdicts too: they failed.
    """
    survivors = dict(found.attrition)
    reasons = {reason: rows for reason, rows in sorted(failed.items()) if reason != RETRIED}
    left = made.rows - sum(failed.values())
    dropped = {}
    for name in (TAKEDOWN, *plan.steps):
        if name in survivors:
            dropped[name], left = left - survivors[name], survivors[name]
    return {
        "rows": made.rows - failed[RETRIED],
        "failed": reasons,
        **({"retried": failed[RETRIED]} if failed[RETRIED] else {}),
        "dropped": dropped,
        "kept": found.kept,
        "copies": found.copies,
        "steps": describe(plan.steps),
        "cuts": [dataclasses.asdict(cut) for cut in found.cuts],
        "breakdowns": [dataclasses.asdict(breakdown) for breakdown in found.breakdowns],
        "warnings": list(found.warnings),
    }


def batches(plan: SelectionPlan, made: Pool) -> Iterator[pa.RecordBatch]:
    """Rows of the pool in order with the columns that the steps read, some shards at a time."""
    wanted = [*dict.fromkeys([*columns_read(plan.steps), *plan.report_by])]
    for first, shards in _ranges(made.shards):
        yield _batch(plan, made, first, shards, wanted)


def _ranges(shards: Sequence[Shard]) -> Iterator[tuple[int, Sequence[Shard]]]:
    """Neighbouring shards of about BATCH_ROWS rows, with the number of the first."""
    first = rows = 0
    for number, shard in enumerate(shards):
        rows += shard.rows
        if rows >= BATCH_ROWS or number == len(shards) - 1:
            yield first, shards[first : number + 1]
            first, rows = number + 1, 0


def _batch(
    plan: SelectionPlan, made: Pool, first: int, shards: Sequence[Shard], wanted: Sequence[str]
) -> pa.RecordBatch:
    from_base = [name for name in wanted if name not in plan.inputs and name not in _ALWAYS]
    base = read_base_range(made, shards, [*_ALWAYS, *from_base])
    counts = [shard.rows for shard in shards]
    numbers = np.repeat(np.arange(first, first + len(shards), dtype=np.int32), counts)
    rows = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
    fields: dict[str, Any] = {
        "shard": pa.array(numbers),
        "row": pa.array(rows),
        **{name: _whole(base[name]) for name in base.column_names},
    }
    for columns in {s.folder: s for s in plan.inputs.values()}.values():
        names = [n for n, s in plan.inputs.items() if s.folder == columns.folder]
        table = columns.read_range(shards, names)
        fields |= {name: _whole(table[name]) for name in names}
    if plan.takedown is not None:
        fields = _without_taken(fields)
    return pa.record_batch(list(fields.values()), names=list(fields))


def _without_taken(fields: dict[str, Any]) -> dict[str, Any]:
    """The columns without any value of rows taken down, which the first step is to drop.

    So they are the same to a selection whether they were erased, kept out, or are still there.
    """
    gone: Any = pc.fill_null(pc.equal(fields["failed"], TAKEN_DOWN), False)
    if not pc.any(gone).as_py():
        return fields
    left = pa.array(np.arange(len(gone)), mask=gone.to_numpy(zero_copy_only=False))
    visible = ("shard", "row", "key", "source")
    return {n: column if n in visible else column.take(left) for n, column in fields.items()}


_ALWAYS = ("key", "failed")


def _whole(column: "pa.ChunkedArray[Any]") -> "pa.Array[Any]":
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
