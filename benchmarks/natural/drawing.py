"""Which pairs are labelled: drawn by key and seed, mixed over packages, none that was learnt.

The pool is what scores that learn from a pool are fitted to; the sample is a part of it.
"""

import csv
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.embedded import heads
from benchmarks.embedded.features import load
from benchmarks.embedded.report import LEARNT, Bench
from benchmarks.embedded.splits import canonical, part
from benchmarks.natural.pages import Origin, Pair
from filters import embedded
from pipeline.keys import digest, draw

Array = np.ndarray[Any, Any]
ALIKE = 0.95  # cosine of features from which two pictures count as one
_CHUNK = 64


@dataclass(frozen=True)
class Sizes:
    """How many pairs of a package and origin are in the pool, and in the sample; of each origin."""

    pool: int = 120
    sample: dict[str, int] | None = None
    origin: int = 75

    def most(self, origin: Origin) -> int:
        return (self.sample or {"page": 8, "name": 6})[origin]


@dataclass(frozen=True)
class Learnt:
    """What the encoder's heads learnt from: texts as splits compare them, unit features [n, d]."""

    texts: frozenset[str]
    features: Array

    @classmethod
    def read(cls, embedded_data: Path) -> "Learnt":
        """From the folder of `benchmarks.embedded`; every word that any lesson may have used."""
        bench = Bench(embedded_data)
        lessons = bench.lessons(heads.Settings().sources, LEARNT)
        told = {
            canonical(text)
            for one in lessons
            for text in (one.caption, *one.translations, *one.keywords)
        }
        told |= {canonical(n) for own in bench.names for n in own if part(n) in LEARNT}
        return cls(frozenset(told), unit(bench.features[[one.row for one in lessons]]))


def key_of(pair: Pair) -> bytes:
    """16 bytes of the content of a pair alone."""
    return digest(pair.origin.encode(), pair.path.encode(), pair.text.encode())


def make_pool(pairs: Iterable[Pair], learnt: frozenset[str], seed: int, most: int) -> list[Pair]:
    """At most so many pairs of a package and origin, in the order drawn, without learnt texts."""
    counts: Counter[tuple[str, str]] = Counter()
    chosen = []
    for pair in sorted(pairs, key=lambda pair: (draw(key_of(pair), seed, "natural"), key_of(pair))):
        place = pair.package, pair.origin
        if counts[place] < most and canonical(pair.text) not in learnt:
            counts[place] += 1
            chosen.append(pair)
    return chosen


def make_sample(
    pool: list[Pair], features: Array, learnt: Array, sizes: Sizes | None = None
) -> list[int]:
    """Places in the pool, in its order: new pictures and texts, few of a package and origin.

    `features` [n, d] are those of the pool's pictures and `learnt` [m, d] of those that the
    encoder has learnt, all of unit length.
    """
    sizes = sizes or Sizes()
    is_new = ~_any_alike(features, learnt)
    origins: Counter[str] = Counter()
    packages: Counter[tuple[str, str]] = Counter()
    texts: set[str] = set()
    chosen: list[int] = []
    for place, pair in enumerate(pool):
        own, text = (pair.package, pair.origin), canonical(pair.text)
        is_full = origins[pair.origin] >= sizes.origin or packages[own] >= sizes.most(pair.origin)
        if is_full or text in texts or not is_new[place]:
            continue
        if chosen and (features[chosen] @ features[place]).max() >= ALIKE:
            continue
        origins[pair.origin] += 1
        packages[own] += 1
        texts.add(text)
        chosen.append(place)
    return chosen


def in_sheet_order(pairs: Iterable[Pair], seed: int) -> list[Pair]:
    """The sample as labellers see it: in an order that tells nothing of origin or package."""
    return sorted(pairs, key=lambda pair: (draw(key_of(pair), seed, "sheets"), key_of(pair)))


def _any_alike(features: Array, others: Array) -> Array:
    found = np.zeros(len(features), bool)
    for start in range(0, len(features), _CHUNK):
        block = features[start : start + _CHUNK] @ others.T
        found[start : start + _CHUNK] = (block >= ALIKE).any(axis=1)
    return found


def pool_features(data: Path, pool: list[Pair]) -> tuple[Array, Array]:
    """Features [n, 1280] and ImageNet logits [n, 1000] of the pool's pictures, kept in a file."""
    name = digest(*(pair.path.encode() for pair in pool)).hex()[:16]
    cache = data / f"features-{name}.npz"
    if not cache.exists():
        parts = []
        for start in range(0, len(pool), _CHUNK):
            images = [load(data / "deb" / pair.path) for pair in pool[start : start + _CHUNK]]
            parts.append(embedded.image_features(images))
        sides = [np.concatenate(side) for side in zip(*parts, strict=True)]
        partial = cache.with_suffix(".tmp.npz")
        np.savez(partial, features=sides[0], logits=sides[1])
        partial.replace(cache)
    with np.load(cache) as stored:
        return stored["features"], stored["logits"]


def unit(rows: Array) -> Array:
    found: Array = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    with path.open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow([field.name for field in fields(Pair)])
        rows.writerows(astuple(pair) for pair in pairs)


def read_pairs(path: Path) -> list[Pair]:
    make: Callable[..., Pair] = Pair
    with path.open(newline="", encoding="utf-8") as lines:
        return [make(**row) for row in csv.DictReader(lines)]
