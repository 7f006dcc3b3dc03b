"""Captions from boxes: what stands in the middle, what around it, and how many there are.

RemoteCLIP's rule (arXiv:2306.11029, III-B): five captions for a picture. Which region is the
centre, and the words, are not published: here it is the middle third in both directions. None says
left or right, above or below, so that pictures may be turned and mirrored in training.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, ClassVar

import pyarrow as pa

from recaption import captions, english
from recaption.captions import LABELLED, Caption, Row

MOST_COUNTED = 10  # above it, RemoteCLIP says "many"
_VAGUE = ("many", "a lot of", "a great number of")
_COUNTS = 3  # captions that say how many there are
_PROMPT = "box-to-caption/1"


@dataclass(frozen=True)
class BoxCaptions:
    """Five captions of kind `short` from the boxes in a column of captions with `box`,
    of those of kind `region` if there are any.

    One names what has its centre in the middle `centre` of the picture, one what has not, three
    say of categories drawn by key how many there are; more than ten are `many`, `a lot of`. If
    nothing is in the middle, or all is, or there are few categories, a caption of another set of
    categories takes the place; equal captions are written once. No boxes, no captions. `view` is
    said at the end of each ("seen from above"); `seed` is that of what is drawn.
    """

    of: str = "regions"
    centre: float = 1 / 3
    view: str = ""
    seed: int = 0
    version: ClassVar[int] = 2  # regions alone
    needs: ClassVar[dict[str, str]] = {"of": "captions"}
    writes: ClassVar[pa.Schema] = captions.WRITES

    def __post_init__(self) -> None:
        if not 0 < self.centre <= 1:
            raise ValueError(f"centre {self.centre} must be a share, above 0 and at most 1")

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.of, "key")

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        found = [
            captions.rows(
                Caption(text, "en", LABELLED, "short", prompt=_PROMPT)
                for text in self._texts(boxes, key)
            )
            for boxes, key in zip(batch[self.of], batch["key"], strict=True)
        ]
        return {captions.COLUMN: found}

    def _texts(self, boxes: Sequence[Row], key: bytes) -> list[str]:
        things = captions.boxed(boxes)
        inside = Counter(text for text, box in things if self._is_central(box))
        around = Counter(text for text, box in things if not self._is_central(box))
        where = f" {self.view}" if self.view else ""
        texts = []
        if inside:
            texts.append(f"{self._said(inside, key, 'inside')} in the middle of the picture{where}")
        if around:
            texts.append(f"{self._said(around, key, 'around')} away from the middle{where}")
        total = inside + around
        for place in range(_COUNTS + 2 - len(texts) if total else 0):
            texts.append(f"there {self._counted(total, key, place)}{where}")
        return list(dict.fromkeys(map(english.sentence, texts)))

    def _is_central(self, box: Sequence[float]) -> bool:
        """Whether the centre of a box lies in the centre of the picture, edges included."""
        half = self.centre / 2
        return all(abs((box[n] + box[n + 2]) / 2 - 0.5) <= half + 1e-9 for n in (0, 1))

    def _said(self, count: Counter[str], key: bytes, salt: str) -> str:
        return english.listed([self._many(count[name], name, key, salt) for name in sorted(count)])

    def _counted(self, count: Counter[str], key: bytes, place: int) -> str:
        """`are two cars and many ships`, of one to three categories drawn by key."""
        names = sorted(count, key=lambda name: _dice(key, self.seed, f"{place}:{name}"))
        drawn = names[: 1 + _dice(key, self.seed, f"{place}") % min(3, len(names))]
        verb = "is" if count[drawn[0]] == 1 else "are"
        said = [self._many(count[name], name, key, str(place)) for name in drawn]
        return f"{verb} {english.listed(said)}"

    def _many(self, count: int, name: str, key: bytes, salt: str) -> str:
        if count == 1:
            return english.with_article(name)
        if count <= MOST_COUNTED:
            return english.counted(count, name)
        vague = _VAGUE[_dice(key, self.seed, f"{salt}:{name}:vague") % len(_VAGUE)]
        return f"{vague} {english.plural(name)}"


def _dice(key: bytes, seed: int, salt: str) -> int:
    data = b"\0".join([key, str(seed).encode(), salt.encode()])
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")
