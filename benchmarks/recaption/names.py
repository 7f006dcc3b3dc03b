"""Whether names survive fusion by rules: of painters, paintings and monuments, known from GCompris.

What counts as a name is what the captions' own source says, not what the rules find.
"""

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks.embedded.qt_resources import members
from benchmarks.measure import table
from recaption.concepts import Concepts
from recaption.entities import says
from recaption.fusion import Fusion

_ARCHIVES = "deb/gcompris-qt-data/usr/share/gcompris-qt/rcc"
_PAINTING = re.compile(
    r'qsTr\("(?P<painter>[^",]+), (?P<title>[^"]+?)(?: - (?P<year>[\d-]+)\.?)?"\)'
)
_MONUMENT = re.compile(
    r'"title": qsTr\("(?P<title>[^"]+)"\),\s*"text": qsTr\("(?P<text>[^"]+)"\),\s*'
    r'"image2": "qrc:(?P<image>[^"]+)"'
)
PAINTED = "A painting."
"""The synthetic caption of each painting: the archive has them in pieces, which show nothing."""


class Named(NamedTuple):
    """What is known of a picture: names by what they are of, its text, and what is seen in it."""

    names: dict[str, str]
    text: str
    synthetic: str


FORMS: dict[str, Callable[[Named], str]] = {
    "as it stands": lambda one: one.text,
    "among words of selling": lambda one: f"{one.text} | Buy now, free shipping - poster_1234.jpg",
    "in small letters": lambda one: one.text.lower(),
    "Every Word In Capitals": lambda one: one.text.title(),
}


def tables(data: Path) -> str:
    """The share of names that a fused caption still says, by form of the raw caption."""
    folder = data / _ARCHIVES
    sets = {"paintings": read_paintings(folder), "monuments": read_monuments(folder)}
    return "\n\n".join(retention(name, listed) for name, listed in sets.items())


def retention(label: str, listed: Sequence[Named]) -> str:
    """A table: forms by names, each the share that fusion says, with the counts in the header."""
    kinds = list(dict.fromkeys(kind for one in listed for kind in one.names))
    rows = [("synthetic alone", *_shares(listed, [one.synthetic for one in listed], kinds))]
    for form, make in FORMS.items():
        raw = [make(one) for one in listed]
        rows.append((form, *_shares(listed, fused(raw, [one.synthetic for one in listed]), kinds)))
    counts = [f"{kind} ({sum(kind in one.names for one in listed)})" for kind in kinds]
    return table((f"{len(listed)} {label}", *counts), rows)


def fused(raw: Sequence[str], synthetic: Sequence[str]) -> list[str]:
    found = Fusion(synthetic="synthetic")({"caption": list(raw), "synthetic": list(synthetic)})
    return [str(row[0]["text"]) for row in found["captions"]]


def _shares(listed: Sequence[Named], texts: Sequence[str], kinds: Sequence[str]) -> list[str]:
    shares = []
    for kind in kinds:
        pairs = zip(listed, texts, strict=True)
        kept = [says(text, one.names[kind]) for one, text in pairs if kind in one.names]
        shares.append(f"{np.mean(kept):.0%}")
    return shares


def read_paintings(folder: Path) -> list[Named]:
    """Painter, title and year of each painting."""
    found = []
    for name, contents in members(folder / "paintings.rcc"):
        match = _PAINTING.search(contents.decode()) if name.endswith(".qml") else None
        if match is not None:
            names = {kind: text for kind, text in match.groupdict().items() if text}
            text = match[0].removeprefix('qsTr("').removesuffix('")')
            found.append(Named(names, text, PAINTED))
    return sorted(found, key=lambda one: one.text)


def read_monuments(folder: Path) -> list[Named]:
    """The monument's name, the first sentence about it, and what the captioner sees in its photo.

    Only texts that say the whole name, so that it can be lost.
    """
    files = dict(members(folder / "explore_monuments.rcc"))
    boards = (text.decode() for name, text in files.items() if "/board/" in name)
    found = {}
    for match in (one for board in boards for one in _MONUMENT.finditer(board)):
        text = match["text"].partition(". ")[0]
        if says(text, match["title"]) and match["image"] in files:
            found[match["title"]] = (text, _seen(files[match["image"]]))
    return [Named({"name": name}, *found[name]) for name in sorted(found)]


def _seen(photo: bytes) -> str:
    with Image.open(io.BytesIO(photo)) as opened:
        image = np.asarray(opened.convert("RGB"))
    (row,) = Concepts()({"image": [image]})["captions"]
    return str(row[0]["text"]) if row else "A photo."
