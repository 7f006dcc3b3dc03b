"""Captions by a CoCa of open_clip (Yu et al. 2022, arXiv:2205.01917), word by word in our own loop.

`CoCa.generate` does not run beside transformers 5, and draws from one stream for a whole batch;
here a caption is a function of its picture, its seed and the weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from filters import clip_weights, coca, hub_weights
from filters.clip_weights import FOLDER, Loaded, Source
from filters.judging import Pixels
from filters.sampling import Draws, Writing, Written, seed_of, written
from filters.threads import one_thread
from recaption import asking, captions, cut_off
from recaption.captions import Caption
from recaption.families import closed_up
from recaption.partly import settled
from recaption.prompts import SHORT

_LEAST = 4  # words before a caption may end, as open_clip has it


@dataclass(frozen=True)
class CocaCaptioner:
    """`captions` of kind `short` by a CoCa: one, greedily, or `samples` of them.

    `model` and `pretrained` name a CoCa of open_clip, or `model` is `local-dir:PATH`, all as for
    the scorer `clip`; weights tuned for captions write better ones. Several are drawn at
    `temperature` 1 from the likeliest words of together `top_p`, by `seed`. `max_tokens` counts
    the end; a caption that it ended has the flag `shortened`, where a sentence of it is whole and
    the rest is taken off, else `cut`. CoCa writes English.
    """

    model: str
    pretrained: str | None = None
    preprocess_tag: str | None = None
    sha256: str | None = None
    precision: str = "auto"
    samples: int = 1
    temperature: float | None = None
    top_p: float = 0.9
    seed: int = 0
    max_tokens: int = 30
    batch_size: int = 16
    version: ClassVar[int] = 2  # cut captions end with a whole sentence; reasons for a part
    reads: ClassVar[tuple[str, ...]] = ("image",)
    writes: ClassVar[pa.Schema] = captions.WRITES

    def __post_init__(self) -> None:
        hub_weights.settle_precision(self, self.device)
        for name in ("samples", "max_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.samples > 1 and not self._heat > 0:
            raise ValueError("several samples need a temperature above 0, or all are the same")
        if not 0 <= self._heat < 100 or not 0 < self.top_p <= 1:
            raise ValueError("temperature must be from 0, top_p above 0 and at most 1")
        coca.check(self._source)
        most = clip_weights.config(self._source)["multimodal_cfg"].get("context_length", 77) - 1
        if self.max_tokens > most:
            raise ValueError(f"max_tokens must be at most {most} for this model")

    @property
    def image_request(self) -> int:
        return 2 * clip_weights.image_side(self._source)

    @property
    def device(self) -> str:
        return clip_weights.best_device()

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the captions; a folder or file counts by its content."""
        drawn = {"temperature": self._heat, "top_p": self.top_p, "seed": self.seed}
        return {
            "model": "local-dir" if self.model.startswith(FOLDER) else self.model,
            "pretrained": self.pretrained if self._source.file is None else None,
            "preprocess_tag": self.preprocess_tag,
            "precision": self.precision,
            "samples": self.samples,
            "max_tokens": self.max_tokens,
            "batch_size": self.batch_size,
            **(drawn if self._heat else {}),
        }

    @property
    def weights_digest(self) -> str:
        return clip_weights.digest(self._source)

    def prepare(self) -> None:
        """Load the weights. Raises when they are missing or damaged."""
        coca.load(self._source)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        images = [image for image in batch["image"] for _ in range(self.samples)]
        numbers = list(range(self.samples)) * len(batch["image"])
        seeds = [self._seed(i, n) for i, n in zip(images, numbers, strict=True)]
        how = Writing(self.max_tokens, self._heat, self.top_p)
        loaded, found = coca.load(self._source), []
        with one_thread():
            for at in range(0, len(images), self.batch_size):
                here = slice(at, at + self.batch_size)
                found += write(loaded, images[here], seeds[here], how, self.batch_size)
        name = self._name
        parts = range(0, len(found), self.samples)
        rows = [self._row(found[at : at + self.samples], name) for at in parts]
        return {captions.COLUMN: rows}

    def _row(self, found: Sequence[Written], name: str) -> list[captions.Row] | Exception:
        told = [self._caption(one, name) for one in found if one.text]
        silent = [place for place, one in enumerate(found, 1) if not one.text]
        failed = [(f"{SHORT} {place}", asking.nothing()) for place in silent]
        return settled(captions.rows(told), failed)

    def _seed(self, image: Pixels, number: int) -> int:
        if not self._heat:
            return 0
        return seed_of(image.tobytes(), f"{image.shape} {self.seed} {number}".encode())

    def _caption(self, one: Written, name: str) -> Caption:
        text, flags = cut_off.ended(one.text, "en") if one.is_cut else (one.text, ())
        return Caption(text, "en", kind=SHORT, model=name, tokens=one.tokens, flags=flags)

    @property
    def _heat(self) -> float:
        if self.temperature is None:
            return 0.0 if self.samples == 1 else 1.0
        return self.temperature

    @property
    def _name(self) -> str:
        """The model with what pins its weights: the tag, or the beginning of their digest."""
        if self._source.folder is None and self._source.file is None:
            return f"{self.model}@{self.pretrained}"
        name = self.model.rstrip("/").rpartition("/")[2].removeprefix(FOLDER)
        return f"{name}@{self.weights_digest[:12]}"

    @property
    def _source(self) -> Source:
        return Source(
            self.model,
            self.pretrained,
            self.preprocess_tag,
            self.sha256,
            self.precision,
            self.device,
        )


def write(
    loaded: Loaded, images: Sequence[Pixels], seeds: Sequence[int], how: Writing, size: int
) -> list[Written]:
    """What the decoder writes of each picture, in one batch that is filled up to `size`.

    Each step reads all words so far again: CoCa's towers remember none, and captions are short.
    """
    import torch

    read = loaded.tokenize
    first, end = read.sot_token_id, read.eot_token_id
    pixels = torch.stack([clip_weights.prepared(loaded, image) for image in images])
    blank = pixels.new_zeros((size - len(images), *pixels.shape[1:]))
    pixels = torch.cat([pixels, blank]).to(loaded.device, loaded.dtype)
    draws = Draws([*seeds, *[0] * (size - len(seeds))], how)
    with torch.inference_mode():
        _, seen = loaded.model._encode_image(pixels)
        ids = torch.full((size, 1), first, device=loaded.device)
        is_over = torch.arange(size, device=loaded.device) >= len(images)
        while ids.shape[1] <= how.new_tokens and not bool(is_over.all()):
            _, words = loaded.model._encode_text(ids)
            logits = loaded.model.text_decoder(seen, words)[:, -1].float()
            logits[:, [0, first]] = float("-inf")  # padding, and the word before all others
            if ids.shape[1] <= _LEAST:
                logits[:, end] = float("-inf")
            new = draws(ids, logits).argmax(dim=-1)
            ids = torch.cat([ids, torch.where(is_over, end, new)[:, None]], dim=1)
            is_over = is_over | (new == end)
    draws.check()
    rows = ids[: len(images), 1:].tolist()
    found = written(_Decoder(read), rows, {end})
    return [one._replace(text=closed_up(one.text)) for one in found]


@dataclass(frozen=True)
class _Decoder:
    """The tokenizer of open_clip, called like one of transformers."""

    tokenizer: Any

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        """Words of ids among which no special one is."""
        assert skip_special_tokens
        return str(self.tokenizer.decode(ids))
