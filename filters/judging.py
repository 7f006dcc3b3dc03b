"""A judge of pairs: a multimodal LLM, run here or asked for on a server.

Captions are data: what could speak to the model in its own signs is taken out before a question
is put together, and a caption longer than is read is flagged. An answer that is none is
asked for again, in other words and a bounded number of times; then it is a reason for its row,
never an end of the run.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from filters import clip_weights, estimates, hub_weights, mllm, served, served_vectors, unread
from filters.estimates import Estimate
from filters.hub_weights import Source
from filters.mllm import Prompt, Shape
from filters.served import Answer, BadAnswer, Request, ServedError, Server

LIKELIEST = 20
"""First tokens that a server is asked for with their probabilities: the most that all give."""
FIRST = 4
"""Tokens of a reply in which a word is looked for: some models begin with white space."""
_QUALITY = 90
NUDGES = (
    " Begin your reply with the answer itself, with nothing before it.",
    " Give nothing but the answer in the form that was asked for.",
    " Reply again: the answer alone, as short as it can be.",
)
"""What a question ends with when it is asked again: greedy decoding would say the same twice."""
_NAMED = 1  # raised when the same picture would be sent in another way
_SHORTEST_SIDE = 32  # models cut pictures into patches of up to that many pixels
ROWS_LOCAL, ROWS_SERVED = 8, 64

Pixels = npt.NDArray[np.uint8]
Odds = tuple[float, ...]
Asking = Callable[[Sequence[Prompt], int | None], list[Any]]  # questions and a seed to answers
Columns = dict[str, list[Any]]


class NotTold(Exception):
    """In place of an answer: it is not stored, and was not asked for."""


class Text(NamedTuple):
    """A caption as the judge reads it, and whether there is more of it."""

    words: str
    is_cut: bool


@dataclass(frozen=True)
class Judge:
    """One of a local model and a server; `shape` is what a local model sees at a time.

    Answers that are none are asked for again, `reasks` times at most. Where it `asks` not, a server
    has said what is stored of it by the names of pictures, and NotTold is all else.
    """

    source: Source | None
    server: Server | None
    shape: Shape
    reasks: int = 0
    asks: bool = True

    @property
    def device(self) -> str:
        return "cpu" if self.source is None else self.source.device

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about answers: not where a server is, nor how many it is asked at a time."""
        again: dict[str, Any] = {"plain": mllm.PLAIN}
        if self.reasks:
            again["reasks"] = list(NUDGES[: self.reasks])
        if self.source is None:
            assert self.server is not None
            return {"served": self.server.model, "max_side": self.shape.side, **again}
        return {
            **again,
            "model": "local-dir" if self.source.folder is not None else self.source.model,
            "precision": self.source.precision,
            **self.shape._asdict(),
        }

    @property
    def weights_digest(self) -> str | None:
        """The digest of a local model; of a server's weights nothing is known."""
        return None if self.source is None else hub_weights.digest(self.source)

    def prepare(self) -> None:
        """Load a local model. Raises when it is missing, damaged or can't be asked."""
        if self.source is not None:
            mllm.load(self.source)

    def keep_in(self, folder: str) -> None:
        """Keep a server's answers there: what was answered once is not asked again."""
        if self.server is not None:
            served.keep_in(folder)

    def read(self, texts: Sequence[str]) -> list[Text]:
        """Captions as they are put into questions; without words where there are none."""
        if self.source is None:
            return [_beginning(text) for text in texts]
        loaded = mllm.load(self.source)
        special = mllm.special_tokens(loaded)
        plain = [mllm.plain_text(text, special) for text in texts]
        found = [Text(*mllm.shortened(loaded, t, self.shape.text_tokens)) for t in plain]
        return [text._replace(words=_shown(text.words)) for text in found]

    def estimate(self, rows: int, asked: Mapping[str, bool], tokens: int) -> Estimate:
        """What it costs a server to answer for so many rows, in so many tokens to each question.

        `asked` says of the template of each question whether a picture goes with it, which is
        taken for a square of `side`; a caption has `text_tokens` tokens. Requests and answers are
        counted as if all were asked again as often as may be, prompts once.
        """
        if self.server is None:
            return estimates.NOTHING
        seen, times = estimates.of_picture(self.shape.side), rows * (1 + self.reasks)
        prompts = sum(
            estimates.of_prompt(template)
            + (self.shape.text_tokens if mllm.TEXT in template else 0)
            + (seen if has_picture else 0)
            for template, has_picture in asked.items()
        )
        return Estimate(times * len(asked), rows * prompts, times * len(asked) * tokens)

    def words(self, prompts: Sequence[Prompt], words: Sequence[str]) -> list[Odds | Exception]:
        """The probability of each word as the beginning of the answer to each question."""
        if self.source is not None:
            loaded = mllm.load(self.source)
            found = mllm.word_probabilities(loaded, prompts, words, self.shape)
            return [tuple(map(float, row)) for row in found]

        def ask(some: Sequence[Prompt], seed: int | None) -> list[Any]:
            answers = self._ask(some, (FIRST, LIKELIEST), seed)
            return [_unless_failed(answer, lambda a: odds_of(a, words)) for answer in answers]

        return self._asked(prompts, ask)

    def replies(
        self, prompts: Sequence[Prompt], tokens: int, read: Callable[[str], Any] = str
    ) -> list[Any]:
        """What is read in the answer to each question, of at most so many tokens, or why not.

        Decoding is greedy. `read` returns or raises a BadAnswer for a reply that is no answer.
        """

        def ask(some: Sequence[Prompt], seed: int | None) -> list[Any]:
            if self.source is not None:
                loaded = mllm.load(self.source)
                said = mllm.generate(loaded, some, self.shape, tokens)
                return [_unless_failed(text, read) for text, _ in said]
            answers = self._ask(some, (tokens, 0), seed)
            return [_unless_failed(answer, lambda a: read(a.text)) for answer in answers]

        return self._asked(prompts, ask)

    def vectors(self, prompts: Sequence[Prompt], form: str) -> list[Any]:
        """The vector of each prompt, of any length, as a server embeds it; or why there is none."""
        assert self.server is not None
        requests = self._requests(prompts, {"vector": form, "max_tokens": 1})
        answers = served.ask(requests, self.server)
        return [_unless_failed(answer, served_vectors.vector_of) for answer in answers]

    def _asked(self, prompts: Sequence[Prompt], ask: Asking) -> list[Any]:
        """An answer or a failure for each question; what is no answer is asked for again."""
        found = ask(prompts, None)
        for time, nudge in enumerate(NUDGES[: self.reasks], 1):
            places = [place for place, one in enumerate(found) if isinstance(one, BadAnswer)]
            again = [prompts[place] for place in places]
            nudged = [prompt._replace(template=prompt.template + nudge) for prompt in again]
            for place, answer in zip(places, ask(nudged, time) if places else (), strict=True):
                found[place] = answer
        return found

    def _ask(
        self, prompts: Sequence[Prompt], most: tuple[int, int], seed: int | None
    ) -> Sequence[Answer | ServedError | NotTold]:
        """Answers of at most so many tokens, with as many likeliest ones at each place."""
        assert self.server is not None
        more = {"max_tokens": most[0], "top_logprobs": most[1], "seed": seed}
        names = [self._name(prompt, more) for prompt in prompts]
        if self.asks:
            return served.ask(self._requests(prompts, more), self.server, names)
        known = served.recall([name for name in names if name is not None])
        return [NotTold() if name is None else known.get(name) or NotTold() for name in names]

    def _name(self, prompt: Prompt, more: Mapping[str, Any]) -> bytes | None:
        """A digest of all that decides about an answer, by the picture's name; None without one."""
        if prompt.name is None:
            return None
        assert self.server is not None
        rest = Request(prompt.words, **more).key(self.server.model)
        return hashlib.sha256(rest + prompt.name + f"{_NAMED} {self.shape.side}".encode()).digest()

    def _requests(self, prompts: Sequence[Prompt], more: Mapping[str, Any]) -> list[Request]:
        """What a server is sent; a picture that several prompts share is encoded once."""
        pictures = {id(p.image): p.image for p in prompts if p.image is not None}
        encoded = {name: (sent(image, self.shape.side),) for name, image in pictures.items()}
        shown = [() if p.image is None else encoded[id(p.image)] for p in prompts]
        pairs = zip(prompts, shown, strict=True)
        return [Request(prompt.words, images=images, **more) for prompt, images in pairs]


def _beginning(text: str) -> Text:
    """The first characters of a caption, as many as are read where tokens can't be counted."""
    start = text[: 2 * mllm.TEXT_LENGTH]  # some of it is gone when it is cleaned
    plain = mllm.plain_text(start)
    is_cut = len(plain) > mllm.TEXT_LENGTH or len(start) < len(text)
    return Text(_shown(plain[: mllm.TEXT_LENGTH].strip()), is_cut)


def _shown(words: str) -> str:
    """The words; nothing where they show nothing."""
    return "" if unread.is_blank(words) else words


def settle(scorer: Any) -> None:
    """Bring the parameters of a scorer's judge into their final form, or raise for wrong ones."""
    if (scorer.model is None) == (scorer.server is None):
        raise TypeError("give `model`, which runs here, or `server: {endpoints: [...], model: M}`")
    device = clip_weights.best_device() if scorer.server is None else "cpu"
    hub_weights.settle_precision(scorer, device)
    if scorer.server is not None:
        if scorer.revision is not None:
            raise ValueError("`revision` is for a model that runs here, not on a server")
        object.__setattr__(scorer, "server", server_of(scorer.server))
    else:
        mllm.check(Source(scorer.model, scorer.revision))
    if scorer.batch_size is None:
        rows = ROWS_LOCAL if scorer.server is None else ROWS_SERVED
        object.__setattr__(scorer, "batch_size", rows)
    for name in ("batch_size", "text_tokens", "max_side"):
        if getattr(scorer, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(scorer, name)}")
    reasks = getattr(scorer, "reasks", 0)
    if not 0 <= reasks <= len(NUDGES):
        raise ValueError(f"reasks must be from 0 to {len(NUDGES)}, got {reasks}")


def at_once(scorer: Any) -> int:
    """How many batches of a settled scorer keep its server busy, also while one is taken back.

    The rows of a batch are a request each, at least; a local model is asked one by one.
    """
    if scorer.server is None:
        return 1
    batches: int = -(-scorer.server.concurrency // scorer.batch_size)
    return 1 + batches


def server_of(given: Server | Mapping[str, Any]) -> Server:
    """A server from what a recipe says of it. Raises ValueError for what a server has not."""
    if isinstance(given, Server):
        return given
    if not isinstance(given, Mapping):
        raise ValueError(f"server must be a mapping with `endpoints` and `model`, got {given!r}")
    known = [field.name for field in fields(Server)]
    for name in given:
        if name not in known:
            raise ValueError(f"server: no parameter {name!r}; known are {', '.join(known)}")
    lacking = [name for name in ("endpoints", "model") if not given.get(name)]
    if lacking:
        raise ValueError(f"server: needs {' and '.join(lacking)}")
    endpoints = given["endpoints"]
    listed = tuple(endpoints) if isinstance(endpoints, Sequence) else endpoints
    listed = (endpoints,) if isinstance(endpoints, str) else listed
    return Server(**{**given, "endpoints": listed})


def judge_of(scorer: Any) -> Judge:
    """The judge that a settled scorer's parameters name."""
    shape = Shape(scorer.batch_size, scorer.text_tokens, scorer.max_side)
    reasks = getattr(scorer, "reasks", 0)
    if scorer.server is not None:
        return Judge(None, scorer.server, shape, reasks)
    source = Source(scorer.model, scorer.revision, scorer.precision, clip_weights.best_device())
    return Judge(source, None, shape, reasks)


def pictures_of(batch: Mapping[str, list[Any]]) -> list[tuple[Pixels | None, bytes | None]]:
    """The picture of each row and its name, of which either may be lacking."""
    unknown = [None] * len(next(iter(batch.values())))
    pairs = zip(batch.get("image", unknown), batch.get("image_name", unknown), strict=True)
    return list(pairs)


def recalled(
    scorer: Any, judge: Judge | None, batch: Columns, work: Callable[[Judge, Columns], Columns]
) -> Columns:
    """What a scorer would say of rows of which its server has told all; see `pipeline.contract`.

    `work` is what it does with a judge; here that asks nobody.
    """
    names: list[str] = scorer.writes.names
    if judge is None or judge.server is None:
        return {name: [None] * len(batch["image_name"]) for name in names}
    found = work(replace(judge, asks=False), batch)
    first = [None if isinstance(value, NotTold) else value for value in found[names[0]]]
    return {**found, names[0]: first}


def odds_of(answer: Answer, words: Sequence[str]) -> Odds:
    """The probability of each word in a server's answer, in any case and with space around it.

    It is that of the first token that is not white space. A word that is not among the likeliest
    has 0. Raises BadAnswer when none is.
    """
    if not answer.logprobs:
        raise BadAnswer("the server gives no probabilities of tokens (top_logprobs)")
    place = next(
        (p for p in answer.logprobs if p and max(p, key=lambda t: (p[t], t)).strip("▁ \n\t")), {}
    )
    sums = dict.fromkeys((word.casefold() for word in words), 0.0)
    for token, logprob in place.items():
        plain = token.strip("▁ĠĊ \n\t").casefold()
        if plain in sums and logprob <= 0:  # so NaN is none
            sums[plain] += math.exp(logprob)
    if not any(sums.values()):
        asked, said = " or ".join(words), answer.text[:40]
        raise BadAnswer(f"neither {asked} among the likeliest first words; it says {said!r}")
    return tuple(min(1.0, sums[word.casefold()]) for word in words)


def sent(image: Pixels, side: int) -> bytes:
    """The picture as a server gets it: a JPEG with a long side of at most so many pixels.

    A side shorter than 32 pixels is filled up with grey: models refuse such ribbons.
    """
    from PIL import Image

    small = mllm.scaled(image, min(side, max(image.shape[:2])))
    size = max(small.width, _SHORTEST_SIDE), max(small.height, _SHORTEST_SIDE)
    if size != small.size:
        whole = Image.new("RGB", size, (127, 127, 127))
        whole.paste(small, ((size[0] - small.width) // 2, (size[1] - small.height) // 2))
        small = whole
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _unless_failed(answer: Any, look: Callable[[Any], Any]) -> Any:
    """What is seen in an answer; a failed one, or one that is none, as the exception it is."""
    if isinstance(answer, Exception):
        return answer
    try:
        return look(answer)
    except BadAnswer as error:
        return error
