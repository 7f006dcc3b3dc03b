"""Boxes of a set of annotations as captions of regions: what other rules for boxes begin with."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import pyarrow as pa

from filters import files, mllm
from recaption import annotations, captions
from recaption.annotations import Annotated, Box, Pictures, Thing
from recaption.captions import LABELLED, Caption

REGION, EXPRESSION = captions.REGION, "expression"


@dataclass(frozen=True)
class RegionCaptions:
    """The boxes of a row's picture, each a caption of kind `region`, found by `source_key`.

    A region's text is its category. Where the annotations say in words what a box shows, a caption
    of kind `expression` with the same box follows.

    `annotations` is a file (`coco`) or folder (`voc`, `yolo`, `dota`, `masks`) beside the recipe,
    `classes` the names of its numbers. A row whose name is in no annotation has NULL, one of which
    they say that there is nothing has an empty list. Names are compared as paths without
    extension, then as file names where those are unique. Boxes become shares of the picture as it
    is displayed; they were drawn on the picture as stored, unless the size that they come with
    says otherwise. What lies outside the picture is cut off. Of a picture whose annotations are
    damaged that is the reason; others go on.
    """

    annotations: str
    format: str
    classes: str | None = None
    least_area: float = 0.0
    version: ClassVar[int] = 2  # categories are categories, damage is a reason
    reads: ClassVar[tuple[str, ...]] = ("source_key", "header")
    writes: ClassVar[pa.Schema] = captions.WRITES

    def __post_init__(self) -> None:
        if not 0 <= self.least_area < 1:
            raise ValueError(
                f"least_area {self.least_area} must be a share, at least 0 and below 1"
            )
        annotations.check(self.annotations, self.format, self.classes)

    @property
    def identity(self) -> dict[str, Any]:
        return {"format": self.format, "least_area": self.least_area}

    @property
    def weights_digest(self) -> str:
        """A digest of the annotations and the names of classes."""
        found = annotations.files(self.annotations) + ([self.classes] if self.classes else [])
        listed = "".join(f"{annotations.stem(name)} {files.digest(name)}\n" for name in found)
        return hashlib.sha256(listed.encode()).hexdigest()

    def prepare(self) -> None:
        _indexed(self.annotations, self.format, self.classes)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        index = _indexed(self.annotations, self.format, self.classes)
        rows = zip(batch["source_key"], batch["header"], strict=True)
        return {captions.COLUMN: [self._captions(index.get(name), header) for name, header in rows]}

    def _captions(
        self, found: Annotated | ValueError | None, header: Any
    ) -> list[captions.Row] | ValueError | None:
        if not isinstance(found, Annotated):
            return found
        return captions.rows(
            Caption(text, "en", LABELLED, kind, box)
            for thing, box in _displayed(found, header)
            if _area(box) > self.least_area
            for kind, text in ((REGION, _words(thing.category)), (EXPRESSION, _plain(thing.text)))
            if text
        )


class _Index:
    """Pictures by path and by file name; a class because names that several share are none."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self._short: dict[str, str | None] = {}
        for name in pictures:
            short = name.rpartition("/")[2]
            self._short[short] = None if short in self._short else name

    def get(self, source_key: str) -> Annotated | ValueError | None:
        name = annotations.stem(source_key.replace("\\", "/"))
        known = name if name in self._pictures else self._short.get(name.rpartition("/")[2])
        return None if known is None else self._pictures[known]


@lru_cache(maxsize=4)
def _indexed(path: str, kind: str, classes: str | None) -> _Index:
    return _Index(annotations.read(path, kind, classes))


def _words(category: str) -> str:
    """`small-vehicle`, `tennis_court` as words."""
    return _plain(category.replace("_", " ").replace("-", " "))


def _plain(text: str | None) -> str:
    """A text as one line without control characters."""
    return " ".join(mllm.readable(text or "").split())


def _displayed(found: Annotated, header: Any) -> Sequence[tuple[Thing, Box]]:
    """Each thing with its box as shares of the picture as displayed."""
    shown = header.width, header.height
    turned = header.orientation >= 5
    stored = shown[::-1] if turned else shown
    size = found.size or stored
    is_displayed = turned and size == shown and size != stored
    orientation = 1 if is_displayed else header.orientation
    return [(thing, _upright(_shares(thing.box, size), orientation)) for thing in found.things]


def _shares(box: Box, size: tuple[int, int]) -> Box:
    left, right = (min(1.0, max(0.0, x / size[0])) for x in (box[0], box[2]))
    top, bottom = (min(1.0, max(0.0, y / size[1])) for y in (box[1], box[3]))
    return left, top, right, bottom


def _upright(box: Box, orientation: int) -> Box:
    """A box on the stored picture, on the one that EXIF's orientation makes of it."""
    left, top, right, bottom = box
    if orientation in (2, 3):
        left, right = 1 - right, 1 - left
    if orientation in (3, 4):
        top, bottom = 1 - bottom, 1 - top
    if orientation >= 5:
        left, top, right, bottom = top, left, bottom, right
        if orientation in (6, 7):
            left, right = 1 - right, 1 - left
        if orientation in (7, 8):
            top, bottom = 1 - bottom, 1 - top
    return left, top, right, bottom


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
