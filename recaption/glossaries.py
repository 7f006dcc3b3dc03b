"""A glossary: terms that a translation keeps, or has given words for.

Terms are hidden from an engine behind words that no language has, and put back afterwards. Terms
are whole words, of any case; of two that overlap the longer one counts.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from recaption.languages import Language, language

Glossary = tuple[tuple[str, tuple[tuple[str, str | None], ...]], ...]
"""Terms with their words by language; the language "" is any, no words is the term itself."""
HIDDEN = re.compile(r"QX([A-Z])Q", re.IGNORECASE)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Hidden(NamedTuple):
    """A text with terms hidden, and what stands for each, in order."""

    text: str
    wanted: tuple[str, ...]


def glossary_of(given: Any) -> Glossary:
    """What a recipe says: a mapping, a file of JSON or of tab-separated lines, or nothing.

    A mapping is from a term to its words, to nothing (it is kept) or to words by language. A table
    has `term` and tags of languages in its first line. Raises ValueError for all else.
    """
    if not given:
        return ()
    if isinstance(given, str):
        given = _file(given)
    if _is_settled(given):
        return tuple(given)
    if not isinstance(given, Mapping):
        raise ValueError(f"glossary must be a mapping or the path of a file, got {given!r}")
    known: set[str] = set()
    for term in map(str, given):
        if term.casefold() in known:
            raise ValueError(f"glossary: the term {term!r} is there twice")
        known.add(term.casefold())
    return tuple((str(term), _words(str(term), given[term])) for term in sorted(given, key=str))


def _is_settled(given: Any) -> bool:
    """Whether it is what `glossary_of` returned before, not a list out of a recipe."""
    return isinstance(given, tuple) and all(
        isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], tuple)
        for entry in given
    )


def _words(term: str, said: Any) -> tuple[tuple[str, str | None], ...]:
    if not term.strip():
        raise ValueError("glossary: a term is empty")
    if said is None or isinstance(said, str):
        return (("", said or None),)
    if not isinstance(said, Mapping) or not all(
        v is None or isinstance(v, str) for v in said.values()
    ):
        raise ValueError(f"glossary: words for {term!r} must be text, by language or for all")
    return tuple(sorted((language(tag).tag, words or None) for tag, words in said.items()))


def _file(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
        if path.endswith(".json"):
            return json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"glossary {path}: can't be read: {error}") from error
    return _table(path, text)


def _table(path: str, text: str) -> dict[str, dict[str, str]]:
    cells = ([cell.strip() for cell in line.split("\t")] for line in text.splitlines())
    lines = [(number, line) for number, line in enumerate(cells, 1) if any(line)]
    first, heads = lines[0][1][:1] if lines else [], lines[0][1][1:] if lines else []
    if first != ["term"] or not heads or len(set(heads)) < len(heads):
        raise ValueError(f"glossary {path}: its first line must be `term` and tags of languages")
    table: dict[str, dict[str, str]] = {}
    known: set[str] = set()
    for number, (term, *words) in lines[1:]:
        if any(words[len(heads) :]):
            raise ValueError(f"glossary {path}:{number}: more cells than the first line has")
        if term.casefold() in known:
            raise ValueError(f"glossary {path}:{number}: the term {term!r} is there twice")
        known.add(term.casefold())
        table[term] = dict(zip(heads, words + [""] * len(heads), strict=False))
    return table


def found_in(glossary: Glossary, text: str, target: Language) -> dict[str, str]:
    """The terms in a text as they stand there, with what they must become."""
    wanted = _wanted(glossary, target)
    if not wanted:
        return {}
    pattern = _pattern(tuple(wanted))
    return {m[0]: wanted[m[0].casefold()] or m[0] for m in pattern.finditer(text)}


def hide(glossary: Glossary, text: str, target: Language) -> Hidden:
    """The text with its terms hidden; more than there are letters stay as they are."""
    wanted = _wanted(glossary, target)
    if not wanted:
        return Hidden(text, ())
    kept: list[str] = []

    def hidden(term: re.Match[str]) -> str:
        if len(kept) == len(_LETTERS):
            return term[0]
        kept.append(wanted[term[0].casefold()] or term[0])
        return f"QX{_LETTERS[len(kept) - 1]}Q"

    return Hidden(_pattern(tuple(wanted)).sub(hidden, text), tuple(kept))


def show(text: str, wanted: tuple[str, ...]) -> str | None:
    """The text with its terms; None when one is lost or doubled."""
    places = [_LETTERS.index(found[1].upper()) for found in HIDDEN.finditer(text)]
    if sorted(places) != list(range(len(wanted))):
        return None
    return HIDDEN.sub(lambda found: wanted[_LETTERS.index(found[1].upper())], text)


@lru_cache(maxsize=256)
def _wanted(glossary: Glossary, target: Language) -> dict[str, str | None]:
    """Words by term in small letters, those of the language itself before those of all."""
    found: dict[str, str | None] = {}
    for term, words in glossary:
        told = dict(words)
        for tag in (target.tag, target.base, ""):
            if tag in told:
                found[term.casefold()] = told[tag]
                break
    return found


@lru_cache(maxsize=256)
def _pattern(terms: tuple[str, ...]) -> re.Pattern[str]:
    longest = sorted(terms, key=lambda term: (-len(term), term))
    parts = [_bounded(term) for term in longest]
    return re.compile("|".join(parts), re.IGNORECASE)


def _bounded(term: str) -> str:
    """A whole word where words have bounds: in Latin, Cyrillic and the like."""
    is_word = all(ord(sign) < 0x2E80 for sign in term)
    return rf"(?<!\w){re.escape(term)}(?!\w)" if is_word else re.escape(term)
