"""Embeddings from a multimodal LLM: the state in which it would sum up picture or text in a word.

It reads one state and never lets the model write. A server gives no states: only models that run
here can be used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from filters import judging, mllm
from filters.judging import Judge
from filters.mllm import TEXT, Prompt
from filters.served import Server

IMAGE_PROMPT = "Sum up the picture above in one word:"
TEXT_PROMPT = "{text}\nSum up the sentence above in one word:"


@dataclass(frozen=True)
class UniMe:
    """`unime_score`: cosine of picture and text as UniME (Gu et al. 2025, arXiv:2504.17432) has it.

    Each is followed by the request to sum it up in one word; the vector is the last layer's state
    at the last place of the prompt, of length 1. `image_prompt` and `text_prompt` are ours: with
    weights that were tuned for embedding give the prompts of their training, `{text}` in the
    second. Untuned models give cosines in a narrow band; take ranks.

    `model` is `local-dir:PATH`, or a name of the hub with `revision`, the 40 digits of a commit.
    `text` is the column of captions; `unime_truncated` says which have more than `text_tokens`
    tokens. Pictures have a long side of `max_side` pixels. `embeddings` writes both vectors, too.
    NULL for a text in which nothing is read.
    """

    model: str | None = None
    revision: str | None = None
    server: Server | Mapping[str, Any] | None = None
    precision: str = "auto"
    text: str = "caption"
    image_prompt: str = IMAGE_PROMPT
    text_prompt: str = TEXT_PROMPT
    text_tokens: int = 128
    max_side: int = 768
    embeddings: bool = False
    batch_size: int | None = None
    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"text": "text"}

    def __post_init__(self) -> None:
        if self.server is not None:
            raise ValueError("a server gives no embeddings of its states; take a `model` to run")
        if self.model is None:
            raise TypeError("needs a `model` that runs here")
        if self.text_prompt.count(TEXT) != 1 or TEXT in self.image_prompt:
            raise ValueError(f"text_prompt must hold {TEXT} once, and image_prompt not")
        judging.settle(self)

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image", self.text)

    @property
    def writes(self) -> pa.Schema:
        fields = [("unime_score", pa.float32()), ("unime_truncated", pa.bool_())]
        if self.embeddings:
            fields += [(name, pa.list_(pa.float16())) for name in ("unime_image", "unime_text")]
        return pa.schema(fields)

    @property
    def image_request(self) -> int:
        return self.max_side

    @property
    def device(self) -> str:
        return self._judge.device

    @property
    def identity(self) -> dict[str, Any]:
        prompts = {"image_prompt": self.image_prompt, "text_prompt": self.text_prompt}
        asked = {"text": self.text, "embeddings": self.embeddings}
        return {**self._judge.identity, **prompts, **asked}

    @property
    def weights_digest(self) -> str | None:
        return self._judge.weights_digest

    def prepare(self) -> None:
        """Load the model. Raises when it is missing, damaged or can't be asked."""
        self._judge.prepare()

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        judge = self._judge
        texts = judge.read(batch[self.text])
        assert judge.source is not None
        loaded = mllm.load(judge.source)
        pictures = [Prompt(self.image_prompt, "", image) for image in batch["image"]]
        sentences = [Prompt(self.text_prompt, text.words) for text in texts]
        seen = mllm.last_hidden(loaded, pictures, judge.shape)
        read = mllm.last_hidden(loaded, sentences, judge.shape)
        cosines = np.einsum("ij,ij->i", seen, read).clip(-1, 1)
        blank = [not text.words for text in texts]
        columns: dict[str, list[Any]] = {
            "unime_score": [None if b else float(c) for b, c in zip(blank, cosines, strict=True)],
            "unime_truncated": [text.is_cut for text in texts],
            "unime_image": list(seen.astype(np.float16)),
            "unime_text": [
                None if b else v for b, v in zip(blank, read.astype(np.float16), strict=True)
            ],
        }
        return {name: columns[name] for name in self.writes.names}

    @cached_property
    def _judge(self) -> Judge:
        return judging.judge_of(self)
