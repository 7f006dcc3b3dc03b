"""Captions in other languages, beside the ones they were translated from.

Nothing is dropped: what seems wrong with a translation is in its flags. A pair of languages that
an engine lacks is refused before anything is translated.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from filters import clip_weights, embedded, foreign, judging, served
from filters.served import Server
from recaption import (
    captions,
    ctranslate,
    glossaries,
    languages,
    sentences,
    seq2seq,
    served_translator,
    translating,
    translation_flags,
)
from recaption.apertium import Apertium
from recaption.captions import Caption, Row
from recaption.chrf import chrf
from recaption.engines import Engine, Translation
from recaption.glossaries import Glossary
from recaption.languages import Language, language
from recaption.shipped_translator import Shipped
from recaption.translating import Way
from recaption.translation_flags import Pair

APERTIUM, SHIPPED, SEQ2SEQ = "apertium", "shipped", "seq2seq"
CTRANSLATE, SERVED = "ctranslate2", "served"
_OWN = {  # what only some engines have a use for
    APERTIUM: (),
    SHIPPED: (),
    SEQ2SEQ: ("model", "revision", "precision"),
    CTRANSLATE: ("model", "precision"),
    SERVED: ("server", "json"),
}
_PARAMETERS = ("model", "revision", "precision", "server", "json")
_PRECISIONS = ("auto", "fp32", "bf16", "fp16")
_SENTENCES = "ar zh en fr de it ja ko nl pl pt es th tr ru"
_SENTENCE_LANGUAGES = frozenset(_SENTENCES.split())
GLOSSARY, ROUND_TRIP, DISSIMILAR = "glossary", "round_trip", "dissimilar"
Direction = tuple[Language, Language]
Jobs = dict[Direction, dict[str, None]]
Done = Mapping[Direction, Mapping[str, Translation | Exception]]


class Chosen(NamedTuple):
    """An engine with the parameters that decide about it."""

    engine: str
    model: str | None
    revision: str | None
    precision: str
    server: Server | None
    json: bool


class Batch(NamedTuple):
    """What was translated, what that became on the way back, and the names of what did it."""

    done: Done
    back: Done
    names: Mapping[Direction, str]


@dataclass(frozen=True)
class Translate:
    """The captions of `of`, a column of text or of captions, in each of the languages `to`.

    A caption keeps kind, box and flags of its source; `model` names engine and revision, origin
    is `translated`. Its language is its own if it says one, else `source`: a tag, or a column of
    tags such as `language`. One that is in a language of `to` is not translated into it.

    `engine` is `apertium` (pairs that Debian installs), `shipped` (en and pt, in a package),
    `seq2seq` (Marian, M2M100, NLLB, MADLAD-400: `model` is `local-dir:PATH` or a name of the hub
    with `revision`), `ctranslate2` (`model` is the folder of a converted one) or `served`
    (`server: {endpoints: [URL], model: NAME}`; `json: true` asks for JSON).

    `glossary` is a mapping, or the path of JSON or a table, of terms to words, by language or for
    all; one without words is kept. `sentences: false` gives texts to the engine whole.

    Flags: those of `translation_flags.CHECKS`; `cut` and `unknown_words` of engines; `glossary`
    and `placeholder`. `round_trip: true` translates back: `round_trip` where chrF with the source
    is below `round_trip_limit`. `similar: true` asks the embedded sentence encoder: `dissimilar`
    where the cosine is below `similar_limit`, in its fifteen languages. A model that rates
    translations is a text scorer with `text:` the column that this writes.
    """

    to: str | Sequence[str]
    of: str = "caption"
    source: str = "en"
    engine: str = APERTIUM
    model: str | None = None
    revision: str | None = None
    precision: str = "auto"
    server: Server | Mapping[str, Any] | None = None
    json: bool = False
    glossary: Any = None
    sentences: bool = True
    round_trip: bool = False
    round_trip_limit: float = 25.0
    similar: bool = False
    similar_limit: float = 0.5
    batch_size: int = 256

    version: ClassVar[int] = 1
    writes: ClassVar[pa.Schema] = captions.WRITES

    def __post_init__(self) -> None:
        said = (self.to,) if isinstance(self.to, str) else tuple(self.to)
        if not said:
            raise ValueError("to: name a language at least")
        object.__setattr__(self, "to", tuple(dict.fromkeys(language(tag).tag for tag in said)))
        if languages.is_language(self.source):
            object.__setattr__(self, "source", language(self.source).tag)
        object.__setattr__(self, "glossary", glossaries.glossary_of(self.glossary))
        if not 0 <= self.round_trip_limit <= 100 or not -1 <= self.similar_limit <= 1:
            raise ValueError("round_trip_limit must be from 0 to 100, similar_limit from -1 to 1")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.of == "caption" and self._source is not None and not self._pairs_of_languages():
            raise ValueError(
                f"to: all is in {self.source} already; say in `source` what language texts are in"
            )
        self._settle_engine()
        if self.engine in (APERTIUM, SHIPPED):  # whose pairs are known without a model
            self._check_pairs()

    def _settle_engine(self) -> None:
        if self.engine not in _OWN:
            raise ValueError(f"engine {self.engine!r}: known are {', '.join(_OWN)}")
        others = [name for name in _PARAMETERS if name not in _OWN[self.engine]]
        foreign.refuse(self, others, f"engine {self.engine!r}")
        needed = "server" if self.engine == SERVED else "model"
        if needed in _OWN[self.engine] and getattr(self, needed) is None:
            raise ValueError(f"engine {self.engine!r} needs `{needed}`")
        if self.engine == SERVED:
            assert self.server is not None
            object.__setattr__(self, "server", judging.server_of(self.server))
        if self.engine == SEQ2SEQ:
            if self.precision not in _PRECISIONS:
                raise ValueError(
                    f"precision {self.precision!r}: known are {', '.join(_PRECISIONS)}"
                )
            if self.precision == "auto":  # settled here: a worker may have another device
                on_cuda = clip_weights.best_device() == "cuda"
                object.__setattr__(self, "precision", "bf16" if on_cuda else "fp32")
        assert self._way

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.of,) if self._source is not None else (self.of, self.source)

    @property
    def needs(self) -> dict[str, str]:
        """What columns must hold: where all is in one language, captions that may say another."""
        is_same = self._source is not None and not self._pairs_of_languages()
        return {"of": "captions" if is_same else "text", "source": "text"}

    @property
    def may_lack(self) -> tuple[str, ...]:
        """Columns that may be NULL: a caption may say its language itself."""
        return () if self._source is not None else (self.source,)

    @property
    def device(self) -> str:
        on_model = self.engine in (SEQ2SEQ, CTRANSLATE)
        return clip_weights.best_device() if on_model else "cpu"

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values but the weights."""
        limits: dict[str, Any] = {"checks": translation_flags.VERSION}
        if self.round_trip:
            limits["round_trip"] = self.round_trip_limit
        if self.similar:
            limits["similar"] = [self.similar_limit, embedded.weights_digest()]
        return {
            **limits,
            "to": list(self.to),
            "of": self.of,
            "source": self.source,
            "engine": self.engine,
            "precision": self.precision,
            "json": self.json,
            "glossary": [[term, list(map(list, words))] for term, words in self.glossary],
            "sentences": sentences.VERSION if self.sentences else None,
            "ways": translating.VERSION,
        }

    @property
    def weights_digest(self) -> str:
        """A digest of all that the engine has for these pairs; for a server, of what is asked."""
        engine = self._way.engine
        told = sorted({engine.digest(one, other) for one, other in self._pairs()})
        return hashlib.sha256("\n".join(told).encode()).hexdigest()

    def keep_in(self, folder: str) -> None:
        """Keep there what was paid for, with money or with time."""
        served.keep_in(folder)
        translating.keep_in(folder)

    def prepare(self) -> None:
        """Load models. Raises ValueError for what is missing, and for pairs that it lacks."""
        self._check_pairs()
        load = getattr(self._way.engine, "prepare", None)
        for one, other in self._pairs():
            if load is not None and self._way.engine.supports(one, other):
                load(one, other)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = [captions.texts(value) for value in batch[self.of]]
        said = batch[self.source] if self._source is None else [self.source] * len(rows)
        given = [[self._given(c, own) for c in row] for row, own in zip(rows, said, strict=True)]
        done = self._translated(given)
        back = self._translated_back(done) if self.round_trip else {}
        engine = self._way.engine
        names = {pair: engine.name(*pair) for pair in done if engine.supports(*pair)}
        batch_done = Batch(done, back, names)
        return {captions.COLUMN: [self._row(row, batch_done) for row in given]}

    def _given(self, caption: Row, own: str | None) -> tuple[Row, Language | ValueError]:
        """A caption with its language, or why that is not known."""
        said = caption["language"] or own
        if not isinstance(said, str):
            return caption, ValueError("the caption's language is not known")
        try:
            return caption, language(said)
        except ValueError as error:
            return caption, error.with_traceback(None)

    def _translated(self, given: Sequence[Sequence[tuple[Row, Language | ValueError]]]) -> Done:
        jobs: Jobs = {}
        for caption, source in (one for row in given for one in row):
            for target in self._targets if isinstance(source, Language) else ():
                assert isinstance(source, Language)
                if not languages.is_same(source, target):
                    jobs.setdefault((source, target), {})[caption["text"] or ""] = None
        return self._run(jobs)

    def _translated_back(self, done: Done) -> Done:
        jobs: Jobs = {}
        for (source, target), found in done.items():
            texts = (t.text for t in found.values() if isinstance(t, Translation))
            jobs[target, source] = dict.fromkeys(texts)
        return self._run(jobs)

    def _run(self, jobs: Jobs) -> Done:
        found: dict[Direction, Mapping[str, Translation | Exception]] = {}
        for (source, target), texts in jobs.items():
            if self._way.engine.supports(source, target):
                found[source, target] = translating.translated(
                    self._way, list(texts), source, target
                )
            else:
                error = ValueError(self._lacks(source, target))
                found[source, target] = dict.fromkeys(texts, error)
        return found

    def _row(
        self, row: Sequence[tuple[Row, Language | ValueError]], batch: Batch
    ) -> list[Row] | Exception:
        """The translations of a row; the reason where there is none, or it may pass."""
        found: list[Row] = []
        errors: list[Exception] = []
        for caption, source in row:
            if not isinstance(source, Language):
                errors.append(source)
                continue
            for target in self._targets:
                if languages.is_same(source, target):
                    continue
                said = batch.done[source, target][caption["text"] or ""]
                if isinstance(said, Exception):
                    errors.append(said)
                else:
                    found.append(self._caption(caption, said, (source, target), batch))
        passing = [error for error in errors if getattr(error, "retriable", False)]
        if passing or (errors and not found):
            return (passing or errors)[0]
        return found

    def _caption(self, caption: Row, said: Translation, pair: Direction, batch: Batch) -> Row:
        source, target = pair
        text = caption["text"] or ""
        flags = [*(caption["flags"] or ()), *said.flags]
        flags += translation_flags.flags(Pair(text, said.text, source, target))
        if translating.lost_terms(self._way, text, said.text, target):
            flags.append(GLOSSARY)
        if self.round_trip:
            again = batch.back[target, source].get(said.text)
            if not isinstance(again, Translation) or chrf(again.text, text) < self.round_trip_limit:
                flags.append(ROUND_TRIP)
        if self.similar and _is_dissimilar(text, said.text, pair, self.similar_limit):
            flags.append(DISSIMILAR)
        box = caption["box"]
        return Caption(
            said.text,
            target.tag,
            captions.TRANSLATED,
            caption["kind"] or "raw",
            None if box is None else (box[0], box[1], box[2], box[3]),
            batch.names[pair],
            served_translator.PROMPT.label if self.engine == SERVED else None,
            said.tokens,
            tuple(flags),
        ).row

    @cached_property
    def _targets(self) -> tuple[Language, ...]:
        return tuple(language(tag) for tag in self.to)

    @cached_property
    def _source(self) -> Language | None:
        """The language of all captions; None where a column says it."""
        return language(self.source) if languages.is_language(self.source) else None

    @property
    def _way(self) -> Way:
        is_served = self.engine == SERVED
        is_kept = self.engine not in (APERTIUM, SERVED)  # a server's are kept by its client
        return Way(self._engine, self.glossary, self.sentences, is_kept, is_served)

    @property
    def _engine(self) -> Engine:
        server = self.server if isinstance(self.server, Server) else None
        engine, model = self.engine, self.model
        chosen = Chosen(engine, model, self.revision, self.precision, server, self.json)
        return _engine_of(chosen, self.glossary if engine == SERVED else ())

    def _pairs(self) -> list[Direction]:
        """The pairs that are asked for; where a column says the source, those that there are."""
        if self._source is not None:
            return self._pairs_of_languages()
        if self.engine in (APERTIUM, SHIPPED):
            supports = self._way.engine.supports
            return [(s, t) for s in languages.known() for t in self._targets if supports(s, t)]
        return [(language("en"), target) for target in self._targets]

    def _pairs_of_languages(self) -> list[Direction]:
        source = self._source
        return [(source, t) for t in self._targets if source and not _same(source, t)]

    def _check_pairs(self) -> None:
        if self._source is None:
            found = {target.tag for _, target in self._pairs()}
            lacking = [tag for tag in self.to if tag not in found]
            if lacking:
                raise ValueError(f"{self.engine} has no pair into {', '.join(lacking)}")
            return
        for source, target in self._pairs():
            ways = [(source, target), *([(target, source)] if self.round_trip else [])]
            for one, other in ways:
                if not self._way.engine.supports(one, other):
                    raise ValueError(self._lacks(one, other))

    def _lacks(self, source: Language, target: Language) -> str:
        has = self._way.engine.pairs()
        return f"{self.engine} has no {source.tag} to {target.tag}; it has {has}"


@lru_cache(maxsize=64)
def _engine_of(chosen: Chosen, glossary: Glossary) -> Engine:
    """One per process for equal parameters: programs and models live on."""
    if chosen.engine == APERTIUM:
        return Apertium()
    if chosen.engine == SHIPPED:
        return Shipped()
    if chosen.engine == SERVED:
        assert chosen.server is not None
        return served_translator.ServedTranslator(chosen.server, glossary, chosen.json)
    assert chosen.model is not None
    if chosen.engine == CTRANSLATE:
        return ctranslate.CTranslate.of(chosen.model, chosen.precision)
    return seq2seq.Seq2Seq.of(chosen.model, chosen.revision, chosen.precision)


def _same(one: Language, other: Language) -> bool:
    return languages.is_same(one, other)


def _is_dissimilar(text: str, said: str, pair: Direction, limit: float) -> bool:
    """Whether two texts lie apart to the sentence encoder, if it knows both languages."""
    if any(one.base not in _SENTENCE_LANGUAGES for one in pair):
        return False
    one, other = embedded.sentence_features([text, said])
    return float(np.dot(one, other)) < limit
