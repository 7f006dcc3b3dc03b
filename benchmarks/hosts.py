"""What hosts that are dead or slow cost the fetch of a list: three of ten fail, in many ways.

    python -m benchmarks.hosts --data FOLDER [--count 10000] [--paces 2 20]
    python -m benchmarks.hosts --data FOLDER --hosts 8000 --even [--count 24000]

A list of JPEGs of 700 px at 150 addresses of loopback, of which 45 do not answer as they should
(benchmarks/failing.py), large and small hosts alike; and the same list without the rows of those.
Both through `pairmill ingest`, whose limits of time, attempts and patience are the defaults; the
pace of 2 requests a second and site is, too. The largest host has some 3.5 % of the list: at the
default pace that alone takes minutes. `--even` gives every host as many rows: with thousands of
hosts, three requests of four are for what a host asks of its visitors.
"""

import argparse
import os
import shutil
import subprocess
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.failing import KINDS, LATER
from benchmarks.fetching import PICTURES, serving
from benchmarks.measure import Cost, machine, measure, python, table
from benchmarks.pictures import make
from pipeline import pool

HEAVY = 10.0  # the n-th largest host has a share of 1 / (n + HEAVY)
FAILING = (2, 5, 8)  # of each ten hosts, in the order of their sizes
ENGINES = {"local": ["--engine", "local"], "procs 2": ["--engine", "procs", "--workers", "2"]}
RECIPE = """\
sources:
  list:
    table: {table}
    url: url
    caption: text
    fetch: {{allow_hosts: [{hosts}], per_host_per_second: {pace}}}
ingest: {{rows_per_shard: {per_shard}}}
"""


def addresses(count: int) -> list[str]:
    return [f"127.0.{1 + number // 250}.{1 + number % 250}" for number in range(count)]


def kinds(hosts: Sequence[str]) -> dict[str, str]:
    """What each failing host does, by address: from the first request on, or at images alone."""
    failing = [address for n, address in enumerate(hosts) if n % 10 in FAILING]
    ways = [name + late for late in ("", LATER) for name in KINDS]
    ways = [way for way in ways if way not in (f"refuses{LATER}", f"swallows{LATER}")]
    order = np.random.default_rng(3).permutation(len(failing))
    return {failing[place]: ways[n % len(ways)] for n, place in enumerate(order.tolist())}


@dataclass(frozen=True)
class Listed:
    """URLs of pictures at some hosts, each with a share of them."""

    photos: Path
    count: int
    hosts: Sequence[str]
    is_even: bool = False

    def write(self, path: Path, port: int, without: frozenset[str]) -> int:
        """A table of them, less those of some hosts; returns how many there are."""
        shares = 1 / (np.arange(len(self.hosts)) + (1e9 if self.is_even else HEAVY))
        ends = np.round(self.count * np.cumsum(shares) / shares.sum()).astype(int)
        of_row = np.searchsorted(ends, np.arange(self.count), side="right")
        names = sorted(file.name for file in self.photos.glob("*.jpg"))
        urls, texts = [], []
        for number in np.random.default_rng(5).permutation(self.count).tolist():
            address, name = self.hosts[of_row[number]], names[number % len(names)]
            if address not in without:
                urls.append(f"http://{address}:{port}/{name}?row={number}")
                texts.append((self.photos / name).with_suffix(".txt").read_text())
        pq.write_table(pa.table({"url": urls, "text": texts}), path)
        return len(urls)


@contextmanager
def failing(port: int, ways: dict[str, str]) -> Iterator[None]:
    """The failing hosts, in a process of their own."""
    words = [f"{way}:{address}" for address, way in ways.items()]
    process = subprocess.Popen(
        [python(), "-m", "benchmarks.failing", str(port), *words], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Case:
    """A pace, an engine, and how many rows make a shard."""

    pace: float
    engine: str
    per_shard: int

    def run(self, work: Path, listed: Path, hosts: Sequence[str]) -> tuple[Cost, Path]:
        """`pairmill ingest` of a list; its cost and its folder."""
        words = {"table": listed.name, "pace": f"{self.pace:g}", "per_shard": self.per_shard}
        recipe, out = work / "recipe.yaml", work / f"out-{listed.stem}"
        recipe.write_text(RECIPE.format(hosts=", ".join(hosts), **words))
        shutil.rmtree(out, ignore_errors=True)
        command = [python(), "-m", "pipeline", "ingest", str(recipe), "--out", str(out)]
        return measure([*command, *ENGINES[self.engine]]), out


def outcomes(out: Path, ways: dict[str, str]) -> Counter[tuple[str, str]]:
    """How many rows came to what, by what their host does."""
    made = pool.open_pool(str(out), None)
    assert made is not None
    found: Counter[tuple[str, str]] = Counter()
    for shard in made.shards:
        for row in pool.read_base(made.root, shard, ["url", "failed"]).to_pylist():
            host = urlsplit(row["url"]).hostname or ""
            found[ways.get(host, "answers"), row["failed"] or "fetched"] += 1
    return found


def rows(
    work: Path, listed: Listed, cases: Sequence[Case]
) -> Iterator[tuple[list[str], Counter[tuple[str, str]]]]:
    """Each case with and without the failing hosts: its figures, and what became of rows."""
    ways = kinds(listed.hosts)
    living = [address for address in listed.hosts if address not in ways]
    with serving(listed.photos, work, living) as port, failing(port, ways):
        whole, part = work / "all.parquet", work / "answering.parquet"
        listed.write(whole, port, frozenset())
        images = listed.write(part, port, frozenset(ways))
        for case in cases:
            load = os.getloadavg()[0]
            few, out = case.run(work, part, listed.hosts)
            assert set(outcomes(out, ways)) == {("answers", "fetched")}
            many, out = case.run(work, whole, listed.hosts)
            found = outcomes(out, ways)
            assert found["answers", "fetched"] == images
            yield (
                [
                    f"{case.pace:g}",
                    case.engine,
                    str(case.per_shard),
                    f"{few.wall_s:.0f}",
                    f"{many.wall_s:.0f}",
                    f"{many.wall_s / few.wall_s:.2f}",
                    f"{1000 * few.cpu_s / images:.1f}",
                    f"{1000 * many.cpu_s / images:.1f}",
                    f"{load:.1f}",
                ],
                found,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=textwrap.dedent(__doc__ or ""))
    parser.add_argument("--data", type=Path, required=True, help="where pictures and pools go")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--hosts", type=int, default=150)
    parser.add_argument("--even", action="store_true", help="as many rows of each host")
    parser.add_argument("--paces", type=float, nargs="+", default=[2, 20])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--per-shard", type=int, nargs="+", default=[1000])
    options = parser.parse_args()
    photos, work = options.data / "photos", options.data / "hosts"
    make(photos, PICTURES)
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    cases = [
        Case(pace, engine, size)
        for pace in options.paces
        for size in options.per_shard
        for engine in options.engines
    ]
    print(machine())
    hosts = addresses(options.hosts)
    ways = kinds(hosts)
    print(f"\n{options.count} URLs of {len(hosts)} hosts, of which {len(ways)} fail\n", flush=True)
    head = ["requests a second and site", "engine", "rows a shard", "s without", "s with", "ratio"]
    head += ["CPU ms an image without", "with", "load before"]
    print(table(head, []), flush=True)
    last: Counter[tuple[str, str]] = Counter()
    for row, last in rows(work, Listed(photos, options.count, hosts, options.even), cases):  # noqa: B007 (shown behind it)
        print(f"| {' | '.join(row)} |", flush=True)
    print()
    shown = [[way, reason, str(n)] for (way, reason), n in sorted(last.items())]
    print(table(["what its host does", "outcome (of the last run)", "rows"], shown))


if __name__ == "__main__":
    main()
