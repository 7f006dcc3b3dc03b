"""Fetch the rows of a partition, and write its shards as soon as each is whole.

Some shards are fetched at a time, so that the slow hosts of one do not hold up the next. What
comes goes to a spool on disk at once: a run that was killed asks nobody again for what it had.
"""

import fcntl
import json
import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline import aside, decoding, pool, routing, storage, takedown_match
from pipeline.errors import DamagedFile
from pipeline.fetch.door import Door, opened
from pipeline.fetch.engine import Progress
from pipeline.fetch.gate import Gate, gate
from pipeline.fetch.options import FetchOptions, Wanted
from pipeline.fetch.outcome import Outcome
from pipeline.fetch.room import Room
from pipeline.fetch.spool import Spool
from pipeline.fetch.told import Told
from pipeline.places import requests_folder
from pipeline.pool import Shard
from pipeline.pool_rows import Keyed, block, mark_duplicate, write_shard
from pipeline.sources.base import Incoming, Source
from pipeline.stage import Ending
from pipeline.storing import Store, stored
from pipeline.takedown_record import TAKEN_DOWN

if TYPE_CHECKING:
    from pipeline.ingest import FetchTask, IngestJob

TOGETHER = 6  # partitions that a process fetches at a time, when they leave room for each other
_PACE_S = 1.0  # for which what a process has asked that was killed counts against the pace
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Part:
    """The rows of one source in a partition, in the order of its shards."""

    job: "IngestJob"
    source: Source
    rows: pa.Table
    is_duplicate: "np.ndarray[Any, np.dtype[np.bool_]]"
    ends: Mapping[str, tuple[int, int]]  # first row and the one behind the last, by shard
    plan: str

    @property
    def store(self) -> Store | None:
        return self.job.stores.get(self.source.name)

    def keyed(self, shard: str) -> list[Keyed]:
        """The rows of a shard; those listed and those that another row stands for have failed."""
        start, end = self.ends[shard]
        listed = takedown_match.listed(self.job.root)
        found = list(routing.incoming(self.rows.slice(start, end - start)))
        for (key, row), is_duplicate in zip(found, self.is_duplicate[start:end], strict=True):
            if is_duplicate:
                mark_duplicate(row)
            if not listed.is_empty:
                block(row, listed.by_name(key, row.url, row.meta))
        return found

    def together(self, web: FetchOptions) -> int:
        """How many shards are fetched at a time: of a site no more than there surely is time for.

        Sites are spread evenly, so its rows are shared out among all shards.
        """
        asked = np.unique(np.stack([self.rows["site"], self.rows["address"]], axis=1), axis=0)
        most = np.unique(asked[:, 0], return_counts=True)[1].max(initial=1) / len(self.ends)
        surely = web.shard_s * web.per_host_per_second / 2 / most
        return int(min(max(surely, 1), routing.SHARDS_TOGETHER))

    def finished(self, shard: str) -> Shard | None:
        """The shard if it is written, and holds these rows."""
        start, end = self.ends[shard]
        keys = pa.chunked_array([self.rows["key"].combine_chunks().slice(start, end - start)])
        found = pool.finished_shard(self.job.root, shard, self.plan)
        return found if found is not None and found.keys == pool.keys_digest(keys) else None


def fetch_partition(task: "FetchTask", job: "IngestJob") -> dict[str, Any] | Ending:
    """Write the shards of a partition that are not there yet; returns counts for the ledger.

    Once it waits more than it works the rest is an ending, beside which others may begin: hosts
    that are slow or dead, and large ones with their pace, hold up nobody else.
    """
    has_room = threading.Event()
    work = aside.begin(partial(_made, task, job, has_room.set))
    work.add_done_callback(lambda _: has_room.set())
    has_room.wait()
    return work.result() if work.done() else Ending(work.result, TOGETHER - 1)


def _made(task: "FetchTask", job: "IngestJob", has_room: Callable[[], None]) -> dict[str, Any]:
    """The shards of a partition as counts, those that are not there fetched.

    Sources that are fetched in the same way share what is learnt of hosts.
    """
    shards = _finished(task, job)
    if shards is None:
        with alone(task.label, job.root):
            shards = _finished(task, job)  # perhaps by another process
            if shards is None:
                shards = list(_fetched(task, job, has_room))
    return {"rows": sum(s.rows for s in shards), "samples": sum(s.samples for s in shards)}


def _finished(task: "FetchTask", job: "IngestJob") -> list[Shard] | None:
    """The shards of a partition when all are written."""
    found = [pool.finished_shard(job.root, name, task.plan) for name in task.shards]
    shards = [shard for shard in found if shard is not None]
    return shards if len(shards) == len(found) else None


@contextmanager
def alone(label: str, root: str) -> Iterator[None]:
    """Hold a task, so that no other process asks its sites, as one may that was left behind.

    Nor has one done so in the last second. Of an object store only this machine's are known.
    """
    path = _local(root, f"{label}.lock")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "a+b", buffering=0) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _LOGGER.info("%s: waiting for another process that fetches it", label)
            fcntl.flock(stream, fcntl.LOCK_EX)
        if os.fstat(stream.fileno()).st_size:
            time.sleep(_PACE_S)
        stream.write(b"begun\n")
        yield


def _local(root: str, name: str) -> str:
    """A file of this machine for what is under way: beside the survey when that is here."""
    if storage.is_local(root):
        return storage.local(storage.join(root, "pool", "survey", name))
    return os.path.join(requests_folder(root), name)


def _fetched(task: "FetchTask", job: "IngestJob", has_room: Callable[[], None]) -> Iterator[Shard]:
    told, room = Told(task.label), Room(has_room)

    def notice(progress: Progress) -> None:
        told.tell(progress)
        room.look(progress)

    groups: dict[FetchOptions, list[str]] = {}
    for name in task.names:
        web = job.sources[name].web
        if web is None:
            raise DamagedFile(f"source {name!r} is not fetched any more; ingest again")
        groups.setdefault(web, []).append(name)
    with _gate(job.root) as common:
        for options, names in groups.items():
            share = replace(options, held_bytes=max(options.held_bytes // TOGETHER, 1))
            with opened(share, gate=common) as door:
                for name in names:
                    yield from _written(_part(task, job, name), door, task.label, notice)


@contextmanager
def _gate(root: str) -> Iterator[Gate | None]:
    """What keeps the pace of sites that redirects lead to, together with all who fetch here."""
    with ExitStack() as held:
        found = None
        try:
            found = held.enter_context(gate(_local(root, f"{socket.gethostname()}.pace")))
        except (OSError, ValueError) as error:  # a file system without locks or maps
            _LOGGER.warning("each process alone keeps the pace of redirects: %s", error)
        yield found


def _part(task: "FetchTask", job: "IngestJob", name: str) -> _Part:
    rows = routing.read_partition(job.root, task.units[name], task.partition)
    rows = rows.take(pa.array(routing.spread(rows))).combine_chunks()
    unit, position = rows["unit"].to_numpy(), rows["position"].to_numpy()
    is_duplicate = np.zeros(len(rows), bool)
    for number in task.units[name]:
        losers = np.load(_losers(job.root, number))
        is_duplicate |= (unit == number) & np.isin(position, losers)
    shards = task.names[name]
    ends = routing.cuts(rows["address"].to_numpy(), len(shards))
    places = dict(zip(shards, zip([0, *ends], ends, strict=False), strict=True))
    return _Part(job, job.sources[name], rows, is_duplicate, places, task.plan)


def _losers(root: str, number: int) -> Any:
    from pipeline.ingest import losers_path

    return storage.open_input(losers_path(root, number))


def _written(
    part: _Part, door: Door, label: str, notice: Callable[[Progress], None]
) -> Iterator[Shard]:
    """Every shard of a part; those that are not there are fetched, some at a time."""
    rest, together = iter(part.ends), part.together(door.web.options)
    while names := list(islice(rest, together)):
        found = {name: part.finished(name) for name in names}
        due = [name for name, shard in found.items() if shard is None]
        if due:
            with _spool(part, label) as spool:
                found |= _Window(part, due, spool).write(door, notice)
        yield from (shard for shard in found.values() if shard is not None)


@contextmanager
def _spool(part: _Part, label: str) -> Iterator[Spool]:
    """Where outcomes wait for their shards."""
    path = _local(part.job.root, f"{label}.spool")
    spool = Spool(path, f"{part.plan} {part.source.name}")
    try:
        yield spool
    except BaseException:
        spool.close()
        raise
    spool.remove()


class _Window:
    """Shards that are fetched together; a class, because it counts what each still waits for."""

    def __init__(self, part: _Part, shards: Sequence[str], spool: Spool) -> None:
        self._part, self._spool = part, spool
        self._listed = takedown_match.listed(part.job.root)
        self._rows = {shard: part.keyed(shard) for shard in shards}
        self._wanted: dict[str, Wanted] = {}
        self._waiting: dict[str, list[str]] = {}  # shards by what is wanted
        self._left: dict[str, int] = {}
        for shard, keyed in self._rows.items():
            names = {_name(row): _wanted(row) for _, row in keyed if _is_due(row)}
            open_ = [name for name in names if name not in spool]
            for name in open_:
                self._wanted[name] = names[name]
                self._waiting.setdefault(name, []).append(shard)
            self._left[shard] = len(open_)

    def write(self, door: Door, notice: Callable[[Progress], None]) -> dict[str, Shard]:
        """Fetch what is missing, and write every shard once it waits for nothing more.

        Shards are written beside, so that what comes meanwhile is on disk at once.
        """
        names = list(self._wanted)
        with ThreadPoolExecutor(1) as aside:
            writing = {
                shard: aside.submit(self._write, shard)
                for shard, left in self._left.items()
                if not left
            }
            for number, outcome in door.fetched([self._wanted[name] for name in names], notice):
                name = names[number]
                self._spool.put(name, self._kept(outcome))
                for shard in self._waiting[name]:
                    self._left[shard] -= 1
                    if not self._left[shard]:
                        writing[shard] = aside.submit(self._write, shard)
            return {shard: written.result() for shard, written in writing.items()}

    def _kept(self, outcome: Outcome) -> Outcome:
        """The outcome with the bytes that the pool keeps, if it may keep them."""
        part = self._part
        data, most = outcome.data, part.job.max_pixels
        if data is None:
            return outcome
        entry = self._listed.by_urls(outcome.redirects)
        if entry is None and (self._listed.images or self._listed.alike):
            entry = takedown_match.by_image(self._listed, data, outcome.sha256, most)
        if entry is not None:
            return _lost(outcome, TAKEN_DOWN, entry.reason)
        if part.store is None:
            return outcome
        try:
            return replace(outcome, data=stored(data, part.store, most)[0])
        except decoding.Unreadable as error:
            return _lost(outcome, error.reason, error.detail)

    def _write(self, shard: str) -> Shard:
        part = self._part
        place = part.job.place(shard, part.source.name, part.plan)
        keys, due = zip(*self._rows.pop(shard), strict=True)
        left = deque(due)  # a row that is written is let go, with its image
        del due
        rows = part.source.fetch(self._answered(left.popleft()) for _ in keys)
        return write_shard(place, zip(keys, rows, strict=True), _any)

    def _answered(self, row: Incoming) -> Incoming:
        outcome = self._spool.get(_name(row)) if _is_due(row) else None
        if outcome is None:
            return row
        row.give(outcome.data)
        row.failed, row.detail, row.retriable = outcome.failed, outcome.detail, outcome.retriable
        signals = json.dumps(dict(outcome.signals), sort_keys=True) if outcome.signals else None
        differs = outcome.sha256 is not None and outcome.sha256 != row.image_sha256
        row.fetched = {
            "attempts": outcome.attempts,
            "redirects": list(outcome.redirects) or None,
            "final_url": outcome.final_url,
            "http_status": outcome.status,
            "content_type": outcome.content_type,
            "etag": outcome.etag,
            "last_modified": outcome.last_modified,
            "received_bytes": outcome.size_bytes,
            "received_sha256": outcome.sha256 if differs else None,
            "signals": signals,
            "fetched_at": outcome.date,
        }
        return row


def _lost(outcome: Outcome, reason: str, detail: str | None) -> Outcome:
    return replace(outcome, data=None, failed=reason, detail=detail, retriable=False)


def _is_due(row: Incoming) -> bool:
    return row.failed is None and row.url is not None and row.held is None


def _wanted(row: Incoming) -> Wanted:
    return Wanted(row.url or "", row.hashes.get("md5"), row.hashes.get("sha256"))


def _name(row: Incoming) -> str:
    """What a spool calls the outcome: the URL, and what its bytes must hash to."""
    return " ".join([*(f"{kind}={row.hashes[kind]}" for kind in sorted(row.hashes)), row.url or ""])


def _any(_keys: bytes) -> None:
    """The keys are those of the survey: they were read from it."""
