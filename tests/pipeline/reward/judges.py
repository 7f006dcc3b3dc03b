"""Judges for tests: scorers that count what they are asked, and fail when they are told to."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

ASKED: list[str] = []
"""Every text that a judge of this process was asked about."""
PREPARED: list[str] = []
STOP: list[int] = []
"""After so many answers a judge can't be reached."""


class Away(Exception):
    retriable = True


class Refused(Exception):
    pass


@dataclass(frozen=True)
class Lengths:
    """`length_score`: letters of the text, and a bit for the brightness; says nothing of `z`."""

    factor: float = 1.0
    batch_size: int = 4
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("image", "caption")
    writes: ClassVar[pa.Schema] = pa.schema(
        [("length_score", pa.float32()), ("length_word", pa.string())]
    )

    def keep_in(self, folder: str) -> None:
        PREPARED.append(folder)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if STOP and len(ASKED) + len(batch["caption"]) > STOP[0]:
            raise Away("nobody answers")
        if "poison" in batch["caption"]:
            raise ValueError("can't read this")
        ASKED.extend(batch["caption"])
        scores = [
            Refused("no z") if "z" in text else self.factor * (len(text) + image.mean() / 1000)
            for image, text in zip(batch["image"], batch["caption"], strict=True)
        ]
        return {"length_score": scores, "length_word": [None] * len(scores)}
