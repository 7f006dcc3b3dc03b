"""Captions written again by an LLM, without what a picture does not show, and what is taken of it.

The model is shown no picture: it is told what to leave out. Its answer is taken only if it is no
refusal, adds nothing, and keeps the rest; whether it fits the picture better is for the caller.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from filters import estimates, mllm
from filters.estimates import NOTHING, Estimate
from filters.sampling import Writing
from filters.served import Server
from recaption import asking, entities, fusion_rules, nouns, prompts
from recaption.asking import Ask, Said, Writer
from recaption.captions import Caption, Row
from recaption.entities import says
from recaption.flags import CaptionFlags

REWRITTEN = "rewritten"
"""The origin of a caption that a model made of another one by leaving something out."""
_LABELS = 24  # tokens of what is written around the names of things
_KEPT = 0.6  # of the words of weight that say nothing of what is to be left out
_FOREIGN = 0.2  # of the words of weight of an answer: those that the caption has not
_MARKS = str.maketrans("", "", '"“”„«»‘')
_NOTHING = "nothing"  # what a model is to reply where nothing is left
_FLAGS = CaptionFlags(
    prompt_words=("not in the picture", "not in the caption", "do nothing that they ask for")
)


class Wanted(NamedTuple):
    """A caption, the things to leave out of it, and the part of it that may stay word by word."""

    caption: Row
    things: tuple[str, ...]
    kept: str

    @property
    def text(self) -> str:
        return str(self.caption["text"])


@dataclass(frozen=True)
class Rewriter:
    """One of a local model and a server, as for `captioner`, and how much it reads and writes."""

    model: str | None = None
    revision: str | None = None
    server: Server | Mapping[str, Any] | None = None
    text_tokens: int = 384
    max_tokens: int = 384
    precision: str = "auto"
    rows: int = 8
    batch_size: int | None = None
    max_side: ClassVar[int] = 28  # no picture is shown

    def __post_init__(self) -> None:
        if self.text_tokens < 32 or self.max_tokens < 1:
            raise ValueError("text_tokens must be at least 32, max_tokens at least 1")
        asking.settle(self)

    @property
    def identity(self) -> dict[str, Any]:
        prompt = prompts.REWRITE
        asked = [prompt.label, prompt.text, self.text_tokens, self.max_tokens, mllm.PLAIN]
        checks = {"flags": _FLAGS.identity, "names": entities.VERSION}
        return {**self.writer.identity, "asked": asked, **checks}

    def estimate(self, rows: int) -> Estimate:
        """One request a row, as if each had one caption to write again; see `captioner`."""
        if self.server is None:
            return NOTHING
        prompt = estimates.of_prompt(prompts.REWRITE.text) + self.text_tokens + _LABELS
        return Estimate(rows, rows * prompt, rows * self.max_tokens)

    def write(self, wanted: Sequence[Wanted]) -> list[Row | str | Exception]:
        """For each a caption, or a word for why there is none, or an error of the model's.

        The words are those of `problem_of`, `cut`, and `long` for a caption that is not read as a
        whole and so not asked about.
        """
        read = [self._read(one) for one in wanted]
        how = Writing(self.max_tokens)
        asks = [
            Ask(prompts.REWRITE.filled(one.caption["language"] or "en").text, text, how)
            for one, text in zip(wanted, read, strict=True)
            if text is not None
        ]
        said = iter(self.writer.write(asks) if asks else ())
        return [
            "long" if text is None else _taken(one, next(said))
            for one, text in zip(wanted, read, strict=True)
        ]

    def _read(self, one: Wanted) -> str | None:
        """What stands in the prompt; None where the caption does not fit in whole."""
        (text,) = self.writer.read([one.text], self.text_tokens)
        (things,) = self.writer.read([", ".join(one.things)], _LABELS)
        if len("".join(text.split())) < len("".join(mllm.plain_text(one.text).split())):
            return None
        return f'{text}"\nNot in the picture: "{things}'

    @cached_property
    def writer(self) -> Writer:
        found = asking.writer_of(self)
        shape = found.shape._replace(text_tokens=self.text_tokens + 3 * _LABELS)
        return Writer(found.source, found.server, shape)


def _taken(one: Wanted, said: Said | Exception) -> Row | str | Exception:
    if isinstance(said, Exception):
        return said
    text = prompts.plain_answer(said.text)
    problem = "cut" if said.is_cut else problem_of(text, one)
    if problem is not None:
        return problem
    return Caption(
        text,
        one.caption["language"],
        REWRITTEN,
        model=said.model,
        prompt=prompts.REWRITE.label,
        tokens=said.tokens,
    ).row


def problem_of(text: str, wanted: Wanted) -> str | None:
    """Why an answer is not taken; None if it is.

    `empty` (it says nothing), `same`, `long` (longer than before), `still` (it names what was to be
    left out), `added` (it names a thing, person, place or number that was not there, or more than
    one in five of its words of weight), `lost` (less than three in five words of the rest are
    left), or a flag of `caption_flags` that the caption did not have.
    """
    before = wanted.text
    if not text.strip() or text.strip(' ."').casefold() == _NOTHING:
        return "empty"
    if text.split() == before.split():
        return "same"
    if len(text) > len(before):
        return "long"
    row: Row = {**wanted.caption, "text": text, "tokens": None}
    had = _FLAGS.flags_of({**wanted.caption, "tokens": None})
    new = [flag for flag in _FLAGS.flags_of(row) if flag not in had]
    if new:
        return new[0]
    has_quotes = before.translate(_MARKS) != before  # what stands in new ones is said, too
    things = nouns.find(text if has_quotes else text.translate(_MARKS))
    if set(things) & set(wanted.things):
        return "still"
    foreign = fusion_rules.foreign(text, before).share
    if foreign is None:
        return "empty"
    if foreign > _FOREIGN or _adds(text, things, before):
        return "added"
    share = fusion_rules.kept_words(wanted.kept, text)
    return "lost" if share is not None and share < _KEPT else None


def _adds(text: str, things: Sequence[str], before: str) -> bool:
    """Whether a text names something that another one does not."""
    known = {kind for thing in nouns.find(before) for kind in nouns.kinds_of(thing)}
    new = [thing for thing in things if thing not in known]
    return not all(says(before, one) for one in [*new, *entities.entities(text)])


def mended(original: Row, rewritten: Row, kind: str) -> Row:
    """The caption as a column holds it: of this kind, with the box and the flags of the old one."""
    return {**rewritten, "kind": kind, "box": original["box"], "flags": original["flags"]}
