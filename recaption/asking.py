"""A model that writes: one that runs here, or one on a server; asked alike by all of `recaption`.

Texts of others become mere words before they are put into a prompt. What a model did not answer
is an exception in its place, never an end of the run.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from filters import canvases, clip_weights, hub_weights, judging, mllm, served
from filters.hub_weights import Source
from filters.mllm import Pixels, Shape
from filters.mllm import Prompt as Asked
from filters.sampling import Writing, Written
from filters.served import Answer, BadAnswer, Request, ServedError, Server
from filters.served_kinds import after_thinking, data_of
from recaption import families
from recaption.prompts import schema_of

CHARACTERS = 4  # of a text per token, where no tokenizer counts
ROWS, ROWS_SERVED = 64, 256  # samples handed over at a time: enough of every shape, of requests
_THREADS = 8
_SEEDS = 0x7FFFFFFF  # llama.cpp reads 32 bits
_NAMED = 1  # raised when the same picture would be sent in another way, or drawn for by other dice
_DIGEST = 12  # hexadecimal digits of a folder's digest that stand for its revision


class Ask(NamedTuple):
    """One thing to write: a prompt with `text` of others in it, after a picture or without one.

    With `fields` it is to be written as JSON that has them. `name` stands for picture and seed
    where these need not be looked at; without one the answer is found by what is sent.
    """

    template: str
    text: str
    how: Writing
    image: Pixels | None = None
    seed: int = 0
    fields: tuple[str, ...] = ()
    name: bytes | None = None


class Said(NamedTuple):
    """What was written, in how many tokens, whether cut off, by which model, and as data."""

    text: str
    tokens: int
    is_cut: bool
    model: str
    data: Any = None


@dataclass(frozen=True)
class Writer:
    """One of a local model and a server; `shape` is what a local model sees at a time."""

    source: Source | None
    server: Server | None
    shape: Shape

    @property
    def device(self) -> str:
        return "cpu" if self.source is None else self.source.device

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about answers: not where a server is, nor how many it is asked at a time."""
        shape = self.shape._asdict()
        if self.source is None:
            assert self.server is not None
            del shape["rows"]
            return {"served": self.server.model, **shape}
        name = "local-dir" if self.source.folder is not None else self.source.model
        return {"model": name, "precision": self.source.precision, **shape}

    @property
    def weights_digest(self) -> str | None:
        """The digest of a local model; of a server's weights nothing is known."""
        return None if self.source is None else hub_weights.digest(self.source)

    def prepare(self) -> None:
        """Load a local model. Raises when it is missing, damaged or can't be asked."""
        if self.source is not None:
            families.load(self.source)

    def keep_in(self, folder: str) -> None:
        """Keep a server's answers there: what was answered once is not asked again."""
        if self.server is not None:
            served.keep_in(folder)

    def read(self, texts: Sequence[str], tokens: int) -> list[str]:
        """Texts as they are put into prompts: mere words, and no more than so many tokens."""
        if self.source is None or families.family_of(self.source) not in families.BY_CHAT:
            most = tokens * CHARACTERS
            plain = [mllm.plain_text(text[: 2 * most]) for text in texts]
            return [text[:most].strip() for text in plain]
        loaded = families.load(self.source)
        special = mllm.special_tokens(loaded)
        plain = [mllm.plain_text(text, special) for text in texts]
        return [mllm.shortened(loaded, text, tokens)[0] for text in plain]

    def count(self, text: str) -> int:
        """How many tokens a text takes: counted where it is tokenised here, else estimated."""
        if self.source is None or families.family_of(self.source) not in families.BY_CHAT:
            return len(text) // CHARACTERS + 1
        read = families.load(self.source).tokenizer
        return len(read(text, add_special_tokens=False, verbose=False)["input_ids"])

    def write(self, asks: Sequence[Ask]) -> list[Said | Exception]:
        """What is written to each, in order; a server has all of them to choose from at once."""
        if self.source is None:
            assert self.server is not None
            names = [self._name(ask) for ask in asks]
            answers = served.ask(self.requests(asks), self.server, names)
            return [self._of_server(answer) for answer in answers]
        if not asks:
            return []
        shapes = families.sees_shapes(self.source)
        name = model_name(self.source)
        found: dict[int, Said | Exception] = {}
        for how in dict.fromkeys(ask.how for ask in asks):
            places = [place for place, ask in enumerate(asks) if ask.how == how]
            asked = [self._asked(asks[place], shapes) for place in places]
            told = families.write(self.source, asked, self.shape, how)
            for place, one in zip(places, told, strict=True):
                found[place] = _of_model(one, name, asks[place].fields)
        return [found[place] for place in range(len(asks))]

    def recall(self, asks: Sequence[Ask]) -> list[Said | None]:
        """What a server has answered to each, by its name; None where that is not known."""
        if self.server is None:
            return [None] * len(asks)
        names = [self._name(ask) for ask in asks]
        known = served.recall([name for name in names if name is not None])
        return [None if n not in known else self._said(known[n]) for n in names]

    def _name(self, ask: Ask) -> bytes | None:
        """A digest of all that decides about an answer: the picture's and seed's name for them."""
        if ask.name is None:
            return None
        assert self.server is not None
        rest = self._request(ask, (), None).key(self.server.model)
        shown = f"{_NAMED} {self.shape.side}".encode()
        return hashlib.sha256(rest + ask.name + shown).digest()

    def _asked(self, ask: Ask, shapes: bool) -> Asked:
        canvas = None
        if shapes and ask.image is not None:
            canvas = canvases.canvas_of(ask.image, self.shape.side)
        return Asked(ask.template, ask.text, ask.image, canvas, ask.seed)

    def requests(self, asks: Sequence[Ask]) -> list[Request]:
        """What a server is sent. A picture is a JPEG, which every kind of server reads."""
        pictures = {id(ask.image): ask.image for ask in asks if ask.image is not None}
        with ThreadPoolExecutor(_THREADS, "encode") as threads:  # the server waits for the first
            work = partial(judging.sent, side=self.shape.side)
            encoded = dict(zip(pictures, threads.map(work, pictures.values()), strict=True))
        return [
            self._request(
                ask,
                () if ask.image is None else (encoded[id(ask.image)],),
                ask.seed & _SEEDS if ask.how.temperature else None,
            )
            for ask in asks
        ]

    def _request(self, ask: Ask, images: tuple[bytes, ...], seed: int | None) -> Request:
        return Request(
            ask.template.replace(mllm.TEXT, ask.text),
            images=images,
            max_tokens=ask.how.new_tokens,
            temperature=ask.how.temperature,
            top_p=ask.how.top_p,
            seed=seed,
            schema=schema_of(ask.fields) if ask.fields else None,
        )

    def _of_server(self, answer: Answer | ServedError) -> Said | Exception:
        return answer if isinstance(answer, ServedError) else self._said(answer)

    def _said(self, answer: Answer) -> Said:
        assert self.server is not None
        name = self.server.model
        if answer.model is not None and answer.model != name:
            name = f"{name}@{answer.model}"
        text = after_thinking(answer.text).strip()
        return Said(text, answer.tokens_out, answer.finish == "length", name, answer.data)


def _of_model(one: Written, name: str, fields: tuple[str, ...]) -> Said | Exception:
    text, data = after_thinking(one.text), None
    if fields:
        try:
            data = data_of(text, schema_of(fields), "length" if one.is_cut else "stop")
        except ServedError as error:
            return error.with_traceback(None)
    return Said(text, one.tokens, one.is_cut, name, data)


def model_name(source: Source) -> str:
    """What a caption calls a model: `NAME@REVISION`; of a folder, its name and its content."""
    if source.folder is None:
        return f"{source.model}@{source.revision}"
    return f"{os.path.basename(os.path.normpath(source.folder))}@{_short_digest(source)}"


def _short_digest(source: Source) -> str:
    return hub_weights.digest(source)[:_DIGEST]


def settle(scorer: Any) -> None:
    """Bring the parameters of a scorer's model into their final form, or raise for wrong ones."""
    if scorer.batch_size is None:
        rows = ROWS if scorer.server is None else ROWS_SERVED
        object.__setattr__(scorer, "batch_size", rows)
    if scorer.rows < 1:
        raise ValueError(f"rows must be at least 1, got {scorer.rows}")
    judging.settle(scorer)


def writer_of(scorer: Any) -> Writer:
    """The model that a settled scorer's parameters name."""
    shape = Shape(scorer.rows, scorer.text_tokens, scorer.max_side)
    if scorer.server is not None:
        return Writer(None, scorer.server, shape)
    device = clip_weights.best_device()
    return Writer(Source(scorer.model, scorer.revision, scorer.precision, device), None, shape)


def nothing() -> BadAnswer:
    """The reason for an answer without a word."""
    return BadAnswer("the model said nothing")
