"""Where output shards begin, and which entries of every run belong to them.

The places of all samples are looked at range by range, so that planning needs the same memory for
any number of samples: those of RANGE_SAMPLES, the index of one run, and 8 bytes for every run and
task of the second pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.aspect import GROUP_BITS, starts
from pipeline.runs import Run, sample_places

RANGE_SAMPLES = 1 << 21
READS = 1_000_000  # slices of runs that all tasks together read, at most
_ALL = 1 << 64
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Bucket:
    """Neighbouring output shards, written by one task.

    `edges` are the first places of all but the first of them; `rows` has the first entry of every
    run, and the first that is beyond.
    """

    first: int
    edges: tuple[int, ...]
    rows: Rows

    @property
    def shards(self) -> int:
        return len(self.edges) + 1


def shards_per_bucket(shards: int, runs: int) -> int:
    """How many shards a task writes: one, unless there would be too many slices to read."""
    return -(-shards // max(1, READS // max(1, runs)))


def cut(
    runs: Sequence[Run],
    samples: Sequence[int],
    samples_per_shard: int,
    groups: Sequence[int] = (),
) -> list[Bucket]:
    """The tasks of the second pass: output shards of which sizes differ by one at most.

    A shard begins at the place of its first sample. `samples` says how many every run has.
    No samples make no shards. `groups` says how many samples each bucket of sizes has, if a shard
    must not have two of them: then sizes differ by one among the shards of a bucket.
    """
    total = sum(samples)
    if not total:
        return []
    ranks = np.array([rank for rank, _ in starts(groups or [total], samples_per_shard)], np.int64)
    count, ranks = len(ranks), ranks[1:]
    per_bucket = shards_per_bucket(count, len(runs))
    is_edge = np.arange(1, count) % per_bucket == 0
    coarse = _coarse(runs, samples, _edges(groups or [total], bool(groups)))
    places, rows = _found(runs, samples, ranks, (is_edge, coarse))
    buckets = []
    for number, first in enumerate(range(0, count, per_bucket)):
        inner = places[first : min(first + per_bucket, count) - 1]
        edges = tuple(int(place) for place in inner)
        buckets.append(Bucket(first, edges, np.ascontiguousarray(rows[:, number : number + 2])))
    return buckets


def _found(
    runs: Sequence[Run],
    samples: Sequence[int],
    ranks: Rows,
    edges: tuple[npt.NDArray[np.bool_], Rows],
) -> tuple[npt.NDArray[np.uint64], Rows]:
    """The places that have these ranks; the entries of every run where buckets begin and end.

    `edges` says which ranks begin a bucket, and where ranges of places begin in every run.
    """
    is_edge, coarse = edges
    places = np.zeros(len(ranks), np.uint64)
    starts = [np.zeros(len(runs), np.int64)]
    before = 0
    for number in range(coarse.shape[1] - 1):
        spans = coarse[:, number : number + 2].tolist()
        parts = [
            sample_places(run, start, stop) if stop > start else np.zeros(0, np.uint64)
            for run, (start, stop) in zip(runs, spans, strict=True)
        ]
        ordered = np.sort(np.concatenate(parts))
        low, high = np.searchsorted(ranks, [before, before + len(ordered)])
        for rank in range(int(low), int(high)):
            place = places[rank] = ordered[ranks[rank] - before]
            if is_edge[rank]:
                here = [np.searchsorted(part, place, side="left") for part in parts]
                starts.append(coarse[:, number] + np.array(here, np.int64))
        before += len(ordered)
    return places, np.stack([*starts, np.array(samples, np.int64)], axis=1)


def _edges(groups: Sequence[int], are_apart: bool) -> npt.NDArray[np.uint64]:
    """The places, but the first, where ranges begin that hold about RANGE_SAMPLES each.

    The samples of a group are spread evenly over its places: over all, or a part that begins
    with the group's number.
    """
    width = _ALL >> GROUP_BITS if are_apart else _ALL
    found = []
    for number, count in enumerate(groups):
        ranges = max(1, -(-count // RANGE_SAMPLES)) if count else 0
        found += [number * width + i * width // ranges for i in range(ranges)]
    return np.array(found[1:], np.uint64)


def _coarse(runs: Sequence[Run], samples: Sequence[int], edges: npt.NDArray[np.uint64]) -> Rows:
    """The entries of every run at which ranges of places begin, and where they end."""
    rows = np.zeros((len(runs), len(edges) + 2), np.int64)
    rows[:, -1] = samples
    if len(edges):
        for number, run in enumerate(runs):
            rows[number, 1:-1] = np.searchsorted(sample_places(run), edges, side="left")
    return rows
