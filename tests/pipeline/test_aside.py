"""Work in a thread that can be left behind."""

import threading

import pytest

from pipeline import aside


def test_what_the_work_gives_or_raises_comes_back():
    assert aside.begin(lambda: 3).result(5) == 3
    with pytest.raises(SystemExit, match="4"):
        aside.begin(lambda: exit(4)).result(5)


def test_nobody_need_wait_for_it():
    go_on = threading.Event()
    outcome = aside.begin(lambda: go_on.wait(30))
    with pytest.raises(TimeoutError):
        outcome.result(0.05)
    go_on.set()
    assert outcome.result(5)
