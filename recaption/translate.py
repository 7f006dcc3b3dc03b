"""Captions in other languages, beside the ones they were translated from.

Nothing is dropped: what seems wrong with a translation is in its flags. A pair of languages that
an engine lacks is refused before anything is translated.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from filters import clip_weights, embedded, estimates, judging, served
from filters.estimates import Estimate, Held
from filters.served import Server
from recaption import (
    captions,
    glossaries,
    languages,
    partly,
    sentences,
    served_translator,
    translating,
    translation_engines,
    translation_flags,
)
from recaption.captions import Caption, Row
from recaption.chrf import chrf
from recaption.engines import Engine, Translation
from recaption.languages import Language, language
from recaption.translating import Way
from recaption.translation_engines import APERTIUM, MODELS, SERVED, SHIPPED, Direction
from recaption.translation_flags import Pair
from recaption.translation_quality import SENTENCE_LANGUAGES

GLOSSARY, ROUND_TRIP, DISSIMILAR = "glossary", "round_trip", "dissimilar"
Jobs = dict[Direction, dict[str, None]]
Given = Sequence[tuple[Row, Language | ValueError]]
"""The captions of a row, each with its language, or why that is not known."""
Done = Mapping[Direction, Mapping[str, Translation | Exception]]


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
    is below `round_trip_limit`. A model of one direction needs another one for that: `back`, with
    `back_revision`. `similar: true` asks the embedded sentence encoder: `dissimilar` where the
    cosine is below `similar_limit`, in its fifteen languages. For the numbers themselves, models
    that rate translations, and limits by direction see `translation_quality`.

    Where one of several translations fails, the others stand, and the reason is the row's.
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
    back: str | None = None
    back_revision: str | None = None
    similar: bool = False
    similar_limit: float = 0.5
    batch_size: int = 256

    version: ClassVar[int] = 2  # a translation that fails beside others leaves its reason
    writes: ClassVar[pa.Schema] = captions.WRITES

    def __post_init__(self) -> None:
        said = (self.to,) if isinstance(self.to, str) else self.to
        if not isinstance(said, Sequence) or not said:
            raise ValueError(f"to: name a language at least, got {self.to!r}")
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
        translation_engines.settle(self)
        if self.back is not None and not self.round_trip:
            raise ValueError("back goes with `round_trip: true`")
        self._check_pairs(of_loaded=False)

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
    def at_once(self) -> int:
        """How many calls keep a server busy."""
        return judging.at_once(self)

    @property
    def device(self) -> str:
        return clip_weights.best_device() if self.engine in MODELS else "cpu"

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
        pairs = self._pairs()
        told = list(translation_engines.digests(self._way.engine, pairs))
        if self.back is not None:
            told += translation_engines.digests(self._way_back.engine, [p[::-1] for p in pairs])
        return hashlib.sha256("\n".join(told).encode()).hexdigest()

    def keep_in(self, folder: str) -> None:
        """Keep there what was paid for, with money or with time."""
        served.keep_in(folder)
        translating.keep_in(folder)

    def prepare(self) -> None:
        """Load models. Raises ValueError for what is missing, and for pairs that it lacks."""
        self._check_pairs(of_loaded=True)
        for source, target in self._pairs():
            self._way.prepare(source, target)
            if self.round_trip:
                self._way_back.prepare(target, source)

    def estimate_of(self, batch: dict[str, list[Any]]) -> Estimate:
        """What these rows would cost a server; each sentence counts once for each pair.

        The way back is taken to be as long as the way there. What is kept is not known here.
        """
        engine = self._way.engine
        if not isinstance(engine, served_translator.ServedTranslator):
            return estimates.NOTHING
        asked = [
            (part, *pair)
            for pair, texts in self._jobs(self._given_rows(batch)).items()
            for part in translating.asked(self._way, list(texts), pair[0])
        ]
        if self.round_trip:
            asked += [(part, target, source) for part, source, target in asked]
        return engine.cost(asked)

    def estimate_within(self, given: estimates.Given, sentence: int) -> Estimate | None:
        """The same of texts that are not there yet: each in all languages, also in its own.

        A sentence has at least so many tokens; None where nothing is known of the texts.
        """
        engine, held = self._way.engine, given.get(self.of)
        if not isinstance(engine, served_translator.ServedTranslator):
            return estimates.NOTHING
        if held is None:
            return None
        parts = estimates.sentences(held, sentence) if self.sentences else held[0]
        pairs = [(self._source or language("en"), target) for target in self._targets]
        pairs += [pair[::-1] for pair in pairs] if self.round_trip else []
        return engine.cost_within((parts, held[1]), pairs)

    def writes_at_most(self, rows: int, given: estimates.Given, sentence: int) -> Held | None:
        """Each text in each language, taken to be as long there."""
        held = given.get(self.of)
        return None if held is None else (len(self.to) * held[0], len(self.to) * held[1])

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        given = self._given_rows(batch)
        done = self._run(self._way, self._jobs(given))
        back = self._translated_back(done) if self.round_trip else {}
        engine = self._way.engine
        names = {pair: engine.name(*pair) for pair in done if engine.supports(*pair)}
        batch_done = Batch(done, back, names)
        return {captions.COLUMN: [self._row(row, batch_done) for row in given]}

    def _given_rows(self, batch: dict[str, list[Any]]) -> list[Given]:
        rows = [captions.texts(value) for value in batch[self.of]]
        said = batch[self.source] if self._source is None else [self.source] * len(rows)
        return [[self._given(c, own) for c in row] for row, own in zip(rows, said, strict=True)]

    def _given(self, caption: Row, own: str | None) -> tuple[Row, Language | ValueError]:
        """A caption with its language, or why that is not known."""
        said = caption["language"] or own
        if not isinstance(said, str):
            return caption, ValueError("the caption's language is not known")
        try:
            return caption, language(said)
        except ValueError as error:
            return caption, error.with_traceback(None)

    def _jobs(self, given: Sequence[Given]) -> Jobs:
        """The texts to translate by pair, each once."""
        jobs: Jobs = {}
        for caption, source in (one for row in given for one in row):
            for target in self._targets if isinstance(source, Language) else ():
                assert isinstance(source, Language)
                if not languages.is_same(source, target):
                    jobs.setdefault((source, target), {})[caption["text"] or ""] = None
        return jobs

    def _translated_back(self, done: Done) -> Done:
        jobs: Jobs = {}
        for (source, target), found in done.items():
            texts = (t.text for t in found.values() if isinstance(t, Translation))
            jobs[target, source] = dict.fromkeys(texts)
        return self._run(self._way_back, jobs)

    def _run(self, way: Way, jobs: Jobs) -> Done:
        found: dict[Direction, Mapping[str, Translation | Exception]] = {}
        for (source, target), texts in jobs.items():
            if way.engine.supports(source, target):
                found[source, target] = translating.translated(way, list(texts), source, target)
            else:
                told = translation_engines.lacks(self.engine, way.engine, source, target)
                found[source, target] = dict.fromkeys(texts, ValueError(told))
        return found

    def _row(self, row: Given, batch: Batch) -> list[Row] | Exception:
        """The translations of a row, and the reason where one or all of them failed."""
        found: list[Row] = []
        failed: list[tuple[str, Exception]] = []
        for caption, source in row:
            if not isinstance(source, Language):
                failed.append((caption["kind"] or "raw", source))
                continue
            for target in self._targets:
                if languages.is_same(source, target):
                    continue
                said = batch.done[source, target][caption["text"] or ""]
                if isinstance(said, Exception):
                    failed.append((target.tag, said))
                else:
                    found.append(self._caption(caption, said, (source, target), batch))
        return partly.settled(found, failed)

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
        return self._way_of(translation_engines.there(self, self.glossary))

    @property
    def _way_back(self) -> Way:
        return self._way_of(translation_engines.back(self, self.glossary))

    def _way_of(self, engine: Engine) -> Way:
        is_served = self.engine == SERVED
        is_kept = self.engine not in (APERTIUM, SERVED)  # a server's are kept by its client
        return Way(engine, self.glossary, self.sentences, is_kept, is_served)

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

    def _check_pairs(self, of_loaded: bool) -> None:
        """Raises ValueError for a pair that is lacking, as far as it is known before loading."""
        engine, back = self._way.engine, self._way_back.engine
        known = [of_loaded or translation_engines.is_known(one) for one in (engine, back)]
        if self._source is None:
            if known[0]:
                translation_engines.check_targets(self.engine, engine, self._targets)
            return
        if known[0]:
            translation_engines.check(self.engine, engine, self._pairs())
        if known[1] and self.round_trip:
            translation_engines.check_back(self, back, self._pairs())


def _same(one: Language, other: Language) -> bool:
    return languages.is_same(one, other)


def _is_dissimilar(text: str, said: str, pair: Direction, limit: float) -> bool:
    """Whether two texts lie apart to the sentence encoder, if it knows both languages."""
    if any(one.base not in SENTENCE_LANGUAGES for one in pair):
        return False
    one, other = embedded.sentence_features([text, said])
    return float(np.dot(one, other)) < limit
