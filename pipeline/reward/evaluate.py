"""What a trained head is worth on held-out images: the figures of its card, as plain data."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from pipeline.reward.heads import RewardHead
from pipeline.reward.metrics import (
    Figure,
    Scored,
    kendall_tau,
    pairwise_accuracy,
    reliability,
)
from pipeline.reward.table import Floats, Table

_AT_ONCE = 4096
Json = dict[str, Any]


def scores_of(head: RewardHead, table: Table) -> tuple[Floats, Floats]:
    """Scores [n, criteria] of the better and of the worse sides."""
    head.eval()
    sides = []
    for side in (table.better, table.worse):
        parts = [np.zeros((0, len(table.criteria)), np.float32)]
        for start in range(0, len(side), _AT_ONCE):
            rows = side[start : start + _AT_ONCE]
            v, t = torch.from_numpy(table.images[rows[:, 0]]), table.texts[rows[:, 1]]
            with torch.no_grad():
                parts.append(head(v, torch.from_numpy(t)).numpy())
        sides.append(np.concatenate(parts))
    return sides[0], sides[1]


def figures_of(head: RewardHead, table: Table, shares: Mapping[str, float]) -> Json:
    """Accuracy, tau and calibration: of the reward, of each criterion, and for each kind.

    The cosine of the encoder stands beside each, on the same comparisons.
    """
    better, worse = scores_of(head, table)
    weights = np.array(list(shares.values())) / sum(shares.values())
    reward = _scored(table, better @ weights, worse @ weights)
    cosine = _scored(table, *table.cosines())
    criteria, kinds = [], []
    for number, name in enumerate(table.criteria):
        chosen = table.criterion == number
        own = _scored(table, better[:, number], worse[:, number])
        figures = _all(own.rows(chosen), cosine.rows(chosen))
        criteria.append({"criterion": name, "weight": shares[name], **figures})
    for number, name in enumerate(table.kinds):
        chosen = table.kind == number
        figures = _short(reward.rows(chosen), cosine.rows(chosen))
        kinds.append({"kind": name, **figures})
    bins, _ = reliability(reward)
    return {
        "overall": _all(reward, cosine),
        "criteria": criteria,
        "kinds": kinds,
        "reliability": [asdict(one) for one in bins],
    }


def _scored(table: Table, better: np.ndarray[Any, Any], worse: np.ndarray[Any, Any]) -> Scored:
    return Scored(better.astype(np.float64), worse.astype(np.float64), table.is_tie, table.group)


def _short(own: Scored, cosine: Scored) -> Json:
    return {
        "comparisons": len(own),
        "ties": int(own.is_tie.sum()),
        "images": len(np.unique(own.group)),
        "accuracy": _json(pairwise_accuracy(own)),
        "cosine_accuracy": _json(pairwise_accuracy(cosine)),
    }


def _all(own: Scored, cosine: Scored) -> Json:
    return {
        **_short(own, cosine),
        "tau": _json(kendall_tau(own)),
        "cosine_tau": _json(kendall_tau(cosine)),
        "calibration_error": _json(reliability(own)[1]),
    }


def _json(figure: Figure | None) -> Json | None:
    return None if figure is None else asdict(figure)
