"""Words by which a caption is altered, and among which one is likely: a list that ships with us.

Alterations know English words alone; content words are told in any language that parts its words
by spaces (elsewhere a run of letters counts as one).
"""

import functools
import hashlib
import re
import unicodedata
from itertools import groupby
from pathlib import Path

_FILE = Path(__file__).with_name("vocabulary.txt")
LENGTH = 2000
"""Characters of a caption that are looked at."""
_SORTS = ("things", "properties", "relations", "numbers")
_WITHIN = "'’-"  # signs that may stand within a word
_IDEOGRAPHS = "\u2e80"  # and signs after it: one may be a word
_ARTICLE = re.compile(r"\b(a)n?( )$", re.IGNORECASE)


def altered(caption: str, most: int) -> list[str]:
    """Copies of a caption, each with one word swapped for another of its sort; at most `most`.

    Which ones depends on the caption alone: of more they are spread evenly over all, in the
    order of their places. Without a known word there are none.
    """
    text = caption[:LENGTH]
    found = [
        _replaced(text, match, other)
        for match in _known_words().finditer(text)
        for other in _others()[match[0].lower()]
    ]
    if len(found) <= most:
        return found
    return [found[place * len(found) // most] for place in range(most)]


def content_words(caption: str, most: int) -> list[str]:
    """The first `most` words in small letters that say something by themselves, each once."""
    text = unicodedata.normalize("NFC", caption[:LENGTH]).lower()
    runs = ("".join(run) for is_word, run in groupby(text, _is_of_word) if is_word)
    words = (run.strip(_WITHIN) for run in runs)
    return list(dict.fromkeys(word for word in words if _says_something(word)))[:most]


@functools.cache
def things_and_properties() -> tuple[str, ...]:
    """The words, in singular, that stand for all a picture may show; sorted."""
    return tuple(sorted({word for name in _SORTS[:2] for line in _lines(name) for word, _ in line}))


@functools.cache
def digest() -> str:
    """The digest of the list, on which every answer depends."""
    return hashlib.sha256(_FILE.read_bytes()).hexdigest()


def _says_something(word: str) -> bool:
    is_letter = len(word) < 2 and word < _IDEOGRAPHS
    return not is_letter and word not in _small_words()


def _is_of_word(sign: str) -> bool:
    return sign in _WITHIN or unicodedata.category(sign)[0] in "LM"


@functools.cache
def lines(name: str) -> tuple[tuple[str, ...], ...]:
    """The lines of a part of the file, each entry as it stands there: a word, maybe its plural."""
    return tuple(
        tuple(entry.replace("_", " ") for entry in line.split())
        for line in _part(name).splitlines()
        if line
    )


def _lines(name: str) -> list[list[tuple[str, str]]]:
    """The lines of a part of the file, each word with its plural."""
    return [[forms(entry) for entry in line] for line in lines(name)]


def _part(name: str) -> str:
    _, _, after = _FILE.read_text(encoding="utf-8").partition(f"[{name}]\n")
    return after.partition("\n[")[0]


def forms(entry: str) -> tuple[str, str]:
    """Singular and plural of an entry."""
    word, _, plural = entry.partition("/")
    if plural:
        return word, plural
    if re.search(r"[^aeiou]y$", word):
        return word, word[:-1] + "ies"
    return word, word + ("es" if word.endswith(("s", "x", "ch", "sh")) else "s")


@functools.cache
def _small_words() -> frozenset[str]:
    return frozenset(_part("small words").split())


@functools.cache
def _others() -> dict[str, tuple[str, ...]]:
    """For every known word those that can take its place, things also in plural."""
    found: dict[str, tuple[str, ...]] = {}
    for name in _SORTS:
        for line in _lines(name):
            for form in range(2 if name == "things" else 1):
                for both in line:
                    others = [other[form] for other in line if other != both]
                    found.setdefault(both[form], tuple(others))
    return found


@functools.cache
def _known_words() -> re.Pattern[str]:
    """Matches every known word; a longer one hides those within it."""
    longest = sorted(_others(), key=lambda word: (-len(word), word))
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest))})(?![\w-])", re.IGNORECASE)


def _replaced(text: str, match: re.Match[str], word: str) -> str:
    """The text with another word: its capitals stay as they were, and `a` becomes `an`."""
    old = match[0]
    if old.isupper() and len(old) > 1:
        word = word.upper()
    elif old[0].isupper():
        word = word[0].upper() + word[1:]
    article = "n" if word[0].lower() in "aeiou" else ""
    before = _ARTICLE.sub(lambda m: m[1] + article + m[2], text[: match.start()])
    return before + word + text[match.end() :]
