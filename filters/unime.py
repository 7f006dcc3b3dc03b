"""Embeddings from a multimodal LLM: the state in which it would sum up picture or text in a word.

It reads one state and never lets the model write. On a server that must be one that was started
for embeddings: a chat server gives no states. Offline the vectors are the embedded encoder's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters import (
    embedded,
    estimates,
    foreign,
    hard_negatives,
    judging,
    mllm,
    offline,
    shared_images,
)
from filters.estimates import Estimate
from filters.judging import Judge, Text
from filters.mllm import TEXT, Prompt
from filters.offline import EMBEDDED
from filters.reference import Said, Seen
from filters.served import BadAnswer, Server
from filters.served_types import VECTOR_FORMS
from filters.unread import UNREAD, Unread

IMAGE_PROMPT = "Sum up the picture above in one word:"
TEXT_PROMPT = "{text}\nSum up the sentence above in one word:"

Floats = npt.NDArray[np.float32]
Sides = tuple[Floats, Floats]


@dataclass(frozen=True)
class UniMe:
    """`unime_score`: cosine of picture and text as UniME (Gu et al. 2025, arXiv:2504.17432) has it.

    Each is followed by the request to sum it up in one word; the vector is the last layer's state
    at the last place of the prompt, of length 1. `image_prompt` and `text_prompt` are ours: with
    weights that were tuned for embedding give the prompts of their training, `{text}` in the
    second. Untuned models give cosines in a narrow band; take ranks.

    `model` is `local-dir:PATH`, or a name of the hub with `revision`, the 40 digits of a commit.
    `server: {endpoints: [URL], model: NAME}` asks the /embeddings of a server that serves such a
    model, and takes what it pools for the state. `form` is how it is asked: `messages`, as vLLM
    is, or `input`, a list of one object with `image` and `text`, as SGLang is. The prompts are
    put through the model's own chat template there. An equal text is asked for once. Vectors
    with numbers that are not finite or with nothing but zeros are a reason for the row, never a
    score, and so are two of different lengths.

    `text` is the column of captions; `unime_truncated` says which are longer than is read:
    `text_tokens` tokens of a local model, 2000 characters for a server. Pictures have a long side
    of `max_side` pixels. `embeddings` writes both vectors, too. A text in which nothing is read
    has a reason in place of a score.

    With `model: embedded`, or with neither of them, it works offline: the vectors are those of
    `clip`, and what is of UniME are the hard negatives. From the cosine is taken what the eight
    nearest wrong captions have in the picture, and the eight nearest wrong pictures with the
    caption, half of the mean of each, out of 1,024 drawings that ship with their captions; one
    whose caption says the same is not wrong (`hard_negatives`). So 0 is a pair as near as those,
    and the score is no cosine of the vectors that are written. On new drawings it tells captions
    of other pictures better than the cosine; on natural pairs no gain was seen.
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
    form: str = "messages"
    version: ClassVar[int] = 3  # two lengths are a matter of the row, not of its batch
    needs: ClassVar[dict[str, str]] = {"text": "text"}

    def __post_init__(self) -> None:
        if self.text_prompt.count(TEXT) != 1 or TEXT in self.image_prompt:
            raise ValueError(f"text_prompt must hold {TEXT} once, and image_prompt not")
        if self.form not in VECTOR_FORMS:
            raise ValueError(f"form {self.form!r}: known are {', '.join(VECTOR_FORMS)}")
        if self.server is None:
            foreign.refuse(self, ("form",), "a model that runs here")
        offline.settle(self, ("image_prompt", "text_prompt"))

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
        return embedded.IMAGE_SIZE if self._is_embedded else self.max_side

    @property
    def at_once(self) -> int:
        """How many calls keep a server busy."""
        return judging.at_once(self)

    @property
    def makes_batches(self) -> bool:
        """Whether more captions than `batch_size` do no harm."""
        return self._is_embedded

    @property
    def device(self) -> str:
        return "cpu" if self._is_embedded else self._judge.device

    @property
    def identity(self) -> dict[str, Any]:
        prompts = {"image_prompt": self.image_prompt, "text_prompt": self.text_prompt}
        asked = {"text": self.text, "embeddings": self.embeddings}
        if self._is_embedded:
            return {**offline.identity(), **asked}
        form = {} if self.server is None else {"form": self.form}
        return {**self._judge.identity, **prompts, **asked, **form}

    @property
    def weights_digest(self) -> str | None:
        return offline.weights_digest() if self._is_embedded else self._judge.weights_digest

    def keep_in(self, folder: str) -> None:
        """Keep a server's answers there, so that none is asked for twice."""
        if not self._is_embedded:
            self._judge.keep_in(folder)

    def prepare(self) -> None:
        """Load what is asked here. Raises when it is missing, damaged or can't be asked."""
        if self._is_embedded:
            offline.prepare(self)
        else:
            self._judge.prepare()

    def estimate(self, rows: int) -> Estimate:
        """What so many rows would cost at most, without equal pictures and texts."""
        if self.server is None:
            return estimates.NOTHING
        return self._judge.estimate(rows, {self.image_prompt: True, self.text_prompt: False}, 0)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if self._is_embedded:
            return self._compared(batch["image"], batch[self.text])
        texts = self._judge.read(batch[self.text])
        pictures = [Prompt(self.image_prompt, "", image) for image in batch["image"]]
        sentences = [Prompt(self.text_prompt, text.words) for text in texts]
        asked = self._by_model if self.server is None else self._by_server
        rows = [
            self._row(text, *found)
            for text, found in zip(texts, asked(pictures, sentences, texts), strict=True)
        ]
        return {name: [row[name] for row in rows] for name in self.writes.names}

    def _compared(self, images: list[Any], texts: list[str]) -> dict[str, list[Any]]:
        """The values by the embedded encoder."""
        pairs, cut = offline.pairs(images, texts), offline.are_cut(texts)
        rows = [self._ahead(*pair, is_cut) for pair, is_cut in zip(pairs, cut, strict=True)]
        return {name: [row[name] for row in rows] for name in self.writes.names}

    def _ahead(self, seen: Seen, said: Said | None, is_cut: bool) -> dict[str, Any]:
        row: dict[str, Any] = {"unime_truncated": is_cut}
        row["unime_image"] = seen.vector.astype(np.float16)
        if said is None:
            reason = Unread(row) if self.embeddings else UNREAD
            return {**row, "unime_score": reason, "unime_text": None}
        row["unime_text"] = said.vector.astype(np.float16)
        return {**row, "unime_score": hard_negatives.margin(seen, said)}

    def _row(self, text: Text, seen: Any, read: Any) -> dict[str, Any]:
        """What is written of a pair, by its unit vectors; one may be a reason, that of text None.

        A caption without a word takes nothing from the picture: that one's vector stays.
        """
        row: dict[str, Any] = {"unime_truncated": text.is_cut, "unime_image": None}
        failed = next((side for side in (seen, read) if isinstance(side, Exception)), None)
        if failed is None and read is not None and len(seen) != len(read):
            told = f"an embedding of {len(seen)} numbers for the picture, {len(read)} for the text"
            failed = BadAnswer(told)
        if failed is not None:
            return {**row, "unime_score": failed, "unime_text": None}
        row["unime_image"] = seen.astype(np.float16)
        if read is None:
            kept = {"unime_image": row["unime_image"], "unime_truncated": text.is_cut}
            reason = Unread(kept) if self.embeddings else UNREAD
            return {**row, "unime_score": reason, "unime_text": None}
        score = float(np.clip(seen @ read, -1, 1))
        return {**row, "unime_score": score, "unime_text": read.astype(np.float16)}

    def _by_model(
        self, pictures: list[Prompt], sentences: list[Prompt], texts: Sequence[Text]
    ) -> list[tuple[Any, Any]]:
        """The vectors of both sides, of a text without words None."""
        judge = self._judge
        assert judge.source is not None
        loaded = mllm.load(judge.source)
        firsts, which = shared_images.rows_once([prompt.image for prompt in pictures])
        looked = mllm.last_hidden(loaded, [pictures[place] for place in firsts], judge.shape)
        seen = [looked[number] for number in which]
        read = mllm.last_hidden(loaded, sentences, judge.shape)
        sides = zip(texts, seen, read, strict=True)
        return [(one, other if text.words else None) for text, one, other in sides]

    def _by_server(
        self, pictures: list[Prompt], sentences: list[Prompt], texts: Sequence[Text]
    ) -> list[tuple[Any, Any]]:
        """The same, or a reason in place of a vector; what nobody needs is not asked for."""
        wanted = [bool(text.words) or self.embeddings for text in texts]
        asked = [p for p, is_wanted in zip(pictures, wanted, strict=True) if is_wanted]
        said = [s for s, text in zip(sentences, texts, strict=True) if text.words]
        found = unit_vectors(self._judge.vectors([*asked, *said], self.form))
        seen, read = iter(found[: len(asked)]), iter(found[len(asked) :])
        return [
            (next(seen) if is_wanted else _NOTHING, next(read) if text.words else None)
            for text, is_wanted in zip(texts, wanted, strict=True)
        ]

    @property
    def _is_embedded(self) -> bool:
        return self.model == EMBEDDED

    @cached_property
    def _judge(self) -> Judge:
        return judging.judge_of(self)


_NOTHING = np.zeros(0, np.float32)


def unit_vectors(found: Sequence[Any]) -> list[Any]:
    """Vectors of length 1 that point the same way; reasons as they are."""
    return [one if isinstance(one, Exception) else _unit(one) for one in found]


def _unit(vector: Floats) -> Floats:
    wide = vector.astype(np.float64)
    unit: Floats = (wide / np.linalg.norm(wide)).astype(np.float32)
    return unit
