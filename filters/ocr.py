"""Text in the picture: how much of the picture it takes, where it is, and what it says.

PP-OCR from the package `rapidocr`, without a download. The detector is made for screens and
signs; handwriting and very small text are missed.
"""

import hashlib
import unicodedata
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters import textboxes
from filters.caption import words
from filters.packaged import shipped_file
from filters.textboxes import DETECTOR, READER, SCORER, Line

Pixels = npt.NDArray[np.uint8]

_MOST_LINES = 60  # of one picture: to read a page takes a second
_FEWEST = 2  # letters or digits that confirm a line
_SHORTEST = 4  # letters of a word that is also looked for where spaces were lost
_LONGEST = 2000  # words of a caption that are compared


@dataclass(frozen=True)
class TextBoxes:
    """The lines of text in a picture by PP-OCRv6 small.

    The detector alone takes every third photograph for one large letter. So with `confirm` a line
    counts only where the reader, which costs time there alone, sees two characters; turn it off
    for scripts other than Latin, Greek, Chinese and Japanese, which it cannot read.

    `text_share` is the part of the picture that they cover together, `text_lines` how many there
    are, `text_boxes` five numbers of each in reading order: left, top, right and bottom as
    shares of width and height, and the detector's score. `side` is the long side of the picture
    that the detector sees. With `read`, `ocr_text` is what they say, a line each, and
    `ocr_overlap` the share of the words of `text` that stand in the picture, 0 to 1; NULL for a
    text without words.
    """

    side: int = 480
    threshold: float = 0.5
    confirm: bool = True
    read: bool = False
    text: str = "caption"

    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"text": "text"}

    def __post_init__(self) -> None:
        if not textboxes.MULTIPLE <= self.side <= 2048:
            raise ValueError(f"side must be {textboxes.MULTIPLE} to 2048 pixels, got {self.side}")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must be between 0 and 1, got {self.threshold}")

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image", self.text) if self.read else ("image",)

    @property
    def writes(self) -> pa.Schema:
        fields = [
            ("text_share", pa.float32()),
            ("text_lines", pa.int32()),
            ("text_boxes", pa.list_(pa.float32())),
        ]
        if self.read:
            fields += [("ocr_text", pa.string()), ("ocr_overlap", pa.float32())]
        return pa.schema(fields)

    @property
    def image_request(self) -> int:
        return 2 * self.side if self._reads_lines else self.side

    @property
    def weights_digest(self) -> str:
        files = [DETECTOR, READER] if self._reads_lines else [DETECTOR]
        for file in files:
            shipped_file(file, SCORER)
        return hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()

    @property
    def _reads_lines(self) -> bool:
        return self.read or self.confirm

    def prepare(self) -> None:
        """Load the weights. Raises ValueError when they are missing or not those meant."""
        textboxes.load(reader=self._reads_lines)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        texts = batch[self.text] if self.read else [""] * len(batch["image"])
        pairs = zip(batch["image"], texts, strict=True)
        rows = [self._measure(image, text) for image, text in pairs]
        return {name: [row[name] for row in rows] for name in self.writes.names}

    def _measure(self, image: Pixels, text: str) -> dict[str, Any]:
        found = textboxes.detect(image, self.side, self.threshold)[:_MOST_LINES]
        said = [textboxes.read(image, line) if self._reads_lines else "" for line in found]
        if self.confirm:
            found = [k for k, text_of in zip(found, said, strict=True) if _is_text(text_of)]
            said = [text_of for text_of in said if _is_text(text_of)]
        height, width = image.shape[:2]
        row: dict[str, Any] = {
            "text_share": covered(found, height, width),
            "text_lines": len(found),
            "text_boxes": boxes(found, height, width),
        }
        if self.read:
            row["ocr_text"] = "\n".join(line for line in said if line)
            row["ocr_overlap"] = overlap(text, row["ocr_text"])
        return row


def _is_text(said: str) -> bool:
    return sum(map(str.isalnum, said)) >= _FEWEST


def covered(found: list[Line], height: int, width: int) -> float:
    """The part of a picture inside the lines, what is in two of them once."""
    mask = np.zeros((height, width), np.uint8)
    for line in found:
        cv2.fillPoly(mask, [np.round(line.corners).astype(np.int32)], 1)
    return float(np.count_nonzero(mask)) / mask.size


def boxes(found: list[Line], height: int, width: int) -> list[float]:
    """Upright boxes around the lines, five numbers each."""
    numbers: list[float] = []
    for line in found:
        shares = np.clip(line.corners / (width, height), 0, 1)
        numbers += [*shares.min(axis=0).tolist(), *shares.max(axis=0).tolist(), line.score]
    return numbers


def overlap(caption: str, said: str) -> float | None:
    """The share of a caption's words that the picture says; NULL when it has none.

    Case, accents and punctuation do not matter; a word of four letters or more may also stand
    inside a longer one, because readers lose spaces.
    """
    asked = _plain_words(caption)
    if not asked:
        return None
    there = _plain_words(said)
    known, joined = frozenset(there), "".join(there)
    hits = sum(word in known or (len(word) >= _SHORTEST and word in joined) for word in asked)
    return hits / len(asked)


def _plain_words(text: str) -> list[str]:
    whole = text.encode("utf-8", "replace").decode()
    apart = unicodedata.normalize("NFKD", whole[: 20 * _LONGEST]).casefold()
    kept = "".join(c if c.isalnum() else " " for c in apart if not unicodedata.combining(c))
    return words(kept)[:_LONGEST]
