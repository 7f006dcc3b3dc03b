"""Progress is a bar on a terminal and a line per shard elsewhere; failures are always seen."""

import io
import logging
import re

import pytest

from pipeline.progress import BarProgress, LogProgress, Progress, choose_progress

DONE = {"status": "done", "stats": {}, "wall_s": 2.0}
FAILED = {"status": "failed", "error": "ValueError: [bad] tar"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show(progress: Progress) -> None:
    progress.begin("score", 3)
    progress.ended("00000", DONE)
    progress.ended("00001", FAILED)
    progress.finish()


def test_a_line_per_shard_with_count_rate_and_time_left(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        show(LogProgress())
    first, second = caplog.records
    line = r"score: 00000 done in 2\.0 s \(1 of 3, [\d,.]+ a minute, 0:00:00 left\)"
    assert re.fullmatch(line, first.getMessage())
    assert second.getMessage().startswith("score: 00001 failed: ValueError: [bad] tar (2 of 3, ")
    assert (first.levelno, second.levelno) == (logging.INFO, logging.WARNING)


def test_a_line_of_scoring_says_how_long_was_loaded_and_waited(caplog):
    with caplog.at_level(logging.INFO):
        progress = LogProgress()
        progress.begin("score clip", 3)
        progress.ended("00000", DONE | {"stats": {"rows": 9, "load_s": 1.26, "wait_s": 0.04}})
    line = "done in 2.0 s, of which loading 1.3 s, waiting for data 0.0 s (1 of 3, "
    assert line in caplog.records[0].getMessage()


def test_a_bar_leaves_failures_on_the_screen() -> None:
    stream = Terminal()
    show(BarProgress(stream))
    assert "score: 00001 failed: ValueError: [bad] tar" in stream.getvalue()
    assert "2/3" in stream.getvalue()


def test_log_lines_stand_above_a_bar() -> None:
    stream, logger = Terminal(), logging.getLogger("pipeline.told")
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    try:
        progress = BarProgress(stream)
        progress.begin("ingest", 3)
        logger.warning("waiting for a.org")
        progress.finish()
        logger.warning("behind the bar")
    finally:
        logging.getLogger().removeHandler(handler)
    before, line, after = stream.getvalue().partition("waiting for a.org\n")
    assert line
    assert before.endswith("\x1b[2K")  # the line was emptied first
    assert "ingest" in after
    assert after.endswith("behind the bar\n")


def test_a_bar_is_for_terminals() -> None:
    assert isinstance(choose_progress(Terminal()), BarProgress)
    assert isinstance(choose_progress(io.StringIO()), LogProgress)
