"""Sheets of images for the eye, each with its size, what became of it, and its text."""

import random
from collections.abc import Sequence
from pathlib import Path

from benchmarks.embedded.features import load
from benchmarks.manual.builds import Row
from benchmarks.manual.site import Site
from benchmarks.natural.sheets import sheet

_PER_SHEET = 20


def write_sheets(
    site: Site, rows: Sequence[Row], folder: Path, name: str, count: int
) -> list[Path]:
    """FOLDER/NAME-1.png and on: a sample of the rows, drawn by a fixed seed."""
    folder.mkdir(parents=True, exist_ok=True)
    ordered = sorted(rows, key=lambda row: (row.path, row.caption or "", row.key))
    drawn = random.Random(0).sample(ordered, min(count, len(ordered)))
    made = []
    for start in range(0, len(drawn), _PER_SHEET):
        some = drawn[start : start + _PER_SHEET]
        file = folder / f"{name}-{start // _PER_SHEET + 1}.png"
        pictures = [load(site.file(row.url or "")) for row in some]
        sheet(pictures, [_told(row) for row in some], start + 1).save(file)
        made.append(file)
    return made


def _told(row: Row) -> str:
    size = "" if row.width is None else f"{row.width}x{row.height} "
    return f"{size}{row.fate}: {row.caption}"
