"""How long a selection over ten million rows takes, in seconds and memory, next to bare DuckDB.

    python -m benchmarks.selection [--rows 10000000] [--folder FOLDER] [--threads 2]

Makes (once) 100 Parquet files of ten columns, streams them through `where` x 2, `top` per
language, `one_per` and `draw`, and writes the verdicts. The bare run does the same steps on
tables of its own, without verdicts.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.select import VERDICTS, Resources, select
from pipeline.steps import Draw, OnePer, Step, Top, Where

FILES = 100
SIZE = "width >= 200 and height >= 200 and greatest(width, height) <= 3 * least(width, height)"
STEPS: dict[str, Step] = {
    "large": Where(SIZE),
    "worded": Where("caption_words >= 4"),
    "aligned": Top("clip_score", fraction=0.5, per=("language",)),
    "unique": OnePer("dup_group", "aesthetic"),
    "balanced": Draw("keep_probability"),
}
LANGUAGES = np.array(["en", "de", "fr", "es", "it", "ja", "zh", "ru", "pt", "nl", "pl", "tr"])
SOURCES = np.array(["commoncrawl", "wiki", "flickr", "laion", "forum-archive-2", "shop"])


def make_pool(folder: Path, rows: int) -> None:
    """Files of random columns, a few percent NULL; `dup_group` repeats like a crawl's."""
    folder.mkdir(parents=True, exist_ok=True)
    share = 1 / np.arange(1, len(LANGUAGES) + 1)
    for number in range(FILES):
        rng, n = np.random.default_rng(number), rows // FILES
        columns: dict[str, pa.Array] = {
            "key": pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(16), n, [None, pa.py_buffer(rng.bytes(16 * n))]
            ),
            "failed": pa.array(np.full(n, "http_404"), mask=rng.random(n) > 0.05),
        }
        values = {
            "caption_words": rng.poisson(9, n).astype(np.int32),
            "width": rng.integers(50, 3000, n, dtype=np.int32),
            "height": rng.integers(50, 3000, n, dtype=np.int32),
            "clip_score": rng.normal(0.2, 0.07, n).astype(np.float32),
            "aesthetic": rng.normal(5, 1, n).astype(np.float32),
            "keep_probability": rng.random(n, dtype=np.float32),
            "language": LANGUAGES[rng.choice(len(LANGUAGES), n, p=share / share.sum())],
            "source": SOURCES[rng.integers(0, len(SOURCES), n)],
            "dup_group": rng.integers(0, max(1, rows * 6 // 10), n),
            "has_face": rng.random(n) < 0.3,
        }
        for name, column in values.items():
            columns[name] = pa.array(column, mask=rng.random(n) < 0.02)
        pq.write_table(pa.table(columns), folder / f"{number:05d}.parquet")


def batches(folder: Path) -> Iterator[pa.RecordBatch]:
    for number, path in enumerate(sorted(folder.glob("*.parquet"))):
        table = pq.read_table(path).combine_chunks()
        n = len(table)
        table = table.append_column("shard", pa.array(np.full(n, number, np.int32)))
        table = table.append_column("row", pa.array(np.arange(n, dtype=np.int32)))
        yield from table.to_batches()


def ours(folder: Path, threads: int, memory_limit: str) -> list[int]:
    """Survivors after each step; verdicts go to a file beside the pool's folder."""
    spill = folder.parent / "spill"
    resources = Resources(spill, memory_limit=memory_limit, threads=threads)
    reports = ("language", "source")
    started = time.perf_counter()
    with select(batches(folder), STEPS, resources, report_by=reports) as selection:
        print(f"  until all steps have run: {time.perf_counter() - started:.1f} s")
        path = folder.parent / "verdicts.parquet"
        with pq.ParquetWriter(path, VERDICTS, use_dictionary=["verdict"]) as writer:
            for batch in selection.verdicts():
                writer.write_batch(batch)
        return [rows for _, rows in selection.summary.attrition]


def bare(folder: Path, threads: int, memory_limit: str) -> list[int]:
    """The same steps in DuckDB alone, each a table of what is left."""
    database = duckdb.connect()
    database.execute(f"set threads = {threads}; set memory_limit = '{memory_limit}'")
    database.execute(f"set temp_directory = '{folder.parent / 'spill-bare'}'")
    best = "partition by language order by clip_score desc nulls last, key"
    one = "partition by dup_group order by aesthetic desc nulls last, key"
    draw = "md5_number_lower(key) / 18446744073709551616.0"
    later = "key, dup_group, aesthetic, keep_probability"
    for name, sql in {
        "large": f"select clip_score, language, {later} from '{folder}/*.parquet'"
        f" where failed is null and {SIZE} and caption_words >= 4",
        "aligned": f"select {later} from large where clip_score is not null"
        f" qualify row_number() over ({best}) <= ceil(0.5 * count(*) over (partition by language))",
        "unique": f"select key, keep_probability from aligned"
        f" qualify dup_group is null or row_number() over ({one}) = 1",
        "balanced": f'select key from "unique" where {draw} < keep_probability',
    }.items():
        database.execute(f'create table "{name}" as {sql}')
    names = ("large", "aligned", "unique", "balanced")
    counts = [database.execute(f'select count(*) from "{name}"').fetchall() for name in names]
    return [found[0][0] for found in counts]


def measured(what: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Run one side in a process of its own; its wall time, CPU time, peak memory, result."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.selection",
        "--only",
        what,
        "--folder",
        str(arguments.folder),
    ]
    command += ["--threads", str(arguments.threads), "--memory-limit", arguments.memory_limit]
    started = time.perf_counter()
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    wall = time.perf_counter() - started
    *notes, last = lines.splitlines()
    found = json.loads(last)
    print(f"{what:5} {wall:6.1f} s wall, {found['cpu']:.1f} s CPU, {found['gb']:.2f} GB peak")
    print("\n".join([*notes, f"  survivors: {found['rows']}"]))
    return {"wall": wall, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, default=Path("pairmill-bench-select"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory-limit", default="2GB")
    parser.add_argument("--only", choices=("ours", "bare"))
    arguments = parser.parse_args()
    if arguments.only is None:
        if not (arguments.folder / f"{FILES - 1:05d}.parquet").exists():
            make_pool(arguments.folder, arguments.rows)
        walls = [measured(what, arguments)["wall"] for what in ("bare", "ours")]
        print(f"ratio {walls[1] / walls[0]:.2f}")
        return
    run = ours if arguments.only == "ours" else bare
    rows = run(arguments.folder, arguments.threads, arguments.memory_limit)
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6
    print(json.dumps({"cpu": round(cpu, 1), "gb": round(peak, 2), "rows": rows}))


if __name__ == "__main__":
    main()
