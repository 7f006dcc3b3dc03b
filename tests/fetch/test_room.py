"""A fetch leaves room for another when neither hosts nor this process are busy."""

import time

import pytest

from pipeline.fetch.engine import Progress
from pipeline.fetch.room import Room


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    now = {"wall": 0.0, "cpu": 0.0}
    monkeypatch.setattr(time, "monotonic", lambda: now["wall"])
    monkeypatch.setattr(time, "process_time", lambda: now["cpu"])
    return now


def looks(clock: dict[str, float], cpu: float, busy: bool, seconds: int) -> list[float]:
    """When room is found, looked for every second."""
    found: list[float] = []
    room = Room(lambda: found.append(clock["wall"]))
    for _ in range(seconds + 1):
        room.look(Progress(0, 1, "", busy))
        clock["wall"] += 1
        clock["cpu"] += cpu
    return found


def test_there_is_room_beside_who_waits(clock):
    assert looks(clock, cpu=0.1, busy=False, seconds=5) == [3, 4, 5]


def test_there_is_none_beside_a_busy_process(clock):
    assert looks(clock, cpu=0.9, busy=False, seconds=30) == []


def test_there_is_none_while_many_hosts_answer(clock):
    assert looks(clock, cpu=0.1, busy=True, seconds=30) == []
