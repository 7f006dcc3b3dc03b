"""The CLIP score of the mirrored image: what is left of a score when writing can't be read.

Models that learnt to read lift the score of a picture that shows its caption as text. Mirrored,
the picture still shows the same things, but the text is gone.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from filters.clip import EMBEDDED, ClipScore, Ready, clip_of
from filters.shared_images import once


@dataclass(frozen=True)
class Mirrored:
    """`mirrored_score`: cosine of the image mirrored left to right and the text.

    The parameters are those of the scorer `clip`, `merge` among them; a large drop from its
    `clip_score` says that the score came from text in the image. What has no `clip_score` has none.
    `mirrored_truncated` is its `clip_truncated`. Costs as much as `clip`.
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
    needs: ClassVar[dict[str, str]] = {"text": "text"}
    writes: ClassVar[pa.Schema] = pa.schema(
        [("mirrored_score", pa.float32()), ("mirrored_truncated", pa.bool_())]
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "precision", self._clip.precision)  # "auto" is settled here

    @property
    def reads(self) -> tuple[str, ...]:
        return self._clip.reads

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

    def prepare_image(self, image: Any) -> Any:
        """What the model sees of the mirrored image; a batch may hold it in place of the image."""
        return Ready((self._clip.prepare_image(_mirrored(image)),))

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        distinct, which = once(batch["image"])
        mirrored = [i.views[0] if isinstance(i, Ready) else _mirrored(i) for i in distinct]
        found = self._clip({**batch, "image": [mirrored[number] for number in which]})
        return {
            "mirrored_score": found["clip_score"],
            "mirrored_truncated": found["clip_truncated"],
        }

    @cached_property
    def _clip(self) -> ClipScore:
        return clip_of(self)


def _mirrored(image: Any) -> Any:
    return np.ascontiguousarray(image[:, ::-1])
