"""Pairs of languages for Apertium's way of running programs: one program each, a few words."""

import os
import stat
import sys
from pathlib import Path

import pytest

from recaption import apertium

_PROGRAM = """#!{python} -u
import re, sys, time
words = {words!r}
out, text = sys.stdout.buffer, b""
while sign := sys.stdin.buffer.read(1):
    if sign != b"\\0":
        text += sign
        continue
    said = text.decode()
    if "bomb" in said: sys.exit(1)
    if "sleep" in said: time.sleep(60)
    out.write(re.sub(r"\\w+", lambda m: words.get(m[0], m[0]), said).encode() + b"\\0")
    out.flush()
    text = b""
"""


def made_up_pairs(
    folder: Path, patch: pytest.MonkeyPatch, pairs: dict[str, dict[str, str]]
) -> None:
    """Have these pairs and no others, `{"eng-spa": {"dog": "perro"}}`; over a bomb they die."""
    (folder / "modes").mkdir(parents=True)
    (folder / "data.bin").write_bytes(b"1")
    for name, words in pairs.items():
        program = folder / f"{name}-proc"
        program.write_text(_PROGRAM.format(python=sys.executable, words=words))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        mode = folder / "modes" / f"{name}.mode"
        mode.write_text(f"{name}-proc $1 '{folder}/data.bin'\n")
    patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    patch.setattr(apertium, "FOLDERS", (str(folder),))
    apertium.pair.cache_clear()
