"""Agreement of several scores: what each says of a pair in percentile ranks, and how many concur.

Scores of different models are on different scales; ranks in one pool are not. A pair that fools
one model seldom fools another family of models as well.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.too_few import NotEnoughRows
from filters.vectors import BATCH, Doubles, Fitted

_WRITES = pa.schema(
    {
        "agreement_min": pa.float32(),
        "agreement_mean": pa.float32(),
        "agreement_count": pa.int32(),
    }
)


@dataclass(frozen=True)
class Agreement:
    """Percentile ranks in [0, 1] of the columns `of`, by a sample of the pool.

    `agreement_min` and `agreement_mean` are the lowest rank and their mean; `agreement_count` is
    how many ranks are at least `quantile`, so "k of n" is a condition on it. The rank of a value
    is the share of the sample below it and half of the share that equals it. Higher must be
    better in every column. NULL where one of them is.
    """

    of: tuple[str, ...]
    quantile: float = 0.5
    fit_rows: int = 65_536
    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"of": "number"}
    writes: ClassVar[pa.Schema] = _WRITES
    batch_size: ClassVar[int] = BATCH

    def __post_init__(self) -> None:
        if len(self.of) < 2 or len(set(self.of)) < len(self.of):
            raise ValueError(f"of must name two different columns or more, got {list(self.of)}")
        if not 0 <= self.quantile <= 1:
            raise ValueError(f"quantile must be in [0, 1], got {self.quantile}")

    @property
    def reads(self) -> tuple[str, ...]:
        return self.of

    def fit(self, rows: pa.Table) -> Fitted:
        """The sorted values of each column. Raises NotEnoughRows without rows."""
        if not len(rows):
            raise NotEnoughRows("needs a row that has all the scores, found none")
        return {name: np.sort(numbers(rows[name].to_numpy(), name)) for name in self.of}

    def __call__(self, batch: dict[str, list[Any]], fitted: Fitted) -> dict[str, list[Any]]:
        ranks = np.stack([rank(numbers(batch[c], c), fitted[c]) for c in self.of])
        return {
            "agreement_min": ranks.min(axis=0).tolist(),
            "agreement_mean": ranks.mean(axis=0).tolist(),
            "agreement_count": (ranks >= self.quantile).sum(axis=0).tolist(),
        }


def rank(values: Doubles, ordered: npt.NDArray[Any]) -> Doubles:
    """The share of `ordered` below each value, and half of the share that equals it."""
    below = np.searchsorted(ordered, values, "left")
    up_to = np.searchsorted(ordered, values, "right")
    ranks: Doubles = (below + up_to) / (2 * len(ordered))
    return ranks


def numbers(values: Any, name: str) -> Doubles:
    """A column of numbers or claims as doubles. Raises ValueError when it holds anything else."""
    found = np.asarray(values)
    if found.dtype.kind not in "biuf":
        raise ValueError(f"column {name!r} must hold numbers, found {type(found.flat[0]).__name__}")
    return found.astype(np.float64)
