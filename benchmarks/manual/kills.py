"""Builds that are killed at random moments and run again: what they ask for, and what they make."""

import io
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.manual import builds
from benchmarks.manual.site import ONCE_A_HOST, Asked, Site
from pipeline.fetch.spool import Spool

_WAIT_S = 120.0
_TIMES = ("fetched_at",)  # columns of the base that tell when something came


@dataclass(frozen=True)
class Killed:
    """Counts of one build: `again` are requests for what was asked for in an earlier run, and
    `stored` those of them whose answer had been stored. `in_crawl` are kills before the last page.
    """

    kills: int
    in_crawl: int
    requests: int
    again: int
    stored: int


def killed_build(site: Site, recipe: str, out: Path, moments: int, seed: int = 0) -> Killed:
    """Build with two workers, killed after so many requests each time, until it is done."""
    shutil.rmtree(out, ignore_errors=True)
    noise, file = random.Random(seed), builds.write(recipe, out)
    begun, kills, in_crawl, again, repeated = site.count, 0, 0, 0, 0
    known: set[str] = set()
    before: set[str] = set()
    while True:
        start = site.count
        limit = start + noise.randrange(50, 500) if kills < moments else None
        code = _run(site, file, out, limit)
        now = {_url(site, one) for one in site.asked(start) if one.path not in ONCE_A_HOST}
        again, repeated = again + len(now & before), repeated + len(now & known)
        before |= now
        if code == 0:
            break
        kills += 1
        in_crawl += not list(out.glob("pool/crawl/*/done.json"))
        known = stored(out)
    return Killed(kills, in_crawl, site.count - begun, again, repeated)


def _run(site: Site, recipe: Path, out: Path, limit: int | None) -> int:
    """Run a build, and kill it with all its processes once the server was asked so often."""
    words = builds.command("build", recipe, out, workers=2)
    process = subprocess.Popen(
        words,
        cwd=builds.HOME,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    deadline = time.monotonic() + _WAIT_S
    while process.poll() is None and time.monotonic() < deadline:
        if limit is not None and site.count >= limit:
            break
        time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"{' '.join(words)} ended with {code}")
    time.sleep(0.2)  # until the server has written down what was under way
    return code


def _url(site: Site, one: Asked) -> str:
    return f"http://{one.host}:{site.port}{one.path}"


def stored(out: Path) -> set[str]:
    """The URLs whose answers a killed build has on disk: in spools, pages or finished shards."""
    found: set[str] = set()
    for path in [*out.glob("pool/survey/*.spool"), *out.glob("pool/crawl/*/*.spool")]:
        found |= {name.rpartition(" ")[2] for name in _names(path)}
    for path in out.glob("pool/crawl/*/pages.parquet"):
        found |= set(pq.read_table(path, columns=["url"])["url"].to_pylist())
    for path in out.glob("pool/[0-9]*.parquet"):
        rows = pq.read_table(path, columns=["url", "attempts"]).to_pylist()
        found |= {row["url"] for row in rows if row["attempts"] is not None}
    return found


def _names(path: Path) -> Iterable[str]:
    """The names in a copy of a spool, which opening may shorten."""
    copy = path.with_name(f"{path.name}.copy")
    shutil.copyfile(path, copy)
    with copy.open("rb") as stream:
        label = stream.readline().decode().removeprefix("outcomes ").rstrip("\n")
    spool = Spool(str(copy), label)
    names = list(spool.names())
    spool.remove()
    return names


def differences(one: Path, other: Path) -> list[str]:
    """The files of two pools that are not the same bytes, of base files apart from times."""
    pools = [{path.name: path for path in (out / "pool").glob("[0-9]*.*")} for out in (one, other)]
    if sorted(pools[0]) != sorted(pools[1]):
        return ["the names of the shards"]
    return [name for name in sorted(pools[0]) if _said(pools[0][name]) != _said(pools[1][name])]


def _said(path: Path) -> bytes:
    if path.suffix != ".parquet":
        return path.read_bytes()
    table = pq.read_table(path).replace_schema_metadata(None).drop_columns(list(_TIMES))
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()
