"""How likely a caption is to a model that writes captions, and how much the image adds to that.

A second opinion beside cosines: of any CoCa, BLIP or image-text-to-text model, or offline by the
embedded encoder. Values of different models are on different scales.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters import (
    blip,
    clip_weights,
    coca,
    embedded,
    foreign,
    hub_weights,
    likely_words,
    prompted,
    vocabulary,
)
from filters.clip_weights import FOLDER
from filters.shared_images import once
from filters.unread import UNREAD

EMBEDDED, OPEN_CLIP, TRANSFORMERS = "embedded", "open_clip", "transformers"
_PARTS = {"blip": "text_decoder.", "": ""}
_BLIP_PROMPT = "a picture of"  # as in BLIP's training
_QUESTION = "Describe the image in one sentence."
_COLUMNS = {
    "caption_logp": pa.float32(),
    "caption_gain": pa.float32(),
    "caption_logp_tokens": pa.int32(),
    "caption_logp_truncated": pa.bool_(),
}

Doubles = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]
Looks = Sequence[list[Pixels]]


class Said(NamedTuple):
    """Mean log probabilities [n, looks], how many tokens they are of, and which texts were cut."""

    logs: Doubles
    counts: list[int]
    cut: list[bool]


@dataclass(frozen=True)
class CaptionLikelihood:
    """`caption_logp`: mean natural log of the probability of a caption's tokens, given the image.

    `caption_gain` is how much higher it is than for a blank image of the same size and mean colour:
    what the image says about the caption beyond how common its words are. `caption_logp_tokens` is
    how many tokens the mean is over, `caption_logp_truncated` whether more were there than are
    read. A text without a token has a reason in place of values. `gain: false` leaves out the
    blank image, half the cost.

    `model` is a CoCa (Yu et al. 2022, arXiv:2205.01917): a name of open_clip with `pretrained`, or
    `local-dir:PATH`, all as for the scorer `clip`; or a model of transformers, `local-dir:PATH` or
    OWNER/NAME of a hub with its commit as `revision`: a BLIP that writes captions, or any
    image-text-to-text model with a chat template. The latter two read a caption of at most
    `max_tokens` after a `prompt`, for BLIP "a picture of", else a question. The end of a caption
    counts as a token for CoCa and BLIP. `precision: auto` is bf16 on CUDA, else fp32.

    `model: embedded` has no captioner. There a token is a content word of the caption, and its
    probability is that of a contrastive choice: softmax, at temperature .1, of the cosine of image
    and word against those of a fixed list of some hundred things and properties (`vocabulary`).
    """

    model: str = EMBEDDED
    pretrained: str | None = None
    preprocess_tag: str | None = None
    sha256: str | None = None
    revision: str | None = None
    precision: str = "auto"
    text: str = "caption"
    prompt: str | None = None
    max_tokens: int = 64
    gain: bool = True
    batch_size: int = 16
    version: ClassVar[int] = 2  # says of which texts nothing is read
    makes_batches: ClassVar[bool] = True
    needs: ClassVar[dict[str, str]] = {"text": "text"}

    def __post_init__(self) -> None:
        hub_weights.settle_precision(self, self.device)
        for name in ("batch_size", "max_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        foreign.refuse(self, _FOREIGN[self._kind], f"model {self.model!r}")
        if self._kind == OPEN_CLIP:
            coca.check(self._open_clip)
        elif self._kind == TRANSFORMERS:
            hub_weights.check(self._source, _PARTS)

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image", self.text)

    @property
    def writes(self) -> pa.Schema:
        names = [name for name in _COLUMNS if self.gain or name != "caption_gain"]
        return pa.schema([pa.field(name, _COLUMNS[name]) for name in names])

    @property
    def image_request(self) -> int | None:
        """Twice the size the model sees, where that is known without loading it; else all."""
        if self._kind == EMBEDDED:
            return embedded.IMAGE_SIZE
        if self._kind == OPEN_CLIP:
            return 2 * clip_weights.image_side(self._open_clip)
        if self._source.folder is None or not self._is_blip:
            return None
        side = hub_weights.image_side(self._source)
        return None if side is None else 2 * side

    @property
    def device(self) -> str:
        return "cpu" if self._kind == EMBEDDED else clip_weights.best_device()

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values; a folder or file counts by its content, not its place."""
        shared = {"text": self.text, "gain": self.gain}
        if self._kind == EMBEDDED:
            return {**shared, "model": self.model}
        return {
            **shared,
            "model": "local-dir" if self.model.startswith(FOLDER) else self.model,
            "pretrained": self.pretrained if self._open_clip.file is None else None,
            "preprocess_tag": self.preprocess_tag,
            "revision": self.revision,
            "precision": self.precision,
            "prompt": self.prompt,
            "max_tokens": self.max_tokens,
            "batch_size": self.batch_size,
        }

    @property
    def weights_digest(self) -> str:
        if self._kind == EMBEDDED:
            return f"{embedded.weights_digest()} {vocabulary.digest()}"
        if self._kind == OPEN_CLIP:
            return clip_weights.digest(self._open_clip)
        return hub_weights.digest(self._source)

    @property
    def _kind(self) -> str:
        """Which library the model is of: by its name, and of a folder by its configuration."""
        if self.model == EMBEDDED:
            return EMBEDDED
        if self.model.startswith(FOLDER):
            folder = self.model.removeprefix(FOLDER)
            is_theirs = os.path.exists(os.path.join(folder, "config.json"))
            is_ours = os.path.exists(os.path.join(folder, "open_clip_config.json"))
            return TRANSFORMERS if is_theirs and not is_ours else OPEN_CLIP
        return TRANSFORMERS if hub_weights.is_hub_name(self.model) else OPEN_CLIP

    @property
    def _is_blip(self) -> bool:
        return hub_weights.model_type(self._source) == "blip"

    @property
    def _source(self) -> hub_weights.Source:
        return hub_weights.Source(self.model, self.revision, self.precision, "cpu")

    @property
    def _open_clip(self) -> clip_weights.Source:
        return clip_weights.Source(
            self.model, self.pretrained, self.preprocess_tag, self.sha256, self.precision, "cpu"
        )

    def prepare(self) -> None:
        """Load the weights and try them. Raises when they are missing or don't work."""
        grey = np.full((64, 64, 3), 127, np.uint8)
        self({"image": [grey], self.text: ["a red dog"]})

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        images, texts = batch["image"], [text.strip() for text in batch[self.text]]
        looks = [images, _blanks(images)] if self.gain else [images]
        said = self._said(looks, texts)
        is_said = np.array(said.counts) > 0
        if not np.isfinite(said.logs[is_said]).all():
            raise ValueError("what the model says is NaN or infinite")
        values: dict[str, list[Any]] = {
            "caption_logp": _where(is_said, said.logs[:, 0], UNREAD),
            "caption_gain": _where(is_said, said.logs[:, 0] - said.logs[:, -1], None),
            "caption_logp_tokens": [count or None for count in said.counts],
            "caption_logp_truncated": said.cut,
        }
        return {name: values[name] for name in self.writes.names}

    def _said(self, looks: Looks, texts: list[str]) -> Said:
        if self._kind == EMBEDDED:
            found = likely_words.words(texts)
            logs = likely_words.log_probabilities(looks, found)
            return Said(logs, [len(own) for own in found.words], found.cut)
        if self._kind == OPEN_CLIP:
            model = coca.load(self._open_clip._replace(device=self.device))
            ids = coca.tokens(model, texts)
            logs = coca.log_probabilities(model, looks, ids, self.batch_size)
            return Said(logs, [len(own) for own in ids.targets], ids.cut)
        if self._is_blip:
            return self._said_by_blip(looks, texts)
        loaded = prompted.load(self._source._replace(device=self.device))
        read = prompted.answers(loaded, texts, self.max_tokens)
        question = _QUESTION if self.prompt is None else self.prompt
        logs = prompted.log_probabilities(loaded, looks, read, question)
        return Said(logs, [len(own) for own in read.ids], read.cut)

    def _said_by_blip(self, looks: Looks, texts: list[str]) -> Said:
        loaded = blip.load_captioner(self._source._replace(device=self.device))
        prompt = _BLIP_PROMPT if self.prompt is None else self.prompt
        given = blip.prompt_length(loaded, prompt)
        read = blip.tokens(
            loaded,
            [f"{prompt} {text}" for text in texts],
            given + self.max_tokens + 1,
            loaded.model.config.text_config.bos_token_id,
        )
        logs = blip.log_probabilities(loaded, looks, read, given, self.batch_size)
        return Said(logs, blip.scored_tokens(read, given), read.cut)


_FOREIGN = {  # parameters that mean nothing to models of a kind
    EMBEDDED: (
        *("pretrained", "preprocess_tag", "sha256", "revision"),
        *("precision", "prompt", "max_tokens"),
    ),
    OPEN_CLIP: ("revision", "prompt"),
    TRANSFORMERS: ("pretrained", "preprocess_tag", "sha256"),
}


def _blanks(images: list[Pixels]) -> list[Pixels]:
    """The blank of each image; of one that is there several times there is one as well."""
    distinct, which = once(images)
    blanks = [_blank(image) for image in distinct]
    return [blanks[number] for number in which]


def _blank(image: Pixels) -> Pixels:
    """A picture of the same size with nothing on it but the mean colour."""
    colour = image.reshape(-1, image.shape[-1]).mean(axis=0).round().astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(colour, image.shape))


def _where(is_said: npt.NDArray[np.bool_], values: Doubles, other: Exception | None) -> list[Any]:
    return [v if said else other for v, said in zip(values.tolist(), is_said, strict=True)]
