"""The first experiment: captions of the pool dropped, filled, replaced or mixed."""

from pathlib import Path

import numpy as np

from benchmarks.embedded.report import Bench
from benchmarks.embedded.splits import canonical
from benchmarks.measure import table
from benchmarks.proof.scores import captioned_row
from benchmarks.proof.sides import Sides
from benchmarks.recaption import synthetic
from benchmarks.recaption.arms import ARMS, MORE, Material, Sample, of
from benchmarks.recaption.damage import CLEAN, KINDS, Damaged, damage, flagged
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
from pipeline.reward.bootstrap import Captioned

PART = "recaption"
SHARE = 0.5
COMPARED = (
    ("fill the bad", "drop the bad"),
    ("replace all", "drop the bad"),
    ("replace all", "shuffled in class"),
    ("replace all", "bare tags"),
    ("mix .50", "drop the bad"),
    ("mix .25", "raw"),
    ("mix .75", "raw"),
    ("drop the bad, oracle", "drop the bad"),
)


class Recaptioning:
    """Material, pictures and tables; a class because all runs share them."""

    def __init__(self, bench: Bench, sides: Sides, data: Path, work: Path) -> None:
        rows, test = sides.rows["pool"], sides.rows["test"]
        captioned = [captioned_row(bench, row) for row in rows]
        self._damaged = damage(captioned, SHARE, 0)
        said = synthetic.said(bench, sides, data, work)
        self.material = _material(captioned, self._damaged, said, _classes(bench, rows))
        texts = [bench.pairs[row].caption for row in test]
        self._tested = {canonical(text) for text in texts}
        self._concepts = sides.concept[test]
        self._bed = Bed(
            pictures(work, [data / bench.pairs[row].path for row in rows]),
            pictures(work, [data / bench.pairs[row].path for row in test]),
            {"en": Reading(np.arange(len(test)), texts, self._concepts)},
        )

    def samples(self, cell: Cell) -> list[Sample]:
        return {**ARMS, **MORE}[cell.arm](self.material, cell.seed)

    def run(self, cell: Cell, kept: Kept) -> Answers:
        return kept.found(cell, self.samples(cell), self._bed)

    def tables(self, kept: Kept, seeds: int, fewer: int) -> str:
        """What was damaged and found, what is said, and what the learner reaches."""
        arms = ((ARMS, seeds), (MORE, min(seeds, fewer)))
        runs = every(lambda arm, seed: self.run(Cell(PART, arm, seed), kept), arms)
        return "\n\n".join([self.damage_table(), self.said(), self._arms(runs), self._pairs(runs)])

    def damage_table(self) -> str:
        rows = []
        for kind in (*KINDS, CLEAN):
            own = np.array(self._damaged.kinds) == kind
            found = self.material.is_flagged[own].sum()
            rows.append((kind, f"{own.sum()}", f"{found}", f"{found / own.sum():.1%}"))
        return table(("captions", "rows", "found by rules", "share"), rows)

    def said(self) -> str:
        """In one line: how often the captioner speaks, agrees with people, and knows the test."""
        spoken = of(self.material.short)
        things = [canonical(sample.text.partition(" of ")[2]) for sample in spoken]
        told = [set(canonical(self.material.human[sample.row]).split()) for sample in spoken]
        agrees = np.mean([bool(own & set(t.split())) for own, t in zip(told, things, strict=True)])
        tested = np.mean([thing in self._tested for thing in things])
        return (
            f"The captioner speaks of {len(spoken)} of {len(self.material.keys)} pictures, with"
            f" {len(set(things))} different names; {agrees:.1%} of its captions share a word with"
            f" that by people, {tested:.1%} name what is the whole caption of a test picture."
        )

    def _arms(self, runs: dict[str, list[Answers]]) -> str:
        rows = []
        for arm, own in runs.items():
            samples = self.samples(Cell(PART, arm, 0))
            cells = [arm, self._made_of(samples), f"{len(own)}"]
            for readout in READOUTS:
                gain = self._gain(own, runs["raw"], readout)
                cells += [f"{_mean(own, readout):.4f}", gain]
                if readout == "auc":
                    raw, most = (_mean(runs[name][: len(own)], "auc") for name in ("raw", "oracle"))
                    cells.append(f"{(_mean(own, 'auc') - raw) / (most - raw):.0%}")
            rows.append(cells)
        head = (
            "arm",
            "by people, damaged, synthetic",
            "seeds",
            "AUC",
            "above raw",
            "of the oracle's gap",
        )
        return table((*head, "R@5", "above raw"), rows)

    def _made_of(self, samples: list[Sample]) -> str:
        """How many captions are by people, damaged, and neither."""
        own = self.material
        human = sum(sample.text == own.human[sample.row] for sample in samples)
        bad = sum(own.is_bad[n] and text == own.raw[n] for n, text in samples)
        return f"{human}, {bad}, {len(samples) - human - bad}"

    def _pairs(self, runs: dict[str, list[Answers]]) -> str:
        rows = [
            (f"{one} – {other}", *(self._gain(runs[one], runs[other], r) for r in READOUTS))
            for one, other in COMPARED
            if one in runs and other in runs
        ]
        return table(("difference", "AUC", "R@5"), rows)

    def _gain(self, own: list[Answers], other: list[Answers], readout: str) -> str:
        return gain(own, other, f"en {readout}", self._concepts)


def _mean(runs: list[Answers], readout: str) -> float:
    return float(np.mean([run[f"en {readout}"] for run in runs]))


def _classes(bench: Bench, rows: np.ndarray) -> list[str]:
    """Source and folder or category of each row."""
    return [f"{bench.pairs[row].source}/{bench.pairs[row].group}" for row in rows]


def _material(
    captioned: list[Captioned], damaged: Damaged, said: synthetic.Said, classes: list[str]
) -> Material:
    return Material(
        keys=tuple(row.key for row in captioned),
        human=tuple(row.caption for row in captioned),
        raw=damaged.texts,
        is_bad=damaged.is_bad,
        is_flagged=flagged(damaged.texts),
        short=tuple(said["short"]),
        tags=tuple(said["tags"]),
        classes=tuple(classes),
    )
