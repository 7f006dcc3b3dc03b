"""T-MARS: how well image and text agree when the text inside the picture is painted over.

A picture that shows its caption in letters scores high with CLIP and teaches reading; one that
still scores high without the letters shows what it says (Maini, Goyal et al., arXiv:2307.03132).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.clip import EMBEDDED, ClipScore, Ready, clip_of
from filters.shared_images import rows_once

Pixels = npt.NDArray[np.uint8]

_LARGE = 3 * 2_000_000  # bytes of an image
RING = 3
"""Pixels around a box whose mean colour fills it."""


@dataclass(frozen=True)
class MaskedClipScore:
    """`tmars_score`: the cosine of `clip`, of the picture with its `text_boxes` painted over.

    Each box takes the mean colour of the three pixels around it that are in no other box, or of
    the whole picture where there are none. A picture without text has its `clip_score`. The
    model's parameters are those of `clip`, `merge` among them; use the same, for scores of
    different models are on different scales. `clip_score - tmars_score` is what the letters alone
    bring. `tmars_truncated` is the `clip_truncated` of `clip`.
    """

    model: str = EMBEDDED
    pretrained: str | None = None
    preprocess_tag: str | None = None
    sha256: str | None = None
    precision: str = "auto"
    text: str = "caption"
    batch_size: int = 32
    merge: str | None = None

    version: ClassVar[int] = 3  # says of which texts nothing is read
    makes_batches: ClassVar[bool] = True
    needs: ClassVar[dict[str, str]] = {"text": "text", "text_boxes": "numbers"}
    writes: ClassVar[pa.Schema] = pa.schema(
        [("tmars_score", pa.float32()), ("tmars_truncated", pa.bool_())]
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "precision", self._clip.precision)  # `auto` is settled there

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image", "text_boxes", self.text)

    @property
    def image_request(self) -> int:
        return self._clip.image_request

    @property
    def device(self) -> str:
        return self._clip.device

    @property
    def identity(self) -> dict[str, Any]:
        return {**self._clip.identity, "clip": ClipScore.version}

    @property
    def weights_digest(self) -> str:
        return self._clip.weights_digest

    def prepare(self) -> None:
        """Load the weights. Raises when they are missing, damaged or not those meant."""
        self._clip.prepare()

    def prepare_image(self, image: Pixels) -> Any:
        """The image, and what the model sees of it: all that matters where it has no text.

        A large one is left as it is: the harness counts the pixels that wait.
        """
        if image.size > _LARGE:
            return image
        return Ready((image, self._clip.prepare_image(image)))

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if not batch["image"]:
            return {"tmars_score": [], "tmars_truncated": []}
        firsts, which = rows_once(batch["image"], batch["text_boxes"])
        distinct = [_without_text(batch["image"][n], batch["text_boxes"][n]) for n in firsts]
        images = [distinct[number] for number in which]
        scores = self._clip({"image": images, self.text: batch[self.text]})
        return {"tmars_score": scores["clip_score"], "tmars_truncated": scores["clip_truncated"]}

    @property
    def _clip(self) -> ClipScore:
        return clip_of(self)


def _without_text(image: Any, boxes: list[float]) -> Any:
    """A picture with its boxes painted over, for `clip`; one that needs no paint may be ready."""
    if not isinstance(image, Ready):
        return masked(image, boxes)
    plain, seen = image.views
    painted = masked(plain, boxes)
    return seen if painted is plain else painted


def masked(image: Pixels, boxes: list[float]) -> Pixels:
    """The picture with its boxes (five numbers each, shares of width and height) painted over.

    Without boxes it is the picture itself, not a copy. Colours are taken from the picture as it
    came, so that the order of boxes does not matter but where they overlap.
    """
    rectangles = _rectangles(image, boxes)
    if not rectangles:
        return image
    inside = np.zeros(image.shape[:2], np.bool_)
    for x0, y0, x1, y1 in rectangles:
        inside[y0:y1, x0:x1] = True
    result = image.copy()
    for x0, y0, x1, y1 in rectangles:
        around = np.s_[max(0, y0 - RING) : y1 + RING, max(0, x0 - RING) : x1 + RING]
        ring = image[around][~inside[around]]
        if not len(ring):
            ring = image.reshape(-1, 3)
        result[y0:y1, x0:x1] = np.round(ring.mean(axis=0)).astype(np.uint8)
    return result


def _rectangles(image: Pixels, boxes: list[float]) -> list[tuple[int, int, int, int]]:
    """Boxes in whole pixels, from the outside inwards; those without area left out."""
    height, width = image.shape[:2]
    shares = np.clip(np.reshape(np.asarray(boxes, np.float64), (-1, 5))[:, :4], 0, 1)
    pixels = shares * (width, height, width, height)
    low, high = np.floor(pixels[:, :2] + 1e-3), np.ceil(pixels[:, 2:] - 1e-3)
    found = np.concatenate([low, high], axis=1).astype(int).tolist()
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in found if x1 > x0 and y1 > y0]
