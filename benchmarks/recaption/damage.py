"""Captions that say nothing of their picture, planted among right ones, and what finds them.

The damage is what the web has: names of files, words for any picture, and what sites print around
pictures. It was written down before any run, and without regard to what the rules know.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filters.caption import CaptionStats
from pipeline.keys import draw_bits
from pipeline.reward.bootstrap import Captioned

CLEAN = "clean"
KINDS = ("file name", "generic", "boilerplate")
"""A third of the damage each."""
_NAMES = ("IMG_{:04d}.jpg", "DSC{:05d}", "untitled-{:d}.png", "scan {:d}", "picture{:d}_small.gif")
_SAID = {
    "generic": (
        "image",
        "picture",
        "clip art",
        "an icon",
        "untitled",
        "drawing",
        "a nice picture",
        "vector illustration",
    ),
    "boilerplate": (
        "Click to enlarge",
        "Image not available",
        "Royalty free stock illustration",
        "Free download",
        "All rights reserved",
        "Follow us for more pictures",
        "Add to cart",
        "Powered by a gallery of free drawings",
    ),
}

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Damaged:
    """What the pool says of each row, and the kind of its damage, or `clean`."""

    texts: tuple[str, ...]
    kinds: tuple[str, ...]

    @property
    def is_bad(self) -> Flags:
        return np.array([kind != CLEAN for kind in self.kinds])


def damage(rows: Sequence[Captioned], share: float, seed: int) -> Damaged:
    """Damage to exactly this share of the rows, drawn by key: neither order nor texts matter."""
    texts, kinds = [row.caption for row in rows], [CLEAN] * len(rows)
    order = sorted(range(len(rows)), key=lambda n: draw_bits(rows[n].key, seed, "recaption-bad"))
    for place, number in enumerate(order[: round(share * len(rows))]):
        kinds[number] = KINDS[place % len(KINDS)]
        texts[number] = _text(kinds[number], rows[number].key, seed)
    return Damaged(tuple(texts), tuple(kinds))


def _text(kind: str, key: bytes, seed: int) -> str:
    bits = draw_bits(key, seed, "recaption-text")
    if kind == KINDS[0]:
        return _NAMES[bits % len(_NAMES)].format(bits // len(_NAMES) % 9973)
    said = _SAID[kind]
    return said[bits % len(said)]


def flagged(texts: Sequence[str]) -> Flags:
    """What a recipe drops by `where: not is_boilerplate and not is_filename`."""
    found = CaptionStats()({"caption": list(texts)})
    either: Flags = np.array(found["is_boilerplate"], bool) | np.array(found["is_filename"], bool)
    return either
