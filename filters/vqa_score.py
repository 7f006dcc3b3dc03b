"""VQAScore: how sure a multimodal LLM is that a picture shows what its caption says.

It reads one probability and never lets the model write. A model that answers neither yes nor no
says nothing about the pair, and that is said.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import pyarrow as pa

from filters import judging
from filters.estimates import Estimate
from filters.judging import Judge
from filters.mllm import Prompt
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
        judging.settle(self)

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image", self.text)

    @property
    def image_request(self) -> int:
        return self.max_side

    @property
    def at_once(self) -> int:
        """How many calls keep a server busy."""
        return judging.at_once(self)

    @property
    def device(self) -> str:
        return self._judge.device

    @property
    def identity(self) -> dict[str, Any]:
        return {**self._judge.identity, "text": self.text}

    @property
    def weights_digest(self) -> str | None:
        return self._judge.weights_digest

    def keep_in(self, folder: str) -> None:
        """Keep a server's answers there, so that none is asked for twice."""
        self._judge.keep_in(folder)

    def prepare(self) -> None:
        """Load a local model. Raises when it is missing, damaged or can't be asked."""
        self._judge.prepare()

    def estimate(self, rows: int) -> Estimate:
        """What so many rows would cost at most; see `Judge.estimate`."""
        return self._judge.estimate(rows, {QUESTION: True}, judging.FIRST)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        texts = self._judge.read(batch[self.text])
        pairs = zip(texts, batch["image"], strict=True)
        prompts = [Prompt(QUESTION, t.words, image) for t, image in pairs if t.words]
        answers = iter(self._judge.words(prompts, _WORDS))
        rows = [share(next(answers)) if text.words else (UNREAD, None) for text in texts]
        return {
            "vqa_score": [score for score, _ in rows],
            "vqa_mass": [mass for _, mass in rows],
            "vqa_truncated": [text.is_cut for text in texts],
        }

    @cached_property
    def _judge(self) -> Judge:
        return judging.judge_of(self)


def share(odds: judging.Odds | Exception) -> tuple[float | Exception, float | None]:
    """The share of yes among yes and no, and how probable it is that one of them is said."""
    if isinstance(odds, Exception):
        return odds, None
    yes, no = odds
    if not yes + no > 0:
        return BadAnswer("neither yes nor no has any probability"), None
    return yes / (yes + no), min(1.0, yes + no)
