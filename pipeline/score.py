"""Score one shard: read its tar once, decode each image once, run every scorer that is due.

This harness is the one place that turns a scorer's exception into NULL with a reason: a failing
batch is halved until the sample that poisons it stands alone. When memory runs out, batches
become smaller for a while, and the record of the shard says so.
"""

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from pipeline import aside, decoding, score_input
from pipeline.asked import asked_rows, known_values
from pipeline.contract import is_retriable, must_hold
from pipeline.errors import CurationError
from pipeline.fitting import Fitted, fitted_path, read_fitted, refused
from pipeline.instances import FIELDS, Instance
from pipeline.places import requests_folder
from pipeline.pool import Shard
from pipeline.score_input import Chunk, Feed, Look, Rows, are_many
from pipeline.score_job import ScoreJob, feed_of, stale
from pipeline.score_memory import Room, is_out_of_memory, with_batch_size
from pipeline.score_named import NAME, image_name, names_of, recalled
from pipeline.score_record import DETAIL, described, drop_misfits, summary
from pipeline.stage import Ending, reason

Ready = Sequence[tuple[int, list[Any]]]  # rows, and what a scorer reads of each
Scores = Mapping[str, Sequence[Any]]


def score_shard(shard: Shard, job: ScoreJob) -> dict[str, Any]:
    """Bring the columns of one shard up to date; returns counts and times for the ledger.

    Safe to repeat, and to run on the same shard twice at once. Memory: a chunk of images, two
    where threads work ahead, and for each scorer a batch that waits and those under way; each of
    these is bounded. Raises DamagedFile when the pool or a column it reads is not what the index
    says.
    """
    return begin_shard(shard, job)()


def begin_shard(shard: Shard, job: ScoreJob) -> Ending:
    """The same but for its end: what is returned waits for the last answers, and writes.

    It may do so in another thread, beside the beginning of the next shard.
    """
    due = stale(job, shard)
    results = {instance.name: Result.of(instance, shard) for instance in due}
    times: dict[str, float] = {}
    if due:
        rows = Rows.read(job.root, shard, due)
        for result in results.values():
            result.recall(rows)
        feed = feed_of(job, rows, results)
        started = time.perf_counter()
        for result in results.values():
            result.prepare(rows)
            rows.columns |= result.values
        times["load_s"] = round(time.perf_counter() - started, 3)
        with _none_left(results):
            _score(feed, results)
        times["wait_s"] = round(feed.waited_s, 3)
    return Ending(partial(_finished, shard, results, times))


def _finished(
    shard: Shard, results: Mapping[str, "Result"], times: Mapping[str, float]
) -> dict[str, Any]:
    with _none_left(results):
        for result in results.values():
            result.flush()
    for result in results.values():
        result.write(shard)
    scorers = {
        name: summary(result.scored, result.errors, result.score_s, result.room)
        for name, result in results.items()
    }
    return {"rows": shard.rows, "scorers": scorers, **times}


@contextmanager
def _none_left(results: Mapping[str, "Result"]) -> Iterator[None]:
    """When a shard fails, nothing goes on in its name: a repetition would ask for the same."""
    try:
        yield
    except Exception:
        wait([call for result in results.values() for *_, call in result.begun])
        raise


def _score(feed: Feed, results: Mapping[str, "Result"]) -> None:
    due = [result.instance for result in results.values()]
    waits = {name for name, result in results.items() if not result.is_read_by(due)}
    with closing(feed.chunks()) as chunks:
        for chunk in chunks:
            for name, result in results.items():
                result.add(chunk, feed.rows)
                if name not in waits:
                    result.flush()
    for result in results.values():
        result.send()


def _prepared(scorer: Any, image: decoding.Pixels) -> Any:
    """What the model needs of an image; where that fails, the image: its batch will say why."""
    try:
        return scorer.prepare_image(image)
    except Exception:  # noqa: BLE001 (the named place; see the module's docstring)
        return image


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
    begun: deque[tuple[Ready, int, "Future[Scores]"]] = field(default_factory=deque)
    repeats: list[tuple[int, int]] = field(default_factory=list)
    scored: int = 0
    fitted: Fitted | None = None
    scorer: Any = None
    score_s: float = 0.0
    put_off: Exception | None = None  # the first that is retriable, and about its row alone

    def __post_init__(self) -> None:
        self.scorer = self.instance.scorer
        self.room = Room.of(max(1, getattr(self.scorer, "batch_size", score_input.CHUNK)))
        self.look = Look(
            self.instance.name,
            getattr(self.scorer, "image_request", None),
            partial(_prepared, self.scorer) if hasattr(self.scorer, "prepare_image") else None,
        )

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
        """Take over what the scorer has said of these rows under another condition, or of all."""
        known = refused(self.instance, rows.ok) or known_values(self.instance, rows.shard)
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
                if (sha := self._sha(row, rows)) is not None:
                    self.first.setdefault(sha, row)

    def open_rows(self, rows: Rows) -> Iterator[int]:
        """Rows that this scorer is asked for and that can hold what it reads."""
        stored_only = self.instance.reads_pixels
        for row, ok in enumerate(rows.ok):
            open_ = ok and self.asked[row] and not self.done[row]
            if open_ and (rows.stored[row] or not stored_only):
                yield row

    def looks_at(self, rows: Rows) -> Iterator[int]:
        """Rows whose image this scorer is sure to look at, as far as can be known beforehand."""
        if "image" not in self.instance.scorer.reads:
            return
        read = [rows.columns[n] for n in must_hold(self.instance.scorer) if n in rows.columns]
        first = dict(self.first)
        for row in self.open_rows(rows):
            is_first = (sha := self._sha(row, rows)) is None or first.setdefault(sha, row) == row
            if is_first and all(values[row] is not None for values in read):
                yield row

    def prepare(self, rows: Rows) -> None:
        """Let a scorer load its model if there is work for it; what it raises fails the shard."""
        if next(self.open_rows(rows), None) is None:
            return
        if self.instance.is_fitted:
            self.fitted = read_fitted(fitted_path(self.instance.columns))
        try:
            self._ready(self.scorer)
        except Exception as error:  # of the many scorers of a pass, which one was it?
            raise CurationError(f"scorer {self.instance.name!r}: {reason(error)}") from error

    def _ready(self, scorer: Any) -> None:
        if hasattr(scorer, "keep_in"):
            scorer.keep_in(requests_folder(self.instance.columns.root))
        if hasattr(scorer, "prepare"):
            scorer.prepare()

    def add(self, chunk: Chunk, rows: Rows) -> None:
        """Take the rows of a chunk that hold everything the scorer reads; score full batches.

        What makes no full batch waits for the next chunk, or for `flush`.
        """
        self._take_known(chunk, rows)
        for row in chunk.rows:
            if not (rows.ok[row] and self.asked[row]) or self.done[row]:
                continue
            if (sha := self._sha(row, rows)) and self.first.setdefault(sha, row) != row:
                self.repeats.append((row, self.first[sha]))
                continue
            values = self._values(row, chunk, rows)
            if values is not None:
                self.waiting.append((row, values))
            if len(self.waiting) == self.room.most:
                self.send()
        if are_many(values for _, values in self.waiting):
            self.send()

    def _take_known(self, chunk: Chunk, rows: Rows) -> None:
        """Take what the scorer knows of images by their names, before one is decoded."""
        if not hasattr(self.scorer, "recall"):
            return
        asked = [r for r in chunk.rows if rows.ok[r] and self.asked[r] and not self.done[r]]
        new = [r for r in asked if self.first.get(self._sha(r, rows) or b"", r) == r]
        known, scores = recalled(self.scorer, chunk, rows, new)
        self.scored += self._keep(known, scores) if known else 0
        for row in known:
            self.done[row] = True
            if (sha := self._sha(row, rows)) is not None:
                self.first.setdefault(sha, row)

    def flush(self) -> None:
        """Score what waits; then every row taken has its value or its reason."""
        self.send()
        started = time.perf_counter()
        while self.begun:
            self._take()
            self.send()  # what there was no room for
        self.score_s += time.perf_counter() - started
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
        found = []
        for name in names_of(self.instance.scorer):
            if name == NAME:
                found.append(image_name(rows.shas[row], self.instance.scorer, chunk.max_pixels))
                continue
            in_file = name in FIELDS
            value = chunk.value(row, name, self.look) if in_file else rows.columns[name][row]
            if isinstance(value, decoding.Unreadable):
                self.errors[row] = str(value)[:DETAIL]
                return None
            if value is None and name in must_hold(self.instance.scorer):
                return None
            found.append(value)
        return found

    def send(self) -> None:
        """Score what waits, or, where several calls may be under way, begin to."""
        started = time.perf_counter()
        while self.waiting:
            if len(self.begun) == self.instance.at_once:
                self._take()
            ready = self.waiting[: self.room.now]
            if self.instance.at_once > 1:
                self._resize()
                call = aside.begin(partial(self._call, self.scorer, self._batch(ready)))
                self.begun.append((ready, self.room.now, call))
            elif not self._has_room(ready, self.room.now):
                continue
            del self.waiting[: len(ready)]
        self.score_s += time.perf_counter() - started

    def _take(self) -> None:
        """Take the values of the call that was begun first, when it has them."""
        ready, size, call = self.begun.popleft()
        if not self._has_room(ready, size, call):
            self.waiting[:0] = ready

    def _has_room(self, ready: Ready, size: int, call: "Future[Scores] | None" = None) -> bool:
        """Score some samples; if memory runs out, make batches smaller and return False.

        `size` is what there was room for when they were sent: calls under way fail together.
        """
        try:
            self._resize()
            self.scored += self._score_batch(ready, call)
        except Exception as error:
            if not is_out_of_memory(error) or size == 1:
                raise
        else:
            self.room.fits()
            return True
        self.room.fall(size)  # here, where the error no longer holds on to what filled the memory
        return False

    def _resize(self) -> None:
        """Have the scorer pad its batches to what there is room for."""
        size = getattr(self.scorer, "batch_size", None)
        if size is None or max(1, size) == self.room.now:
            return
        original = self.instance.scorer
        is_whole = self.room.now == self.room.most
        self.scorer = original if is_whole else with_batch_size(original, self.room.now)
        if self.scorer is not original:
            self._ready(self.scorer)

    def _score_batch(self, ready: Ready, call: "Future[Scores] | None" = None) -> int:
        """Score a batch, or its halves where one of its samples spoils it; returns rows scored."""
        try:
            scores = (
                call.result() if call is not None else self._call(self.scorer, self._batch(ready))
            )
        except Exception as error:  # the named place; see the module's docstring
            if is_out_of_memory(error) or is_retriable(error):
                raise  # that is no fault of the sample
            if len(ready) == 1:
                self.errors[ready[0][0]] = described(error)
                return 0
        else:
            return self._keep([row for row, _ in ready], scores)
        middle = len(ready) // 2
        return self._score_batch(ready[:middle]) + self._score_batch(ready[middle:])

    def _batch(self, ready: Ready) -> dict[str, list[Any]]:
        columns = zip(*(values for _, values in ready), strict=True)
        return {n: list(c) for n, c in zip(names_of(self.scorer), columns, strict=True)}

    def _call(self, scorer: Any, batch: dict[str, list[Any]]) -> Scores:
        fitted = () if self.fitted is None else (self.fitted,)
        scores: Scores = scorer(batch, *fitted)
        return scores

    def _keep(self, rows: Sequence[int], scores: Scores) -> int:
        """Take the values; a row whose first value is an exception gets its reason, and `kept`.

        One that is retriable fails the shard: NULL would stay, and say what is not true. If it is
        about its row alone (`is_alone`), it does so when the others have been asked.
        """
        refused: dict[int, Exception] = {}
        for number, field_ in enumerate(self.instance.scorer.writes):
            column = scores[field_.name]
            if len(column) != len(rows):
                raise ValueError(
                    f"scorer {self.instance.name!r} returned {len(column)} values of"
                    f" {field_.name!r} for {len(rows)} samples"
                )
            values = self.values[self.instance.renames.get(field_.name, field_.name)]
            for row, value in zip(rows, column, strict=True):
                if number == 0 and isinstance(value, Exception):
                    if is_retriable(value) and not getattr(value, "is_alone", False):
                        raise value
                    refused[row] = value
                elif row not in refused:
                    values[row] = value
        for row, error in refused.items():
            self.errors[row] = described(error)
            self.put_off = self.put_off or (error if is_retriable(error) else None)
            for name, value in getattr(error, "kept", {}).items():
                self.values[self.instance.renames.get(name, name)][row] = value
        return len(rows) - sum(not hasattr(error, "kept") for error in refused.values())

    def write(self, shard: Shard) -> None:
        """Write the columns; what a scorer is not asked for is NULL without a reason."""
        if self.put_off is not None:  # those that read its columns are written after it: not yet
            raise self.put_off
        columns = self.instance.columns
        drop_misfits(columns.schema, self.values, self.errors)
        arrays = [pa.array(self.values[f.name], type=f.type) for f in columns.schema]
        names = [*columns.schema.names, columns.error_column]
        arrays.append(pa.array(self.errors, type=pa.string()))
        if self.instance.only is not None:
            names.append("asked")
            arrays.append(pa.array(self.asked, type=pa.bool_()))
        columns.write(shard, pa.table(arrays, names=names))
