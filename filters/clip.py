"""CLIP score: how well image and text agree, by a dual encoder.

Any open_clip model, or `embedded`, the small multilingual encoder that comes with this project.
A value depends on its image, its text and the model alone, never on the samples beside it.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters import (
    clip_text,
    clip_weights,
    embedded,
    hub_weights,
    merging,
    side_layers,
    tuned_heads,
)
from filters.clip_text import TEXT_LENGTH, beginnings, tokenized
from filters.clip_weights import Loaded, Source, prepared
from filters.shared_images import numbered, once
from filters.threads import one_thread
from filters.unread import UNREAD, Unread, is_blank

EMBEDDED = "embedded"

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ClipScore:
    """Cosine of image and text embeddings, in [-1, 1].

    `model` is `embedded`, a name of open_clip, or `local-dir:PATH` with `open_clip_config.json`
    and weights. `pretrained` is a tag of open_clip or the path of a weights file; a file says
    nothing of its preprocessing, so `preprocess_tag` must name the tag whose it shares. `sha256`
    pins the weights. `precision: auto` is bf16 on CUDA and fp32 elsewhere. `text` is the column
    of texts; `clip_truncated` says which are longer than the model reads: 2,000 characters for
    `embedded`, and at most as many for others. `embeddings` writes both unit vectors, too. A text
    in which nothing is read has a reason in place of a score; the image's vector stays.
    `weights` is a file of other heads for `embedded`, as `pairmill filter train` writes it.
    `merge` sees images in fewer tokens, by ToMe (`tome:8`) or PiToMe
    (`pitome:0.9`): faster, and the scores shift. Scores of different models, or of different
    `merge`, are on different scales: thresholds do not carry over. `channels_last` lays out
    convolutions for tensor cores; `compile` has torch compile the model, on CUDA alone, which takes
    minutes in each process. Both round in another way, so columns with and without are two.
    """

    model: str = EMBEDDED
    pretrained: str | None = None
    preprocess_tag: str | None = None
    sha256: str | None = None
    precision: str = "auto"
    text: str = "caption"
    embeddings: bool = False
    batch_size: int = 32
    weights: str | None = None
    merge: str | None = None
    channels_last: bool = False
    compile: bool = False
    version: ClassVar[int] = 4  # says of which texts nothing is read
    makes_batches: ClassVar[bool] = True
    needs: ClassVar[dict[str, str]] = {"text": "text"}

    def __post_init__(self) -> None:
        hub_weights.settle_precision(self, self.device)
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.weights is not None and not self._is_embedded:
            raise ValueError(f"weights are heads for {EMBEDDED!r}; {self.model!r} brings its own")
        if self.weights is not None:
            tuned_heads.read(self.weights)
        if not self._is_embedded:
            clip_weights.check(self._source)
        for name in ("pretrained", "preprocess_tag", "sha256") if self._is_embedded else ():
            if getattr(self, name) is not None:
                raise ValueError(f"model {self.model!r} brings its weights; remove `{name}`")
        if self.merge is not None:
            vision = None if self._is_embedded else clip_weights.config(self._source)["vision_cfg"]
            merging.check(self.merge, vision)
        if (self.channels_last or self.compile) and self._is_embedded:
            raise ValueError(f"channels_last and compile are for models other than {EMBEDDED!r}")
        if self.compile and self.merge is not None:
            raise ValueError("compile does not go with merge, which runs the blocks by itself")
        if self.compile:
            object.__setattr__(self, "compile", self.device == "cuda")

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image", self.text)

    @property
    def writes(self) -> pa.Schema:
        fields = [pa.field("clip_score", pa.float32()), pa.field("clip_truncated", pa.bool_())]
        if self.embeddings:
            fields += [pa.field(n, pa.list_(pa.float16())) for n in ("clip_image", "clip_text")]
        return pa.schema(fields)

    @property
    def image_request(self) -> int:
        """Twice the size the model sees, so that scaled decoding leaves hardly a trace."""
        if self._is_embedded:
            return embedded.IMAGE_SIZE
        return 2 * clip_weights.image_side(self._source)

    @property
    def device(self) -> str:
        return "cpu" if self._is_embedded else clip_weights.best_device()

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values; a folder or file counts by its content, not its place."""
        merged = f"{merging.parse_plan(self.merge)} v{merging.VERSION}" if self.merge else None
        return {
            "model": self.model if self._source.folder is None else "local-dir",
            "pretrained": self.pretrained if self._source.file is None else None,
            "preprocess_tag": self.preprocess_tag,
            "precision": self.precision,
            "text": self.text,
            "embeddings": self.embeddings,
            "batch_size": self.batch_size,
            **({"merge": merged} if merged else {}),
            **({"channels_last": True} if self.channels_last else {}),
            **({"compile": True} if self.compile else {}),
        }

    @property
    def weights_digest(self) -> str:
        if self.weights is not None:
            return tuned_heads.digest(self.weights)
        if self._is_embedded:
            return embedded.weights_digest()
        return clip_weights.digest(self._source)

    @property
    def _is_embedded(self) -> bool:
        return self.model == EMBEDDED

    @property
    def _source(self) -> Source:
        return Source(
            self.model,
            self.pretrained,
            self.preprocess_tag,
            self.sha256,
            self.precision,
            channels_last=self.channels_last,
            compile=self.compile,
        )

    def prepare(self) -> None:
        """Load the weights, warm up. Raises when they are missing, damaged or not those meant."""
        if self._is_embedded:
            self.encode_images([np.zeros((1, 1, 3), np.uint8)])
            self.encode_texts([""])
        else:
            self._load()
            if self.device != "cpu":
                _warm_up(self)

    def prepare_image(self, image: Pixels) -> Any:
        """What the model sees of an image; a batch may hold it in place of the image."""
        return image if self._is_embedded else prepared(self._load(), image)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        texts: list[str] = batch[self.text]
        images, places = once(batch["image"])
        firsts, spoken = numbered(texts)
        seen = self.encode_images(images)[places]
        if self._is_embedded:
            read = self.encode_texts([texts[first] for first in firsts])[spoken]
            cut, blank = self.are_cut(texts), self.are_blank(texts)
        else:
            loaded, size = self._load(), self.batch_size
            tokens = tokenized(loaded, beginnings(texts))
            read = _tower(tokens[firsts], size, lambda some: _read(loaded, some, size))[spoken]
            cut = clip_text.are_cut(loaded, texts, tokens)
            blank = clip_text.are_blank(loaded, texts, tokens)
        scores = np.einsum("ij,ij->i", seen, read)
        if not np.isfinite(scores).all():
            raise ValueError("what the model says is NaN or infinite")
        vectors = read.astype(np.float16)
        values: dict[str, list[Any]] = {
            "clip_score": scores.tolist(),
            "clip_truncated": cut,
            "clip_image": list(seen.astype(np.float16)),
            "clip_text": [None if b else v for v, b in zip(vectors, blank, strict=True)],
        }
        for place in np.flatnonzero(blank):
            kept = {"clip_truncated": cut[place], "clip_image": values["clip_image"][place]}
            values["clip_score"][place] = Unread(kept) if self.embeddings else UNREAD
        return {name: values[name] for name in self.writes.names}

    @property
    def encoder(self) -> str:
        """What its vectors are said to be of: the model, its tag, and what merges tokens."""
        names = [self.identity.get(name) for name in ("model", "pretrained", "merge")]
        return " ".join(name for name in names if name is not None)

    def encode_images(self, images: list[Pixels]) -> Floats:
        """Unit vectors [n, d] of images alone: those that they have in pairs."""
        if self.weights is not None:
            return tuned_heads.encode_images(self.weights, images)
        if self._is_embedded:
            return embedded.encode_images(images)
        loaded = self._load()
        return _tower(images, self.batch_size, lambda some: _seen(loaded, some, self.batch_size))

    def encode_texts(self, texts: list[str]) -> Floats:
        """Unit vectors [n, d] of texts alone: those that they have in pairs."""
        if self.weights is not None:
            return tuned_heads.encode_texts(self.weights, texts)
        if self._is_embedded:
            return embedded.encode_texts(texts)
        loaded, size = self._load(), self.batch_size
        starts = beginnings(texts)
        return _tower(starts, size, lambda some: _read(loaded, tokenized(loaded, some), size))

    def are_cut(self, texts: list[str]) -> list[bool]:
        """Whether there is more of a text than the model reads; one that just fits is not cut."""
        if self._is_embedded:
            return [embedded.is_cut(text) for text in texts]
        loaded = self._load()
        return clip_text.are_cut(loaded, texts, tokenized(loaded, beginnings(texts)))

    def are_blank(self, texts: list[str]) -> list[bool]:
        """Whether nothing is read in a text."""
        if self._is_embedded:
            return [is_blank(text[:TEXT_LENGTH]) for text in texts]
        loaded = self._load()
        return clip_text.are_blank(loaded, texts, tokenized(loaded, beginnings(texts)))

    def image_layers(self, images: list[Pixels]) -> Floats:
        """Blocks inside the image tower, [n, layers, tokens, width]: see `side_layers`."""
        if self._is_embedded:
            return side_layers.embedded_images(images)
        loaded = self._load()
        return side_layers.model_images(loaded, [prepared(loaded, image) for image in images])

    def text_layers(self, texts: list[str]) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Blocks inside the text tower, and which tokens [n, tokens] count: see `side_layers`."""
        if self._is_embedded:
            return side_layers.embedded_texts(texts)
        loaded = self._load()
        return side_layers.model_texts(loaded, tokenized(loaded, beginnings(texts)))

    def _load(self) -> Loaded:
        loaded = clip_weights.load(self._source._replace(device=self.device))
        if self.merge is None:
            return loaded
        return loaded._replace(model=merging.merged(loaded.model, self.merge))


@lru_cache(maxsize=8)
def _warm_up(scorer: ClipScore) -> None:
    """Have CUDA choose its kernels, and torch compile them, before the first batch; once."""
    scorer.encode_images([np.zeros((1, 1, 3), np.uint8)])
    scorer.encode_texts(["warm"])


class Ready(NamedTuple):
    """What a model sees of changed copies of one picture: what `prepare_image` may return."""

    views: tuple[Any, ...]


def clip_of(scorer: Any) -> ClipScore:
    """The `clip` with the parameters that a scorer shares with it: the score of a changed image."""
    shared = (field.name for field in fields(ClipScore) if hasattr(scorer, field.name))
    return ClipScore(**{name: getattr(scorer, name) for name in shared})


def _tower(items: Any, size: int, encode: Callable[[Any], Floats]) -> Floats:
    """Unit vectors of images or of texts, in batches of `size`.

    Each is filled up to that, so that no value depends on its companions.
    """
    with one_thread():
        parts = [encode(items[i : i + size]) for i in range(0, len(items), size)]
    return _unit(np.concatenate(parts)) if parts else np.zeros((0, 0), np.float32)


def _seen(loaded: Loaded, images: list[Pixels], size: int) -> Floats:
    import torch

    count = len(images)
    pixels = torch.stack([i if torch.is_tensor(i) else prepared(loaded, i) for i in images])
    if count < size:
        pixels = torch.cat([pixels, pixels.new_zeros((size - count, *pixels.shape[1:]))])
    with torch.inference_mode():
        pixels = _moved(loaded, pixels).to(loaded.dtype)
        # CoCa normalises unless told otherwise, CLIP does not; half precision would round it.
        seen = loaded.model.encode_image(pixels, normalize=False)
    found: Floats = seen[:count].float().cpu().numpy()
    return found


def _read(loaded: Loaded, tokens: Any, size: int) -> Floats:
    import torch

    count = len(tokens)
    if count < size:
        tokens = torch.cat([tokens, tokens[-1:].expand(size - count, -1)])
    with torch.inference_mode():
        read = loaded.model.encode_text(_moved(loaded, tokens), normalize=False)
    found: Floats = read[:count].float().cpu().numpy()
    return found


def _moved(loaded: Loaded, batch: Any) -> Any:
    """A batch where the model is. From pinned memory a GPU fetches it while the CPU goes on."""
    if loaded.device == "cuda":
        batch = batch.pin_memory()
    return batch.to(loaded.device, non_blocking=True)


def _unit(vectors: Floats) -> Floats:
    with np.errstate(invalid="ignore"):  # of zeros NaN, which is refused
        result: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return result
