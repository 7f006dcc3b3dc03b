"""Names of persons in a text, by their form: a title, or a common given name, and what follows.

It knows Latin and Cyrillic script in usual capitals. Names that begin with a rare given name, or
with one that is a word too (Rose, Grace, Mark, Paris), are found only after a title; firms,
characters and places called after somebody are not persons here. Of 22 names in captions written
after the rules it found 18; of 20 captions Like This, made to mislead it, it took 7 for names.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

_WORD = re.compile(r"[^\W\d_]+(?:['’‐-][^\W\d_]+)*")
_FILE = Path(__file__).with_name("names.txt")
_LONGEST = 5  # words of a name
_MOST = 5000  # words of a text that are looked at
_SPACE = re.compile(r"\.?[ \u00a0]{1,2}")  # what may stand between the words of a name


def _section(name: str) -> list[str]:
    """The lines of a part of the word file, which begins with its name in brackets."""
    _, _, after = _FILE.read_text(encoding="utf-8").partition(f"[{name}]\n")
    return after.partition("\n[")[0].split("\n")


def digest() -> str:
    """The digest of the word file, on which every answer depends."""
    return hashlib.sha256(_FILE.read_bytes()).hexdigest()


def _words(name: str) -> frozenset[str]:
    return frozenset(word for line in _section(name) for word in line.split())


_TITLES = _words("titles")
_PLAIN_TITLES = _words("plain titles")  # also in small letters
_RANKS = _words("ranks")  # words of other uses, too: only before a given name that we know
_PARTICLES, _SUFFIXES = _words("particles"), _words("suffixes")
_PLACE_BEFORE, _PLACE_AFTER = _words("before places"), _words("after places")
_WORDS = _words("no surnames")  # what follows a given name in captions and is no surname
_NOT_PERSONS = frozenset(_section("no persons"))  # firms and characters, by their first two words
_GIVEN = _words("given names")  # hardly ever another word


class _Text:
    """The words of a text with their places; a class because rules look to both sides of a word."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.words = [m for _, m in zip(range(_MOST), _WORD.finditer(text), strict=False)]
        self.low = [_base(match[0]) for match in self.words]
        capitals = sum(match[0][0].isupper() for match in self.words)
        # Where Every Word Has A Capital a name ends with its second word, as most do.
        is_title_case = len(self.words) > 4 and capitals > 0.8 * len(self.words)
        self._most = 2 if is_title_case else _LONGEST

    def follows(self, i: int) -> bool:
        """Whether word i exists and only a space or a dot and a space parts it from the last."""
        if not 0 < i < len(self.words):
            return False
        gap = self.text[self.words[i - 1].end() : self.words[i].start()]
        return _SPACE.fullmatch(gap) is not None

    def is_capital(self, i: int) -> bool:
        return self.words[i][0][0].isupper()

    def name_end(self, i: int, *, is_titled: bool = False) -> int:
        """One past the last word of a name whose words begin at i; i, when there is none.

        After a title the first word may be any: Mr. Park, Mrs. Bridge.
        """
        end = j = i
        full = 0  # words that are more than an initial or a particle
        while j < len(self.words) and (j == i or self.follows(j)):
            low = self.low[j]
            if full >= self._most and low not in _SUFFIXES:
                break
            is_name = low not in _WORDS and low not in _PLACE_AFTER
            if self.is_capital(j) and (is_name or (is_titled and j == i)):
                end, full = j + 1, full + (len(low) > 1)
            elif low not in _PARTICLES:
                break
            if self._has_ended(j) or j - i > 2 * _LONGEST:
                break
            j += 1
        return end

    def _has_ended(self, j: int) -> bool:
        """Whether a sentence or a possessive ends with a word that is no initial."""
        after = self.text[self.words[j].end() : self.words[j].end() + 1]
        word = self.words[j][0]
        is_over = word.endswith(("'s", "’s")) or self.low[j] in _SUFFIXES
        return is_over or (after == "." and len(word) > 2)


def _base(word: str) -> str:
    low = word.casefold()
    return low[:-2] if low.endswith(("'s", "’s")) else low


def find_names(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each name, its title left out; in order, none overlaps another."""
    if not any(map(str.isupper, text)):
        return
    words, i = _Text(text), 0
    while i < len(words.words):
        first, end = _name_at(words, i)
        if end > first:
            stop = words.words[end - 1].end()
            if words.text[:stop].endswith(("'s", "’s")):
                stop -= 2
            yield words.words[first].start(), stop
        i = max(end, i + 1)


def _name_at(words: _Text, i: int) -> tuple[int, int]:
    """First word and one past the last of a name that starts, with its title, at i."""
    low = words.low[i]
    if low in _TITLES and words.follows(i + 1):
        return _after_title(words, i)
    if low in _RANKS and words.is_capital(i) and words.follows(i + 1):
        is_given = words.low[i + 1] in _GIVEN and words.is_capital(i + 1)
        end = words.name_end(i + 1)
        if is_given and not _is_place(words, end) and low != "saint":
            return i + 1, end
    if low.partition("-")[0] in _GIVEN and words.is_capital(i):
        return _after_given(words, i)
    return i, i


def _after_title(words: _Text, i: int) -> tuple[int, int]:
    first = i + 1
    while words.low[first] in _TITLES and words.follows(first + 1):  # Prof. Dr. Schmidt
        first += 1
    end = words.name_end(first, is_titled=True)
    is_named = end > first and any(len(words.low[j]) > 1 for j in range(first, end))
    pair = f"{words.low[i]} {words.low[first]}"
    # "don" and "pan" are words: a title in small letters counts only before a known given name.
    is_title = words.is_capital(i) or words.low[i] in _PLAIN_TITLES
    is_title = is_title or words.low[first] in _GIVEN
    if is_named and (pair in _NOT_PERSONS or _is_place(words, end)):
        return end, end  # and no part of it is a name
    return (first, end) if is_named and is_title else (i, i)


def _after_given(words: _Text, i: int) -> tuple[int, int]:
    end = words.name_end(i)
    surname = [j for j in range(i + 1, end) if len(words.low[j].strip(".")) > 1]
    if all(words.low[j] in _SUFFIXES for j in surname):
        return i, i
    before = words.low[i - 1] if words.follows(i) else ""
    pair = f"{words.low[i]} {words.low[i + 1]}"
    if before in _PLACE_BEFORE or pair in _NOT_PERSONS or _is_place(words, end):
        return end, end  # and no part of it is a name
    return i, end


def _is_place(words: _Text, end: int) -> bool:
    return words.follows(end) and words.is_capital(end) and words.low[end] in _PLACE_AFTER
