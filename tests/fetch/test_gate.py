"""All who share a gate keep the pace of a site together, and nobody dead holds a place for long."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.fetch import gate as gates
from pipeline.fetch.door import opened
from pipeline.fetch.gate import PLACES, Gate, Waiting, gate
from tests import pictures
from tests.fetch.asking import loopback, quick
from tests.fetch.server import Server, http, to


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "folder" / "pace")


def left(found: int | Waiting) -> float:
    assert isinstance(found, Waiting)
    return found.seconds


def test_a_place_is_free_a_period_after_it_was_given_back(path):
    with gate(path) as one:
        places = [one.take("a.test", 2), one.take("a.test", 2)]
        assert 0 < left(one.take("a.test", 2)) < 1  # held: who knows for how long
        for place in places:
            assert isinstance(place, int)
            one.give_back(place, 0.3)
        assert 0.1 < left(one.take("a.test", 2)) <= 0.3
        time.sleep(0.35)
        assert one.take("a.test", 2) in places


def test_sites_have_places_of_their_own(path):
    with gate(path) as one:
        found = [one.take(f"{n}.test", 1) for n in range(1000)]
        assert len(set(found)) == 1000
        assert all(isinstance(one.take(f"{n}.test", 1), Waiting) for n in range(1000))


def test_a_site_that_nobody_asks_any_more_leaves_its_places_to_another(path, monkeypatch):
    monkeypatch.setattr(gates, "SITES", 4)
    monkeypatch.setattr(gates, "_SIZE", 8 * 4 * (1 + PLACES))
    with gate(path) as one:
        held = [one.take(f"{n}.test", 1) for n in range(4)]
        assert left(one.take("another.test", 1)) > 0
        assert isinstance(held[2], int)
        one.give_back(held[2], 0.0)
        assert one.take("another.test", 1) == held[2]


def test_no_more_places_than_a_gate_has(path):
    with gate(path) as one:
        found = {one.take("a.test", 10_000) for _ in range(PLACES)}
        assert len(found) == PLACES
        assert isinstance(one.take("a.test", 10_000), Waiting)


def test_all_of_a_process_have_one_file(path):
    before = len(os.listdir("/proc/self/fd"))
    with gate(path) as one, gate(path) as other:
        assert one is other
    assert len(os.listdir("/proc/self/fd")) == before


TAKES = """
import sys
from pipeline.fetch.gate import Gate
print(Gate(sys.argv[1]).take("a.test", 1), flush=True)
sys.stdin.read()
"""


def taking(path: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", TAKES, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_processes_share_it_and_what_the_dead_held_is_free_when_all_are_dead(path):
    with taking(path) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip().isdigit()
        with gate(path) as one:
            assert isinstance(one.take("a.test", 1), Waiting)
        process.kill()
    with gate(path) as one:
        assert isinstance(one.take("a.test", 1), int)


def test_what_the_dead_held_is_free_after_a_while(path, monkeypatch):
    monkeypatch.setattr(gates, "_HELD_S", 0.2)
    with gate(path) as one:
        assert isinstance(one.take("a.test", 1), int)
        assert isinstance(one.take("a.test", 1), Waiting)
        time.sleep(0.25)
        assert isinstance(one.take("a.test", 1), int)


def test_times_of_before_the_machine_was_started_mean_nothing(path):
    with gate(path) as one:
        place = one.take("a.test", 1)
        assert isinstance(place, int)
        for value in (time.monotonic() + 1e6, -time.monotonic() - 1e6):
            one._places[place] = value
            assert one.take("a.test", 1) == place


def test_a_file_that_cannot_be_mapped_is_an_error(tmp_path):
    (tmp_path / "folder").write_text("no folder")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="folder"):
        Gate(str(tmp_path / "folder" / "pace"))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.slow
@pytest.mark.parametrize("pace", [4, 300])
def test_doors_at_a_gate_keep_the_pace_of_where_redirects_lead(server: Server, path, pace):
    names = [f"{letter}.test" for letter in "abc"]
    for name in names:
        for n in range(3):
            server.answers[f"{name}/{n}"] = to(server.url(f"/{name}-{n}", "d.test"))
    server.otherwise = http(200, pictures.jpeg(0))
    options = quick(*names, "d.test", per_host_per_second=pace, host_s=30)

    def fetch(name: str) -> list[str | None]:
        urls = [server.url(f"/{n}", name) for n in range(3)]
        with gate(path) as one, opened(options, loopback, gate=one) as door:
            return [outcome.failed for _, outcome in door.fetched(urls)]

    with ThreadPoolExecutor(3) as all_:
        assert list(all_.map(fetch, names)) == [[None] * 3] * 3
    at = [asked.at for asked in server.asked if asked.host == "d.test"]
    assert max(sum(t <= s < t + 1 for s in at) for t in at) <= pace
