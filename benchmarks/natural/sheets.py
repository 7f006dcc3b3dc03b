"""What labellers see: numbered pictures with their texts on sheets, and an empty form.

Neither says where a pair comes from, nor what any score thinks of it.
"""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from benchmarks.embedded.features import load
from benchmarks.natural.pages import Pair

Array = np.ndarray[Any, Any]
PER_SHEET, COLUMNS = 10, 5
SIDE = 256
VERDICTS = (0, 1, 2)
_WIDTH, _TOP = 300, 34  # pixels of a cell, and above its picture
_ROOM = _WIDTH - 24
_FONT, _LINE = 17, 21


def write_sheets(out: Path, deb: Path, pairs: Sequence[Pair]) -> int:
    """Write OUT/sheet-01.png and on, and OUT/labels.csv without verdicts; how many sheets it is."""
    out.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(pairs), PER_SHEET)
    for number, start in enumerate(starts, start=1):
        pictures = [load(deb / pair.path) for pair in pairs[start : start + PER_SHEET]]
        texts = [pair.text for pair in pairs[start : start + PER_SHEET]]
        sheet(pictures, texts, start + 1).save(out / f"sheet-{number:02d}.png")
    with (out / "labels.csv").open("w", newline="", encoding="utf-8") as form:
        rows = csv.writer(form, lineterminator="\n")
        rows.writerow(["number", "verdict"])
        rows.writerows([n, ""] for n in range(1, len(pairs) + 1))
    return len(starts)


def sheet(pictures: Sequence[Array], texts: Sequence[str], first: int) -> Image.Image:
    """Up to ten pictures [h, w, 3], each with its number above and its whole text beneath."""
    font = ImageFont.load_default(_FONT)
    told = [_lines(text, font.getlength) for text in texts]
    height = _TOP + SIDE + _LINE * (max(map(len, told)) + 1)
    rows = -(-len(pictures) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * _WIDTH, rows * height), "white")
    ink = ImageDraw.Draw(page)
    for place, (pixels, lines) in enumerate(zip(pictures, told, strict=True)):
        left, top = _WIDTH * (place % COLUMNS), height * (place // COLUMNS)
        ink.rectangle((left, top, left + _WIDTH - 1, top + height - 1), outline="black")
        ink.text((left + 8, top + 6), f"{first + place}", fill="black", font=font)
        framed = ImageOps.contain(Image.fromarray(pixels), (SIDE, SIDE))
        framed = ImageOps.expand(framed, 1, "grey")
        corner = (_WIDTH - framed.width) // 2, _TOP + (SIDE - framed.height) // 2
        page.paste(framed, (left + corner[0], top + corner[1]))
        for number, line in enumerate(lines):
            at = (left + 12, top + _TOP + SIDE + 8 + number * _LINE)
            ink.text(at, line, fill="black", font=font)
    return page


def _lines(text: str, length: Callable[[str], float]) -> list[str]:
    """The words of a text on lines that fit into a cell; a word that does not is cut."""
    lines = [""]
    for word in text.split():
        if lines[-1] and length(f"{lines[-1]} {word}") <= _ROOM:
            lines[-1] += f" {word}"
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if length(lines[-1] + letter) > _ROOM:
                lines.append("")
            lines[-1] += letter
    return lines


def read_labels(path: Path, count: int) -> list[int]:
    """The verdicts on pairs 1 to `count`. Raises ValueError for one that is missing or unknown."""
    with path.open(newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.DictReader(lines))
    told = {int(row["number"]): row["verdict"].strip() for row in rows}
    if len(told) < len(rows):
        raise ValueError(f"{path}: a number is there twice")
    if sorted(told) != list(range(1, count + 1)):
        raise ValueError(f"{path}: {len(told)} pairs, but 1 to {count} were to be labelled")
    known = {str(verdict) for verdict in VERDICTS}
    wrong = [number for number, verdict in sorted(told.items()) if verdict not in known]
    if wrong:
        raise ValueError(f"{path}: no verdict of {', '.join(sorted(known))} on {wrong}")
    return [int(told[number]) for number in range(1, count + 1)]
