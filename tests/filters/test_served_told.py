"""A server that wants to be left alone for long: the run says so, once, and when it goes on."""

import asyncio
import logging
import re

import pytest

from filters import served_calls
from filters.served_calls import Line
from filters.served_errors import Again, ServerUnavailable
from filters.served_types import Server

KEY = b"k" * 32


def rests(waits, caplog, endpoints=1):
    """What is said when attempts at the first endpoint fail, each with a wait that it asks for."""
    urls = tuple(f"http://127.0.0.1:{9 + i}/v1" for i in range(endpoints))

    async def work() -> None:
        line = Line(Server(urls, "tiny", backoff=0.0), None)
        for wait_s in waits:
            again = Again(ServerUnavailable("429: slow down"), wait_s, rests=True)
            line._back_off(again, line.endpoints[0], 1, KEY)

    with caplog.at_level(logging.INFO):
        asyncio.run(work())
    return [record.getMessage() for record in caplog.records]


def test_a_long_rest_is_told_once_with_its_end(caplog):
    (said,) = rests([45.0] * 8, caplog)
    assert re.fullmatch(
        r"http://127\.0\.0\.1:9/v1: 429: slow down; asked again in 45 s, at \d\d:\d\d:\d\d:"
        r" the run goes on then",
        said,
    )


def test_a_rest_that_becomes_much_longer_is_told_again(caplog):
    assert len(rests([10.0, 11.0, 40.0, 41.0], caplog)) == 2


@pytest.mark.parametrize("wait_s", [0.0, 1.0, served_calls.TOLD_S - 0.1, None])
def test_a_short_rest_is_not_worth_a_word(caplog, wait_s):
    assert rests([wait_s], caplog) == []


def test_others_that_are_asked_meanwhile_are_told_of(caplog):
    (said,) = rests([30.0], caplog, endpoints=2)
    assert said.endswith("others are asked meanwhile")
