"""Trained learners' answers, kept in a folder, so that a run that was killed goes on."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.proof import learner
from benchmarks.proof.figures import paired
from benchmarks.proof.pictures import small
from benchmarks.recaption.arms import Sample

_LOG = logging.getLogger(__name__)
READOUTS = ("auc", "at_5")
"""AUC was chosen before the runs; R@5 stands beside it."""
Answers = dict[str, learner.Floats]
"""Of one run: each readout of each reading, per test picture."""


class Reading(NamedTuple):
    """Captions by people in one language, of these rows of the test pictures."""

    rows: learner.Numbers
    texts: list[str]
    concepts: learner.Numbers


@dataclass(frozen=True)
class Bed:
    """What all arms of an experiment share: pictures to learn from, and what is read out."""

    pixels: learner.Pixels
    test: learner.Pixels
    readings: dict[str, Reading]


class Cell(NamedTuple):
    """One run: an arm of a part of the benchmark, with a seed."""

    part: str
    arm: str
    seed: int


class Kept:
    """Runs by what they learn from; a class because it holds the folder and how to train."""

    def __init__(self, folder: Path, settings: learner.Settings) -> None:
        self._folder, self._settings = folder, settings

    def path(self, cell: Cell, samples: Sequence[Sample]) -> Path:
        """Its name tells the samples apart, so that other captions are never taken for these."""
        listed = "\n".join(f"{sample.row} {sample.text}" for sample in samples)
        digest = hashlib.sha256(listed.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        name = "-".join([*map(str, cell), str(self._settings.steps), digest])
        return self._folder / f"{name.replace(' ', '_').replace(',', '')}.npz"

    def found(self, cell: Cell, samples: Sequence[Sample], bed: Bed) -> Answers:
        """What the learner of these samples answers; trained now if it never was."""
        path = self.path(cell, samples)
        if not path.exists():
            started = time.process_time()
            rows = np.array([sample.row for sample in samples])
            texts = [sample.text for sample in samples]
            model = learner.train(bed.pixels[rows], texts, self._settings, cell.seed)
            found = _read(model, bed)
            partial = path.with_suffix(".tmp.npz")
            np.savez(partial, **found)  # type: ignore[arg-type]
            partial.replace(path)
            told = ", ".join(f"{n} {v.mean():.4f}" for n, v in found.items() if "auc" in n)
            spent = time.process_time() - started
            _LOG.warning("%s: %s (%.0f s of CPU)", path.stem, told, spent)
        with np.load(path) as stored:
            return dict(stored)


def _read(model: learner.Learner, bed: Bed) -> Answers:
    found: Answers = {}
    for name, reading in bed.readings.items():
        told = learner.test(model, bed.test[reading.rows], reading.texts, reading.concepts)
        found |= {f"{name} auc": told.auc, f"{name} at_5": told.at_5}
    return found


def every(
    run: Callable[[str, int], Answers], arms: Iterable[tuple[Iterable[str], int]]
) -> dict[str, list[Answers]]:
    """The answers of arms, each with so many seeds; an arm without any is left out."""
    return {
        arm: [run(arm, seed) for seed in range(count)]
        for names, count in arms
        for arm in names
        if count
    }


def gain(own: list[Answers], other: list[Answers], name: str, concepts: learner.Numbers) -> str:
    """The mean difference of two arms with its interval, over the seeds that both have."""
    seeds = min(len(own), len(other))
    sides = [np.stack([run[name] for run in runs[:seeds]]) for runs in (own, other)]
    return paired(sides[0], sides[1], concepts).signed


def pictures(folder: Path, paths: Sequence[Path]) -> learner.Pixels:
    """The pictures as the learner sees them; kept in the folder."""
    digest = hashlib.sha256("\n".join(map(str, paths)).encode()).hexdigest()[:12]
    path = folder / f"pixels-{digest}.npy"
    if not path.exists():
        partial = path.with_suffix(".tmp.npy")
        np.save(partial, np.stack([small(one) for one in paths]))
        partial.replace(path)
    stored: learner.Pixels = np.load(path)
    return stored
