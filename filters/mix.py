"""One score out of several: a mix of score columns, learnt from labels or with weights given.

It standardises by a sample of the pool, so weights mean the same whatever the scales of the scores.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters import logistic
from filters.agreement import numbers, rank
from filters.too_few import NotEnoughRows
from filters.vectors import BATCH, Doubles, Fitted, draw_order

SCALES = ("standard", "rank")


@dataclass(frozen=True)
class Mix:
    """`mix_score`, of the columns `of` and a `label`, or of `weights`.

    With `label`, a column of true and false or of 1 and 0 that may be NULL in most rows: the
    probability of true by logistic regression, with a penalty chosen by cross-validation. What
    was learnt holds `coefficients` (the intercept first), their 95 % `intervals`, `penalty` and
    the held-out `losses` of all penalties. With `weights: {clip_score: .65, ...}`: the sum of
    weights times columns. Columns count in standard deviations from their mean, or with `scale:
    rank` in percentile ranks, by a sample of `fit_rows` rows. NULL where a column is.
    """

    of: tuple[str, ...] = ()
    label: str | None = None
    weights: dict[str, float] = field(default_factory=dict, hash=False)
    scale: str = "standard"
    fit_rows: int = 262_144
    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"of": "number", "weights": "number", "label": "number"}
    writes: ClassVar[pa.Schema] = pa.schema([("mix_score", pa.float32())])
    batch_size: ClassVar[int] = BATCH

    def __post_init__(self) -> None:
        if not isinstance(self.weights, dict):
            raise ValueError(f"weights: expected columns with numbers, got {self.weights!r}")
        if not self.of and not self.weights:
            raise TypeError("a mix needs columns: `of` and `label` to learn one, or `weights`")
        if (self.label is None) == (not self.weights) or bool(self.of) == bool(self.weights):
            raise ValueError("give `of` and `label` to learn a mix, or `weights` alone")
        if self.scale not in SCALES:
            raise ValueError(f"scale {self.scale!r}: known are {', '.join(SCALES)}")
        if len(set(self.of)) < len(self.of) or self.label in self.of:
            raise ValueError(f"of must name different columns, and not the label: {list(self.of)}")
        for name, weight in self.weights.items():
            is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
            if not is_number or not np.isfinite(weight):
                raise ValueError(f"weights: {name}: expected a number, got {weight!r}")

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(self.weights) if self.weights else self.of

    @property
    def fit_reads(self) -> tuple[str, ...]:
        return self.reads if self.label is None else (*self.reads, self.label)

    def fit(self, rows: pa.Table) -> Fitted:
        """The scales of the columns, and the coefficients. Raises NotEnoughRows."""
        if not len(rows):
            raise NotEnoughRows("needs a row that has all the columns, found none")
        order = draw_order(rows["key"].to_pylist(), 0, "mix")  # folds, whatever keys mean
        columns = {name: numbers(rows[name].to_numpy(), name)[order] for name in self.reads}
        learnt = {f"scale.{name}": self._scale_of(values) for name, values in columns.items()}
        if self.label is None:
            coefficients = np.array([0.0, *self.weights.values()])
            return {**learnt, "coefficients": coefficients}
        scaled = [self._scaled(columns[n], learnt[f"scale.{n}"]) for n in self.reads]
        matrix = np.stack(scaled, axis=1)
        labels = self._labels(rows)[order]
        penalty, losses = logistic.best_penalty(matrix, labels)
        found = logistic.fit(matrix, labels, penalty)
        learnt |= {"coefficients": found.coefficients, "intervals": found.intervals}
        return {**learnt, "penalty": np.array(penalty), "losses": losses}

    def __call__(self, batch: dict[str, list[Any]], fitted: Fitted) -> dict[str, list[Any]]:
        total = np.full(len(batch[self.reads[0]]), float(fitted["coefficients"][0]))
        for name, weight in zip(self.reads, fitted["coefficients"][1:].tolist(), strict=True):
            values = numbers(batch[name], name)
            total += weight * self._scaled(values, fitted[f"scale.{name}"])
        return {"mix_score": (total if self.weights else logistic.probability(total)).tolist()}

    def _scale_of(self, values: Doubles) -> Doubles:
        if self.scale == "rank":
            return np.sort(values)
        deviation = values.std()
        return np.array([values.mean(), deviation if deviation > 0 else 1.0])

    def _scaled(self, values: Doubles, scale: Any) -> Doubles:
        if self.scale == "rank":
            return rank(values, scale)
        found: Doubles = (values - scale[0]) / scale[1]
        return found

    def _labels(self, rows: pa.Table) -> logistic.Bools:
        values = pc.unique(rows[self.label]).to_pylist()
        if not all(value in (0, 1) for value in values):
            raise ValueError(f"label {self.label!r} must hold true and false, found {values[:5]}")
        found: logistic.Bools = rows[self.label].to_numpy().astype(bool)
        return found
