"""Rude words of a caption, by lists: whole words and stems, never pieces inside other words.

A list does not know what is meant: "Moby Dick" and a "cock weathervane" have words of the mild
list, which is why it is off by default. The lists are short; a recipe may bring its own.
"""

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pyarrow as pa

from filters.caption import words as split_words

LONGEST = 100_000
"""Characters of a text that are looked at."""
MILD = "mild"
_FILE = Path(__file__).with_name("profanity.txt")
_COLUMNS: dict[str, pa.DataType] = {
    "profanities": pa.int32(),
    "profanity_share": pa.float32(),
    "profane_words": pa.list_(pa.string()),
}
# Scripts that put no spaces between words. Korean has spaces, but its endings are many.
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")
# Words of such scripts in which a listed one stands by chance.
_INNOCENT = ("パチンコ", "ぱちんこ", "カチンコ", "แม่งาน")
_WORD = re.compile(r"\w+(?:[\u0300-\u036f\u0900-\u0903\u093a-\u094f]+\w*)*")
_SIGNS = str.maketrans("@4310$5!7", "aaeiossit")  # what stands for letters in "$h1t"
_VEILED = re.compile(r"(?<![\w@$!*])[\w@$!*]*[@$!*0-9][\w@$!*]*(?![\w@$!*])")
_SPELLED = re.compile(r"(?<!\w)(?:[^\W\d_][.\-_ ]){2,15}[^\W\d_](?!\w)")


class Lists(NamedTuple):
    """Whole words, beginnings of words, words in a row, and pieces of scripts without spaces."""

    words: frozenset[str]
    stems: frozenset[str]
    phrases: tuple[str, ...]
    pieces: tuple[str, ...]


@dataclass(frozen=True)
class Profanity:
    """Rude words: how many, their share of all words, and which.

    `languages` are the lists used, by default all (en, de, es, fr, it, pt, nl, pl, ru, tr, sv, cs,
    ar, hi, zh, ja, ko, th), but then without words that are harmless in another language, such as
    French "bite" and Swedish "slut": name the languages of your captions and those count, too.
    `mild` adds words that often mean something else. `words` is the path of a list of your own,
    one word or phrase per line, a star for any ending, "#" for a remark; its content counts, not
    its place. `veiled` also reads "sh1t", "f*ck" and "f u c k". `profanity_share` is of the words
    as `caption_words` has them; NULL without words.
    """

    text: str = "caption"
    languages: tuple[str, ...] = ()
    mild: bool = False
    veiled: bool = False
    words: str | None = None

    version: ClassVar[int] = 2
    needs: ClassVar[dict[str, str]] = {"text": "text"}
    writes: ClassVar[pa.Schema] = pa.schema(_COLUMNS)

    def __post_init__(self) -> None:
        known = [name for name in _shipped() if name != MILD]
        if isinstance(self.languages, str) or not set(self.languages) <= set(known):
            raise ValueError(f"languages is a list of {', '.join(known)}; got {self.languages!r}")
        if self.words is not None and not Path(self.words).is_file():
            raise ValueError(f"words: there is no file {self.words!r}; give its whole path")

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.text,)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values: the words looked for, wherever they come from."""
        parts = [" ".join(sorted(part)) for part in self._lists]
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return {"text": self.text, "veiled": self.veiled, "words": digest}

    def prepare(self) -> None:
        """Read the lists. Raises ValueError when the user's own is no text."""
        self._lists  # noqa: B018

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = [self._measure(text[:LONGEST]) for text in batch[self.text]]
        return {name: [row[i] for row in rows] for i, name in enumerate(self.writes.names)}

    def _measure(self, text: str) -> tuple[int, float | None, list[str]]:
        found = find(text, self._lists, veiled=self.veiled)
        total = max(len(split_words(text)), len(found))
        return len(found), len(found) / total if total else None, found

    @property
    def _lists(self) -> Lists:
        stamp = None if self.words is None else os.stat(self.words).st_mtime_ns
        return _lists(tuple(self.languages), self.mild, self.words, stamp)


def find(text: str, lists: Lists, *, veiled: bool = False) -> list[str]:
    """The listed words of a text as it has them, in small letters and NFKC; repeated ones too."""
    plain = unicodedata.normalize("NFKC", text.encode("utf-8", "replace").decode()).casefold()
    found = [word for word in _WORD.findall(plain) if _is_listed(word, lists)]
    for phrase in lists.phrases:
        if phrase in plain:
            found += re.findall(rf"(?<!\w){re.escape(phrase)}(?!\w)", plain)
    if _UNSPACED.search(plain):
        cleared = plain
        for innocent in _INNOCENT:
            cleared = cleared.replace(innocent, " ")
        for piece in lists.pieces:
            found += [piece] * cleared.count(piece)
            cleared = cleared.replace(piece, " ")
    if veiled:
        found += _veiled(plain, lists)
    return found


def _is_listed(word: str, lists: Lists) -> bool:
    if word in lists.words:
        return True
    return any(word[:length] in lists.stems for length in range(2, min(len(word), 24) + 1))


def _veiled(plain: str, lists: Lists) -> list[str]:
    """Words with signs for letters, with stars, and with their letters apart."""
    found = []
    for match in _VEILED.finditer(plain):
        word = match[0]
        if _is_listed(word, lists) or not any(map(str.isalpha, word)):
            continue
        bare = word.strip("*")
        hidden = "*" in bare and _fits_star(bare, lists)
        if hidden or ("*" not in bare and _is_listed(bare.translate(_SIGNS), lists)):
            found.append(word)
    for match in _SPELLED.finditer(plain):
        letters = re.sub(r"\W|_", "", match[0])
        if letters in lists.words or letters in lists.stems:
            found.append(match[0])
    return found


def _fits_star(word: str, lists: Lists) -> bool:
    """Whether stars, at most half of it, hide the letters of a listed word of that length."""
    if word.count("*") * 2 > len(word) or word[0] == "*":
        return False
    pattern = re.compile(re.escape(word).replace(r"\*", "."))
    return any(
        len(listed) == len(word) and pattern.fullmatch(listed)
        for listed in lists.words | lists.stems
    )


@cache
def _shipped() -> dict[str, list[str]]:
    """The words of each list in the file, by its name."""
    found: dict[str, list[str]] = {}
    for part in _FILE.read_text(encoding="utf-8").split("\n[")[1:]:
        name, _, listed = part.partition("]\n")
        found[name] = listed.split()
    return found


@cache
def _lists(languages: tuple[str, ...], mild: bool, path: str | None, stamp: int | None) -> Lists:
    """The words looked for; `stamp` tells versions of the user's file apart."""
    shipped = _shipped()
    chosen = list(languages) or [name for name in shipped if name != MILD]
    listed = [word for name in [*chosen, *([MILD] if mild else [])] for word in shipped[name]]
    if not languages:
        listed = [word for word in listed if not word.startswith("~")]
    listed = [word.removeprefix("~") for word in listed]
    if path is not None:
        listed += _own(path)
    return sorted_out(listed)


def _own(path: str) -> list[str]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"words: {path} is no UTF-8 text: {error}") from error
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def sorted_out(listed: Iterable[str]) -> Lists:
    """Listed words by how they are looked for."""
    plain = {unicodedata.normalize("NFKC", word).casefold() for word in listed}
    pieces = {word.strip("*") for word in plain if _UNSPACED.search(word)}
    phrases = {word for word in plain if " " in word} - pieces
    plain = {word for word in plain if not (_UNSPACED.search(word) or " " in word)}
    stems = {word[:-1] for word in plain if word.endswith("*")}
    short = sorted(stem for stem in stems if not 2 <= len(stem) <= 24)
    if short:
        raise ValueError(f"words: {short[0]}* must have 2 to 24 letters before the star")
    whole = frozenset(plain - {f"{stem}*" for stem in stems})
    return Lists(whole, frozenset(stems), _longest_first(phrases), _longest_first(pieces))


def _longest_first(listed: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(listed, key=lambda text: (-len(text), text)))
