"""The reward scorer: how well a caption serves its image, as learnt from preferences.

It runs a head over vectors of an encoder, stored ones or those of the embedded encoder. Weights
that were trained for another encoder are refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from filters import embedded, reward_head, reward_side
from filters.clip import EMBEDDED, ClipScore
from filters.reward_head import Floats, Head

_PIXELS = "image"


@dataclass(frozen=True)
class RewardScore:
    """Log odds that people, or the rules that made the preferences, like the caption.

    `weights` is the file that `pairmill reward train` wrote, or `shipped` where one is. `image` and
    `text` are the columns of unit vectors that a dual encoder stored (`clip: {embeddings: true}`);
    with `image: image` and a column of captions the pair is encoded here, by the encoder that the
    weights were trained on: `model`, `pretrained`, `preprocess_tag`, `precision` and
    `encoder_weights` are those of `clip`. Weights of the kind `side`, which look at the encoder's
    own layers, need that. The difference of two rewards is the log odds that the first is
    preferred; 0 is the mean in training. With several criteria there is one column more for each.
    The loss is that of Bradley and Terry 1952 with ties after Davidson 1970; the use on captions is
    that of Compress & Align (arXiv:2312.06726).
    """

    weights: str
    image: str = "clip_image"
    text: str = "clip_text"
    batch_size: int = 1024
    model: str = EMBEDDED
    pretrained: str | None = None
    preprocess_tag: str | None = None
    precision: str = "auto"
    encoder_weights: str | None = None
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self._encodes:
            clip = self._clip
            object.__setattr__(self, "precision", clip.precision)  # `auto` is settled there
            self._refuse_other(clip.encoder, clip.weights_digest)

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.image, self.text)

    @property
    def writes(self) -> pa.Schema:
        return pa.schema([pa.field(name, pa.float32()) for name in self._columns])

    @property
    def image_request(self) -> int:
        return self._clip.image_request if self._encodes else embedded.IMAGE_SIZE

    @property
    def device(self) -> str:
        return self._clip.device if self._encodes else "cpu"

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values; the weights count by their content, not their place."""
        own = {"image": self.image, "text": self.text}
        return {**own, "clip": self._clip.identity} if self._uses_model else own

    @property
    def weights_digest(self) -> str:
        digest = reward_head.head_digest(self.weights)
        return f"{digest} {self._clip.weights_digest}" if self._encodes else digest

    def check_inputs(self, writers: Mapping[str, Any]) -> None:
        """Raise ValueError when the scorer that writes a column read is of another encoder.

        `writers` maps columns to scorers; one without `weights_digest` can't be checked.
        """
        for column in self.reads:
            writer = writers.get(column)
            digest = getattr(writer, "weights_digest", None)
            if digest is not None:
                name = getattr(writer, "encoder", None)
                self._refuse_other(name or type(writer).__name__, digest, is_named=bool(name))

    def prepare(self) -> None:
        """Load the weights. Raises ValueError when they are missing, damaged, or can't be run."""
        head = reward_head.read_head(self.weights)
        if head.has_side and not self._encodes:
            raise ValueError(
                f"weights {self.weights!r} look at layers of encoder {head.encoder!r}, which are"
                " not stored: give `image: image`, `text: caption` and that encoder's parameters"
            )
        if self._encodes:
            self._clip.prepare()

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
            return self._encoded(batch[self.image], batch[self.text])
        return _stacked(batch[self.image]), _stacked(batch[self.text])

    def _encoded(self, images: list[Any], texts: list[str]) -> tuple[Floats, Floats]:
        """Vectors as stored ones are, so that both ways give one reward; then what is beside."""
        clip, weights = self._clip, self._head.weights
        seen, read = _half(clip.encode_images(images)), _half(clip.encode_texts(texts))
        if not self._head.has_side or not images:
            return seen, read
        tokens, mask = clip.text_layers(texts)
        cells = _half(clip.image_layers(images))
        return (
            reward_side.beside(weights, "image", seen, cells, None),
            reward_side.beside(weights, "text", read, _half(tokens), mask),
        )

    @property
    def _clip(self) -> ClipScore:
        return ClipScore(
            model=self.model,
            pretrained=self.pretrained,
            preprocess_tag=self.preprocess_tag,
            precision=self.precision,
            weights=self.encoder_weights,
        )

    @property
    def _uses_model(self) -> bool:
        return self._encodes and self.model != EMBEDDED

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

    def _refuse_other(self, name: str, digest: str, *, is_named: bool = True) -> None:
        head = self._head
        # The digest of a tag is that of all models with such a tag: the name counts, too.
        if digest != head.encoder_digest or (is_named and name != head.encoder):
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
