"""Fitted scorers: they learn something small from a sample of the pool, then score row by row.

The sample is the rows with the smallest draws of their keys, so it depends on the pool alone and
is bounded, and so is memory, however large the pool. What was learnt is one safetensors file
beside the columns, complete or absent. Of a pool too small to learn from, the file says so.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.columns import ColumnSet
from pipeline.errors import CurationError, DamagedFile
from pipeline.global_score import by_key, read_rows
from pipeline.instances import Instance
from pipeline.keys import draw_bits
from pipeline.large import large, taken
from pipeline.pool import BASE, Pool, Shard, read_base
from pipeline.stage import reason

if TYPE_CHECKING:
    from pipeline.build import Build

Fitted = dict[str, npt.NDArray[Any]]

VERSION = 1  # raise it when the same pool would give another sample
ROWS_AT_ONCE = 1 << 15  # that one task reads
_MOST_TASKS = 10_000  # in one graph
# Rows that lack something can't be learnt from: so many times as many as are wanted are looked at.
_LOOKED_AT = 4
_DRAWS = 1 << 64
_TOO_FEW = "too few rows"  # the array that holds why nothing was learnt
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitJob:
    """What a worker needs to draw from some shards, or to fit; `work` is the folder of draws."""

    root: str
    instance: Instance
    work: str
    rows: int
    groups: int

    @property
    def bound(self) -> int:
        """The draw above which a row is not looked at."""
        wanted = _LOOKED_AT * self.instance.scorer.fit_rows
        return _DRAWS if wanted >= self.rows else _DRAWS * wanted // self.rows

    def drawn(self, group: int) -> str:
        return storage.join(self.work, f"drawn-{group:05d}.arrow")


def fitted_path(columns: ColumnSet) -> str:
    """Where what a scorer has learnt is kept: the same for any `only:`, as values are."""
    folder = replace(columns, asked="").folder
    return storage.join(folder, "fitted.safetensors")


@lru_cache(maxsize=16)
def read_fitted(path: str) -> Fitted:
    """What a scorer has learnt; its arrays can't be written to. Raises DamagedFile."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        found: Fitted = load(storage.read_bytes(path))
    except FileNotFoundError:
        raise DamagedFile(f"{path}: is missing; score again to make it") from None
    except SafetensorError as error:
        message = f"{path}: can't be read, remove it and score again: {error}"
        raise DamagedFile(message) from error
    for array in found.values():
        array.flags.writeable = False
    return found


def too_few(learnt: Fitted) -> str | None:
    """Why nothing was learnt, as `Type: message`, if that is for lack of rows."""
    said = learnt.get(_TOO_FEW)
    return None if said is None else said.tobytes().decode()


def message_of(why: str) -> str:
    """What is said of it, without the type."""
    return why.partition(": ")[2] or why


def refused(instance: Instance, ok: Sequence[bool]) -> tuple[pa.Table, Sequence[bool]] | None:
    """The columns of a scorer that had too few rows to learn from, and the rows they are of.

    None when it has learnt, or learns nothing. `ok` are the rows that did not fail.
    """
    if not instance.is_fitted or not any(ok):
        return None
    why = too_few(read_fitted(fitted_path(instance.columns)))
    if why is None:
        return None
    schema = instance.columns.schema
    nothing = pa.table([pa.nulls(len(ok), f.type) for f in schema], names=schema.names)
    reasons = pa.array([why] * len(ok), pa.string())
    return nothing.append_column(instance.columns.error_column, reasons), ok


def fit(build: "Build", made: Pool, instance: Instance) -> bool:
    """Let a scorer learn from the pool, if it has not done so and columns of it are missing.

    False, and a warning, when the pool is too small for it. Raises ShardsFailed when it can't
    learn for another reason.
    """
    path = fitted_path(instance.columns)
    is_scored = all(instance.columns.has(shard) for shard in made.shards)
    if not is_scored and not storage.exists(path):
        _fit(build, made, instance, path)
    why = _refusal(path)
    if why is not None:
        message = "scorer %r has no value for any row, as there are too few to learn from: %s"
        _LOGGER.warning(message, instance.name, message_of(why))
    return why is None


def _refusal(path: str) -> str | None:
    try:
        return too_few(read_fitted(path)) if storage.exists(path) else None
    except DamagedFile:  # a shard that needs it will say so
        return None


def _fit(build: "Build", made: Pool, instance: Instance, path: str) -> None:
    groups = list(_groups(made))
    work = storage.join(build.out, "work", "fit", instance.name)
    job = FitJob(
        root=build.root,
        instance=replace(instance, only=None),  # who is asked later decides about no value
        work=storage.join(work, f"{instance.columns.fingerprint}-v{VERSION}"),
        rows=made.rows,
        groups=len(groups),
    )
    name = f"fit {instance.name}"
    build.stage(
        f"{name}: draw",
        partial(draw_rows, job=job),
        [(f"{number:05d}", (number, shards)) for number, shards in enumerate(groups)],
        lambda task: storage.exists(job.drawn(task[0])) or storage.exists(path),
        f"fit-{instance.name}-draw",
    )
    build.stage(
        name,
        partial(fit_pool, job=job),
        [("pool", "pool")],
        lambda _: storage.exists(path),
        f"fit-{instance.name}",
    )
    if build.part.count == 1:
        storage.remove(work)


def _groups(made: Pool) -> Iterator[tuple[Shard, ...]]:
    """Shards in order, in groups of about as many rows as a task reads; one group at least."""
    at_once = max(ROWS_AT_ONCE, made.rows // _MOST_TASKS)
    group: list[Shard] = []
    for shard in made.shards:
        if group and sum(s.rows for s in group) + shard.rows > at_once:
            yield tuple(group)
            group = []
        group.append(shard)
    yield tuple(group)


def draw_rows(task: tuple[int, Sequence[Shard]], job: FitJob) -> dict[str, Any]:
    """Draw the rows of some shards that may be learnt from, at most as many as are wanted.

    Memory: the columns read of one shard, and those of the rows drawn.
    """
    number, shards = task
    drawn: list[pa.Table] = []
    for shard in shards:
        rows = _drawn_of(job, shard)
        if rows is not None:
            drawn.append(_smallest(pa.concat_tables([*drawn[-1:], rows]), job))
            del drawn[:-1]
    path = job.drawn(number)
    table = drawn[0] if drawn else _nothing(job)
    with (
        storage.writing(path) as temporary,
        pa.OSFile(temporary, "wb") as stream,
        pa.ipc.new_file(stream, table.schema) as writer,
    ):
        writer.write_table(table)
    return {"rows": sum(shard.rows for shard in shards), "drawn": len(table)}


def _drawn_of(job: FitJob, shard: Shard) -> pa.Table | None:
    """The rows of a shard within the bound that hold everything that is learnt from."""
    keys = read_base(job.root, shard, ["key"])["key"].to_pylist()
    draws = {key: bits for key in keys if (bits := _draw(key)) < job.bound}
    if not draws:
        return None
    rows, _ = read_rows(job.instance, job.root, [shard], job.instance.fit_reads)
    whole = [rows[name].is_valid() for name in rows.column_names]
    mask = pc.is_in(rows["key"], value_set=pa.array(list(draws), rows["key"].type))
    for column in whole:
        mask = pc.and_(mask, column)
    rows = rows.filter(mask)
    drawn = [draws[key] for key in rows["key"].to_pylist()]
    return rows.append_column("draw", pa.array(drawn, pa.uint64()))


def _draw(key: bytes) -> int:
    return draw_bits(key, VERSION, "fit")


def _smallest(rows: pa.Table, job: FitJob) -> pa.Table:
    """The rows with the smallest draws, at most as many as are wanted, in that order."""
    order = pc.sort_indices(rows, [("draw", "ascending"), ("key", "ascending")])
    first = order.slice(0, job.instance.scorer.fit_rows)
    return pa.Table.from_batches([taken(rows, first)])


def _nothing(job: FitJob) -> pa.Table:
    """No rows, with the columns that rows would have."""
    fields = [BASE.field("key")]
    for name in job.instance.fit_reads:
        columns = job.instance.inputs.get(name)
        fields.append(BASE.field(name) if columns is None else columns.schema.field(name))
    empty = large(pa.schema(fields).empty_table())
    return empty.append_column("draw", pa.array([], pa.uint64()))


def fit_pool(_: str, job: FitJob) -> dict[str, Any]:
    """Let the scorer learn from what was drawn, and write what it has learnt.

    Memory: the sample, twice, beside the scorer's own need. Raises CurationError when it can't
    learn from these rows but for their number, ValueError when what it gives are no arrays.
    """
    from safetensors.numpy import save

    parts = [_read(job.drawn(group)) for group in range(job.groups)]
    rows = _smallest(pa.concat_tables(parts), job).drop_columns("draw")
    rows, _places = by_key(rows)
    name = job.instance.name
    try:
        learnt = job.instance.scorer.fit(rows)
    except ValueError as error:
        if not getattr(error, "is_too_few", False):
            what = f"scorer {name!r}, fitted on {len(rows):,} rows: {error}"
            raise CurationError(what) from error
        learnt = {_TOO_FEW: np.frombuffer(reason(error).encode(), np.uint8)}
    arrays = {key: np.asarray(value, order="C") for key, value in learnt.items()}
    for key, array in arrays.items():
        if array.dtype.kind in "fc" and not np.isfinite(array).all():
            raise ValueError(f"scorer {name!r} learnt NaN or infinity in {key!r}")
    storage.write_atomic(fitted_path(job.instance.columns), save(arrays))
    return {"rows": len(rows), "bytes": sum(array.nbytes for array in arrays.values())}


def _read(path: str) -> pa.Table:
    try:
        with storage.open_input(path) as stream:
            return pa.ipc.open_file(stream).read_all()
    except (pa.ArrowException, OSError) as error:
        what = storage.first_line(error)
        raise DamagedFile(f"{path}: can't be read; remove it and score again: {what}") from error
