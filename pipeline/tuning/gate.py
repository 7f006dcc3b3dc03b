"""What an encoder finds among anchors, before and after: the gate on what it forgets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.keys import draw_bits
from pipeline.reward.encoders import Encoder
from pipeline.tuning.config import Anchors
from pipeline.tuning.retrieval import (
    Hits,
    class_vectors,
    retained,
    retrieval,
    separation,
    zero_shot,
)
from pipeline.tuning.rows import Pair, Pairs
from pipeline.tuning.samples import Floats, distinct, readable, vectors_of

Json = dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """One set of anchors: its options, its pairs, and the share of the figure that must be left."""

    options: Anchors
    pairs: Pairs
    retain: float


def fewest_draws(pairs: Pairs, count: int) -> Pairs:
    """At most so many of the pairs, those whose keys draw the smallest numbers, in pool order."""
    if len(pairs) <= count:
        return pairs
    drawn = sorted(pairs.rows, key=lambda row: draw_bits(bytes.fromhex(row.key), 0, "anchors"))
    chosen = {row.key for row in drawn[:count]}
    return Pairs(pairs.pool, tuple(row for row in pairs.rows if row.key in chosen))


def hits_of(encoder: Encoder, judged: Judged, folder: str) -> Hits:
    """What the encoder finds among anchors."""
    seen, read = vectors_of(encoder, judged.pairs, folder)
    rows = readable(judged.pairs, [*seen])
    if judged.options.measure == "retrieval":
        return retrieval_of(rows, seen, read)
    found = distinct(rows)
    classes = class_vectors(found.texts, judged.options.templates, encoder.texts)
    own = found.own[np.unique(found.own[:, 0], return_index=True)[1]]
    return zero_shot(np.stack([seen[name] for name in found.images]), classes, own[:, 1])


def retrieval_of(
    rows: "tuple[Pair, ...]", seen: Mapping[bytes, Floats], read: Mapping[str, Floats]
) -> Hits:
    """Recalls among the distinct images and texts of pairs."""
    found = distinct(rows)
    images = np.stack([seen[name] for name in found.images])
    return retrieval(images, np.stack([read[text] for text in found.texts]), found.own)


def verdict_of(judged: Judged, before: Hits, after: Hits) -> Json:
    """What is left of the figure, and whether that is enough; what was nothing can't be judged."""
    kept = retained(before, after)
    enough = kept.before > 0 and kept.left.value >= judged.retain
    has_left = kept.before > 0
    return {
        "name": judged.options.name,
        "measure": judged.options.measure,
        "queries": len(before.values),
        "images": len(np.unique(before.group)),
        "retain": judged.retain,
        "before": kept.before,
        "after": kept.after,
        "left": kept.left.value if has_left else None,
        "low": kept.left.low if has_left and np.isfinite(kept.left.low) else None,
        "high": kept.left.high if has_left and np.isfinite(kept.left.high) else None,
        "figures": [
            {"figure": name, "before": value, "after": after.means()[name]}
            for name, value in before.means().items()
        ],
        "is_kept": enough,
    }


def told(verdict: Json) -> str:
    """A verdict for a person, in one line."""
    left = "nothing that could be kept"
    if verdict["left"] is not None:
        left = f"{verdict['left']:.3f} of it left (limit {verdict['retain']:g})"
    name, before, after = (verdict[part] for part in ("name", "before", "after"))
    return f"{name}: {verdict['measure']} {before:.3f} before, {after:.3f} after, {left}"


def learnt_of(encoder: Encoder, pairs: Pairs, folder: str) -> tuple[Hits, Json]:
    """What the encoder finds among held-out trusted pairs, and how it tells right from wrong ones.

    A wrong pair is an image with the text of the next one that has another.
    """
    seen, read = vectors_of(encoder, pairs, folder)
    rows = readable(pairs, [*seen])
    images = np.stack([seen[row.image] for row in rows]).astype(np.float64)
    texts = np.stack([read[row.text] for row in rows]).astype(np.float64)
    right = np.einsum("nd,nd->n", images, texts)
    other = np.roll(np.arange(len(rows)), -1)
    is_wrong = np.array(
        [
            rows[n].text != rows[m].text and rows[n].image != rows[m].image
            for n, m in enumerate(other)
        ]
    )
    wrong = np.einsum("nd,nd->n", images, texts[other])[is_wrong]
    middle = np.quantile(right, [0.1, 0.5, 0.9]).tolist()
    told = {"separation": separation(right, wrong) if len(wrong) else None, "cosines": middle}
    return retrieval_of(rows, seen, read), told
