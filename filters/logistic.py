"""Logistic regression with a quadratic penalty, for a few columns and many rows.

The same answer for the same rows in the same order; the penalty is chosen by cross-validation.
It refuses what can't be learnt from: too few rows of one of the two labels.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from filters.too_few import NotEnoughRows
from filters.vectors import Doubles

Bools = npt.NDArray[np.bool_]

PENALTIES = tuple(10.0**power for power in range(-2, 5))
FOLDS = 5
_ROUNDS = 50
_CLOSE = 1e-10  # of the loss, relative
_STEP = 2.0**-30  # to which coefficients are rounded: the last bits are those of a library
_Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution


class Fit(NamedTuple):
    """`coefficients` [1 + k], the intercept first; `errors` are their standard errors."""

    coefficients: Doubles
    errors: Doubles

    @property
    def intervals(self) -> Doubles:
        """The 95 % intervals, [1 + k, 2], by the curvature of the penalised likelihood."""
        margin = _Z95 * self.errors
        return np.stack([self.coefficients - margin, self.coefficients + margin], axis=1)


def fit(columns: Doubles, labels: Bools, penalty: float) -> Fit:
    """Maximise the log likelihood less `penalty / 2` times the squared coefficients [n, k].

    The intercept is not penalised. By Newton's method (iteratively reweighted least squares),
    with halved steps where a whole one would not lower the loss.
    """
    full = np.concatenate([np.ones((len(columns), 1)), columns], axis=1)
    ridge = np.full(full.shape[1], penalty)
    ridge[0] = 0
    beta = np.zeros(full.shape[1])
    share = min(max(labels.mean(), 1e-9), 1 - 1e-9)
    beta[0] = np.log(share / (1 - share))
    loss = _penalised(full, labels, beta, ridge)
    for _ in range(_ROUNDS):
        odds = probability(full @ beta)
        slope = full.T @ (odds - labels) + ridge * beta
        step = np.linalg.solve(_curvature(full, odds, ridge), slope)
        before = loss
        for halved in range(30):
            tried = beta - step / 2**halved
            loss = _penalised(full, labels, tried, ridge)
            if loss <= before:
                beta = tried
                break
        if before - loss <= _CLOSE * abs(before):
            break
    covariance = np.linalg.inv(_curvature(full, probability(full @ beta), ridge))
    return Fit(np.rint(beta / _STEP) * _STEP, np.sqrt(np.diag(covariance)))


def probability(logits: Doubles) -> Doubles:
    """`1 / (1 + exp(-x))`, without overflow."""
    small = np.exp(-np.abs(logits))
    found: Doubles = np.where(logits >= 0, 1, small) / (1 + small)
    return found


def log_loss(logits: Doubles, labels: Bools) -> Doubles:
    """Minus the log likelihood of each label."""
    signed = np.where(labels, -logits, logits)
    losses: Doubles = np.maximum(signed, 0) + np.log1p(np.exp(-np.abs(signed)))
    return losses


def best_penalty(columns: Doubles, labels: Bools) -> tuple[float, Doubles]:
    """The penalty of PENALTIES with the lowest held-out loss, and the loss per row of each.

    Rows are dealt to the folds in turn, label by label; of equal losses the larger penalty wins.
    Raises NotEnoughRows for fewer rows of a label than folds.
    """
    fewest = int(min(labels.sum(), (~labels).sum()))
    if fewest < FOLDS:
        raise NotEnoughRows(
            f"needs {FOLDS} rows of each label, found {fewest} of one, of {len(labels)}"
        )
    fold = np.empty(len(labels), np.int64)
    for label in (True, False):
        here = np.flatnonzero(labels == label)
        fold[here] = np.arange(len(here)) % FOLDS
    losses = np.zeros(len(PENALTIES))
    for place, penalty in enumerate(PENALTIES):
        for held in range(FOLDS):
            known, out = fold != held, fold == held
            beta = fit(columns[known], labels[known], penalty).coefficients
            losses[place] += log_loss(beta[0] + columns[out] @ beta[1:], labels[out]).sum()
    losses /= len(labels)
    place = max(p for p, loss in enumerate(losses) if loss <= losses.min())
    return PENALTIES[place], losses


def _penalised(full: Doubles, labels: Bools, beta: Doubles, ridge: Doubles) -> float:
    return float(log_loss(full @ beta, labels).sum() + (ridge * beta * beta).sum() / 2)


def _curvature(full: Doubles, odds: Doubles, ridge: Doubles) -> Doubles:
    matrix: Doubles = (full * (odds * (1 - odds))[:, None]).T @ full + np.diag(ridge)
    return matrix
