"""VQAScore: how sure a multimodal LLM is that a picture shows what its caption says.

It reads one probability and never lets the model write. A model that answers neither yes nor no
says nothing about the pair, and that is said. Offline the embedded encoder is asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import pyarrow as pa

from filters import embedded, estimates, judging, offline, yes_or_no
from filters.estimates import Estimate
from filters.judging import Judge
from filters.mllm import Prompt
from filters.offline import EMBEDDED
from filters.served import BadAnswer, Server
from filters.unread import UNREAD

QUESTION = 'Does this figure show "{text}"? Please answer yes or no.'
"""The question of Lin et al. 2024 (arXiv:2404.01291), word for word: scores depend on it."""
_WORDS = ("yes", "no")


@dataclass(frozen=True)
class VqaScore:
    """`vqa_score`: P(yes) / (P(yes) + P(no)) of the next word after the question of VQAScore.

    The paper (Lin et al. 2024, arXiv:2404.01291) takes P("Yes") alone, which is `vqa_score` times
    `vqa_mass`, P(yes) + P(no): below a half, the model has not understood that it is asked. A
    word counts in every case, with and without a space before it.

    `model` runs here: `local-dir:PATH`, or a name of the hub with `revision`, the 40 digits of a
    commit. `server: {endpoints: [URL], model: NAME}` asks an OpenAI-compatible server instead,
    which must give `top_logprobs`; a word outside its 20 likeliest has probability 0. `text` is
    the column of captions. `vqa_truncated` says which are longer than is read: `text_tokens`
    tokens of a local model, 2000 characters for a server. Pictures have a long side of `max_side`
    pixels. A reply without one of the words is asked for again in other words, at most `reasks`
    times. A text in which nothing is read has a reason in place of values.

    With `model: embedded`, or with neither of them, it works offline: the caption against what
    might have been said instead, which are the captions of 1,024 drawings that ship and copies of
    itself with one word swapped (`vocabulary`, English). How far its cosine is ahead of either
    makes the log odds, by three numbers learnt on other drawings. It is the probability that the
    caption is right where half of all are, and of wrong ones half are any other's, a quarter a
    similar picture's and a quarter have one wrong word (calibration error .04 on new drawings).
    There is no third answer, so `vqa_mass` is 1. It sees no negation, no order of words and hardly
    any numbers, and ranks a little better than the cosine where captions are nearly right.
    """

    model: str | None = None
    revision: str | None = None
    server: Server | Mapping[str, Any] | None = None
    precision: str = "auto"
    text: str = "caption"
    text_tokens: int = 128
    max_side: int = 768
    reasks: int = 1
    batch_size: int | None = None
    version: ClassVar[int] = 3  # says of which texts nothing is read
    needs: ClassVar[dict[str, str]] = {"text": "text"}
    writes: ClassVar[pa.Schema] = pa.schema(
        [("vqa_score", pa.float32()), ("vqa_mass", pa.float32()), ("vqa_truncated", pa.bool_())]
    )

    def __post_init__(self) -> None:
        offline.settle(self)

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image", self.text)

    @property
    def image_request(self) -> int:
        return embedded.IMAGE_SIZE if self._judge is None else self.max_side

    @property
    def at_once(self) -> int:
        """How many calls keep a server busy."""
        return judging.at_once(self)

    @property
    def makes_batches(self) -> bool:
        """Whether more captions than `batch_size` do no harm."""
        return self._judge is None

    @property
    def device(self) -> str:
        return "cpu" if self._judge is None else self._judge.device

    @property
    def identity(self) -> dict[str, Any]:
        own = offline.identity() if self._judge is None else self._judge.identity
        return {**own, "text": self.text}

    @property
    def weights_digest(self) -> str | None:
        return offline.weights_digest() if self._judge is None else self._judge.weights_digest

    def keep_in(self, folder: str) -> None:
        """Keep a server's answers there, so that none is asked for twice."""
        if self._judge is not None:
            self._judge.keep_in(folder)

    def prepare(self) -> None:
        """Load what judges here. Raises when it is missing, damaged or can't be asked."""
        if self._judge is None:
            offline.prepare(self)
        else:
            self._judge.prepare()

    def estimate(self, rows: int) -> Estimate:
        """What so many rows would cost at most; see `Judge.estimate`."""
        if self._judge is None:
            return estimates.NOTHING
        return self._judge.estimate(rows, {QUESTION: True}, judging.FIRST)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if self._judge is None:
            return self._compared(batch["image"], batch[self.text])
        return self._judged(self._judge, batch)

    def recall(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """The values of rows of which a server has told all, by the names of their images."""
        return judging.recalled(self, self._judge, batch, self._judged)

    def _compared(self, images: list[Any], texts: list[str]) -> dict[str, list[Any]]:
        """The values by the embedded encoder."""
        scores = [
            UNREAD if said is None else yes_or_no.probability(seen, said)
            for seen, said in offline.pairs(images, texts)
        ]
        return {
            "vqa_score": scores,
            "vqa_mass": [None if score is UNREAD else 1.0 for score in scores],
            "vqa_truncated": offline.are_cut(texts),
        }

    def _judged(self, judge: Judge, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        texts = judge.read(batch[self.text])
        prompts = [
            Prompt(QUESTION, text.words, image, name=name)
            for text, (image, name) in zip(texts, judging.pictures_of(batch), strict=True)
            if text.words
        ]
        answers = iter(judge.words(prompts, _WORDS))
        rows = [share(next(answers)) if text.words else (UNREAD, None) for text in texts]
        return {
            "vqa_score": [score for score, _ in rows],
            "vqa_mass": [mass for _, mass in rows],
            "vqa_truncated": [text.is_cut for text in texts],
        }

    @cached_property
    def _judge(self) -> Judge | None:
        return None if self.model == EMBEDDED else judging.judge_of(self)


def share(odds: judging.Odds | Exception) -> tuple[float | Exception, float | None]:
    """The share of yes among yes and no, and how probable it is that one of them is said."""
    if isinstance(odds, Exception):
        return odds, None
    yes, no = odds
    if not yes + no > 0:
        return BadAnswer("neither yes nor no has any probability"), None
    return yes / (yes + no), min(1.0, yes + no)
