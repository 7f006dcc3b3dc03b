"""How far two labellers agree, and how well each score tells what both of them say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.natural import figures
from benchmarks.natural.drawing import read_pairs
from benchmarks.natural.pages import Pair
from benchmarks.natural.scores import scores
from benchmarks.natural.sheets import VERDICTS, read_labels
from benchmarks.proof.figures import Value, kept

Array = np.ndarray[Any, Any]
KEEP = 0.7
_KINDS = {"all": ("page", "name"), "texts of pages": ("page",), "names of files": ("name",)}


def table(data: Path, labels: tuple[Path, ...], reward: str | None = None) -> str:
    """Markdown: the labels, then every score against those pairs on which both labels agree."""
    pool, sample = (read_pairs(data / name) for name in ("pool.csv", "sample.csv"))
    one, other = (np.array(read_labels(path, len(sample))) for path in labels)
    found = scores(data, pool, sample, reward)
    parts = [agreement_part(sample, one, other)]
    for title, truth in readings(one, other).items():
        parts.append(scores_part(title, found, truth))
    return "\n\n".join(parts)


def readings(one: Array, other: Array) -> dict[str, Array]:
    """1 for a good pair, 0 for a bad one, -1 for one that is left out, by two readings."""
    bad = (one == 0) & (other == 0)
    strict, lenient = (one == 2) & (other == 2), (one > 0) & (other > 0)
    return {
        "0 of both against 2 of both": np.where(bad, 0, np.where(strict, 1, -1)),
        "0 of both against 1 or 2 of both": np.where(bad, 0, np.where(lenient, 1, -1)),
    }


def agreement_part(sample: list[Pair], one: Array, other: Array) -> str:
    origins = np.array([pair.origin for pair in sample])
    lines = [
        "| pairs | n | 0 / 1 / 2 of A | 0 / 1 / 2 of B | both 0 | both 1 | both 2 | agreement |"
        " kappa | weighted |",
        "|" + "---|" * 10,
    ]
    for title, kinds in _KINDS.items():
        own = np.isin(origins, kinds)
        lines.append(_agreement_line(title, one[own], other[own]))
    return "\n".join(lines)


def _agreement_line(title: str, one: Array, other: Array) -> str:
    def drawn(weighted: bool) -> Value:
        return figures.drawn_again(
            lambda rows: figures.kappa(one[rows], other[rows], len(VERDICTS), weighted), len(one)
        )

    counts = [" / ".join(str((side == v).sum()) for v in VERDICTS) for side in (one, other)]
    both = [str(((one == v) & (other == v)).sum()) for v in VERDICTS]
    same = figures.wilson(int((one == other).sum()), len(one))
    cells = [title, len(one), *counts, *both, same, drawn(False), drawn(True)]
    return f"| {' | '.join(map(str, cells))} |"


def scores_part(title: str, found: dict[str, Array], truth: Array) -> str:
    told = truth >= 0
    is_good = truth[told] == 1
    good, bad = int(is_good.sum()), int((~is_good).sum())
    lines = [f"{title}: {good} good, {bad} bad"]
    if not good or not bad:
        return f"{lines[0]}; nothing to measure"
    lines += [
        f"good of all: {figures.wilson(good, good + bad)}",
        "",
        f"| score | AUC | less the cosine's | good of the {KEEP:.0%} kept |",
        "|---|---|---|---|",
    ]
    cosine = found["cosine"][told]
    for name, values in found.items():
        own = values[told]
        total = figures.drawn_again(_auc(own, is_good), len(own))
        gain = figures.drawn_again(_gain(own, cosine, is_good), len(own))
        stays = kept(own, KEEP)
        exact = figures.wilson(int(is_good[stays].sum()), int(stays.sum()))
        lines.append(f"| {name} | {total} | {'' if name == 'cosine' else gain.signed} | {exact} |")
    return "\n".join(lines)


def _auc(scores: Array, is_good: Array) -> Callable[[Array], float]:
    return lambda rows: figures.auc(scores[rows], is_good[rows])


def _gain(scores: Array, other: Array, is_good: Array) -> Callable[[Array], float]:
    one, two = _auc(scores, is_good), _auc(other, is_good)
    return lambda rows: one(rows) - two(rows)
