"""The reward scorer: how well a caption serves its image, as learnt from preferences.

It runs a head over vectors of an encoder, stored ones or those of the embedded encoder. Weights
that were trained for another encoder are refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from filters import embedded, reward_head
from filters.reward_head import Floats, Head

EMBEDDED = "embedded"
_PIXELS = "image"


@dataclass(frozen=True)
class RewardScore:
    """Log odds that people, or the rules that made the preferences, like the caption.

    `weights` is the file that `pairmill reward train` wrote, or `shipped` where one is. `image` and
    `text` are the columns of unit vectors that a dual encoder stored (`clip: {embeddings: true}`);
    with `image: image` and a column of captions the pair is encoded here, for weights over the
    embedded encoder. The difference of two rewards is the log odds that the first is preferred; 0
    is the mean in training. With several criteria there is one column more for each. The loss is
    that of Bradley and Terry 1952 with ties after Davidson 1970; the use on captions is that of
    Compress & Align (arXiv:2312.06726).
    """

    weights: str
    image: str = "clip_image"
    text: str = "clip_text"
    batch_size: int = 1024
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self._encodes:
            self._refuse_other(EMBEDDED, embedded.weights_digest())

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.image, self.text)

    @property
    def writes(self) -> pa.Schema:
        return pa.schema([pa.field(name, pa.float32()) for name in self._columns])

    @property
    def image_request(self) -> int:
        return embedded.IMAGE_SIZE

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values; the weights count by their content, not their place."""
        return {"image": self.image, "text": self.text}

    @property
    def weights_digest(self) -> str:
        digest = reward_head.head_digest(self.weights)
        return f"{digest} {embedded.weights_digest()}" if self._encodes else digest

    def check_inputs(self, writers: Mapping[str, Any]) -> None:
        """Raise ValueError when the scorer that writes a column read is of another encoder.

        `writers` maps columns to scorers; one without `weights_digest` can't be checked.
        """
        for column in self.reads:
            writer = writers.get(column)
            digest = getattr(writer, "weights_digest", None)
            if digest is not None:
                self._refuse_other(str(getattr(writer, "model", type(writer).__name__)), digest)

    def prepare(self) -> None:
        """Load the weights. Raises ValueError when they are missing or damaged."""
        reward_head.read_head(self.weights)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        head = self._head
        scores = head.scores(*self._vectors(batch))
        rewards = head.rewards(scores)
        if not np.isfinite(rewards).all():
            raise ValueError("the vectors hold NaN or infinity")
        values = [rewards, *scores.T] if len(head.criteria) > 1 else [rewards]
        return {name: column.tolist() for name, column in zip(self._columns, values, strict=True)}

    def _vectors(self, batch: dict[str, list[Any]]) -> tuple[Floats, Floats]:
        if self._encodes:
            seen = embedded.encode_images(batch[self.image])
            read = embedded.encode_texts(batch[self.text])
            # As stored vectors are, so that both ways give one reward.
            return _half(seen), _half(read)
        return _stacked(batch[self.image]), _stacked(batch[self.text])

    @property
    def _encodes(self) -> bool:
        return self.image == _PIXELS

    @property
    def _head(self) -> Head:
        return reward_head.read_head(self.weights)

    @property
    def _columns(self) -> list[str]:
        criteria = self._head.criteria
        return ["reward", *(f"reward_{name}" for name in criteria if len(criteria) > 1)]

    def _refuse_other(self, name: str, digest: str) -> None:
        head = self._head
        if digest != head.encoder_digest:
            raise ValueError(
                f"weights {self.weights!r} were trained on vectors of encoder {head.encoder!r}"
                f" ({head.encoder_digest[:12]}), these are of {name!r} ({digest[:12]});"
                " train the reward again on this encoder"
            )


def _half(vectors: Floats) -> Floats:
    return vectors.astype(np.float16).astype(np.float32)


def _stacked(rows: list[Any]) -> Floats:
    """Vectors as one array; ValueError when they are not of one length."""
    if not rows:
        return np.zeros((0, 0), np.float32)
    return np.stack([np.asarray(row) for row in rows]).astype(np.float32)
