"""What can be wrong with a translation, told from the two texts alone: words, never a verdict.

Rules of thumb: each is silent where it can't tell, and none sees a wrong sense. How often they
speak of good translations is measured in `benchmarks/translation.py`.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from filters.language import Language as Identify
from recaption import languages, translation_codes, translation_words
from recaption.glossaries import HIDDEN
from recaption.languages import Language

VERSION = 2  # `lost`
_DENSITY = {"zh": 0.4, "yue": 0.4, "ja": 0.5, "ko": 0.55, "th": 0.9}
"""Characters for one of English, about; 1 for all others."""
_FEWEST, _MOST, _SHORT = 0.33, 3.0, 6
_WORDS_TO_IDENTIFY, _SIGNS_TO_IDENTIFY = 4, 10
_ALIKE = (
    {"nb", "nn", "no", "da", "sv"},
    {"hr", "bs", "sr"},
    {"id", "ms"},
    {"cs", "sk"},
    {"gl", "pt", "es", "ast", "an", "ca", "oc"},
    {"ru", "uk", "be", "bg", "mk"},
)
"""Languages that short texts in each other are taken for: no flag."""
_TIMES, _LONGEST_RUN = 4, 4
_LONG, _DISTINCT = 20, 0.3
_DIGITS = re.compile(r"\d+(?:[.,'\u00a0\u202f]\d+)*")
_NO_CENTS = re.compile(r"[.,]00?$")
_NUMERALS = "一二三四五六七八九十百千万"
_SMALL = frozenset(map(str, range(2, 13)))
_EMOJI = re.compile(
    r"[\u2600-\u27bf\u2b1b\u2b1c\u2b50\u2b55\U0001f000-\U0001f3fa\U0001f400-\U0001faff]"
)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_NO_NAMES = """
monday tuesday wednesday thursday friday saturday sunday january february march april may june
july august september october november december christmas easter french dutch greek german swiss
i english england germany spain united states kingdom usa uk america europe world war day sun moon
earth god santa claus internet
"""
_NOT_NAMES = frozenset(_NO_NAMES.split())
_ADJECTIVE = re.compile(r"(?:ish|ese|ian|ean|can|ans|mas)$", re.IGNORECASE)
_SENTENCE = tuple('.!?:;–—"“”(')
_SHARED = 4
_MOST_CAPITALS = 0.5


class Pair(NamedTuple):
    """A text and what it became, with the languages of both."""

    source: str
    target: str
    source_language: Language
    target_language: Language


def flags(pair: Pair) -> list[str]:
    """The names of what seems wrong, in the order of `CHECKS`. An empty translation is `empty`."""
    if not pair.target.strip():
        return ["empty"]
    return [name for name, is_wrong in CHECKS.items() if is_wrong(pair)]


def is_copy(pair: Pair) -> bool:
    """Whether nothing was translated, though there is more than a name or a word."""
    one, other = (" ".join(text.casefold().split()) for text in (pair.source, pair.target))
    if one.rstrip(".!?") != other.rstrip(".!?"):
        return False
    found = _WORD.findall(pair.source)
    return sum(not word[0].isupper() or not place for place, word in enumerate(found)) >= 2


def is_of_wrong_language(pair: Pair) -> bool:
    """Whether the language is another one for sure; of few words nothing is said."""
    wanted = pair.target_language
    length = len(_WORD.findall(pair.target))
    if wanted.has_words and length < _WORDS_TO_IDENTIFY:
        return False
    if len(pair.target) < _SIGNS_TO_IDENTIFY:
        return False
    found = _identify(pair.target)
    if found is None or found == wanted.base:
        return False
    if pair.source_language.base != found and any(
        {found, wanted.base} <= group for group in _ALIKE
    ):
        return False
    return wanted.base in _identified()


def is_of_wrong_script(pair: Pair) -> bool:
    """Whether most letters are of another script, or Chinese characters of the other one."""
    wanted = pair.target_language.script
    share = languages.script_share(pair.target, wanted)
    if share is None:
        return False
    if share < 0.5:
        return True
    found = languages.chinese_script(pair.target) if wanted in ("Hans", "Hant") else None
    return found is not None and found != wanted


def is_of_wrong_length(pair: Pair) -> bool:
    """Whether there is far more or less of it than of the source, by signs and languages."""
    return not _FEWEST <= length_ratio(pair) <= _MOST


def length_ratio(pair: Pair) -> float:
    """How long the translation is beside the source, by signs, in those of English; 1 is as long.

    Six signs are added to both, so that short labels differ less.
    """
    one = len(pair.source.strip()) / _DENSITY.get(pair.source_language.base, 1)
    other = len(pair.target.strip()) / _DENSITY.get(pair.target_language.base, 1)
    return (other + _SHORT) / (one + _SHORT)


def has_other_numbers(pair: Pair) -> bool:
    """Whether a number of the source is lost, or there is one in digits that it has not.

    Words from two to twelve count in some languages, and in Chinese the signs of numbers. In
    others a word of the source is not asked for, and digits must stay digits. How often a number
    is said does not count.
    """
    here, there = _digits(pair.source), _digits(pair.target)
    words = translation_words.numbers(pair.target_language.base)
    safe = translation_words.safe_numbers(pair.source_language.base)
    in_words = {str(safe[word]) for word in _words(pair.source) if word in safe}
    spoken = _said(pair.source, pair.source_language)
    if there - here - in_words - spoken - {"1"}:  # "a" becomes 1 here and there
        return True
    told = there | _said(pair.target, pair.target_language)
    lost = (here if words is None else here | in_words) - told
    if any(sign in pair.target for sign in _NUMERALS) and not pair.target_language.has_words:
        lost = {value for value in lost if value in _SMALL}  # those that have a sign of their own
    return bool(lost)


def has_lost_negation(pair: Pair) -> bool:
    """Whether the source negates and the translation has no word that does."""
    there = translation_words.negations(pair.target_language.base)
    here = translation_words.safe_negations(pair.source_language.base)
    if not there or not here or not _has_any(pair.source, here, pair.source_language):
        return False
    return not _has_any(pair.target, there, pair.target_language)


def has_lost_names(pair: Pair) -> bool:
    """Whether a capitalised name is lost; in Latin script alone, and not of German nouns."""
    both = (pair.source_language, pair.target_language)
    if any(language.script != "Latn" for language in both) or both[0].base == "de":
        return False
    names = {_plain(name) for name in _names(pair.source)}
    there = {_plain(word) for word in _WORD.findall(pair.target)}
    parts = {part for word in there for part in _parts(word)}
    return any(name not in there and parts.isdisjoint(_parts(name)) for name in names)


def has_loop(pair: Pair) -> bool:
    """Whether a run of one to four words comes more than four times in a row, or little else."""
    return _loops(pair.target, pair.target_language) and not _loops(
        pair.source, pair.source_language
    )


def has_leftover(pair: Pair) -> bool:
    """Whether a token for a language, or what stood for a term, is left in it."""
    is_left = translation_codes.leftover(pair.target) or HIDDEN.search(pair.target) is not None
    was_there = translation_codes.leftover(pair.source) or HIDDEN.search(pair.source) is not None
    return is_left and not was_there


def has_lost_signs(pair: Pair) -> bool:
    """Whether an emoji is lost, or a letter of a script that neither language is written in."""
    scripts = (pair.source_language.script, pair.target_language.script)
    letters = languages.foreign_letters(pair.source, scripts)
    lost = letters - languages.foreign_letters(pair.target, scripts)
    return bool(lost) or not set(_EMOJI.findall(pair.source)) <= set(_EMOJI.findall(pair.target))


def is_trailing_off(pair: Pair) -> bool:
    """Whether it ends in dots where the source does not."""
    ends = ("…", "...", "……")
    return pair.target.rstrip().endswith(ends) and not pair.source.rstrip().endswith(ends)


CHECKS: dict[str, Callable[[Pair], bool]] = {
    "copy": is_copy,
    "wrong_language": is_of_wrong_language,
    "wrong_script": is_of_wrong_script,
    "length_ratio": is_of_wrong_length,
    "numbers": has_other_numbers,
    "negation": has_lost_negation,
    "names": has_lost_names,
    "loop": has_loop,
    "leftover_token": has_leftover,
    "cut": is_trailing_off,
    "lost": has_lost_signs,
}
"""What is looked at, as each function says; more flags come from engines, glossaries and other
models."""


@cache
def _identifier() -> Identify:
    return Identify(text="text", model="eldc")


@cache
def _identified() -> frozenset[str]:
    import importlib

    return frozenset(importlib.import_module("eldc").LANGUAGES)


def _identify(text: str) -> str | None:
    found: Any = _identifier()({"text": [text]})["language"][0]
    return None if found is None else languages.language(found).base


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]


def _digits(text: str) -> set[str]:
    """Numbers in digits of any script, without what parts their groups; 1.00 is 1, .10 is 0.10."""
    found = set()
    for match in _DIGITS.finditer(text):
        whole = _NO_CENTS.sub("", match[0])
        plain = "".join(str(unicodedata.digit(sign)) for sign in whole if sign.isdigit())
        found.add(plain.lstrip("0") or "0")
    return found


def _said(text: str, language: Language) -> set[str]:
    """Numbers in words, if those of the language are known."""
    words = translation_words.numbers(language.base) or {}
    if language.has_words:
        return {str(words[word]) for word in _words(text) if word in words}
    return {str(value) for sign, value in words.items() if sign in text}


def _has_any(text: str, wanted: frozenset[str], language: Language) -> bool:
    if not language.has_words:
        return any(sign in text for sign in wanted)
    plain = text.casefold().replace("’", "'")
    found = set(re.findall(r"[^\W\d_]+", plain))
    clipped = {word for word in wanted if "'" in word}
    return bool(found & wanted) or any(word in plain for word in clipped)


def _names(text: str) -> list[str]:
    found = list(_WORD.finditer(text))
    if not found or sum(m[0][0].isupper() for m in found) > max(1, _MOST_CAPITALS * len(found)):
        return []  # a title, or a text in capitals
    gaps = [text[a:b] for a, b in pairwise([0, *(place for m in found for place in m.span())])]
    return [
        m[0].removesuffix("'s").removesuffix("’s")
        for m, gap in zip(found, gaps[::2], strict=True)
        if m[0][0].isupper() and m.start() and not gap.rstrip().endswith(_SENTENCE)
        if m[0].casefold() not in _NOT_NAMES and not _ADJECTIVE.search(m[0]) and len(m[0]) > 1
    ]


def _plain(word: str) -> str:
    parts = unicodedata.normalize("NFKD", word.casefold())
    return "".join(sign for sign in parts if not unicodedata.combining(sign))


def _parts(word: str) -> set[str]:
    """All four signs in a row of a word: Londres and London share some."""
    return {word[n : n + _SHARED] for n in range(len(word) - _SHARED + 1)}


def _loops(text: str, language: Language) -> bool:
    tokens = text.casefold().split() if language.has_words else list("".join(text.split()))
    for n in range(1, _LONGEST_RUN + 1):
        times = 1
        for place in range(n, len(tokens) - n + 1):
            is_again = tokens[place - n : place] == tokens[place : place + n]
            times = times + 1 if is_again else 1
            if times > n * (_TIMES - 1) + 1:
                return True
    grams = [tuple(tokens[k : k + _LONGEST_RUN]) for k in range(len(tokens) - _LONGEST_RUN + 1)]
    return len(grams) >= _LONG and len(set(grams)) / len(grams) < _DISTINCT
