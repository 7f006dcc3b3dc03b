"""What a verb of the command line does with a build; each yields what a person should read."""

import time
from collections import Counter
from collections.abc import Iterator

from pipeline import report, storage
from pipeline import retry as retrying
from pipeline.build import Build
from pipeline.pool import Pool, read_base_range
from pipeline.retry_record import RETRIED

_SHOWN = 8  # reasons; the report has all
_AT_ONCE = 256  # shards


def ingest(build: Build) -> Iterator[str]:
    """Make the pool, and say how many rows it has, and why some have no sample."""
    _sweep(build)
    yield from _pool_lines(build.ingest())


def retry(build: Build) -> Iterator[str]:
    """Fetch again what failed and may succeed now, and say what came of it."""
    _sweep(build)
    yield from retrying.told(retrying.retry(build))
    yield from _pool_lines(build.open_pool())


def _pool_lines(made: Pool) -> Iterator[str]:
    samples = sum(shard.samples for shard in made.shards)
    text = f"pool: {made.rows_in:,} rows, {samples:,} samples in {len(made.shards)} shards"
    again = made.rows - made.rows_in
    yield text + (f", and {again:,} earlier attempts" if again else "")
    failed = _failed(made)
    if failed:
        yield f"failed: {failed.total():,} rows ({_listed(failed)})"


def _failed(made: Pool) -> Counter[str]:
    """How many rows failed by each reason, those of earlier attempts aside."""
    found: Counter[str] = Counter()
    some = [shard for shard in made.shards if shard.rows > shard.samples]
    for start in range(0, len(some), _AT_ONCE):
        reasons = read_base_range(made, some[start : start + _AT_ONCE], ["failed"])["failed"]
        for one in reasons.drop_null().value_counts().to_pylist():
            found[one["values"]] += one["counts"]
    del found[RETRIED]
    return found


def _listed(failed: Counter[str]) -> str:
    ordered = sorted(failed.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = [f"{reason} {count:,}" for reason, count in ordered[:_SHOWN]]
    more = len(ordered) - len(shown)
    return ", ".join([*shown, *([f"{more} more reasons"] if more else [])])


def score(build: Build) -> Iterator[str]:
    """Bring the columns up to date."""
    _sweep(build)
    resolved = build.score()
    yield f"columns: {', '.join(instance.name for instance in resolved.instances) or 'none'}"


def select(build: Build) -> Iterator[str]:
    """Decide, and print where the rows went."""
    yield report.attrition_text(build.select())


def export(build: Build) -> Iterator[str]:
    """Write the shards, and say how many."""
    manifest = build.export()
    written, shards = manifest["ledger"]["written"], len(manifest["shards"])
    yield f"shards: {written:,} samples in {shards} tars in {storage.join(build.out, 'shards')}"
    lost = manifest["ledger"]["not_exported"]
    if lost:
        told = ", ".join(f"{reason} {count:,}" for reason, count in lost.items())
        yield f"not written: {sum(lost.values()):,} chosen samples ({told})"


def build(build: Build) -> Iterator[str]:
    """All of it, and the report."""
    started = time.monotonic()
    for verb in (ingest, score, select, export):
        yield from verb(build)
    path = report.write_report(build)
    yield f"report: {path} ({time.monotonic() - started:.0f} s)"


def _sweep(build: Build) -> None:
    """What killed writers left; other parts may be writing just now, so not when there are some."""
    if build.part.count == 1:
        for root in dict.fromkeys([build.root, build.out]):
            storage.sweep(root)
        storage.remove(storage.join(build.out, "work", "spill"))
