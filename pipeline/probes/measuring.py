"""Asks the questions of a probe and makes its figures, with some of the answers that were wrong."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.probes.figures import Figure, share
from pipeline.probes.judge import Judge
from pipeline.probes.measures import Measured
from pipeline.probes.probe import SHOWN, Probe
from pipeline.probes.questions import (
    Answer,
    Asked,
    Counts,
    Grid,
    Picture,
    Question,
    Scores,
    choices,
    few,
)


@dataclass(frozen=True)
class Outcome:
    """A probe with its figures; `wrong` are some of the answers that were not right."""

    probe: Probe
    measured: Measured
    wrong: tuple[Asked, ...]
    asked: int

    @property
    def heads(self) -> list[Figure]:
        """The figures that stand for the probe: of grids the first and the lowest."""
        figures = [*self.measured.figures]
        if not self.probe.grids or len(figures) < 3:
            return figures[: self.measured.heads]
        known = [figure for figure in figures[1:] if figure.value is not None]
        return [figures[0], *sorted(known, key=lambda figure: figure.value or 0.0)[:1]]

    @property
    def unanswered(self) -> int:
        """How much had no value, in the figure where it is most."""
        return max((figure.unanswered for figure in self.measured.figures), default=0)

    def json(self) -> dict[str, Any]:
        probe = self.probe
        return {
            "name": probe.name,
            "title": probe.told.title,
            "asks": probe.told.asks,
            "means": probe.told.means,
            "drawn": probe.is_drawn,
            "questions": self.asked,
            "figures": [figure.json() for figure in self.measured.figures],
            "tables": self.measured.tables,
            "missing": probe.missing,
            "wrong": [_told(one) for one in self.wrong],
        }


def _told(one: Asked) -> dict[str, Any]:
    question, answer = one
    return {
        "pairs": [[picture.name, text] for picture, text in question.pairs],
        "scores": [None if s is None else round(s, 6) for s in answer.scores],
        "right": question.right,
        "kind": question.kind,
    }


def everything(probes: Sequence[Probe]) -> tuple[list[Picture], list[str]]:
    """All pictures and texts that probes ask about."""
    pairs = [pair for probe in probes for q in probe.questions for pair in q.pairs]
    grids = [grid for probe in probes for grid in probe.grids]
    pictures = [picture for picture, _ in pairs]
    pictures += [picture for grid in grids for picture in grid.pictures]
    return pictures, [text for _, text in pairs] + [t for grid in grids for t in grid.texts]


def ask(probe: Probe, judge: Judge) -> Outcome:
    """Ask all there is to ask about one thing."""
    if probe.grids:
        return _ask_grids(probe, judge)
    asked = judge.answer(probe.questions)
    wrong = [one for one in asked if one[1].top and one[1].top != (one[0].right,)]
    return Outcome(probe, probe.measure(asked), tuple(few(wrong, SHOWN)), len(asked))


def _ask_grids(probe: Probe, judge: Judge) -> Outcome:
    figures: list[Figure] = []
    shared: list[Figure] = []
    wrong: list[Asked] = []
    for grid in probe.grids:
        scores, right = judge.grid(grid), np.array(grid.right, np.int64)
        options = len(grid.options)
        label = grid.name if not grid.common else f"{grid.name}, {options} classes"
        figures.append(share(label, choices(scores, right), 1 / options))
        if grid.common:
            counts = _on_common(grid, scores, right)
            label = f"{grid.name}, the {len(grid.common)} classes of all"
            shared.append(share(label, counts, 1 / len(grid.common)))
        wrong += _missed(grid, scores, right)
    asked = sum(len(grid.pictures) for grid in probe.grids)
    return Outcome(probe, Measured((*figures, *shared)), tuple(few(wrong, SHOWN)), asked)


def _on_common(grid: Grid, scores: Scores, right: Any) -> Counts:
    """The counts when only options that all grids have are offered, of their own pictures."""
    common = np.array(grid.common, np.int64)
    places = np.full(len(grid.options), -1)
    places[common] = np.arange(len(common))
    chosen = places[right] >= 0
    return choices(scores[chosen][:, common], places[right][chosen])


def _missed(grid: Grid, scores: Scores, right: Any) -> Iterable[Asked]:
    """Pictures of which another option is higher, each beside its two texts."""
    known = np.isfinite(scores).all(axis=1)
    best = np.where(np.isfinite(scores), scores, -np.inf).argmax(axis=1)
    rows = np.flatnonzero(known & (best != right)).tolist()
    for row in few(rows, SHOWN):
        places = (int(right[row]), int(best[row]))
        pairs = tuple((grid.pictures[row], grid.options[place][0]) for place in places)
        said = Answer(tuple(float(scores[row, place]) for place in places))
        yield Question(pairs, 0, grid.name), said
