"""Captions that an image-text-to-text model writes, run here or asked for on a server.

A caption is a function of the picture, the prompt, the seed and the model, whatever else is in
its batch. An answer without a word is a reason, not a caption; one that was cut off ends with its
last whole sentence, and is flagged.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar

import pyarrow as pa

from filters import estimates, judging, mllm
from filters.estimates import Estimate, Given, Held
from filters.judging import Pixels
from filters.sampling import Writing, seed_of
from filters.served import Server
from recaption import asking, captions, cut_off, families, languages, prompts
from recaption.asking import Ask, Said, Writer
from recaption.captions import Caption
from recaption.partly import settled
from recaption.prompts import CONTEXT, SHORT, Task


@dataclass(frozen=True)
class Captioner:
    """`captions` by a model: `kinds`, in order, and of each kind as many as `samples`.

    `model` runs here: `local-dir:PATH`, or a name of the hub with `revision`, the 40 digits of a
    commit; any image-text-to-text model of transformers with a chat template, a BLIP or a
    Florence-2. `server: {endpoints: [URL], model: NAME}` asks an OpenAI-compatible server.

    `kinds` are `short` (a sentence), `long` (as many as `sentences`), `facets` (a sentence each
    about objects, attributes, relations, action, place, style; or one of them: `facet:place`) or
    a prompt of your own, `{kind: NAME, prompt: TEXT, version: N}` or with `file: PATH`. BLIP and
    Florence-2 have prompts of their authors for `short`, Florence-2 for `long`. `json: true` asks
    for short, long, tags and text in the image in one answer; its tokens are counted with the
    first of them. `language` is the tag of the language to write in. `max_tokens` limits an
    answer (64 for short, 384 for long, 96 for a facet, 640 for JSON).

    One sample is greedy, several are drawn at `temperature` 1 from the likeliest words of
    together `top_p`, by `seed`. `context` is a column of text, or of captions of which the first
    counts: the model is shown it as a hint, cleaned of control signs, as data between quotes, and
    at most `text_tokens` tokens of it (for a server four characters each). Without context a
    picture is described as it is. Pictures have about `max_side`² pixels. `rows` are how many
    a local model sees at a time, all padded on the left to one length, so that the company of a
    row changes nothing; to sort rows by length would gain nothing.

    What chat models put before a caption is taken off (`prompts.plain_answer`). Flags of answers
    that the limit ended: `shortened` to whole sentences, or `cut`, where there is none. Where some
    of a row's captions can't be had it has the others, and a reason.
    """

    model: str | None = None
    revision: str | None = None
    server: Server | Mapping[str, Any] | None = None
    kinds: Sequence[Any] = (SHORT,)
    language: str = "en"
    samples: int = 1
    temperature: float | None = None
    top_p: float = 0.9
    seed: int = 0
    context: str | None = None
    text_tokens: int = 64
    sentences: int = 10
    max_tokens: int | None = None
    json: bool = False
    precision: str = "auto"
    max_side: int = 768
    rows: int = 8
    batch_size: int | None = None
    version: ClassVar[int] = 2  # cut answers end with a whole sentence; reasons for a part
    needs: ClassVar[dict[str, str]] = {"context": "text"}
    writes: ClassVar[pa.Schema] = captions.WRITES

    def __post_init__(self) -> None:
        for name in ("samples", "sentences", "max_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        languages.language(self.language)  # raises for one that is not known
        tasks = prompts.tasks_of(self.kinds, self.max_tokens, self.json)
        object.__setattr__(self, "kinds", tasks)
        if self.samples > 1 and not self._heat > 0:
            raise ValueError("several samples need a temperature above 0, or all are the same")
        if not 0 <= self._heat < 100 or not 0 < self.top_p <= 1:
            raise ValueError("temperature must be from 0, top_p above 0 and at most 1")
        asking.settle(self)
        if self.model is not None and self._writer.source and self._writer.source.folder:
            families.tasks_for(families.family_of(self._writer.source), tasks, self.context)

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image",) if self.context is None else ("image", self.context)

    @property
    def may_lack(self) -> tuple[str, ...]:
        """Columns that may be NULL: a picture without a hint is described all the same."""
        return () if self.context is None else (self.context,)

    @property
    def image_request(self) -> int:
        return self.max_side

    @property
    def device(self) -> str:
        return self._writer.device

    @property
    def at_once(self) -> int:
        """Calls that may be under way: of a server so many that it never waits for the next."""
        return judging.at_once(self)

    @property
    def identity(self) -> dict[str, Any]:
        asked = [
            (t.kind, t.prompt.label, t.prompt.text, t.max_tokens, t.schema) for t in self.kinds
        ]
        drawn = {"temperature": self._heat, "top_p": self.top_p, "seed": self.seed}
        return {
            **self._writer.identity,
            "asked": [families.VERSION, *asked],
            "language": self.language,
            "sentences": self.sentences,
            "samples": self.samples,
            **(drawn if self._heat else {}),
            "context": self.context and [self.context, CONTEXT.version, mllm.PLAIN],
        }

    @property
    def weights_digest(self) -> str | None:
        return self._writer.weights_digest

    def keep_in(self, folder: str) -> None:
        """Keep a server's answers there, so that none is asked for twice."""
        self._writer.keep_in(folder)

    def prepare(self) -> None:
        """Load a local model. Raises when it is missing, damaged or can't be asked."""
        self._writer.prepare()
        assert self._tasks

    def estimate(self, rows: int) -> Estimate:
        """What so many rows would cost, by a rough rule.

        A request for each kind and sample; four bytes of prompt, or a square of 28 pixels, are a
        token, and so is each of the hint's `text_tokens`; an answer is as long as it may be. What
        is in the cache, or equal, costs nothing and is not known here.
        """
        each = rows * self.samples
        seen = estimates.of_picture(self.max_side)
        hint = 0 if self.context is None else self.text_tokens + len(CONTEXT.text) // 4
        words = [estimates.of_prompt(task.prompt.text) for task in self._tasks]
        limits = [task.max_tokens for task in self._tasks]
        return Estimate(
            each * len(words), each * sum(seen + hint + n for n in words), each * sum(limits)
        )

    def writes_at_most(self, rows: int, given: Given, sentence: int) -> Held:
        """Captions of so many rows, and their tokens: of JSON as many as it has fields."""
        texts = sum(len(task.schema or (task.kind,)) for task in self._tasks)
        return rows * self.samples * texts, self.estimate(rows).answer_tokens

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        hints = self._hints(batch)
        answers = iter(self._writer.write(self._asks(batch, hints)))
        return {captions.COLUMN: [self._row(islice(answers, len(self._each)), h) for h in hints]}

    def recall(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """The captions of rows of which a server has told all, by the names of their images."""
        names = batch["image_name"]
        if self.server is None:
            return {captions.COLUMN: [None] * len(names)}
        hints, known = self._hints(batch), []
        answers = iter(self._writer.recall(self._asks(batch, hints)))
        for hint in hints:
            said = [answer for answer in islice(answers, len(self._each)) if answer is not None]
            known.append(self._row(said, hint) if len(said) == len(self._each) else None)
        return {captions.COLUMN: known}

    def _row(
        self, answers: Iterable[Said | Exception], hint: str
    ) -> list[captions.Row] | Exception:
        row: list[Caption] = []
        failed: list[tuple[str, Exception]] = []
        for (task, sample), said in zip(self._each, answers, strict=True):
            told = captions_of(said, task, _label(task, hint), self.language)
            if isinstance(told, Exception):
                failed.append((f"{task.kind} {sample + 1}" if sample else task.kind, told))
            else:
                row += told
        return settled(captions.rows(row), failed)

    @cached_property
    def _each(self) -> list[tuple[Task, int]]:
        return [(task, sample) for task in self._tasks for sample in range(self.samples)]

    def _hints(self, batch: dict[str, list[Any]]) -> list[str]:
        if self.context is None:
            return [""] * len(next(iter(batch.values())))
        known = [captions.texts(value) for value in batch[self.context]]
        texts = [str(found[0]["text"]) if found else "" for found in known]
        return self._writer.read(texts, self.text_tokens)

    def _asks(self, batch: dict[str, list[Any]], hints: Sequence[str]) -> list[Ask]:
        unknown = [None] * len(hints)
        images, names = batch.get("image", unknown), batch.get("image_name", unknown)
        return [
            self._ask(question, image, name, hint)
            for image, name, hint in zip(images, names, hints, strict=True)
            for question in self._each
        ]

    def _ask(
        self, question: tuple[Task, int], image: Pixels | None, name: bytes | None, hint: str
    ) -> Ask:
        task, sample = question
        template = (CONTEXT.text if hint else "") + task.prompt.text
        how = Writing(task.max_tokens, self._heat, self.top_p)
        seed = 0
        if self._heat and name is not None:
            name += f" {self.seed} {sample}".encode()
        if self._heat and image is not None:
            parts = (template, hint, f"{image.shape}", f"{self.seed} {sample}")
            seed = seed_of(image.tobytes(), *map(str.encode, parts))
        return Ask(template, hint, how, image, seed, task.schema, name)

    @property
    def _heat(self) -> float:
        if self.temperature is None:
            return 0.0 if self.samples == 1 else 1.0
        return self.temperature

    @cached_property
    def _tasks(self) -> tuple[Task, ...]:
        """The questions with all filled in, as the model's family is asked them."""
        tasks = tuple(self.kinds)
        if self._writer.source is not None:
            family = families.family_of(self._writer.source)
            tasks = families.tasks_for(family, tasks, self.context)
        return tuple(
            task._replace(prompt=task.prompt.filled(self.language, self.sentences))
            for task in tasks
        )

    @cached_property
    def _writer(self) -> Writer:
        return asking.writer_of(self)


def _label(task: Task, hint: str) -> str:
    return f"{task.prompt.label}+{CONTEXT.label}" if hint else task.prompt.label


def captions_of(
    said: Said | Exception, task: Task, label: str, language: str
) -> list[Caption] | Exception:
    """The captions in an answer: one, or of JSON one for each field that says something.

    JSON of the schema is whole, even where the limit ended what came after it.
    """
    if isinstance(said, Exception):
        return said
    flags: tuple[str, ...] = ()
    if not task.schema:
        text = prompts.plain_answer(said.text)
        if said.is_cut:
            text, flags = cut_off.ended(text, language)
        texts = {task.kind: text}
    else:
        texts = {name: _field(said.data[name]) for name in task.schema}
    about = Caption("", language, kind=task.kind, model=said.model, prompt=label, flags=flags)
    found = [
        about._replace(text=text, kind=kind, language=_language_of(kind, language))
        for kind, text in texts.items()
        if text
    ]
    if not found:
        return asking.nothing()
    return [found[0]._replace(tokens=said.tokens), *found[1:]]


def _language_of(kind: str, language: str) -> str | None:
    """What is written in a picture may be of any language."""
    return None if kind == "text_in_image" else language


def _field(value: str | list[str]) -> str:
    """A field of JSON as text; tags with commas between them."""
    if isinstance(value, str):
        return prompts.plain_answer(value)
    return ", ".join(dict.fromkeys(tag.strip() for tag in value if tag.strip()))
