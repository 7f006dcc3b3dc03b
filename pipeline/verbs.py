"""What a verb of the command line does with a build, and what it says when it is done."""

import time

from pipeline import report, storage
from pipeline.build import Build


def ingest(build: Build) -> None:
    """Make the pool, and say how many rows it has."""
    _sweep(build)
    made = build.ingest()
    samples = sum(shard.samples for shard in made.shards)
    print(f"pool: {made.rows:,} rows, {samples:,} samples in {len(made.shards)} shards")


def score(build: Build) -> None:
    """Bring the columns up to date."""
    _sweep(build)
    resolved = build.score()
    print(f"columns: {', '.join(instance.name for instance in resolved.instances)}")


def select(build: Build) -> None:
    """Decide, and print where the rows went."""
    print(report.attrition_text(build.select()))


def export(build: Build) -> None:
    """Write the shards, and say how many."""
    manifest = build.export()
    written, shards = manifest["ledger"]["written"], len(manifest["shards"])
    print(f"shards: {written:,} samples in {shards} tars in {storage.join(build.out, 'shards')}")


def build(build: Build) -> None:
    """All of it, and the report."""
    started = time.monotonic()
    ingest(build)
    score(build)
    select(build)
    export(build)
    path = report.write_report(build)
    print(f"report: {path} ({time.monotonic() - started:.0f} s)")


def _sweep(build: Build) -> None:
    """What killed writers left; other parts may be writing just now, so not when there are some."""
    if build.part.count == 1:
        for root in dict.fromkeys([build.root, build.out]):
            storage.sweep(root)
