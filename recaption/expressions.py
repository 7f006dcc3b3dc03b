"""Referring expressions: for each box words that single it out in its picture.

By the steps of DIOR-RSVG (arXiv:2210.12634), whose constants are not published: of attributes in a
fixed order the smallest set is taken with which exactly one thing of the picture is described.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recaption import captions
from recaption.captions import LABELLED, Caption, Row

_LEAST_AREA, _MOST_AREA = 0.0002, 0.99  # shares of the picture
_MOST_ALIKE = 5  # of one category in a picture; more can't be told apart in few words
_PROMPT = "expression/1"
_LARGER = 1.5  # times the area of the other things of its kind
_ROWS, _COLUMNS = ("upper", "", "lower"), ("left", "", "right")
_HUES = (
    (15, "red"),
    (40, "orange"),
    (70, "yellow"),
    (165, "green"),
    (255, "blue"),
    (290, "purple"),
)
_HUES += ((335, "pink"), (361, "red"))  # type: ignore[assignment]
_ORDER = ("place", "colour", "size")

Pixels = npt.NDArray[np.uint8]


class _Thing(NamedTuple):
    category: str
    box: tuple[float, float, float, float]
    place: str
    colour: str
    size: str


@dataclass(frozen=True)
class Expressions:
    """Captions of kind `region`, each with the box of a column of captions that it singles out.

    Things are the captions of `of` with a box, of kind `region` if any is.

    The category alone if there is one such thing, else with its place (three by three), its colour
    (`colours: true` looks at the picture), its size among its kind, or what stands beside it;
    things that no set of these tells from others are left out, as are boxes below 0.02 % and
    above 99 % of the picture and categories with more than five things.
    """

    of: str = "regions"
    colours: bool = True
    version: ClassVar[int] = 2  # regions alone
    needs: ClassVar[dict[str, str]] = {"of": "captions"}
    writes: ClassVar[pa.Schema] = captions.WRITES
    image_request: ClassVar[int] = 512

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.of, "image") if self.colours else (self.of,)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        images = batch["image"] if self.colours else [None] * len(batch[self.of])
        found = [_captions(row, image) for row, image in zip(batch[self.of], images, strict=True)]
        return {captions.COLUMN: found}


def _captions(boxes: Sequence[Row], image: Pixels | None) -> list[Row]:
    named = captions.boxed(boxes)
    count = Counter(text for text, _ in named)
    things = [_described(text, tuple(box), named, image) for text, box in named]  # type: ignore[arg-type]
    found = []
    for thing in things:
        if count[thing.category] > _MOST_ALIKE or not _LEAST_AREA <= _area(thing.box) <= _MOST_AREA:
            continue
        text = next(_unique(thing, things), None)
        if text is not None:
            caption = Caption(text, "en", LABELLED, "region", thing.box, prompt=_PROMPT)
            found.append(caption)
    return captions.rows(found)


def _described(
    text: str, box: tuple[float, float, float, float], others: Sequence[Any], image: Pixels | None
) -> _Thing:
    alike = [_area(other) for name, other in others if name == text]
    rank = sorted(alike, reverse=True)
    size = ""
    if len(rank) > 1 and _area(box) == rank[0] and rank[0] >= _LARGER * rank[1]:
        size = "large"
    elif len(rank) > 1 and _area(box) == rank[-1] and rank[-2] >= _LARGER * rank[-1]:
        size = "small"
    return _Thing(text, box, _place(box), "" if image is None else _colour(image, box), size)


def _unique(thing: _Thing, things: Sequence[_Thing]) -> Iterator[str]:
    """Descriptions of a thing that fit no other thing of the picture, the shortest first."""
    alike = [other for other in things if other.category == thing.category]
    for many in range(len(_ORDER) + 1):
        for chosen in combinations(_ORDER, many):
            values = [getattr(thing, name) for name in chosen]
            fit = [other for other in alike if [getattr(other, n) for n in chosen] == values]
            if len(fit) == 1 and all(values):
                yield _worded(thing, chosen)
    for other in things:
        single = sum(one.category == other.category for one in things) == 1
        relation = _relation(thing.box, other.box)
        same = [one for one in alike if _relation(one.box, other.box) == relation]
        if other.category != thing.category and single and relation and len(same) == 1:
            yield f"the {thing.category} {relation} the {other.category}"


def _worded(thing: _Thing, chosen: tuple[str, ...]) -> str:
    colour = thing.colour if "colour" in chosen else ""
    size = thing.size if "size" in chosen else ""
    noun = " ".join(filter(None, [size, colour, thing.category]))
    if not chosen:
        return f"the {thing.category}"
    where = ""
    if "place" in chosen:
        where = " in the middle" if thing.place == "middle" else f" on the {thing.place}"
    return f"the {noun}{where}"


def _place(box: tuple[float, float, float, float]) -> str:
    column, row = ((box[n] + box[n + 2]) / 2 for n in (0, 1))
    words = [_ROWS[min(2, int(row * 3))], _COLUMNS[min(2, int(column * 3))]]
    found = " ".join(filter(None, words))
    return {"": "middle", "upper": "top", "lower": "bottom"}.get(found, found)


def _relation(box: Sequence[float], other: Sequence[float]) -> str:
    """Where a box is as seen from another, by their centres."""
    dx, dy = ((box[n] + box[n + 2] - other[n] - other[n + 2]) / 2 for n in (0, 1))
    if max(abs(dx), abs(dy)) < 0.02:
        return ""
    if abs(dx) > abs(dy):
        return "to the left of" if dx < 0 else "to the right of"
    return "above" if dy < 0 else "below"


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _colour(image: Pixels, box: Sequence[float]) -> str:
    """The colour of most pixels in the middle of a box; "" where none has a third of them."""
    height, width = image.shape[:2]
    left, right = (
        round((box[0] * a + box[2] * b) * width) for a, b in ((0.75, 0.25), (0.25, 0.75))
    )
    top, bottom = (
        round((box[1] * a + box[3] * b) * height) for a, b in ((0.75, 0.25), (0.25, 0.75))
    )
    part = image[top : max(bottom, top + 1), left : max(right, left + 1)].reshape(-1, 3)
    if not len(part):
        return ""
    names, counts = np.unique(colours(part), return_counts=True)
    best = int(counts.argmax())
    return str(names[best]) if counts[best] * 3 >= len(part) else ""


def colours(pixels: Pixels) -> npt.NDArray[np.str_]:
    """A colour's name for each of some pixels [n, 3]: by value and saturation, then by hue."""
    import cv2

    hsv = cv2.cvtColor(pixels[None].astype(np.float32) / 255, cv2.COLOR_RGB2HSV)[0]
    hue, saturation, value = hsv.T
    limits = np.array([limit for limit, _ in _HUES])
    found = np.array([name for _, name in _HUES])[np.searchsorted(limits, hue, "right")]
    found = np.where((found == "orange") & (value < 0.6), "brown", found)
    grey = saturation < 0.2
    found = np.where(grey, "grey", found)
    found = np.where(grey & (value > 0.8), "white", found)
    return np.where(value < 0.2, "black", found)
