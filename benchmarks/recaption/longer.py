"""The third experiment: a long caption by people as one text, or a sentence of it at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.embedded.report import Bench
from benchmarks.measure import table
from benchmarks.proof.scores import captioned_row
from benchmarks.proof.sides import Numbers, Sides
from benchmarks.recaption.arms import Sample
from benchmarks.recaption.people import keywords
from benchmarks.recaption.runs import (
    READOUTS,
    Answers,
    Bed,
    Cell,
    Kept,
    Reading,
    every,
    gain,
    pictures,
)
from benchmarks.recaption.translating import LEARNT, joined
from pipeline.keys import draw_bits
from recaption.split import SplitCaptions

PART = "long"
READ = ("name", "long")
DRAWS = 8  # sentences drawn for each picture, so that all pictures are seen equally often
_TOGETHER = 3  # keywords in a sentence
COMPARED = (
    ("long", "name"),
    ("one sentence", "name"),
    ("one sentence", "long"),
    ("name or sentence", "name"),
    ("name or sentence", "one sentence"),
    ("one sentence", "dealt out"),
)


@dataclass(frozen=True)
class Material:
    """Names of the same pictures, their long captions, and the sentences of these."""

    keys: tuple[bytes, ...]
    names: tuple[str, ...]
    long: tuple[str, ...]
    sentences: tuple[tuple[str, ...], ...]


def long_caption(name: str, words: list[str]) -> str:
    """A name and keywords as sentences: `Bicycle. Bike, class, cycle. Ride, spin.`"""
    said = [name, *(", ".join(words[n : n + _TOGETHER]) for n in range(0, len(words), _TOGETHER))]
    return " ".join(f"{text[:1].upper()}{text[1:]}." for text in said)


def drawn(material: Material, seed: int) -> list[Sample]:
    """Sentences of each picture's long caption, drawn by key and seed: all, then again."""
    found = []
    for row, (key, own) in enumerate(zip(material.keys, material.sentences, strict=True)):
        order = sorted(own, key=lambda text: draw_bits(key, seed, text))
        found += [Sample(row, order[n % len(order)]) for n in range(DRAWS)]
    return found


def with_name(material: Material, seed: int) -> list[Sample]:
    """The name as often as all sentences together."""
    named = [Sample(row, text) for row, text in enumerate(material.names) for _ in range(DRAWS)]
    return named + drawn(material, seed)


def dealt_out(material: Material, seed: int) -> list[Sample]:
    """Sentences of other pictures: what words alone teach of this test."""
    rows = np.random.default_rng(seed).permutation(len(material.keys)).tolist()
    return [Sample(rows[row], text) for row, text in drawn(material, seed)]


Make = Callable[[Material, int], list[Sample]]
ARMS: dict[str, Make] = {
    "name": lambda m, _: [Sample(row, text) for row, text in enumerate(m.names)],
    "long": lambda m, _: [Sample(row, text) for row, text in enumerate(m.long)],
    "one sentence": drawn,
    "name or sentence": with_name,
}
"""The main arms, with all seeds."""
MORE: dict[str, Make] = {"dealt out": dealt_out}
"""With fewer seeds."""


class Longer:
    """Material, pictures and tables; a class because all runs share them."""

    def __init__(self, bench: Bench, sides: Sides, data: Path, work: Path) -> None:
        learnt = np.concatenate([sides.rows[side] for side in LEARNT])  # type: ignore[index]
        rows, test = (_described(bench, data, own) for own in (learnt, sides.rows["test"]))
        self.material = _material(bench, data, rows)
        tested = _material(bench, data, test)
        concepts, all_rows = sides.concept[test], np.arange(len(test))
        texts = {"name": list(tested.names), "long": list(tested.long)}
        self._bed = Bed(
            pictures(work, [data / bench.pairs[row].path for row in rows]),
            pictures(work, [data / bench.pairs[row].path for row in test]),
            {name: Reading(all_rows, own, joined(own, concepts)) for name, own in texts.items()},
        )

    def samples(self, cell: Cell) -> list[Sample]:
        return {**ARMS, **MORE}[cell.arm](self.material, cell.seed)

    def run(self, cell: Cell, kept: Kept) -> Answers:
        return kept.found(cell, self.samples(cell), self._bed)

    def tables(self, kept: Kept, seeds: int, fewer: int) -> str:
        """How long the captions are, what each arm reaches by what is asked, and differences."""
        arms = ((ARMS, seeds), (MORE, min(seeds, fewer)))
        runs = every(lambda arm, seed: self.run(Cell(PART, arm, seed), kept), arms)
        return "\n\n".join([self.said(), self._arms(runs), self._pairs(runs)])

    def said(self) -> str:
        own = self.material
        words = [np.mean([len(t.split()) for t in texts]) for texts in (own.names, own.long)]
        parts = np.mean([len(sentences) for sentences in own.sentences])
        return (
            f"{len(own.keys)} pictures: names of {words[0]:.1f} words, long captions of"
            f" {words[1]:.1f} in {parts:.1f} sentences; {len(self._bed.test)} to be found."
        )

    def _arms(self, runs: dict[str, list[Answers]]) -> str:
        rows = []
        for arm, own in runs.items():
            cells = [
                f"{np.mean([run[f'{asked} {readout}'] for run in own]):.4f}"
                for asked in READ
                for readout in READOUTS
            ]
            rows.append((arm, f"{len(own)}", *cells))
        return table(("learnt with", "seeds", *_heads()), rows)

    def _pairs(self, runs: dict[str, list[Answers]]) -> str:
        rows = []
        for one, other in COMPARED:
            if one in runs and other in runs:
                cells = [
                    gain(
                        runs[one],
                        runs[other],
                        f"{asked} {readout}",
                        self._bed.readings[asked].concepts,
                    )
                    for asked in READ
                    for readout in READOUTS
                ]
                rows.append((f"{one} – {other}", *cells))
        return table(("difference", *_heads()), rows)


def _heads() -> list[str]:
    names = {"auc": "AUC", "at_5": "R@5"}
    return [f"asked by {asked}: {names[readout]}" for asked in READ for readout in READOUTS]


def _described(bench: Bench, data: Path, rows: Numbers) -> list[int]:
    """The emoji of which people said enough for more than one sentence."""
    emoji = [row for row in rows.tolist() if bench.pairs[row].source == "emoji"]
    return [row for row in emoji if len(keywords(data, bench.pairs[row].path)) >= _TOGETHER]


def _material(bench: Bench, data: Path, rows: list[int]) -> Material:
    names = tuple(bench.pairs[row].caption for row in rows)
    long = tuple(
        long_caption(name, keywords(data, bench.pairs[row].path))
        for name, row in zip(names, rows, strict=True)
    )
    cut = SplitCaptions(least_words=1)({"caption": list(long)})["captions"]
    return Material(
        keys=tuple(captioned_row(bench, row).key for row in rows),
        names=names,
        long=long,
        sentences=tuple(tuple(part["text"] for part in own) for own in cut),
    )
