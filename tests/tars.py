"""Tar shards for tests, written by the code that writes those of users."""

from collections.abc import Iterable
from pathlib import Path

from pipeline.shards import Sample, ShardWriter


def write_shard(path: Path | str, samples: Iterable[Sample]) -> int:
    """Write samples to a tar, and return their number."""
    with open(path, "wb") as stream:
        writer = ShardWriter(stream)
        for sample in samples:
            writer.write(sample)
        writer.close()
    return writer.samples
