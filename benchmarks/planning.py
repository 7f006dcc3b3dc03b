"""Time and memory of planning a list of URLs before anything is fetched.

    python -m benchmarks.planning --data FOLDER [--rows 10000000]

Makes (once) Parquet files of made-up rows: URLs of some 90 bytes over 300,000 hosts with a heavy
tail, captions of some 60 bytes, three more columns, a few percent of pairs that came before. Then
as `pairmill ingest` does it: two processes survey the list (the key and the rank of each row, its
site, and the rows themselves sorted by site), and one plans (which of equal pairs is kept, and
partitions of whole sites with their shards, so that the robots.txt of a host has one reader).
Start-up of the processes is included. Memory is that of the largest single process of each kind.
"""

import argparse
import json
import os
import resource
import shutil
import textwrap
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.measure import machine, measure, python, table
from pipeline import ingest, routing
from pipeline.build import Build
from pipeline.recipe import load_recipe
from pipeline.run import Engine
from pipeline.sources.of_recipe import all_units, make_sources

FILE_ROWS, GROUP_ROWS, HOSTS, WORDS = 1_000_000, 122_880, 300_000, 20_000
ROWS_PER_SHARD = 1000
SEED, HEAVY = 11, 2.0  # the n-th busiest host has a share of 1 / (n + HEAVY)
ENDS = (["com"] * 11) + ["net", "org", "co.uk", "de", "ru", "com.br", "co.jp", "fr", "pl", "info"]
FRONTS = ["", "www.", "img.", "cdn.", "static.", "i0.", "images."]
PATHS = ["wp-content/uploads/2019/05", "media/catalog/product/cache", "images/products/large"]
RECIPE = """\
sources:
  list:
    table: {table}
    url: URL
    caption: TEXT
    fetch: {{contact: "mailto:you@your.org"}}
ingest: {{rows_per_shard: {rows_per_shard}}}
"""
LETTERS = list("aaaeeeeiiooubcdfglmnprst")
_Random = np.random.Generator


def make_list(folder: Path, rows: int) -> None:
    """The files of the list; the same for the same number of rows."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(SEED)
    shares = np.cumsum(1 / (np.arange(HOSTS) + HEAVY))
    words = pa.array([_word(random) + "é" * (n % 200 == 0) for n in range(WORDS)])
    hosts = pa.array([_host(random, number) for number in range(HOSTS)])
    for number, start in enumerate(range(0, rows, FILE_ROWS)):
        count = min(FILE_ROWS, rows - start)
        of_host = np.searchsorted(shares, random.random(count) * shares[-1])
        made = pa.table(
            {
                "URL": _urls(random, hosts.take(pa.array(of_host)), start),
                "TEXT": _captions(random, words, count),
                "WIDTH": random.integers(50, 3000, count, dtype=np.int32),
                "HEIGHT": random.integers(50, 3000, count, dtype=np.int32),
                "similarity": random.normal(0.3, 0.03, count),
            }
        )
        again = np.where(random.random(count) < 0.03, random.integers(0, count, count), -1)
        made = made.take(pa.array(np.where(again < 0, np.arange(count), again)))
        pq.write_table(made, folder / f"{number:03d}.parquet", row_group_size=GROUP_ROWS)


def _word(random: _Random) -> str:
    letters = random.choice(
        list("aaaeeeiioouбпнрстüé"[:11] + "bcdfglmnprst"), size=random.poisson(5) + 1
    )
    return "".join(letters)


def _host(random: _Random, number: int) -> str:
    front = FRONTS[random.integers(len(FRONTS))]
    return f"{front}{_word(random)}-{number % 250_000}.{ENDS[random.integers(len(ENDS))]}"


def _urls(random: _Random, hosts: pa.Array, start: int) -> pa.Array:
    """URLs of all rows that differ by their numbers."""
    count = len(hosts)
    scheme = pa.array(["https://", "http://"]).take(pa.array(random.integers(0, 2, count)))
    path = pa.array(PATHS).take(pa.array(random.integers(0, len(PATHS), count)))
    number = pc.cast(pa.array(np.arange(start, start + count)), pa.string())
    hashed = pc.cast(pa.array(random.integers(1 << 50, 1 << 62, count)), pa.string())
    parts = scheme, hosts, "/", path, "/", hashed, "-", number, ".jpg?w=640"
    return pc.binary_join_element_wise(*parts, "")


def _captions(random: _Random, words: pa.Array, count: int) -> pa.Array:
    """Nine words each, common ones more often than rare ones."""
    drawn = [(WORDS * random.random(count) ** 3).astype(np.int32) for _ in range(9)]
    return pc.binary_join_element_wise(*(words.take(pa.array(one)) for one in drawn), " ")


def plan(recipe: str, out: str) -> dict[str, Any]:
    """Survey a list and plan its shards, as `pairmill ingest` begins; what that took."""
    build = Build(load_recipe(recipe), out, engine=Engine("procs", 2))
    sources = make_sources(build.recipe)
    units = all_units(build.recipe, sources)
    job = ingest.IngestJob(build.root, "plan", sources, ROWS_PER_SHARD)
    tasks = [(f"{number:06d}", (number, unit)) for number, unit in enumerate(units)]
    begun = _spent()
    build.stage("survey", partial(ingest.survey_unit, job=job), tasks, lambda _: False)
    surveyed = _spent()
    writes = ingest.plan_writes(job, units)
    planned = _spent()
    driver, worker = (
        resource.getrusage(who).ru_maxrss << 10
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    parts = [task.partition for task in writes if isinstance(task, ingest.FetchTask)]
    paths = [routing.rows_path(build.root, number) for number in range(len(units))]
    sites = pa.chunked_array(
        [c for p in paths for c in pq.read_table(p, columns=["site"])[0].chunks]
    )
    sizes = [sum(count for _, count in part.rows) for part in parts]
    return {
        "survey": (surveyed - begun).tolist(),
        "plan": (planned - surveyed).tolist(),
        "driver": driver,
        "worker": worker,
        "units": len(units),
        "shards": sum(len(task.shards) for task in writes),
        "rows": sum(sizes),
        "sites": pc.count_distinct(sites).as_py(),
        "partitions": len(parts),
        "largest": max(sizes),
        "losers": sum(len(ingest.losers_of(build.root, n)) for n in range(len(units))),
        "stored": sum(path.stat().st_size for path in Path(out).rglob("*.parquet")),
    }


def _spent() -> npt.NDArray[np.float64]:
    """Wall and CPU seconds, of children that have ended as well."""
    times = os.times()
    return np.array([time.monotonic(), sum(times[:4])])


def measured(work: Path, listed: Path) -> tuple[dict[str, Any], float]:
    """What `plan` says in a process of its own, and the sum of all processes at its highest."""
    recipe, out = work / "recipe.yaml", work / "out"
    recipe.write_text(RECIPE.format(table=listed.name, rows_per_shard=ROWS_PER_SHARD))
    shutil.rmtree(out, ignore_errors=True)
    here = [python(), "-m", "benchmarks.planning", "--data", str(work)]
    cost = measure([*here, "--plan", str(recipe), str(out)])
    shutil.rmtree(out)
    found: dict[str, Any] = json.loads(cost.output.strip().rpartition("\n")[2])
    return found, cost.peak_bytes


def shown(found: dict[str, Any]) -> str:
    """The costs as a table."""
    rows = []
    for step, who in (("survey", "worker"), ("plan", "driver")):
        wall, cpu = found[step]
        each = f"{1e6 * cpu / found['rows']:.1f}"
        rows.append([step, f"{wall:.0f}", f"{cpu:.0f}", each, f"{found[who] / 1e9:.2f}"])
    both = np.add(found["survey"], found["plan"])
    most = max(found["worker"], found["driver"]) / 1e9
    each = f"{1e6 * both[1] / found['rows']:.1f}"
    rows.append(["both", f"{both[0]:.0f}", f"{both[1]:.0f}", each, f"{most:.2f}"])
    return table(["what", "wall s", "CPU s", "CPU µs a row", "GB of its largest process"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=textwrap.dedent(__doc__ or ""))
    parser.add_argument("--data", type=Path, required=True, help="where list and survey go")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--plan", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plan:
        print(json.dumps(plan(*options.plan)))
        return
    work = options.data / "planning"
    listed = work / f"list-{options.rows}"
    if not listed.exists():
        make_list(listed, options.rows)
    print(machine(), flush=True)
    found, together = measured(work, listed)
    print(
        f"\n{found['rows']:,} rows in {found['units']} units; {found['sites']:,} sites;"
        f" {found['shards']:,} shards of {ROWS_PER_SHARD} rows in {found['partitions']:,}"
        f" partitions, the largest of {found['largest']:,} rows; {found['losers']:,} rows are"
        f" pairs that came before; {found['stored'] / 1e9:.2f} GB on disk; all processes together"
        f" {together / 1e9:.2f} GB\n"
    )
    print(shown(found))


if __name__ == "__main__":
    main()
