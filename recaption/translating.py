"""How texts go through an engine: by sentence, each once, with terms hidden, dear ones kept.

An engine's answer is looked for in the requests of the build first, where those of model servers
are, so that an interrupted run pays for no translation twice.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from filters.served import Answer
from filters.served_cache import FILE, Store
from recaption import glossaries, sentences
from recaption.engines import Engine, Translation
from recaption.glossaries import Glossary
from recaption.languages import Language

VERSION = 2  # what has no letter is not translated
_KEPT = 1  # of keys in the store: what engines are asked
PLACEHOLDER = "placeholder"
"""The flag of a translation whose engine lost a term's stand-in: it is of the open text."""
Found = Translation | Exception


@dataclass(frozen=True)
class Way:
    """An engine and how it is used; `is_kept` for one whose answers are worth keeping."""

    engine: Engine
    glossary: Glossary
    by_sentence: bool
    is_kept: bool
    knows_terms: bool

    def prepare(self, source: Language, target: Language) -> None:
        """Load what the engine has for a pair, if it is one that loads anything."""
        load = getattr(self.engine, "prepare", None)
        if load is not None and self.engine.supports(source, target):
            load(source, target)


def keep_in(folder: str) -> None:
    """Keep answers there from now on, in this process."""
    _Kept.path = os.path.join(folder, FILE)


class _Kept:
    """Where answers are kept: one place for a process, as its scorers share one build."""

    path: str | None = None


def translated(
    way: Way, texts: Sequence[str], source: Language, target: Language
) -> dict[str, Found]:
    """What becomes of each text, or the reason why nothing does. Equal texts are one.

    A text or a sentence without a letter is its own translation, but for terms of the glossary.
    """
    parts = {text: _parts(way, text, source) for text in texts}
    wanted = list(dict.fromkeys(part for found in parts.values() for part in found))
    known: dict[str, Found] = {p: _own(way, p, target) for p in wanted if not _has_letters(p)}
    known |= _by_part(way, [p for p in wanted if p not in known], source, target)
    between = " " if target.has_words else ""
    return {
        text: _joined([known[part] for part in found], between) for text, found in parts.items()
    }


def asked(way: Way, texts: Sequence[str], source: Language) -> list[str]:
    """What an engine without a memory is asked about these texts: each sentence with letters once.

    Of a way that hides terms it is the open text.
    """
    parts = (part for text in texts for part in _parts(way, text, source))
    return [part for part in dict.fromkeys(parts) if _has_letters(part)]


def _parts(way: Way, text: str, source: Language) -> list[str]:
    if not way.by_sentence or not _has_letters(text):
        return [text]
    return sentences.split(text, source.tag) or [text]


def _has_letters(text: str) -> bool:
    return any(map(str.isalpha, text))


def _own(way: Way, text: str, target: Language) -> Translation:
    hidden = glossaries.hide(way.glossary, text, target)
    return Translation(glossaries.show(*hidden) or text)


def _by_part(
    way: Way, parts: Sequence[str], source: Language, target: Language
) -> dict[str, Found]:
    if not way.glossary or way.knows_terms:
        return dict(zip(parts, _answers(way, parts, source, target), strict=True))
    hidden = {part: glossaries.hide(way.glossary, part, target) for part in parts}
    answers = _answers(way, [hidden[part].text for part in parts], source, target)
    found: dict[str, Found] = {}
    lost = []
    for part, answer in zip(parts, answers, strict=True):
        found[part] = answer
        if isinstance(answer, Translation) and hidden[part].wanted:
            shown = glossaries.show(answer.text, hidden[part].wanted)
            if shown is None:
                lost.append(part)
            else:
                found[part] = answer._replace(text=shown)
    for part, answer in zip(lost, _answers(way, lost, source, target), strict=True):
        if isinstance(answer, Translation):
            answer = answer._replace(flags=(*answer.flags, PLACEHOLDER))
        found[part] = answer
    return found


def _answers(way: Way, texts: Sequence[str], source: Language, target: Language) -> list[Found]:
    unique = list(dict.fromkeys(texts))
    keys = dict.fromkeys(unique, b"")
    found: dict[str, Found] = {}
    store = _store(os.getpid(), _Kept.path) if way.is_kept and _Kept.path else None
    if store is not None:
        digest = way.engine.digest(source, target)
        keys = {text: _key(digest, source, target, text) for text in unique}
        recalled = store.recall(list(keys.values()))
        found = {t: _recalled(recalled[key]) for t, key in keys.items() if key in recalled}
    rest = [text for text in unique if text not in found]
    if rest:
        new = way.engine.translate(rest, source, target)
        found |= dict(zip(rest, new, strict=True))
        if store is not None:
            name = way.engine.name(source, target)
            for text, answer in zip(rest, new, strict=True):
                if isinstance(answer, Translation):
                    store.keep(keys[text], name, _kept(answer))
    return [found[text] for text in texts]


@lru_cache(maxsize=4)
def _store(_pid: int, path: str) -> Store:
    """Of this process: a connection must not be carried over a fork."""
    return Store(path)


def _key(digest: str, source: Language, target: Language, text: str) -> bytes:
    parts = ["translation", _KEPT, digest, source.tag, target.tag, text]
    return hashlib.sha256(json.dumps(parts).encode()).digest()


def _kept(answer: Translation) -> Answer:
    data = {"flags": list(answer.flags), "tokens": answer.tokens}
    return Answer(answer.text, "stop", 0, answer.tokens or 0, data=data)


def _recalled(answer: Answer) -> Translation:
    return Translation(answer.text, tuple(answer.data["flags"]), answer.data["tokens"])


def _joined(parts: Sequence[Found], between: str) -> Found:
    """One text of its sentences; one that failed fails them all."""
    error = next((part for part in parts if isinstance(part, Exception)), None)
    if error is not None:
        return error
    done = [part for part in parts if isinstance(part, Translation)]
    tokens = [part.tokens for part in done if part.tokens is not None]
    flags = {flag for part in done for flag in part.flags}
    text = between.join(part.text for part in done if part.text)
    return Translation(text, tuple(sorted(flags)), sum(tokens) if tokens else None)


def lost_terms(way: Way, source: str, target: str, language: Language) -> bool:
    """Whether a term of the glossary has not become what it must."""
    wanted: Mapping[str, str] = glossaries.found_in(way.glossary, source, language)
    there = target.casefold()
    return any(words.casefold() not in there for words in wanted.values())
