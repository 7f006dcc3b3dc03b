"""Questions with known answers: drawings with right captions and wrong ones of several kinds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from benchmarks.embedded.report import Bench
from benchmarks.reward.captions import Row, comparisons_of
from benchmarks.reward.material import stored
from filters import embedded
from filters.reference import Floats, Reference, Said, Seen
from pipeline.reward.bootstrap import Captioned, nearest_captions
from pipeline.reward.comparisons import Comparison

OTHER, NEIGHBOUR = "other", "neighbour"
ONE_WORD = ("object", "attribute", "relation", "number")
SHARES = ((0.5, (OTHER,)), (0.25, (NEIGHBOUR,)), (0.25, ONE_WORD))
"""Of the wrong captions that are learnt from: another's, a similar picture's, one word changed."""
_NEAR = 3  # lists of captions of near drawings
_REMEMBERED = 64  # texts: comparisons of a drawing follow each other
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Questions:
    """Comparisons of right and wrong captions beside drawings, ready to be looked at."""

    seen: list[Seen]
    place: dict[str, int]
    comparisons: list[Comparison]
    reference: Reference

    @classmethod
    def of(
        cls, bench: Bench, rows: Sequence[Row], arrays: dict[str, Floats], reference: Reference
    ) -> "Questions":
        places = [row.place for row in rows]
        images = stored(
            embedded.embed_features(bench.features[places], bench.logits[places], arrays)
        )
        short = [Captioned(row.key, row.texts["short"]) for row in rows]
        near = [nearest_captions(short, images, seed) for seed in range(_NEAR)]
        place = {row.key.hex(): n for n, row in enumerate(rows)}
        seen = [reference.seen(image) for image in images]
        return cls(seen, place, [*comparisons_of(rows, near)], reference)

    def pairs(self, side: int, order: Sequence[int] | None = None) -> Iterator[tuple[Seen, Said]]:
        """Pictures with right (0) or wrong (1) captions; in another order with those of others."""
        said = lru_cache(maxsize=_REMEMBERED)(self.reference.said)
        for one in self.comparisons:
            place = self.place[one.image]
            yield (
                self.seen[place if order is None else order[place]],
                said(one.other_text if side else one.text),
            )

    def only(self, chosen: Bools) -> "Questions":
        """Some of the comparisons."""
        kept = [one for one, is_one in zip(self.comparisons, chosen, strict=True) if is_one]
        return Questions(self.seen, self.place, kept, self.reference)

    @property
    def kinds(self) -> list[str]:
        """What is wrong, without the variant of the caption."""
        return [str(one.kind).partition(" ")[2] for one in self.comparisons]
