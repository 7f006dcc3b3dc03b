"""What a trained head is worth on held-out images: the figures of its card, as plain data."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from pipeline.reward.heads import Head
from pipeline.reward.metrics import (
    Figure,
    Scored,
    kendall_tau,
    pairwise_accuracy,
    reliability,
)
from pipeline.reward.table import Floats, Table

Json = dict[str, Any]


def scores_of(head: Head, table: Table) -> tuple[Floats, Floats]:
    """Scores [n, criteria] of the better and of the worse sides."""
    head.eval()
    sides = []
    for side in (table.better, table.worse):
        parts = [np.zeros((0, len(table.criteria)), np.float32)]
        for start in range(0, len(side), head.at_once):
            with torch.no_grad():
                parts.append(head(*table.inputs(side[start : start + head.at_once])).numpy())
        sides.append(np.concatenate(parts))
    return sides[0], sides[1]


def figures_of(
    head: Head,
    table: Table,
    shares: Mapping[str, float],
    before: tuple[Floats, Floats] | None = None,
) -> Json:
    """Accuracy, tau and calibration: of the reward, of each criterion, and for each kind.

    The cosine of the encoder stands beside each, on the same comparisons; or scores of the better
    and worse sides before, which are then called that.
    """
    better, worse = scores_of(head, table)
    weights = np.array(list(shares.values())) / sum(shares.values())
    reward = _scored(table, better @ weights, worse @ weights)
    other = _scored(table, *(before or table.cosines()))
    name = "cosine" if before is None else "before"
    criteria, kinds = [], []
    for number, criterion in enumerate(table.criteria):
        chosen = table.criterion == number
        own = _scored(table, better[:, number], worse[:, number])
        figures = _all(own.rows(chosen), other.rows(chosen), name)
        criteria.append({"criterion": criterion, "weight": shares[criterion], **figures})
    for number, kind in enumerate(table.kinds):
        chosen = table.kind == number
        figures = _short(reward.rows(chosen), other.rows(chosen), name)
        kinds.append({"kind": kind, **figures})
    bins, _ = reliability(reward)
    return {
        "overall": _all(reward, other, name),
        "criteria": criteria,
        "kinds": kinds,
        "reliability": [asdict(one) for one in bins],
    }


def _scored(table: Table, better: np.ndarray[Any, Any], worse: np.ndarray[Any, Any]) -> Scored:
    return Scored(better.astype(np.float64), worse.astype(np.float64), table.is_tie, table.group)


def _short(own: Scored, other: Scored, name: str) -> Json:
    return {
        "comparisons": len(own),
        "ties": int(own.is_tie.sum()),
        "images": len(np.unique(own.group)),
        "accuracy": _json(pairwise_accuracy(own)),
        f"{name}_accuracy": _json(pairwise_accuracy(other)),
    }


def _all(own: Scored, other: Scored, name: str) -> Json:
    return {
        **_short(own, other, name),
        "tau": _json(kendall_tau(own)),
        f"{name}_tau": _json(kendall_tau(other)),
        "calibration_error": _json(reliability(own)[1]),
    }


def _json(figure: Figure | None) -> Json | None:
    return None if figure is None else asdict(figure)
