"""Image-text matching: how sure a model that reads image and text together is that they belong.

Any BLIP with a matching head, or `embedded`: there a caption is compared with copies of itself in
which one word was swapped. It measures; where to draw the line is the recipe's business.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from filters import blip, clip_weights, embedded, foreign, hub_weights, unread, vocabulary
from filters.hub_weights import Loaded, Source
from filters.shared_images import once
from filters.unread import UNREAD

EMBEDDED = "embedded"
_PARTS = {"blip": "itm_head."}
_TEMPERATURE = 0.05
_OF_BLIP, _OF_EMBEDDED = ("revision", "precision", "first_token"), ("copies",)


@dataclass(frozen=True)
class ImageTextMatching:
    """`itm_score`: the probability, 0 to 1, that image and text match.

    `model` is `local-dir:PATH` or OWNER/NAME of a hub with its commit as `revision`: a BLIP with a
    matching head (`BlipForImageTextRetrieval`; Li et al. 2022, arXiv:2201.12086), whose softmax it
    is; 0.5 is where BLIP's own filter of captions cuts. A text is read up to `max_tokens`, 35 in
    BLIP's training, and `itm_truncated` says which are longer. `first_token` is the id of what
    stands in place of [CLS]: BLIP's retrieval puts [ENC] there (30523 in its weights), its demo of
    matching and transformers do not. `cosine` writes `itm_cosine`, too, the cosine of image and
    text read apart. `precision: auto` is bf16 on CUDA and fp32 elsewhere. A text in which nothing
    is read has a reason in place of values.

    With `model: embedded` it is 1 / (1 + mean(exp((c - s) / .05))): s is the cosine of the image
    and the caption, c are those of at most `copies` copies of the caption with one word swapped
    for another of its sort (`altered`). That is a softmax over the caption and the average copy,
    .5 when the copies fit as well. It tells details, less so whether the caption is of this image
    at all: that `clip_score` does better. It knows English words, and is NULL, without a reason,
    where none of them is in a text.
    """

    model: str = EMBEDDED
    revision: str | None = None
    precision: str = "auto"
    text: str = "caption"
    cosine: bool = False
    max_tokens: int = 35
    first_token: int | None = None
    copies: int = 16
    batch_size: int = 16
    version: ClassVar[int] = 3  # says of which texts nothing is read
    makes_batches: ClassVar[bool] = True
    needs: ClassVar[dict[str, str]] = {"text": "text"}

    def __post_init__(self) -> None:
        hub_weights.settle_precision(self, self.device)
        for name in ("copies", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.max_tokens < 3:  # its first and its last say nothing
            raise ValueError(f"max_tokens must be at least 3, got {self.max_tokens}")
        unused = _OF_BLIP if self._is_embedded else _OF_EMBEDDED
        foreign.refuse(self, unused, f"model {self.model!r}")
        if not self._is_embedded:
            hub_weights.check(self._source, _PARTS)

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image", self.text)

    @property
    def writes(self) -> pa.Schema:
        fields = [pa.field("itm_score", pa.float32())]
        if self.cosine:
            fields.append(pa.field("itm_cosine", pa.float32()))
        return pa.schema([*fields, pa.field("itm_truncated", pa.bool_())])

    @property
    def image_request(self) -> int | None:
        """Twice the size the model sees; of a model on a hub, which may be elsewhere, all."""
        if self._is_embedded:
            return embedded.IMAGE_SIZE
        side = hub_weights.image_side(self._source)
        return None if side is None else 2 * side

    @property
    def device(self) -> str:
        return "cpu" if self._is_embedded else clip_weights.best_device()

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values; a folder counts by its content, not its place."""
        shared = {"text": self.text, "cosine": self.cosine}
        if self._is_embedded:
            return {**shared, "model": self.model, "copies": self.copies}
        return {
            **shared,
            "model": self.model if self._source.folder is None else "local-dir",
            "revision": self.revision,
            "precision": self.precision,
            "max_tokens": self.max_tokens,
            "first_token": self.first_token,
            "batch_size": self.batch_size,
        }

    @property
    def weights_digest(self) -> str:
        if self._is_embedded:
            return f"{embedded.weights_digest()} {vocabulary.digest()}"
        return hub_weights.digest(self._source)

    @property
    def _is_embedded(self) -> bool:
        return self.model == EMBEDDED

    @property
    def _source(self) -> Source:
        return Source(self.model, self.revision, self.precision, "cpu")

    def prepare(self) -> None:
        """Load the weights and try them. Raises when they are missing or don't work."""
        grey = np.full((64, 64, 3), 127, np.uint8)
        self({"image": [grey], self.text: ["a red dog"]})

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        images, texts = batch["image"], [text.strip() for text in batch[self.text]]
        if self._is_embedded:
            values = _by_copies(images, texts, self.copies)
        else:
            values = self._by_blip(images, texts)
        return {name: values[name] for name in self.writes.names}

    def _by_blip(self, images: list[Any], texts: list[str]) -> dict[str, list[Any]]:
        loaded = self._load()
        read = blip.tokens(loaded, texts, self.max_tokens, self.first_token)
        scores, cosines = blip.match_scores(loaded, images, read, self.batch_size)
        if not (np.isfinite(scores).all() and np.isfinite(cosines).all()):
            raise ValueError("what the model says is NaN or infinite")
        blank = [count < 1 for count in blip.scored_tokens(read, 1)]
        return {
            "itm_score": _unless(blank, scores.tolist(), UNREAD),
            "itm_cosine": _unless(blank, cosines.tolist(), None),
            "itm_truncated": read.cut,
        }

    def _load(self) -> Loaded:
        return blip.load_matching(self._source._replace(device=self.device))


def _by_copies(images: list[Any], texts: list[str], most: int) -> dict[str, list[Any]]:
    """The values under the embedded encoder; see ImageTextMatching."""
    distinct, which = once(images)
    seen = embedded.encode_images(distinct).astype(np.float64)
    scores: list[float | Exception | None] = []
    cosines: list[float | None] = []
    for number, text in zip(which, texts, strict=True):
        image, copies = seen[number], vocabulary.altered(text, most)
        # one product each: within a larger one a sum could round by its companions
        own, *others = [float(read @ image) for read in embedded.encode_texts([text, *copies])]
        gains = [math.exp((other - own) / _TEMPERATURE) for other in others]
        score = 1 / (1 + math.fsum(gains) / len(gains)) if gains else None
        is_blank = unread.is_blank(text)
        scores.append(UNREAD if is_blank else score)
        cosines.append(None if is_blank else own)
    cut = [embedded.is_cut(text) for text in texts]
    return {"itm_score": scores, "itm_cosine": cosines, "itm_truncated": cut}


def _unless(blank: list[bool], values: list[float], other: Exception | None) -> list[Any]:
    return [other if is_blank else v for is_blank, v in zip(blank, values, strict=True)]
