"""One caption out of what the web says of a picture, what a model wrote, and what experts found.

By rules, without a model, or by an LLM whose text is taken only if it passes checks: else a parent
stands, or what rules make of both, and is flagged. Rules say nothing that no parent said; what a
model adds of its own is flagged, and limited.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import pyarrow as pa

from filters import estimates, foreign, judging, mllm, names, vocabulary
from filters.estimates import Estimate, Given, Held
from filters.served import Server
from recaption import (
    asking,
    captions,
    cut_off,
    entities,
    fusion_llm,
    fusion_rules,
    languages,
    prompts,
)
from recaption.asking import Said, Writer
from recaption.captions import Caption, Row
from recaption.fusion_llm import LABELS
from recaption.fusion_parents import Columns, Parents, is_above, parents_of, scores_of
from recaption.fusion_rules import Bounds

RULES, LLM = "rules", "llm"
FALLBACK, SINGLE, ADDED = "fallback", "single", "added"
"""Flags: the fused text was not taken; there was one parent, and nothing to fuse it with; a model
said something of its own."""
_RULES = "fuse-rules/3"  # a number beside "not" or "but" is no name
_OF_OBJECTS = 8 * fusion_rules.MOST  # tokens of what a detector names, which are few words each
_OF_LLM = ("revision", "precision", "rows", "text_tokens", "max_tokens")


@dataclass(frozen=True)
class Fusion:
    """`captions`: one fused text, of `raw` and the first caption of `synthetic`.

    Both are columns of text or of captions; `kind` is of which kind. `experts` are columns of
    words that detectors, taggers and readers found, texts or lists of texts or captions: each
    line of a text, each of the `tags` of a caption is one, and what is `unsure` is none; a
    mapping `{COLUMN: LABEL}` says what they are called. `objects` is the column of a detector,
    as `objects` or `object_attributes` write it: how many of what it found, a better box hiding
    those that lie on it, never where; rules add what the text does not name. `concepts` is a
    column of them whose words are put behind the text, as NEVLP trains with.

    `by: rules` keeps the synthetic text and adds, in a sentence that says where it comes from,
    the names, places and numbers of the raw one that it lacks, and what experts found; see
    `recaption.fusion_rules`. It keeps its flags, and where nothing is added all of it. `by: llm`
    asks a `model` that runs here or a `server`, as for `captioner`, after CapsFusion (Yu et al.
    2023, arXiv:2310.20550) and, with experts, FuseCap (Rotstein et al. 2023, arXiv:2305.17718),
    in words of our own. All texts together have `text_tokens` tokens: the synthetic one at most
    half of them, experts a quarter, and the raw one what is left, so that its tail is cut. The
    answer has at most `max_tokens`.

    An answer is taken if it was not cut, is at most `longer` times as long as the longer parent,
    says at least the share `names` of what the raw text names, and `words` of the synthetic one's
    words of weight (of languages written with spaces). Otherwise the better parent stands, by
    `scores`, columns of the raw and the synthetic text's scores, else the synthetic one, flagged
    `fallback` and `cut`, `empty`, `long`, `lost_names` or `lost_words`. An answer with words of
    weight or numbers that neither text nor any expert has, in some form, is flagged `added`; if
    these are more than the share `added` of its own, the text by rules stands in its place (or the
    raw text, by `scores`), flagged `fallback` and `added`. It is words that are compared, no
    meanings: a paraphrase is flagged, and so is what was translated. Not of languages without
    spaces. With one parent alone it stands, flagged `single`; without any there is no caption.
    """

    synthetic: str
    raw: str = "caption"
    by: str = RULES
    kind: str | None = None
    experts: Sequence[Any] | Mapping[str, str] = ()
    objects: str | None = None
    concepts: str | None = None
    scores: tuple[str, ...] = ()
    longer: float = 2.0
    names: float = 0.5
    words: float = 0.5
    added: float = 0.2
    model: str | None = None
    revision: str | None = None
    server: Server | Mapping[str, Any] | None = None
    language: str = "en"
    text_tokens: int = 192
    max_tokens: int = 96
    precision: str = "auto"
    rows: int = 8
    batch_size: int | None = None
    max_side: ClassVar[int] = 28  # no picture is shown
    version: ClassVar[int] = 6  # control tokens of models are no names
    needs: ClassVar[dict[str, str]] = {
        "synthetic": "text",
        "raw": "text",
        "experts": "terms",
        "objects": "objects",
        "concepts": "terms",
        "scores": "score",
    }
    writes: ClassVar[pa.Schema] = captions.WRITES

    def __post_init__(self) -> None:
        if self.by not in (RULES, LLM):
            raise ValueError(f"by {self.by!r}: known are {RULES} and {LLM}")
        object.__setattr__(self, "experts", _settled(self.experts))
        if len(self.scores) not in (0, 2):
            raise ValueError("scores are two columns: of the raw text and of the synthetic one")
        if self.longer < 1 or not all(0 <= n <= 1 for n in (self.names, self.words, self.added)):
            raise ValueError("longer must be at least 1, names, words and added from 0 to 1")
        languages.language(self.language)  # raises for one that is not known
        if self.text_tokens < 32 or self.max_tokens < 1:
            raise ValueError("text_tokens must be at least 32, max_tokens at least 1")
        if self.by == LLM:
            asking.settle(self)
            return
        if self.model is not None or self.server is not None:
            raise ValueError("by: rules asks no model; remove it, or say `by: llm`")
        foreign.refuse(self, _OF_LLM, f"by {RULES!r}")
        size = asking.ROWS if self.batch_size is None else self.batch_size
        if size < 1:
            raise ValueError(f"batch_size must be at least 1, got {size}")
        object.__setattr__(self, "batch_size", size)

    @property
    def reads(self) -> tuple[str, ...]:
        return self._columns.names

    @property
    def may_lack(self) -> tuple[str, ...]:
        """Columns that may be NULL: one text is enough."""
        return self.reads

    @property
    def device(self) -> str:
        return "cpu" if self.by == RULES else self._writer.device

    @property
    def at_once(self) -> int:
        """Calls that may be under way: of a server so many that it never waits for the next."""
        return judging.at_once(self)

    @property
    def identity(self) -> dict[str, Any]:
        shared = {
            "columns": [self.raw, self.synthetic, self.concepts, list(self.scores), self.kind],
            "experts": [self._labels, self.objects],
            "bounds": list(self._bounds),
            "language": self.language,
            "lists": [names.digest(), vocabulary.digest()],
        }
        if self.by == RULES:
            return {**shared, "by": _RULES}
        prompt = self._prompt
        asked = [prompt.label, prompt.text, self.text_tokens, self.max_tokens]
        return {**shared, "by": [*asked, mllm.PLAIN], **self._writer.identity}

    @property
    def weights_digest(self) -> str | None:
        return None if self.by == RULES else self._writer.weights_digest

    def keep_in(self, folder: str) -> None:
        """Keep a server's answers there, so that none is asked for twice."""
        if self.by == LLM:
            self._writer.keep_in(folder)

    def prepare(self) -> None:
        """Load a local model. Raises when it is missing, damaged or can't be asked."""
        if self.by == LLM:
            self._writer.prepare()

    def estimate(self, rows: int) -> Estimate:
        """What so many rows would cost, each with all texts at their longest; see `captioner`."""
        if self.by == RULES:
            return Estimate(0, 0, 0)
        prompt = len(self._prompt.text) // 4 + 16 + self.text_tokens
        return Estimate(rows, rows * prompt, rows * self.max_tokens)

    def writes_at_most(self, rows: int, given: Given, sentence: int) -> Held | None:
        """A text for each row, at most with all that its parents say and that a model may write."""
        listed = [*self._labels, *([] if self.concepts is None else [self.concepts])]
        held = estimates.together(given, [self.synthetic, self.raw, *listed])
        if held is None:
            return None
        written = LABELS * (2 + len(listed)) + (0 if self.objects is None else _OF_OBJECTS)
        written += self.max_tokens if self.by == LLM else 0
        return rows, held[1] + rows * written

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        columns = self._columns
        parents = [parents_of(batch, place, columns) for place in range(len(batch[self.raw]))]
        whole = [p for p in parents if p.can_fuse]
        said = iter(self._by_llm(whole) if self.by == LLM else whole)
        found: list[list[Row] | Exception] = []
        for place, given in enumerate(parents):
            if given.raw is None and given.synthetic is None:
                found.append([])
            elif not given.can_fuse:
                found.append([self._alone(given)])
            else:
                found.append(self._fused(given, next(said), scores_of(batch, place, columns)))
        return {captions.COLUMN: found}

    def _alone(self, given: Parents) -> Row:
        """What stands when there is one text: with what experts found, if they found anything."""
        parent = given.synthetic or given.raw
        assert parent is not None
        if given.synthetic is None or not given.lacking:
            return self._enriched(captions.flagged(parent, SINGLE), given)
        row = self._by_rules(given._replace(raw=None))
        return self._enriched(captions.flagged(row, SINGLE) if row == parent else row, given)

    def _fused(
        self, given: Parents, one: Said | Exception | Parents, scores: list[float | None]
    ) -> list[Row] | Exception:
        raw, synthetic = given.text("raw"), given.text("synthetic")
        if isinstance(one, Exception):
            return one
        if isinstance(one, Parents):
            return [self._enriched(self._by_rules(given), given)]
        text = prompts.plain_answer(one.text)
        flags: tuple[str, ...] = ()
        if one.is_cut:
            text, flags = cut_off.ended(text, self.language)
        problem = fusion_rules.problem_of(text, raw, synthetic, self._bounds)
        problem = cut_off.CUT if cut_off.CUT in flags else problem if text else "empty"
        share = 0.0 if problem else self._share_added(text, given)
        if problem is None and share <= self.added:
            flags += (ADDED,) if share else ()
            row = captions.flagged(self._row(text, given, self._prompt.label, one), *flags)
            return [self._enriched(row, given)]
        is_raw = len(scores) == 2 and is_above(*scores)
        parent = given.raw if is_raw else given.synthetic
        if problem is None and not is_raw:
            parent = self._by_rules(given)
        assert parent is not None
        return [self._enriched(captions.flagged(parent, FALLBACK, problem or ADDED), given)]

    def _share_added(self, text: str, given: Parents) -> float:
        """How much of what a model wrote is said by no text and no expert."""
        if not languages.language(self.language).has_words:
            return 0.0
        listed = [one for entries in given.listed.values() for one in entries]
        parents = " ".join([given.text("raw"), given.text("synthetic"), *listed])
        return fusion_rules.added(text, parents).share or 0.0

    def _by_rules(self, given: Parents) -> Row:
        """The synthetic caption, as it is where there is nothing to add, else with its flags."""
        parent = given.synthetic
        assert parent is not None
        text = fusion_rules.by_rules(
            given.text("synthetic"), given.text("raw"), given.lacking, self.language
        )
        if text == parent["text"]:
            return parent
        return captions.flagged(self._row(text, given, _RULES), *(parent["flags"] or ()))

    def _row(self, text: str, given: Parents, prompt: str, said: Said | None = None) -> Row:
        kind = None if given.synthetic is None else given.synthetic["kind"]
        return Caption(
            text,
            self.language,
            captions.FUSED,
            kind or "short",
            model=None if said is None else said.model,
            prompt=prompt,
            tokens=None if said is None else said.tokens,
        ).row

    def _enriched(self, row: Row, given: Parents) -> Row:
        """The caption with concepts behind it, if there are any that it does not say."""
        text = str(row["text"])
        lacking = [one for one in given.concepts if not entities.says(text, one)]
        if not lacking:
            return row
        listed = ", ".join(dict.fromkeys(lacking[: fusion_rules.MOST]))
        more = f"Concepts: {listed}." if self.language.startswith("en") else f"({listed})"
        return {**row, "text": f"{fusion_rules.ended(text)} {more}", "origin": captions.FUSED}

    def _by_llm(self, parents: Sequence[Parents]) -> list[Said | Exception]:
        limits = (self.text_tokens, self.max_tokens)
        return fusion_llm.fused(self._writer, parents, self._prompt, limits)

    @property
    def _columns(self) -> Columns:
        experts = tuple(self._labels.items())
        places = (self.raw, self.synthetic, self.kind, experts, self.objects, self.concepts)
        return Columns(*places, tuple(self.scores))

    @property
    def _labels(self) -> dict[str, str]:
        return dict(self.experts)

    @property
    def _bounds(self) -> Bounds:
        return Bounds(self.longer, self.names, self.words, self.added)

    @property
    def _prompt(self) -> prompts.Prompt:
        prompt = prompts.EXPERTS if self._labels or self.objects else prompts.FUSE
        return prompt.filled(self.language)

    @cached_property
    def _writer(self) -> Writer:
        found = asking.writer_of(self)
        tokens = self.text_tokens + LABELS * (3 + len(self._labels))
        return Writer(found.source, found.server, found.shape._replace(text_tokens=tokens))


def _settled(experts: Any) -> tuple[tuple[str, str], ...]:
    """Columns with what they are called, as pairs, so that a scorer can be hashed."""
    pairs = experts.items() if isinstance(experts, Mapping) else experts
    if isinstance(pairs, str) or not isinstance(pairs, Iterable):
        raise ValueError("experts is a list of columns, or a mapping of columns to labels")
    found = [(one, one.replace("_", " ")) if isinstance(one, str) else one for one in pairs]
    for one in found:
        is_pair = isinstance(one, tuple) and len(one) == 2
        if not is_pair or not all(isinstance(word, str) and word.strip() for word in one):
            raise ValueError(f"experts: a column and what it is called are texts, got {one!r}")
    return tuple(found)
