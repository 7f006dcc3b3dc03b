"""Sub-captions: every sentence of the captions as a caption of its own, as DreamLIP has them."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from filters import estimates
from filters.caption import words
from filters.estimates import Given, Held
from recaption import captions, sentences
from recaption.captions import Row

SENTENCE = "sentence"
_CUT = "cut"  # a flag of the end of a caption alone


@dataclass(frozen=True)
class SplitCaptions:
    """The sentences of the captions in `of`, in their order, each of kind `sentence`.

    `of` is a column of text or of captions; those of kind `tags` are no sentences and left out. A
    sentence of more than `most_words` words is cut at
    clauses; one with fewer than `least_words` is left out, and so is what was there before, word
    for word. `most` is how many a row keeps, the first ones. A sentence has language, origin,
    box, model, prompt and flags of its caption (`cut` is the last one's alone), and its tokens
    only where it is the whole caption.
    """

    of: str = "caption"
    least_words: int = 2
    most_words: int = 50
    most: int | None = None

    version: ClassVar[int] = 2  # tags are left out
    needs: ClassVar[dict[str, str]] = {"of": "text"}
    writes: ClassVar[pa.Schema] = captions.WRITES

    def __post_init__(self) -> None:
        for name in ("least_words", "most_words", "most"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.least_words > self.most_words:
            raise ValueError(f"least_words {self.least_words} > most_words {self.most_words}")

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.of,)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values: the parameters, and the rules they are for."""
        own = {name: getattr(self, name) for name in ("of", "least_words", "most_words", "most")}
        return {**own, "sentences": sentences.VERSION}

    def writes_at_most(self, rows: int, given: Given, sentence: int) -> Held | None:
        """The sentences of what it is given, each of at least so many tokens."""
        held = given.get(self.of)
        if held is None:
            return None
        found = estimates.sentences(held, sentence)
        return found if self.most is None else min(found, rows * self.most), held[1]

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {captions.COLUMN: [self._sentences(value) for value in batch[self.of]]}

    def _sentences(self, value: Any) -> list[Row]:
        found: dict[str, Row] = {}
        for caption in captions.texts(value):
            for sentence in () if caption["kind"] == captions.TAGS else self._of_caption(caption):
                found.setdefault(sentence["text"] or "", sentence)
        return list(found.values())[: self.most]

    def _of_caption(self, caption: Row) -> list[Row]:
        whole = caption["text"] or ""
        cut = [
            part
            for sentence in sentences.split(whole, caption["language"])
            for part in sentences.parts(sentence, self.most_words)
        ]
        flags = list(caption["flags"] or [])
        flags = [flag for flag in flags if flag != captions.SHORTENED]  # its sentences are whole
        inner = [flag for flag in flags if flag != _CUT]
        return [
            {
                **caption,
                "text": text,
                "kind": SENTENCE,
                "tokens": caption["tokens"] if text == whole.strip() else None,
                "flags": flags if place == len(cut) else inner,
            }
            for place, text in enumerate(cut, 1)
            if len(words(text)) >= self.least_words
        ]
