"""CPU and memory of counting captions: all rows at once, and bucket by bucket.

    python -m benchmarks.frequency --rows 3000000 --folder DIR

Makes a pool of base rows without pictures, and scores it either way by the verb itself, on the
local engine, each in a process of its own. The columns must come out the same bytes.
"""

import argparse
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.duplicates import caption_rows
from benchmarks.measure import machine, measure, python, table
from pipeline import gathering, pool
from pipeline.build import Build
from pipeline.pool import BASE, Pool, Shard
from pipeline.recipe import parse_recipe

ROWS_PER_SHARD = 10_000
RECIPE = "pool: {pool}\nscore:\n  frequency: {{}}\n"


def make_pool(folder: Path, rows: int) -> None:
    """A pool of made-up captions, one in five of them a copy, in no order of keys."""
    made = caption_rows(np.random.default_rng(7), rows)
    made = made.take(pa.array(np.random.default_rng(8).permutation(rows)))
    (folder / "pool").mkdir(parents=True)
    shards = []
    for start in range(0, rows, ROWS_PER_SHARD):
        some = made.slice(start, ROWS_PER_SHARD)
        name = f"{len(shards):05d}"
        known = {name: some[name] for name in some.column_names}
        known["source"] = pa.chunked_array([["made"] * len(some)])
        columns = [known.get(f.name, pa.nulls(len(some), f.type)) for f in BASE]
        pq.write_table(pa.table(columns, schema=BASE), pool.base_path(str(folder), name))
        keys = pool.keys_digest(some["key"])
        shards.append(Shard(name, "made", len(some), 0, 0, keys, keys))
    pool.write_index(Pool(str(folder), "made", tuple(shards)))


def score(folder: Path, way: str) -> None:
    """The verb, with the plan of buckets or without one."""
    if way == "whole":
        gathering.plan = lambda job: None
    recipe = parse_recipe(RECIPE.format(pool=folder), str(folder / "recipe.yaml"))
    Build(recipe, str(folder / way)).score()


def digests(folder: Path) -> list[str]:
    paths = sorted((folder / "columns").rglob("*.parquet"))
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def result_rows(folder: Path) -> Iterator[list[str]]:
    """A line for each way; RuntimeError when they do not agree."""
    seen = set()
    for way in ("whole", "buckets"):
        shutil.rmtree(folder / "columns", ignore_errors=True)
        shutil.rmtree(folder / way, ignore_errors=True)
        command = [python(), "-m", "benchmarks.frequency", "--folder", str(folder), "--way", way]
        cost = measure(command, env={"OMP_NUM_THREADS": "1"})
        seen.add(tuple(digests(folder)))
        tasks = len(list((folder / way / "ledger").rglob("*.json")))
        figures = (f"{cost.cpu_s:.0f}", f"{cost.wall_s:.0f}", f"{cost.peak_bytes / 1e6:.0f}")
        yield [way, str(tasks), *figures]
    if len(seen) != 1:
        raise RuntimeError("the two ways gave different columns")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the pool goes")
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--way", choices=["whole", "buckets"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = options.folder.absolute()
    if options.way:
        score(folder, options.way)
        return
    shutil.rmtree(folder, ignore_errors=True)
    make_pool(folder, options.rows)
    print(machine())
    print(f"\n{options.rows:,} captions, the program's start included\n")
    print(table(["rows meet", "tasks", "CPU s", "wall s", "peak MB"], list(result_rows(folder))))


if __name__ == "__main__":
    main()
