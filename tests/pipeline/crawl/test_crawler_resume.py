import asyncio
import gzip
import json
import logging
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import pyarrow.parquet as pq
import pytest

from pipeline.crawl import crawl_record, crawler
from pipeline.crawl.crawler import crawl
from pipeline.errors import DamagedFile
from pipeline.fetch import fetcher
from pipeline.fetch.outcome import Outcome
from pipeline.fetch.spool import Spool
from tests.conftest import tree as files
from tests.fetch.asking import loopback
from tests.fetch.server import http, to
from tests.pipeline.crawl.sites import Made, archived, asked, crawled, html, of_child, options, page

KEPT = ("*.warc.gz", "pages.parquet", "done.json")
PLACE = ("offset", "fetched_at")


def graph(number=60, seed=1):
    """Pages of which each names four others; some lead elsewhere, some fail."""
    noise = random.Random(seed)
    answers = {}
    for n in range(number):
        links = [f"/{noise.randrange(number)}" for _ in range(4)]
        answers[f"/{n}"] = page(*links, more=f"<p>{noise.random()}")
    answers |= {"/7": to("/seven"), "/9": http(404), "/11": to("/on"), "/on": to("/eleven")}
    answers |= {"/seven": page("/50"), "/eleven": page("/51")}
    return {"/": page("/1", "/2", "/7", "/11"), **answers}


def late(answer, seconds, done=None):
    async def write(writer):
        await asyncio.sleep(seconds)
        if done is not None:
            done.append(answer)
        writer.write(answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))

    return write


@pytest.fixture
def same_second(monkeypatch):
    class Then(fetcher.datetime):
        @classmethod
        def now(cls, zone=None):
            return cls(2026, 1, 2, 3, 4, 5, tzinfo=zone)

    monkeypatch.setattr(fetcher, "datetime", Then)


def masked(folder):
    """What must be the same whenever pages were asked for: places shift with packed dates."""
    found = {}
    for path in folder.glob("*.warc.gz"):
        found[path.name] = re.sub(rb"WARC-Date: \S+", b"", gzip.decompress(path.read_bytes()))
    found["rows"] = pq.read_table(folder / "pages.parquet").drop_columns(PLACE).to_pylist()
    counts = json.loads((folder / "done.json").read_bytes())["counts"]
    return found | {"counts": {**counts, "files": sorted(counts["files"])}}


@pytest.mark.usefixtures("same_second")
def test_two_runs_give_the_same_bytes_whenever_answers_come(server, tmp_path):
    server.answers = graph()
    wanted = options(server, depth=9, max_pages=50, web={"per_host_at_once": 8, "read_s": 5})
    crawled(tmp_path / "a", wanted)
    orders = []
    for folder in "bc":
        noise, done = random.Random(folder), []
        server.answers = {
            path: late(one, noise.random() / 50, done) for path, one in graph().items()
        }
        crawled(tmp_path / folder, wanted)
        assert files(tmp_path / folder, *KEPT) == files(tmp_path / "a", *KEPT)
        orders.append(done)
    assert orders[0] != orders[1]


def test_a_crawl_that_is_done_asks_for_nothing(server, tmp_path):
    server.answers = graph()
    stats = crawled(tmp_path, options(server))
    before = files(tmp_path)
    server.asked.clear()
    assert crawled(tmp_path, options(server)) == stats
    assert server.asked == []
    assert files(tmp_path) == before
    assert set(before) == {".lock", "begun.json", *files(tmp_path, *KEPT)}


class Death(BaseException):
    """Ends a crawl where a kill would."""


def dies(folder, wanted):
    with pytest.raises(Death):
        crawl(str(folder), wanted, lookup=loopback)


def dies_at_the_end(folder, wanted, monkeypatch):
    def die(*_):
        raise Death

    with monkeypatch.context() as patch:
        patch.setattr(crawl_record, "finish", die)
        dies(folder, wanted)


@pytest.mark.parametrize("last", [0, 1, 2, 30, 49])
@pytest.mark.parametrize("where", ["put", "settle"])
@pytest.mark.usefixtures("same_second")
def test_a_crawl_that_died_goes_on(server, tmp_path, monkeypatch, where, last):
    server.answers = graph()
    wanted = options(server, depth=9, max_pages=50)
    crawled(tmp_path / "whole", wanted)
    server.asked.clear()
    owner = {"put": Spool, "settle": crawler._Run}[where]
    whole, calls = getattr(owner, where), Counter()

    def deadly(*arguments):
        if calls["done"] == last:
            raise Death
        calls["done"] += 1
        return whole(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(owner, where, deadly)
        dies(tmp_path / "b", wanted)
    assert not (tmp_path / "b" / "done.json").exists()
    assert not (tmp_path / "b" / "pages.parquet").exists()
    stored = answered(tmp_path / "b", wanted.digest)
    assert len(stored) >= last
    server.asked.clear()
    crawled(tmp_path / "b", wanted)
    assert stored.isdisjoint(asked(server))
    assert files(tmp_path / "b", *KEPT) == files(tmp_path / "whole", *KEPT)


@pytest.mark.usefixtures("same_second")
def test_a_kill_before_the_journal_is_removed_is_harmless(server, tmp_path, monkeypatch):
    server.answers = graph()

    dies_at_the_end(tmp_path, options(server), monkeypatch)
    assert (tmp_path / "answers.spool").exists()
    before, count = files(tmp_path, *KEPT), len(asked(server))
    stats = crawled(tmp_path, options(server))
    assert len(asked(server)) == count
    assert files(tmp_path, *KEPT).items() > before.items()
    (tmp_path / "answers.spool").write_bytes(b"torn")
    assert crawled(tmp_path, options(server)) == stats
    assert not (tmp_path / "answers.spool").exists()


@pytest.mark.parametrize("is_done", [True, False])
def test_other_options_begin_anew_and_say_so(server, tmp_path, caplog, monkeypatch, is_done):
    server.answers = graph()
    if is_done:
        crawled(tmp_path, options(server, max_pages=40))
    else:
        dies_at_the_end(tmp_path, options(server, max_pages=40), monkeypatch)
    (tmp_path / "pages-00009.warc.gz").write_bytes(b"of the one before")
    (tmp_path / "notes.txt").write_text("not ours")
    server.asked.clear()
    caplog.clear()
    crawled(tmp_path, options(server, max_pages=5))
    assert asked(server)[0] == "/"
    assert ["begins anew" in one.message for one in caplog.records] == [True]
    assert not (tmp_path / "pages-00009.warc.gz").exists()
    assert (tmp_path / "notes.txt").exists()


def test_a_first_crawl_does_not_speak_of_another(server, tmp_path, caplog):
    server.answers = graph()
    crawled(tmp_path, options(server, max_pages=5))
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


def test_an_archive_that_was_changed_is_noticed(server, tmp_path):
    server.answers = graph()
    crawled(tmp_path, options(server))
    archive = tmp_path / "pages-00000.warc.gz"
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(DamagedFile, match=r"done\.json"):
        crawl(str(tmp_path), options(server))
    archive.unlink()
    with pytest.raises(DamagedFile, match="missing"):
        crawl(str(tmp_path), options(server))
    (tmp_path / "done.json").unlink()
    crawled(tmp_path, options(server))


def test_pages_read_back_as_they_were_served(server, tmp_path):
    bodies = {f"/{n}": html(f"/{n + 1}", more=f"größe {n}").encode("latin-1") for n in range(9)}
    kind = "Content-Type: text/html; charset=iso-8859-1"
    packed = gzip.compress(bodies["/3"])
    server.answers |= {path: http(200, body, kind) for path, body in bodies.items()}
    server.answers["/3"] = http(200, packed, kind, "Content-Encoding: gzip", "Set-Cookie: a=b")
    crawled(tmp_path, options(server, "/0", depth=20))
    found = archived(tmp_path)
    assert {one.url: one.html for one in found} == {
        server.url(path): body for path, body in bodies.items()
    }
    assert all(one.content_type == kind.partition(": ")[2] for one in found)
    names = {name for one in found for name, _ in one.headers}
    assert names == {"Content-Type", "Content-Length"}


CHILD = """
import sys
from pipeline.crawl.crawler import crawl
from tests.pipeline.crawl.sites import of_child
crawl(sys.argv[1], of_child(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_after_a_kill_at_any_moment_nothing_stored_is_asked_for_again(server, tmp_path, seed):
    noise = random.Random(seed)
    answers = graph(400, seed)
    server.answers = Made(lambda path: late(answers.get(path, http(404)), 0.002))
    wanted = of_child(server.url("/"))
    crawl(str(tmp_path / "whole"), wanted)
    kills, stored = 0, set()
    while not (tmp_path / "b" / "done.json").exists():
        server.asked.clear()
        child = subprocess.Popen([sys.executable, "-c", CHILD, tmp_path / "b", server.url("/")])
        moment = noise.randrange(1, 160)
        while child.poll() is None and len(asked(server)) < moment:
            time.sleep(0.002)
        time.sleep(noise.random() / 50)
        child.kill()
        assert child.wait() in (0, -signal.SIGKILL)
        kills += child.returncode != 0
        assert stored.isdisjoint(asked(server))
        stored = answered(tmp_path / "b", wanted.digest)
    assert kills >= 2
    assert masked(tmp_path / "b") == masked(tmp_path / "whole")


def answered(folder, digest):
    """The paths whose answers a killed crawl has stored."""
    if not (folder / "answers.spool").exists():
        return set()
    spool = Spool(str(folder / "answers.spool"), digest)
    found = {"/" + name.split("/", 3)[3] for name in spool.names()}
    assert all(isinstance(spool.get(name), Outcome) for name in spool.names())
    spool.close()
    return found
