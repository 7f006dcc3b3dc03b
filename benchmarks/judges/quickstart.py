"""The offline judges on the quickstart's pack: its planted wrong captions against faultless rows.

Nothing is learnt from it, and nothing chosen by it.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.natural import figures
from benchmarks.natural.scores import judged, numbers
from filters import embedded
from filters.clip import ClipScore
from filters.matching import ImageTextMatching
from pipeline.decoding import decode

_PACK = Path("configs/quickstart")
_FAULT, _KEPT = "wrong_caption", "keep"
Array = np.ndarray[Any, Any]


def table() -> str:
    """Markdown: the AUC of each score, and how far it is above the cosine's."""
    with (_PACK / "faults.csv").open(encoding="utf-8") as lines:
        told = csv.DictReader(lines)
        rows = [row for row in told if row["fault"] == _FAULT or row["expect"] == _KEPT]
    paths = [_PACK / "photos" / row["file"] for row in rows]
    is_good = np.array([row["expect"] == _KEPT for row in rows])
    texts = [path.with_suffix(".txt").read_text(encoding="utf-8").strip() for path in paths]
    found = scores({"image": [_pixels(path) for path in paths], "caption": texts})
    written = [
        f"{int(is_good.sum())} rows without a fault, {int((~is_good).sum())} wrong captions\n",
        "| score | AUC | less the cosine's | mean, right | mean, wrong |",
        "|---|---|---|---|---|",
    ]
    for name, values in found.items():
        own = figures.drawn_again(lambda r, v=values: figures.auc(v[r], is_good[r]), len(values))
        gain = figures.drawn_again(
            lambda r, v=values: (
                figures.auc(v[r], is_good[r]) - figures.auc(found["cosine"][r], is_good[r])
            ),
            len(values),
        )
        ahead = gain.signed if name != "cosine" else ""
        means = [values[which & np.isfinite(values)].mean() for which in (is_good, ~is_good)]
        written.append(f"| {name} | {own} | {ahead} | {means[0]:.3f} | {means[1]:.3f} |")
    return "\n".join(written)


def _pixels(path: Path) -> Array:
    return decode(path.read_bytes(), embedded.IMAGE_SIZE)


def scores(batch: dict[str, list[Any]]) -> dict[str, Array]:
    """The offline judges beside two scores of the kind; -inf where there is no value."""
    found = {
        "cosine": numbers(ClipScore()(batch)["clip_score"]),
        "itm_score": numbers(ImageTextMatching()(batch)["itm_score"]),
    }
    return found | judged(batch)
