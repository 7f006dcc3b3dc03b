"""Apertium, translation by rules: pairs that a system has installed, text by text.

A text's translation is a function of that text, though the tagger of some pairs has a flaw: a
word with an unforeseen set of readings changes how all later ones are read. It says so; then it is
begun anew, and such a word keeps one reading. Markup is text. Nothing is downloaded.
"""

import hashlib
import os
import re
import shlex
import shutil
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from filters import files
from recaption.engines import EngineFailed, Translation
from recaption.languages import Language
from recaption.null_flush import TIMEOUT_S, Command, Row

VERSION = 2  # a few unknown words, and names, are no flag
FOLDERS = ("/usr/share/apertium", "/usr/local/share/apertium")
INSTALL = "apt-get install apertium apertium-eng-spa"
UNKNOWN = "unknown_words"
"""The flag of a translation of which many words are left as they were: no dictionary has them.

More than a third of the words, names apart: a name is rightly left, and most translations with one
such word among many are as good as others (`benchmarks/translation.py`, part `unknown`).
"""
_CAPITAL_NOUNS = "de"  # where a capital letter tells no name
_MOST_UNKNOWN = 3  # words to each one that may be unknown
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_AT_ONCE = 512
_SPECIAL = re.compile(r"([\\\[\]{}^$/@<>])")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_END = re.compile(r"\.?\[\]\s*$")
_STOPS = (".", "!", "?", "…", "¿", "¡", ":", ";")
_MARKED = re.compile(r"(?<!\\)([*#@])(?=\w)")
_STARRED = re.compile(r"\*(?=\w)")
_UNIT = re.compile(r"\^((?:[^\\/$^]|\\.)*)((?:/(?:[^\\/$]|\\.)*){2,})\$", re.DOTALL)
_READING = re.compile(r"/((?:[^\\/$]|\\.)*)", re.DOTALL)
_NEW_CLASS = re.compile(r"new ambiguity class was found.*?^Word '(.*?)'\.$", re.S | re.M)


class Pair(NamedTuple):
    """An installed direction: the programs before the tagger, and it with those after it.

    `is_flawed` is whether the tagger is of the kind that must be watched.
    """

    name: str
    before: tuple[Command, ...]
    after: tuple[Command, ...]
    is_flawed: bool
    digest: str


def installed() -> dict[str, Path]:
    """The directions of this machine, `eng-spa`, with the files that say how they are run."""
    return _installed(FOLDERS)


@cache
def _installed(folders: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(Path(folder, "modes").glob("*.mode")):
            found.setdefault(path.stem, path)
    return found


def mode_of(source: Language, target: Language) -> str | None:
    """The name of the direction that is installed for two languages; None without one."""
    modes = installed()
    region = target.tag.partition("-")[2].replace("-", "_")
    sides = f"{source.apertium}-{target.apertium}"
    names = [f"{sides}_{region}", sides] if region else [sides]
    return next((name for name in names if name in modes), None)


@cache
def pair(name: str) -> Pair:
    """How a direction is run. Raises ValueError when programs or files of it are missing."""
    path = installed()[name]
    commands = [_command(part, path) for part in path.read_text().split("|") if part.strip()]
    digest = hashlib.sha256(path.read_bytes())
    for command in commands:
        for word in (command[0], *(w for w in command[1:] if os.path.isabs(w))):
            digest.update(files.digest(word).encode())
    place = next((n for n, c in enumerate(commands) if _is_tagger(c)), 0)
    is_flawed = _is_tagger(commands[place]) and not any("x" in w for w in _options(commands[place]))
    if is_flawed:  # with -d it tells of new ambiguity classes
        commands[place] = (commands[place][0], "-d", *commands[place][1:])
    return Pair(
        name, tuple(commands[:place]), tuple(commands[place:]), is_flawed, digest.hexdigest()
    )


def _command(part: str, mode: Path) -> Command:
    words = [w for w in shlex.split(part.replace("$1", "-g").replace("$2", "")) if w]
    program = shutil.which(words[0])
    if program is None:
        raise ValueError(f"{mode}: needs the program {words[0]!r}: {INSTALL}")
    lacking = [word for word in words[1:] if os.path.isabs(word) and not os.path.exists(word)]
    if lacking:
        raise ValueError(f"{mode}: {lacking[0]} is missing")
    return (program, "-z", *words[1:])


def _is_tagger(command: Command) -> bool:
    return os.path.basename(command[0]) == "apertium-tagger"


def _options(command: Command) -> list[str]:
    return [word for word in command[1:] if word.startswith("-")]


class Apertium:
    """The directions of this machine. A class because it holds the programs that run."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._lines: dict[Pair, _Line] = {}
        self._lock = threading.Lock()  # an answer must go to the thread that asked

    def supports(self, source: Language, target: Language) -> bool:
        return mode_of(source, target) is not None

    def pairs(self) -> str:
        """What there is, for a person."""
        return ", ".join(sorted(installed())) or f"no pair is installed: {INSTALL}"

    def name(self, source: Language, target: Language) -> str:
        mode = mode_of(source, target)
        assert mode is not None
        return f"apertium-{mode}@{pair(mode).digest[:12]}"

    def digest(self, source: Language, target: Language) -> str:
        mode = mode_of(source, target)
        assert mode is not None
        return f"apertium {VERSION} {mode} {pair(mode).digest}"

    def translate(
        self, texts: Sequence[str], source: Language, target: Language
    ) -> list[Translation | Exception]:
        mode = mode_of(source, target)
        assert mode is not None
        line = self._line(pair(mode))
        found: list[Translation | Exception] = []
        for start in range(0, len(texts), _AT_ONCE):
            part = texts[start : start + _AT_ONCE]
            with self._lock:
                answers = line.translate([_sent(text) for text in part])
            has_names = source.base != _CAPITAL_NOUNS
            found += [_read(a, t, has_names) for a, t in zip(answers, part, strict=True)]
        return found

    def _line(self, pair: Pair) -> "_Line":
        if pair not in self._lines:
            self._lines[pair] = _Line(pair, self._timeout_s)
        return self._lines[pair]

    def close(self) -> None:
        """End the programs."""
        for line in self._lines.values():
            line.close()


def _sent(text: str) -> bytes:
    """A text in the stream's format, with an end that lets the tagger finish a sentence."""
    plain = _STARRED.sub(" ", text.replace("\0", " ")).strip()
    end = "[]" if plain.endswith(_STOPS) else ".[]"
    return (_SPECIAL.sub(r"\\\1", plain) + end).encode("utf-8", "replace")


def _read(answer: bytes | Exception, text: str, has_names: bool) -> Translation | Exception:
    if isinstance(answer, Exception):
        return answer
    found = answer.decode("utf-8", "replace")
    plain = text.strip()
    found = found.removesuffix("[]") if plain.endswith(_STOPS) else _END.sub("", found)
    unknown = _unknown(found, text, has_names)
    found = _MARKED.sub(lambda m: m[1] if m[1] != "*" and m[1] in text else "", found)
    said = _ESCAPED.sub(r"\1", found).strip()
    is_unknown = _MOST_UNKNOWN * len(unknown) > len(_WORD.findall(text))
    return Translation(said, (UNKNOWN,) if unknown and is_unknown else ())


def _unknown(marked: str, text: str, has_names: bool) -> list[str]:
    """The words with a mark of Apertium's, but for names: capital ones that don't begin a text."""
    marks = (m for m in _MARKED.finditer(marked) if m[1] == "*" or m[1] not in text)
    words = [word[0] for m in marks if (word := _WORD.match(marked, m.end())) is not None]
    return [w for w in words if not (has_names and w[0].isupper() and text.find(w) > 0)]


class _Line:
    """A running direction, with what its tagger makes of words; a class as it holds programs."""

    def __init__(self, pair: Pair, timeout_s: float) -> None:
        self._before = Row(pair.before, None, timeout_s)
        self._after = Row(pair.after, 0 if pair.is_flawed else None, timeout_s)
        self._tagger = Row(pair.after[:1], 0, timeout_s)
        self._has_before = bool(pair.before)
        self._is_foreseen: dict[str, bool] = {}

    def translate(self, texts: Sequence[bytes]) -> list[bytes | Exception]:
        read: list[bytes | Exception] = list(texts)
        if self._has_before:
            read = _all_answers(self._before, texts)
        known = [place for place, answer in enumerate(read) if isinstance(answer, bytes)]
        analysed = [answer for answer in read if isinstance(answer, bytes)]
        for place, answer in zip(known, self._disambiguated(analysed), strict=True):
            read[place] = answer
        return read

    def _disambiguated(self, analysed: Sequence[bytes]) -> list[bytes | Exception]:
        while True:
            settled = [self._settled(text) for text in analysed]
            answers = _all_answers(self._after, settled)
            words = _NEW_CLASS.findall(self._after.messages().decode("utf-8", "replace"))
            if not words:
                return answers
            self._after.close()
            if not self._learnt(set(words), settled):
                break
        alone = []  # each by programs of its own
        for text in settled:
            alone += _all_answers(self._after, [text])
            self._after.close()
        self._after.messages()
        return alone

    def _learnt(self, words: set[str], texts: Sequence[bytes]) -> bool:
        """Ask the tagger about these words by themselves; whether there is one it can't take."""
        found = False
        for text in texts:
            for unit in _UNIT.finditer(text.decode("utf-8", "replace")):
                if unit[1] in words and unit[0] not in self._is_foreseen:
                    self._tagger.exchange([f"{unit[0]}^./.<sent>$[]".encode()])
                    told = self._tagger.messages().decode("utf-8", "replace")
                    self._is_foreseen[unit[0]] = not _NEW_CLASS.search(told)
                    found |= not self._is_foreseen[unit[0]]
                    self._tagger.close()
        return found

    def _settled(self, text: bytes) -> bytes:
        """A text in which a word that is not foreseen has one reading."""
        if not self._is_foreseen:
            return text

        def settled(unit: re.Match[str]) -> str:
            if self._is_foreseen.get(unit[0], True):
                return unit[0]
            return f"^{unit[1]}/{min(_READING.findall(unit[2]), key=_rareness)}$"

        return _UNIT.sub(settled, text.decode("utf-8", "replace")).encode()

    def close(self) -> None:
        for row in (self._before, self._after, self._tagger):
            row.close()


def _rareness(reading: str) -> int:
    """Articles first, numbers last: "un" is seldom one, and "I" not often a Roman one."""
    return 0 if "<det>" in reading else 2 if "<num>" in reading else 1


def _all_answers(row: Row, texts: Sequence[bytes]) -> list[bytes | Exception]:
    """An answer or the reason for each; after a failure one by one, to find whose fault it is."""
    found: list[bytes | Exception] = []
    step = len(texts)
    while len(found) < len(texts):
        part = texts[len(found) : len(found) + step]
        answers, why = row.exchange(part)
        found += answers
        if why is not None and step > 1:
            step = 1
        elif why is not None:
            found.append(EngineFailed(f"apertium: {why}"))
    return found
