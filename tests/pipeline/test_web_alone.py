"""A partition of URLs has one process at a time, keeps the pace of before, and lets images go."""

import asyncio
import gc
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline import ingest, pool, web_ingest
from pipeline.build import Build
from pipeline.ingest import FetchTask
from pipeline.pool_rows import Keyed, Place, write_shard
from pipeline.recipe import parse_recipe
from pipeline.sources.base import Incoming
from pipeline.sources.of_recipe import all_units, make_sources
from pipeline.stage import Ending
from tests import pictures
from tests.fetch.server import Server, Writer, http, serving

ROWS = 24
RECIPE = """\
sources:
  web: {table: urls.csv, url: url, caption: alt, fetch: {allow_hosts: [127.0.0.1, 127.0.0.2], %s}}
ingest: {rows_per_shard: 3}
"""


@pytest.fixture
def server():
    with serving(addresses=("127.0.0.1", "127.0.0.2")) as running:
        for number in range(ROWS):
            running.answers[f"/{number}.jpg"] = http(200, pictures.jpeg(number))
        yield running


def build_of(folder: Path, server: Server, fetch: str) -> Build:
    urls = [server.url(f"/{number}.jpg") for number in range(ROWS)]
    lines = ["url,alt", *(f"{url},{number}" for number, url in enumerate(urls))]
    (folder / "urls.csv").write_text("\n".join(lines))
    recipe = parse_recipe(RECIPE % fetch, str(folder / "recipe.yaml"))
    return Build(recipe, str(folder / "out"))


def surveyed(build: Build) -> tuple[ingest.IngestJob, FetchTask]:
    """The one partition of a build, not fetched yet."""
    sources = make_sources(build.recipe)
    units = all_units(build.recipe, sources)
    job = ingest.IngestJob(build.root, "plan", sources, rows_per_shard=3)
    ingest.survey_unit((0, units[0]), job)
    (task,) = ingest.plan_writes(job, units)
    assert isinstance(task, FetchTask)
    return job, task


def failures(made: pool.Pool) -> Counter[str | None]:
    tables = [pool.read_base(made.root, shard, ["failed"]) for shard in made.shards]
    return Counter(reason for table in tables for reason in table["failed"].to_pylist())


@pytest.mark.slow
def test_two_who_fetch_a_partition_ask_for_nothing_twice(tmp_path, server):
    """As when a worker that nobody waits for any more has not noticed, and another has its task."""
    job, task = surveyed(build_of(tmp_path, server, "per_host_per_second: 20"))
    with ThreadPoolExecutor(2) as both:
        found = list(both.map(ingest.write_task, [task, task], [job, job]))
    assert found == [{"rows": ROWS, "samples": ROWS}] * 2
    images = Counter(path for path in server.paths() if path.endswith(".jpg"))
    assert set(images.values()) == {1}
    times = sorted(asked.at for asked in server.asked)
    assert max(sum(t <= s < t + 1 for s in times) for t in times) <= 20


@pytest.mark.slow
@pytest.mark.parametrize("root", ["here", "memory://pool-of-alone"])
def test_who_goes_on_lets_the_last_second_pass(tmp_path, monkeypatch, root):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    where = str(tmp_path) if root == "here" else root
    (tmp_path / "pool" / "survey").mkdir(parents=True)
    started = time.monotonic()
    with web_ingest.alone("pages", where):
        assert time.monotonic() - started < 0.5
    with web_ingest.alone("pages", where):
        assert time.monotonic() - started >= 1


@pytest.mark.slow
def test_a_site_of_many_rows_has_the_time_that_its_pace_takes(tmp_path, server):
    """All its rows at once would take two seconds, and more than is allowed."""
    build = build_of(tmp_path, server, "per_host_per_second: 12, shard_s: 1.2")
    assert failures(build.ingest()) == {None: ROWS}


@pytest.mark.slow
def test_a_partition_that_waits_leaves_room_for_the_next(tmp_path, server, monkeypatch):
    """What is slow of it goes on beside, and is there in the end."""
    released = threading.Event()

    async def waits(writer: Writer) -> None:
        await asyncio.to_thread(released.wait, 20)
        writer.write(http(200, pictures.jpeg(5)))

    server.answers["/5.jpg"] = waits
    monkeypatch.setattr("pipeline.fetch.room._FOR_S", 0.0)
    monkeypatch.setattr("pipeline.fetch.room._CPU", 1e9)
    build = build_of(tmp_path, server, "per_host_per_second: 1000, read_s: 20, request_s: 20")
    job, task = surveyed(build)
    rest = ingest.write_task(task, job)
    assert isinstance(rest, Ending)
    released.set()
    assert rest() == {"rows": ROWS, "samples": ROWS}


@pytest.mark.slow
def test_images_that_are_written_are_let_go(tmp_path, server, monkeypatch):
    held = []

    def watched(place: Place, rows: Iterable[Keyed], check: Callable[[bytes], None]) -> pool.Shard:
        def counted() -> Iterable[Keyed]:
            for row in rows:
                known = (one for one in gc.get_objects() if type(one) is Incoming)
                held.append(sum(one.image is not None for one in known))
                yield row

        return write_shard(place, counted(), check)

    monkeypatch.setattr(web_ingest, "write_shard", watched)
    build_of(tmp_path, server, "per_host_per_second: 1000").ingest()
    assert len(held) == ROWS
    assert max(held) <= 2


@pytest.mark.slow
def test_a_crawl_delay_lies_between_the_last_page_and_the_first_image(tmp_path, server):
    server.answers |= {
        "/robots.txt": http(200, b"User-agent: *\nCrawl-delay: 1.3\n"),
        "/": http(200, b'<html><img src="/1.jpg" alt="a"></html>', "Content-Type: text/html"),
    }
    fetch = "fetch: {allow_hosts: [127.0.0.1], refuse: []}"
    text = f"sources: {{site: {{crawl: ['{server.url('/')}'], depth: 0, {fetch}}}}}"
    recipe = parse_recipe(text, str(tmp_path / "recipe.yaml"))
    assert failures(Build(recipe, str(tmp_path / "out")).ingest()) == {None: 1}
    assert server.paths() == ["/robots.txt", "/", "/robots.txt", "/1.jpg"]
    times = [asked.at for asked in server.asked]
    assert min(after - before for before, after in pairwise(times)) >= 1.29
