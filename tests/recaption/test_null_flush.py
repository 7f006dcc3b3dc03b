import sys
import time

import pytest

from recaption.null_flush import Row

ECHO = """
import sys
text = b""
while sign := sys.stdin.buffer.read(1):
    if sign != b"\\0":
        text += sign
        continue
    if text == b"die":
        sys.exit(3)
    if text == b"hang":
        import time; time.sleep(60)
    if text == b"tell":
        print("told", file=sys.stderr, flush=True)
    sys.stdout.buffer.write(text.upper() + (b"\\0x\\0" if text == b"twice" else b"\\0"))
    sys.stdout.buffer.flush()
    text = b""
"""
PROGRAM = (sys.executable, "-c", ECHO)


def test_answers_are_in_order_and_programs_live_on():
    row = Row([PROGRAM, PROGRAM])
    assert row.exchange([b"a", b"", b"c\n"]) == ([b"A", b"", b"C\n"], None)
    first = row._running[0].pid
    assert row.exchange([b"d"]) == ([b"D"], None)
    assert row._running[0].pid == first
    assert row.exchange([]) == ([], None)
    row.close()


def test_more_than_a_pipe_holds():
    row = Row([PROGRAM])
    texts = [b"x" * 1000] * 300
    assert row.exchange(texts) == ([b"X" * 1000] * 300, None)
    row.close()


def test_a_program_that_dies_leaves_what_it_answered_and_a_reason():
    row = Row([PROGRAM, PROGRAM])
    found, why = row.exchange([b"a", b"die", b"b"])
    assert found == [b"A"]
    assert "ended with 3" in why
    assert row.exchange([b"b"]) == ([b"B"], None)
    row.close()


@pytest.mark.slow
def test_a_program_that_hangs_is_ended():
    row = Row([PROGRAM], timeout_s=1)
    row.exchange([b"warm"])
    started = time.monotonic()
    found, why = row.exchange([b"a", b"hang", b"b"])
    assert (found, why) == ([b"A"], "no answer for 1 s")
    assert time.monotonic() - started < 10
    assert not row._running
    assert row.exchange([b"b"]) == ([b"B"], None)
    row.close()


def test_a_program_that_is_not_there_is_a_reason():
    found, why = Row([("/nowhere/program",)]).exchange([b"a"])
    assert found == []
    assert "FileNotFoundError" in why


def test_answers_out_of_step_are_none():
    found, why = Row([PROGRAM]).exchange([b"twice"])
    assert (found, why) == ([], "more answers than texts")


def test_messages_of_the_heeded_program_are_there_with_the_answers():
    row = Row([PROGRAM, PROGRAM], heeded=0)
    row.exchange([b"a"])
    assert row.messages() == b""
    row.exchange([b"tell", b"a"])
    assert row.messages() == b"told\n"
    assert row.messages() == b""
    row.close()
