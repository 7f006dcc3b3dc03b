"""What a selection does to the share of generated images.

Scores of image and text tend to rank generated images above real ones of equal relevance, so a
filter by such a score takes more of them (Xu et al., "Invisible Relevance Bias", arXiv:2311.14084).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COLUMN = "is_generated"
_TRUE = "true"


@dataclass(frozen=True)
class Amplification:
    """Images that are known to be generated, among `rows` that could be read and those `kept`."""

    generated: int
    rows: int
    generated_kept: int
    kept: int

    @property
    def before(self) -> float:
        """Share of the rows that could be read."""
        return self.generated / self.rows

    @property
    def after(self) -> float:
        """Share of the rows that were kept; 0 when none was."""
        return self.generated_kept / self.kept if self.kept else 0.0

    @property
    def factor(self) -> float:
        """How many times as large the share is after the selection: P(g | kept) / P(g)."""
        return self.after / self.before

    def __str__(self) -> str:
        before = f"{self.generated:,} of {self.rows:,} images ({self.before:.1%})"
        after = f"{self.generated_kept:,} of {self.kept:,} kept ({self.after:.1%})"
        change = f"their share was multiplied by {self.factor:.2f}"
        return f"known to be generated: {before}, {after}: {change}"


def amplification(summary: Mapping[str, Any]) -> Amplification | None:
    """That of a selection's summary; None when no column or no evidence says anything."""
    for found in summary["breakdowns"]:
        if found["column"] != COLUMN:
            continue
        for value in found["values"]:
            if value["value"] == _TRUE:
                rows = summary["rows"] - sum(summary["failed"].values())
                return Amplification(value["rows"], rows, value["kept"], summary["kept"])
    return None
