"""Sides that share no concept, no caption and no drawing: for filters, as a pool, for tests."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from benchmarks.embedded.pairs import Pair
from benchmarks.embedded.splits import canonical
from pipeline.keys import draw

Side = Literal["encoder", "judges", "pool", "test"]
SHARES: dict[Side, float] = {"encoder": 0.22, "judges": 0.10, "pool": 0.50, "test": 0.18}
"""Of the concepts. The encoder's heads, and what is learnt over their vectors, see two of them."""
SOURCES = ("clipart", "emoji", "stamps")
PER_CAPTION = 8  # one caption, "star", has 1,377 drawings
ALIKE = 0.98  # cosine of features of two drawings that count as one
_BLOCK = 1024

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sides:
    """Rows of the pairs by side. `concept` [pairs] numbers what counts as one concept."""

    rows: dict[Side, Numbers]
    concept: Numbers


def split(pairs: list[Pair], features: npt.NDArray[np.float32]) -> Sides:
    """Draws concepts; then drops drawings that are all but equal to one on an earlier side.

    Captions and concepts that occur together, in any source, are one concept here.
    """
    names = _concepts(pairs)
    numbers = {name: n for n, name in enumerate(sorted(set(names)))}
    seen: Counter[str] = Counter()
    sides: dict[Side, list[int]] = {side: [] for side in SHARES}
    for row, pair in enumerate(pairs):
        seen[canonical(pair.caption)] += 1
        is_one_of_few = seen[canonical(pair.caption)] <= PER_CAPTION
        if pair.source in SOURCES and pair.group != "Themes" and is_one_of_few:
            sides[_side(names[row])].append(row)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    kept: dict[Side, Numbers] = {}
    for side, rows in sides.items():
        earlier = np.concatenate([np.zeros(0, np.int64), *kept.values()])
        own = np.array(rows, np.int64)
        kept[side] = own[~_has_twin(unit[own], unit[earlier])]
    return Sides(kept, np.array([numbers[name] for name in names]))


def _side(concept: str) -> Side:
    place, upper = draw(concept.encode(), 0, "proof-side"), 0.0
    for side, share in SHARES.items():
        upper += share
        if place < upper:
            return side
    return "test"


def _concepts(pairs: list[Pair]) -> list[str]:
    """The least name of all captions and concepts that are linked by pairs, for each pair."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = name = parent[parent[name]]
        return name

    for pair in pairs:
        first, second = sorted(root(n) for n in (canonical(pair.caption), pair.concept))
        parent[second] = first
    return [root(pair.concept) for pair in pairs]


def _has_twin(
    own: npt.NDArray[np.float32], others: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(own), bool)
    for start in range(0, len(own) if len(others) else 0, _BLOCK):
        block = own[start : start + _BLOCK] @ others.T
        found[start : start + _BLOCK] = block.max(axis=1) > ALIKE
    return found
