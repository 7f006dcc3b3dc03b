"""Score one shard: read its tar once, decode each image once, run every scorer that is due.

This harness is the one place that turns a scorer's exception into NULL with a reason: a failing
batch is halved until the sample that poisons it stands alone.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import decoding, shards
from pipeline.asked import asked_rows, known_values
from pipeline.columns import problem_of, values_of
from pipeline.errors import DamagedFile
from pipeline.fitting import Fitted, fitted_path, read_fitted
from pipeline.instances import FIELDS, Instance
from pipeline.pool import BASE, Shard, read_base, tar_path

CHUNK = 32  # samples decoded at a time, when no scorer wants larger batches
CHUNK_PIXELS = 32_000_000  # and never more pixels at once than this, one image excepted
_DETAIL = 200
_OUT_OF_MEMORY = ("MemoryError", "OutOfMemoryError")  # Python's, torch's


@dataclass(frozen=True)
class ScoreJob:
    """What a worker needs to score any shard of a pool: scorers of one pass, in order."""

    root: str
    instances: tuple[Instance, ...]
    max_pixels: int = decoding.MAX_PIXELS


def stale(job: ScoreJob, shard: Shard) -> list[Instance]:
    """The instances whose columns of this shard are not there yet."""
    return [instance for instance in job.instances if not instance.columns.has(shard)]


def score_shard(shard: Shard, job: ScoreJob) -> dict[str, Any]:
    """Bring the columns of one shard up to date; returns counts for the ledger.

    Safe to repeat, and to run on the same shard twice at once. Raises DamagedFile when the pool
    or a column it reads is not what the index says.
    """
    due = stale(job, shard)
    results = {instance.name: Result.of(instance, shard) for instance in due}
    if due:
        rows = Rows.read(job, shard, due)
        for result in results.values():
            result.recall(rows)
            result.prepare(rows)
            rows.columns |= result.values
        waits = {name for name, result in results.items() if not result.is_read_by(due)}
        for chunk in _chunks(job, shard, rows, results):
            for name, result in results.items():
                result.add(chunk, rows)
                if name not in waits:
                    result.flush()
        for result in results.values():
            result.flush()
            result.write(shard)
    return {"rows": shard.rows, "scorers": {name: r.summary() for name, r in results.items()}}


@dataclass
class Rows:
    """Columns of a shard's rows that the scorers due read, as lists; `ok` rows can be scored."""

    shard: Shard
    ok: list[bool]
    shas: list[bytes | None]
    columns: dict[str, list[Any]]
    stored: list[bool]
    keys: list[bytes]

    @classmethod
    def read(cls, job: ScoreJob, shard: Shard, due: Sequence[Instance]) -> "Rows":
        wanted = {name for i in due for name in i.scorer.reads if name not in FIELDS}
        from_base = [name for name in BASE.names if name in wanted]
        needed = ["key", "failed", "extension", "image_sha256"]
        base = read_base(job.root, shard, [*dict.fromkeys([*needed, *from_base])])
        columns = {name: base[name].to_pylist() for name in from_base}
        sets = {name: s for i in due for name, s in i.inputs.items() if name in wanted}
        written = {name for i in due for name in i.columns.schema.names}
        for name, column_set in sets.items():
            if name not in written:
                columns[name] = values_of(column_set.read(shard, [name])[name])
        return cls(
            shard=shard,
            ok=base["failed"].is_null().to_pylist(),
            shas=base["image_sha256"].to_pylist(),
            columns=columns,
            stored=base["extension"].is_valid().to_pylist(),
            keys=base["key"].to_pylist(),
        )


@dataclass
class Chunk:
    """Some rows of a shard with their image bytes; decodes each image once per request.

    A class with state because decoding is lazy: an image nobody asks for is never decoded.
    """

    rows: Sequence[int]
    data: Mapping[int, bytes]
    max_pixels: int
    _decoded: dict[tuple[int, int | None], Any] = field(default_factory=dict)
    _headers: dict[int, Any] = field(default_factory=dict)

    def value(self, row: int, name: str, request: int | None) -> Any:
        """A decoded field of a row; None when it has no image, Unreadable (as value) when bad."""
        data = self.data.get(row)
        if data is None or name == "image_bytes":
            return data
        if name == "header":
            return self._header(row, data)
        slot = (row, request)
        if slot not in self._decoded:
            self._decoded[slot] = _or_reason(
                lambda: decoding.decode(data, request, max_pixels=self.max_pixels)
            )
        return self._decoded[slot]

    def _header(self, row: int, data: bytes) -> Any:
        if row not in self._headers:
            self._headers[row] = _or_reason(
                lambda: decoding.read_header(data, max_pixels=self.max_pixels)
            )
        return self._headers[row]


def _weight(taken: tuple[int, list[Any]]) -> int:
    """Pixels that a row keeps in memory while it waits."""
    return sum(value.size // 3 for value in taken[1] if isinstance(value, np.ndarray))


def _or_reason(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except decoding.Unreadable as error:
        return error


def _chunks(
    job: ScoreJob, shard: Shard, rows: Rows, results: Mapping[str, "Result"]
) -> Iterator[Chunk]:
    """The rows that some scorer asks for, in order, in chunks of bounded size."""
    due = [result.instance for result in results.values()]
    limit = max([CHUNK, *(getattr(i.scorer, "batch_size", 0) for i in due)])
    pixels = any(instance.reads_pixels for instance in due)
    asked = {row for result in results.values() for row in result.open_rows(rows)}
    data: dict[int, bytes] = {}
    pending: list[int] = []
    weight = 0
    for row, image in _images(job, shard, rows) if pixels else ((r, None) for r in sorted(asked)):
        if row not in asked:
            continue
        size = 0 if image is None else _pixels(image, job.max_pixels)
        if pending and (len(pending) >= limit or weight + size > CHUNK_PIXELS):
            yield Chunk(pending, data, job.max_pixels)
            pending, data, weight = [], {}, 0
        pending.append(row)
        weight += size
        if image is not None:
            data[row] = image
    if pending:
        yield Chunk(pending, data, job.max_pixels)


def _pixels(image: bytes, max_pixels: int) -> int:
    header = _or_reason(lambda: decoding.read_header(image, max_pixels=max_pixels))
    return 0 if isinstance(header, decoding.Unreadable) else header.width * header.height


def _images(job: ScoreJob, shard: Shard, rows: Rows) -> Iterator[tuple[int, bytes | None]]:
    """(row, image bytes) for every row in order; rows without a sample have none."""
    path = tar_path(job.root, shard.name)
    samples = shards.read_shard(path)
    extensions = read_base(job.root, shard, ["extension"])["extension"].to_pylist()
    for row, extension in enumerate(extensions):
        if extension is None:
            yield row, None
            continue
        sample = next(samples, None)
        if sample is None or sample.key != rows.keys[row].hex() or extension not in sample.parts:
            found = "its end" if sample is None else sample.detail or sample.key
            raise DamagedFile(f"{path}: expected sample {rows.keys[row].hex()}, found {found}")
        yield row, sample.parts[extension]


@dataclass
class Result:
    """What one scorer has said about a shard so far: a value and maybe a reason per row.

    A class with state because a shard is scored in chunks and written in one piece.
    """

    instance: Instance
    values: dict[str, list[Any]]
    errors: list[str | None]
    asked: list[bool]
    done: list[bool]
    first: dict[bytes, int] = field(default_factory=dict)
    waiting: list[tuple[int, list[Any]]] = field(default_factory=list)
    repeats: list[tuple[int, int]] = field(default_factory=list)
    scored: int = 0
    fitted: Fitted | None = None

    @classmethod
    def of(cls, instance: Instance, shard: Shard) -> "Result":
        blank: dict[str, list[Any]] = {
            name: [None] * shard.rows for name in instance.columns.schema.names
        }
        asked = asked_rows(instance, shard)
        return cls(instance, blank, [None] * shard.rows, asked, [False] * shard.rows)

    def is_read_by(self, others: Sequence[Instance]) -> bool:
        """Whether one of the scorers reads a column of this one."""
        return any(name in self.values for other in others for name in other.scorer.reads)

    def recall(self, rows: Rows) -> None:
        """Take over what the same scorer has said about these rows under another condition."""
        known = known_values(self.instance, rows.shard)
        if known is None:
            return
        table, rows_known = known
        columns = {name: table[name].to_pylist() for name in self.values}
        errors = table[self.instance.columns.error_column].to_pylist()
        for row, is_known in enumerate(rows_known):
            if is_known and self.asked[row]:
                for name, values in self.values.items():
                    values[row] = columns[name][row]
                self.errors[row], self.done[row] = errors[row], True
                sha = self._sha(row, rows)
                if sha is not None:
                    self.first.setdefault(sha, row)

    def open_rows(self, rows: Rows) -> Iterator[int]:
        """Rows that this scorer is asked for and that can hold what it reads."""
        stored_only = self.instance.reads_pixels
        for row, ok in enumerate(rows.ok):
            open_ = ok and self.asked[row] and not self.done[row]
            if open_ and (rows.stored[row] or not stored_only):
                yield row

    def prepare(self, rows: Rows) -> None:
        """Let a scorer load its model if there is work for it; what it raises fails the shard."""
        prepare = getattr(self.instance.scorer, "prepare", None)
        if next(self.open_rows(rows), None) is None:
            return
        if self.instance.is_fitted:
            self.fitted = read_fitted(fitted_path(self.instance.columns))
        if prepare is not None:
            prepare()

    def add(self, chunk: Chunk, rows: Rows) -> None:
        """Take the rows of a chunk that hold everything the scorer reads; score full batches.

        What makes no full batch waits for the next chunk, or for `flush`.
        """
        size = max(1, getattr(self.instance.scorer, "batch_size", CHUNK))
        for row in chunk.rows:
            if not (rows.ok[row] and self.asked[row]) or self.done[row]:
                continue
            sha = self._sha(row, rows)
            if sha is not None and self.first.setdefault(sha, row) != row:
                self.repeats.append((row, self.first[sha]))
                continue
            values = self._values(row, chunk, rows)
            if values is not None:
                self.waiting.append((row, values))
            if len(self.waiting) == size:
                self._score_waiting()
        if sum(map(_weight, self.waiting)) > CHUNK_PIXELS:
            self._score_waiting()

    def flush(self) -> None:
        """Score what waits; then every row taken has its value or its reason."""
        self._score_waiting()
        for row, same in self.repeats:
            self.errors[row] = self.errors[same]
            for values in self.values.values():
                values[row] = values[same]
        self.repeats = []

    def _sha(self, row: int, rows: Rows) -> bytes | None:
        """What names the value of a row if its image alone decides about it."""
        return rows.shas[row] if self.instance.is_about_pixels_alone else None

    def _values(self, row: int, chunk: Chunk, rows: Rows) -> list[Any] | None:
        """What the scorer reads of a row, in its order; None when something is missing."""
        request = getattr(self.instance.scorer, "image_request", None)
        found = []
        for name in self.instance.scorer.reads:
            value = chunk.value(row, name, request) if name in FIELDS else rows.columns[name][row]
            if isinstance(value, decoding.Unreadable):
                self.errors[row] = str(value)[:_DETAIL]
                return None
            if value is None:
                return None
            found.append(value)
        return found

    def _score_waiting(self) -> None:
        if self.waiting:
            self._score_batch(self.waiting)
        self.waiting = []

    def _score_batch(self, ready: Sequence[tuple[int, list[Any]]]) -> None:
        columns = zip(*(values for _, values in ready), strict=True)
        names = self.instance.scorer.reads
        batch = {n: list(column) for n, column in zip(names, columns, strict=True)}
        try:
            scores = self._call(batch)
        except Exception as error:  # the named place; see the module's docstring
            if len(ready) > 1:
                middle = len(ready) // 2
                self._score_batch(ready[:middle])
                self._score_batch(ready[middle:])
            elif type(error).__name__ in _OUT_OF_MEMORY:
                raise  # that is no fault of the sample, and not so the next time
            else:
                self.errors[ready[0][0]] = f"{type(error).__name__}: {error}"[:_DETAIL]
            return
        self._keep([row for row, _ in ready], scores)

    def _call(self, batch: dict[str, list[Any]]) -> Mapping[str, Sequence[Any]]:
        fitted = () if self.fitted is None else (self.fitted,)
        scores: Mapping[str, Sequence[Any]] = self.instance.scorer(batch, *fitted)
        return scores

    def _keep(self, rows: Sequence[int], scores: Mapping[str, Sequence[Any]]) -> None:
        self.scored += len(rows)
        for field_ in self.instance.scorer.writes:
            column = scores[field_.name]
            if len(column) != len(rows):
                raise ValueError(
                    f"scorer {self.instance.name!r} returned {len(column)} values of"
                    f" {field_.name!r} for {len(rows)} samples"
                )
            name = self.instance.renames.get(field_.name, field_.name)
            for row, value in zip(rows, column, strict=True):
                self.values[name][row] = value

    def write(self, shard: Shard) -> None:
        """Write the columns; what a scorer is not asked for is NULL without a reason."""
        columns = self.instance.columns
        self._drop_what_does_not_fit()
        arrays = [pa.array(self.values[f.name], type=f.type) for f in columns.schema]
        names = [*columns.schema.names, columns.error_column]
        arrays.append(pa.array(self.errors, type=pa.string()))
        if self.instance.only is not None:
            names.append("asked")
            arrays.append(pa.array(self.asked, type=pa.bool_()))
        columns.write(shard, pa.table(arrays, names=names))

    def _drop_what_does_not_fit(self) -> None:
        """A sample with a value that its column can't hold loses its values, and gets a reason."""
        for column in self.instance.columns.schema:
            if problem_of(self.values[column.name], column.type) is None:
                continue
            for row, value in enumerate(self.values[column.name]):
                problem = problem_of([value], column.type)
                if problem is not None:
                    self.errors[row] = f"bad value: {column.name}: {problem}"[:_DETAIL]
                    for values in self.values.values():
                        values[row] = None

    def summary(self) -> dict[str, Any]:
        """Counts for the ledger: rows scored, and failures by the first word of their reason."""
        reasons = Counter(e.partition(":")[0] for e in self.errors if e is not None)
        return {"scored": self.scored, "failed": dict(sorted(reasons.items()))}
