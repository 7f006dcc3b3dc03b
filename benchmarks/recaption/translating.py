"""The second experiment: English captions alone, or translations beside them."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.embedded.report import Bench
from benchmarks.measure import table
from benchmarks.proof.scores import captioned_row
from benchmarks.proof.sides import Numbers, Sides
from benchmarks.recaption.arms import Sample, dealt
from benchmarks.recaption.people import translations
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
from pipeline.keys import draw_bits
from recaption.chrf import corpus_chrf
from recaption.translate import Translate

PART = "translation"
TARGETS = ("es", "ca", "pt-BR")
READ = ("en", *TARGETS, "de")
"""German is in no arm: a language that nobody translated into."""
ENGINES = {"apertium": ("es", "ca"), "shipped": ("pt-BR",)}
SOURCES = ("stamps", "emoji")
LEARNT = ("encoder", "judges", "pool")  # nothing filters here, so that all but the test is learnt
COMPARED = (
    ("machine", "people"),
    ("machine", "shuffled"),
    ("unflagged", "machine"),
    ("unflagged", "random"),
)


Translations = dict[str, dict[str, tuple[str, list[str]]]]
"""By target and English text: the translation and its flags."""


@dataclass(frozen=True)
class Material:
    """Captions of the same pictures, by target where there are several languages."""

    keys: tuple[bytes, ...]
    english: tuple[str, ...]
    people: dict[str, tuple[str, ...]]
    machine: dict[str, tuple[str, ...]]
    flags: dict[str, tuple[tuple[str, ...], ...]]


def whole(material: Material, by_target: dict[str, tuple[str, ...]]) -> list[Sample]:
    """English, then each target: every picture as often as there are languages."""
    columns = [material.english, *(by_target[tag] for tag in TARGETS)]
    return [Sample(row, text) for texts in columns for row, text in enumerate(texts)]


def unflagged(material: Material) -> list[Sample]:
    """Machine translations without those that have any flag."""
    return _left(material, {tag: _flagged(material, tag) for tag in TARGETS})


def by_chance(material: Material, seed: int) -> list[Sample]:
    """Machine translations without as many of each language, drawn by key and seed."""
    out = {}
    for tag in TARGETS:
        place: Callable[[int], int] = lambda n: draw_bits(material.keys[n], seed, tag)  # noqa: E731, B023
        order = sorted(range(len(material.keys)), key=place)
        out[tag] = set(order[: len(_flagged(material, tag))])
    return _left(material, out)


def shuffled(material: Material, seed: int) -> list[Sample]:
    """Machine translations of other pictures, within each language."""
    found = [Sample(row, text) for row, text in enumerate(material.english)]
    classes = [""] * len(material.keys)
    for tag in TARGETS:
        own = [Sample(row, text) for row, text in enumerate(material.machine[tag])]
        found += dealt(own, material.keys, classes, seed)
    return found


def _left(material: Material, out: dict[str, set[int]]) -> list[Sample]:
    found = [Sample(row, text) for row, text in enumerate(material.english)]
    for tag in TARGETS:
        texts = enumerate(material.machine[tag])
        found += [Sample(row, text) for row, text in texts if row not in out[tag]]
    return found


def _flagged(material: Material, tag: str) -> set[int]:
    return {row for row, flags in enumerate(material.flags[tag]) if flags}


Make = Callable[[Material, int], list[Sample]]
ARMS: dict[str, Make] = {
    "English only": lambda m, _: [Sample(row, text) for row, text in enumerate(m.english)],
    "people": lambda m, _: whole(m, m.people),
    "machine": lambda m, _: whole(m, m.machine),
}
"""The main arms, with all seeds."""
MORE: dict[str, Make] = {
    "unflagged": lambda m, _: unflagged(m),
    "random": by_chance,
    "shuffled": shuffled,
}
"""With fewer seeds."""


class Translating:
    """Material, pictures and tables; a class because all runs share them."""

    def __init__(self, bench: Bench, sides: Sides, data: Path, work: Path) -> None:
        every = np.concatenate([sides.rows[side] for side in LEARNT])  # type: ignore[index]
        told = {row: translations(data, bench.pairs[row]) for row in _drawn(bench, every)}
        rows = [row for row, own in told.items() if own.keys() >= set(TARGETS)]
        self.material = _material(bench, rows, told, work)
        test = _drawn(bench, sides.rows["test"])
        by_people = [
            {"en": bench.pairs[row].caption, **translations(data, bench.pairs[row])} for row in test
        ]
        self._bed = Bed(
            pictures(work, [data / bench.pairs[row].path for row in rows]),
            pictures(work, [data / bench.pairs[row].path for row in test]),
            {tag: _reading(tag, by_people, sides.concept[test]) for tag in READ},
        )

    def samples(self, cell: Cell) -> list[Sample]:
        return {**ARMS, **MORE}[cell.arm](self.material, cell.seed)

    def run(self, cell: Cell, kept: Kept) -> Answers:
        return kept.found(cell, self.samples(cell), self._bed)

    def tables(self, kept: Kept, seeds: int, fewer: int) -> str:
        """The translations, what each arm reaches by language, and differences."""
        arms = ((ARMS, seeds), (MORE, min(seeds, fewer)))
        runs = every(lambda arm, seed: self.run(Cell(PART, arm, seed), kept), arms)
        return "\n\n".join(
            [
                self.translations(),
                *(self._arms(runs, readout) for readout in READOUTS),
                *(self._pairs(runs, readout) for readout in READOUTS),
            ]
        )

    def translations(self) -> str:
        """How near machines come to people, and how often they are flagged."""
        rows = []
        for tag in TARGETS:
            own, wanted = self.material.machine[tag], self.material.people[tag]
            flags = self.material.flags[tag]
            is_flagged = [bool(one) for one in flags]
            parts = [
                [(o, w) for o, w, f in zip(own, wanted, is_flagged, strict=True) if f == side]
                for side in (False, True)
            ]
            figures = [f"{corpus_chrf(*map(list, zip(*part, strict=True))):.1f}" for part in parts]
            names = sorted({name for one in flags for name in one})
            counts = {name: sum(name in one for one in flags) for name in names}
            told = ", ".join(f"{name} {count}" for name, count in counts.items())
            share = f"{np.mean(is_flagged):.1%}"
            rows.append((tag, f"{len(own)}", share, *figures, told))
        head = ("target", "captions", "flagged", "chrF, no flag", "chrF, flagged", "flags")
        return table(head, rows)

    def _arms(self, runs: dict[str, list[Answers]], readout: str) -> str:
        rows = []
        for arm, own in runs.items():
            samples = len(self.samples(Cell(PART, arm, 0)))
            means = [np.mean([run[f"{tag} {readout}"] for run in own]) for tag in READ]
            rows.append((arm, f"{samples}", f"{len(own)}", *(f"{mean:.4f}" for mean in means)))
        counts = [f"{tag} ({len(self._bed.readings[tag].rows)})" for tag in READ]
        return table((f"{_NAMES[readout]}, read out in", "captions", "seeds", *counts), rows)

    def _pairs(self, runs: dict[str, list[Answers]], readout: str) -> str:
        first = [(arm, "English only") for arm in runs if arm != "English only"]
        rows = []
        for one, other in (*first, *COMPARED):
            if one in runs and other in runs:
                names = ((tag, f"{tag} {readout}") for tag in READ)
                readings = self._bed.readings
                cells = [
                    gain(runs[one], runs[other], name, readings[tag].concepts)
                    for tag, name in names
                ]
                rows.append((f"{one} – {other}", *cells))
        return table((f"{_NAMES[readout]}, difference", *READ), rows)


_NAMES = {"auc": "AUC", "at_5": "R@5"}


def _drawn(bench: Bench, rows: Numbers) -> list[int]:
    return [row for row in rows.tolist() if bench.pairs[row].source in SOURCES]


def _reading(tag: str, told: list[dict[str, str]], concepts: Numbers) -> Reading:
    rows = np.array([n for n, own in enumerate(told) if tag in own])
    texts = [told[n][tag] for n in rows]
    return Reading(rows, texts, joined(texts, concepts[rows]))


def joined(texts: list[str], concepts: Numbers) -> Numbers:
    """Concepts, of which those that a language calls by one name are one."""
    least: dict[int, int] = {}

    def root(number: int) -> int:
        while least.setdefault(number, number) != number:
            number = least[number]
        return number

    called: dict[str, int] = {}
    for text, concept in zip(texts, concepts.tolist(), strict=True):
        low, high = sorted((root(concept), root(called.setdefault(text, concept))))
        least[high] = low
    return np.array([root(concept) for concept in concepts.tolist()])


def _material(
    bench: Bench, rows: list[int], told: dict[int, dict[str, str]], work: Path
) -> Material:
    english = tuple(bench.pairs[row].caption for row in rows)
    found = _by_machine(sorted(set(english)), work)
    return Material(
        keys=tuple(captioned_row(bench, row).key for row in rows),
        english=english,
        people={tag: tuple(told[row][tag] for row in rows) for tag in TARGETS},
        machine={tag: tuple(found[tag][text][0] for text in english) for tag in TARGETS},
        flags={tag: tuple(tuple(found[tag][text][1]) for text in english) for tag in TARGETS},
    )


def _by_machine(texts: list[str], work: Path) -> Translations:
    """By target and English text, the translation and its flags; kept in `work`."""
    named = "\n".join([str(Translate.version), *texts])
    path = work / f"translations-{hashlib.sha256(named.encode()).hexdigest()[:12]}.json"
    if not path.exists():
        found: Translations = {}
        for engine, targets in ENGINES.items():
            scorer = Translate(to=targets, engine=engine, round_trip=True, similar=True)
            rows = scorer({"caption": texts})["captions"]
            for text, row in zip(texts, rows, strict=True):
                for one in row:
                    found.setdefault(one["language"], {})[text] = (one["text"], one["flags"])
        partial = path.with_suffix(".tmp")
        partial.write_text(json.dumps(found, ensure_ascii=False))
        partial.replace(path)
    stored: Translations = json.loads(path.read_text())
    return stored
