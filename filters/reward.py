"""The reward scorer: how well a caption serves its image, as learnt from preferences.

It runs a head over vectors of an encoder, stored ones or computed here. Weights that were trained
for another encoder are refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from filters import embedded, reward_head, reward_side, reward_tokens, tokens
from filters.clip import EMBEDDED, ClipScore
from filters.reward_head import Floats, Head
from filters.shared_images import once
from filters.unread import UNREAD

_PIXELS = "image"
_STORED = ("clip_image", "clip_text")
_CUT = "reward_truncated"
_MOST_IMAGES = 64  # in memory at once
_MOST_LAYERS = 64  # texts of which that is so, a megabyte each


@dataclass(frozen=True)
class RewardScore:
    """Log odds that people, or the rules that made the preferences, like the caption.

    `weights` is the file that `pairmill reward train` wrote, or `shipped`: a tokenwise head for the
    embedded encoder, which learnt from captions exchanged between drawings, so that it can't go by
    the text alone. `image` and `text` are the columns of unit vectors that a dual encoder stored
    (`clip: {embeddings: true}`); with `image: image` and a column of captions the pair is encoded
    here, by the encoder that the weights were trained on: `model`, `pretrained`, `preprocess_tag`,
    `precision` and `encoder_weights` are those of `clip`. Weights of the kinds `side` and
    `tokenwise`, the shipped ones among them, look at more than vectors: they need that, and have
    it by default. Then `reward_truncated` says which captions are longer than is read, and a text
    in which nothing is read has a reason in place of a reward. The difference of two rewards is
    the log odds that the first is preferred; 0 is the mean in training. With several criteria
    there is one column more for each.
    The loss is that of Bradley and Terry 1952 with ties after Davidson 1970; the use on captions is
    that of Compress & Align (arXiv:2312.06726).
    """

    weights: str = reward_head.SHIPPED
    image: str | None = None
    text: str | None = None
    batch_size: int = 1024
    model: str = EMBEDDED
    pretrained: str | None = None
    preprocess_tag: str | None = None
    precision: str = "auto"
    encoder_weights: str | None = None
    version: ClassVar[int] = 3  # says of which texts nothing is read, whatever the weights
    makes_batches: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if not self._encodes:
            self._refuse_stored()
        else:
            clip = self._clip
            object.__setattr__(self, "precision", clip.precision)  # `auto` is settled there
            object.__setattr__(self, "batch_size", min(self.batch_size, _MOST_IMAGES))
            self._refuse_other(clip.encoder, clip.weights_digest)
            if self._head.is_tokenwise:
                reward_tokens.check(clip)

    @property
    def reads(self) -> tuple[str, ...]:
        return (self._image, self._text)

    @property
    def needs(self) -> dict[str, str]:
        """By the parameter that names the column, or by the column where none does."""
        image = self._image if self.image is None else "image"
        text = self._text if self.text is None else "text"
        return {text: "text"} if self._encodes else {image: "numbers", text: "numbers"}

    @property
    def _image(self) -> str:
        if self.image is not None:
            return self.image
        return _PIXELS if self._head.looks_inside else _STORED[0]

    @property
    def _text(self) -> str:
        if self.text is not None:
            return self.text
        return "caption" if self._encodes else _STORED[1]

    @property
    def writes(self) -> pa.Schema:
        fields = [pa.field(name, pa.float32()) for name in self._columns]
        return pa.schema([*fields, pa.field(_CUT, pa.bool_())] if self._encodes else fields)

    @property
    def image_request(self) -> int:
        return self._clip.image_request if self._encodes else embedded.IMAGE_SIZE

    @property
    def device(self) -> str:
        return self._clip.device if self._encodes else "cpu"

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values; the weights count by their content, not their place."""
        own = {"image": self._image, "text": self._text}
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

    @staticmethod
    def numbers_over(clip: ClipScore) -> reward_tokens.PairNumbers:
        """What a tokenwise head over this encoder looks at; `pairmill reward train` asks."""
        return reward_tokens.PairNumbers(clip)

    def prepare(self) -> None:
        """Load the weights. Raises ValueError when they are missing, damaged, or can't be run."""
        reward_head.read_head(self.weights)
        if self._encodes:
            self._clip.prepare()

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        head, is_read = self._head, [True] * len(batch[self._text])
        seen, read = self._vectors(batch)
        if head.is_tokenwise:
            others = head.others.words
            found, known = reward_tokens.tokens_of(
                self._clip, batch[self._image], batch[self._text], others
            )
            is_read = known.tolist()
            scores = head.scores(seen, read, found)
        else:
            scores = head.scores(seen, read)
            if self._encodes:
                is_read = [not is_blank for is_blank in self._clip.are_blank(batch[self._text])]
        rewards = head.rewards(scores)
        if not np.isfinite(rewards).all():
            raise ValueError("the vectors hold NaN or infinity")
        values = [rewards, *scores.T] if len(head.criteria) > 1 else [rewards]
        columns: dict[str, list[Any]] = {
            name: column.tolist() for name, column in zip(self._columns, values, strict=True)
        }
        if self._encodes:
            columns[_CUT] = self._are_cut(batch[self._text])
        pairs = zip(columns["reward"], is_read, strict=True)
        columns["reward"] = [value if is_known else UNREAD for value, is_known in pairs]
        return columns

    def _are_cut(self, texts: list[str]) -> list[bool]:
        """Whether there is more of a text than is read of it."""
        if self._head.is_tokenwise:
            return tokens.are_cut(self._clip, texts)
        return self._clip.are_cut(texts)

    def _vectors(self, batch: dict[str, list[Any]]) -> tuple[Floats, Floats]:
        if self._encodes:
            return self._encoded(batch[self._image], batch[self._text])
        return _stacked(batch[self._image]), _stacked(batch[self._text])

    def _encoded(self, images: list[Any], texts: list[str]) -> tuple[Floats, Floats]:
        """Vectors as stored ones are, so that both ways give one reward; then what is beside."""
        clip, weights = self._clip, self._head.weights
        distinct, which = once(images)
        seen, read = _half(clip.encode_images(distinct)), _half(clip.encode_texts(texts))
        if not self._head.has_side or not images:
            return seen[which], read
        cells = _half(clip.image_layers(distinct))
        told = []
        for start in range(0, len(texts), _MOST_LAYERS):
            part = slice(start, start + _MOST_LAYERS)
            layers, mask = clip.text_layers(texts[part])
            told.append(reward_side.beside(weights, "text", read[part], _half(layers), mask))
        seen = reward_side.beside(weights, "image", seen, cells, None)
        return seen[which], np.concatenate(told)

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
        return self._image == _PIXELS

    @property
    def _head(self) -> Head:
        return reward_head.read_head(self.weights)

    @property
    def _columns(self) -> list[str]:
        criteria = self._head.criteria
        return ["reward", *(f"reward_{name}" for name in criteria if len(criteria) > 1)]

    def _refuse_stored(self) -> None:
        head = self._head
        if head.looks_inside:
            what = "layers" if head.has_side else "patches and words"
            raise ValueError(
                f"weights {self.weights!r} look at {what} of encoder {head.encoder!r}, which are"
                " not stored: give `image: image`, `text: caption` and that encoder's parameters"
            )

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
