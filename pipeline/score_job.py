"""What a worker is given to score shards with: the scorers of one pass, and how to run them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline import decoding, score_input
from pipeline.instances import Instance
from pipeline.pool import Shard
from pipeline.score_input import Feed, Look, Rows

MOST_THREADS = 8  # that decode for one process


@dataclass(frozen=True)
class ScoreJob:
    """What a worker needs to score any shard of a pool: scorers of one pass, in order.

    `processes` is how many of them share the cores of a machine where each has a GPU of its own.
    """

    root: str
    instances: tuple[Instance, ...]
    max_pixels: int = decoding.MAX_PIXELS
    processes: int = 1

    @property
    def threads(self) -> int:
        """How many threads decode while the model runs.

        On the CPU none: there is a process for each core, and what it computes is one thread's.
        """
        if all(instance.device == "cpu" for instance in self.instances):
            return 0
        return min(MOST_THREADS, max(1, len(os.sched_getaffinity(0)) // self.processes))

    @property
    def waits(self) -> bool:
        """Whether a shard ends with waiting for others, during which the next may begin."""
        return any(instance.at_once > 1 for instance in self.instances)


def stale(job: ScoreJob, shard: Shard) -> list[Instance]:
    """The instances whose columns of this shard are not there yet."""
    return [instance for instance in job.instances if not instance.columns.has(shard)]


def feed_of(job: ScoreJob, rows: Rows, results: Mapping[str, Any]) -> Feed:
    """The rows that any of the scorers under way is open for, with what each wants to see."""
    asked: dict[int, list[Look]] = {}
    for result in results.values():
        for row in result.open_rows(rows):
            asked.setdefault(row, [])
        for row in result.looks_at(rows):
            asked[row].append(result.look)
    sizes = [getattr(result.instance.scorer, "batch_size", 0) for result in results.values()]
    return Feed(
        rows,
        asked,
        has_images=any(result.instance.reads_pixels for result in results.values()),
        limit=max(score_input.CHUNK, *sizes),
        max_pixels=job.max_pixels,
        threads=job.threads,
    )
