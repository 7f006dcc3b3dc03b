"""Faults planted into the captions of a pool: realistic ones, of several kinds, known to nobody."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.proof.sides import Numbers
from pipeline.keys import draw, draw_bits
from pipeline.reward.bootstrap import Captioned, nearest_captions
from pipeline.reward.negatives import Dice, damaged

CLEAN = "clean"
SHARES = {"other": 0.40, "neighbour": 0.25, "object": 0.10, "generic": 0.15, "file name": 0.10}
"""Of the faults. `object` exchanges a noun; where there is none, the caption is another's."""
SEEN = ("other", "neighbour", "object")
"""Kinds that the picture alone gives away: these captions are as good as others by themselves."""
GENERIC = ("image", "picture", "clip art", "an icon", "untitled", "drawing", "click to enlarge")
_PREFIXES = ("IMG", "DSC", "scan", "untitled", "file")


@dataclass(frozen=True)
class Captions:
    """What the pool says of each row, and the kind of its fault, or `clean`."""

    texts: tuple[str, ...]
    kinds: tuple[str, ...]

    @property
    def is_clean(self) -> np.ndarray:
        return np.array([kind == CLEAN for kind in self.kinds])


def plant(
    rows: Sequence[Captioned], concepts: Numbers, features: np.ndarray, share: float, seed: int
) -> Captions:
    """Faults in a share of the rows; which rows, and which faults, depends on key and seed."""
    order = sorted(range(len(rows)), key=lambda n: draw_bits(rows[n].key, seed, "proof-fault"))
    faulty = set(order[: round(share * len(rows))])
    near = nearest_captions(rows, features, seed)
    texts, kinds = [], []
    for number, row in enumerate(rows):
        kind = _kind(row, seed) if number in faulty else CLEAN
        text = None
        if kind == "neighbour":
            text = near[number]
        elif kind == "object":
            text = damaged(row.caption, "object", Dice(row.key, seed))
        elif kind == "generic":
            text = GENERIC[draw_bits(row.key, seed, "proof-generic") % len(GENERIC)]
        elif kind == "file name":
            bits = draw_bits(row.key, seed, "proof-name")
            text = f"{_PREFIXES[bits % len(_PREFIXES)]}_{bits % 9973:04d}.jpg"
        if kind != CLEAN and text is None:
            kind, text = "other", _others(rows, concepts, number, seed)
        texts.append(row.caption if text is None else text)
        kinds.append(kind)
    return Captions(tuple(texts), tuple(kinds))


def _kind(row: Captioned, seed: int) -> str:
    place, upper = draw(row.key, seed, "proof-kind"), 0.0
    for kind, share in SHARES.items():
        upper += share
        if place < upper:
            return kind
    return "other"


def _others(rows: Sequence[Captioned], concepts: Numbers, number: int, seed: int) -> str:
    """The caption of a row of another concept."""
    attempt = 0
    while True:
        bits = draw_bits(rows[number].key, seed, f"proof-other-{attempt}")
        chosen = bits % len(rows)
        if concepts[chosen] != concepts[number]:
            return rows[chosen].caption
        attempt += 1
