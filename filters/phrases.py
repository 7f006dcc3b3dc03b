"""The parts of a caption that can be checked one by one, each with what might have been said.

By rules and word lists, in English; a part that the rules don't know is not found, which says
nothing about it. Objects, properties and numbers are those of `vocabulary.txt`.
"""

import functools
import re
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from filters import vocabulary

KINDS = ("object", "attribute", "number", "text", "style")
_MOST = 8  # parts of one kind: the first ones
_WORD = r"(?<![\w'’.-]){}(?![\w-])"

# Words of a line are one style; the first stands for the others where another is said.
_STYLES = """\
photo / photograph / snapshot / close-up
painting / oil painting / watercolor / watercolour / fresco
drawing / line drawing / pencil drawing / ink drawing / sketch / illustration / engraving
cartoon / clip art / clipart / comic / anime
icon / pictogram / emoji
logo / emblem
map
diagram / chart / infographic
screenshot
3d render / 3d rendering / render / cgi
silhouette
mosaic
"""
_READS = r"(?:says?|saying|reads|reading|labell?ed|titled|entitled|words?|text|lettering)"


class Part(NamedTuple):
    """What a caption says, and what it might have said in its place."""

    kind: str
    said: str
    others: tuple[str, ...]


def parts(caption: str) -> list[Part]:
    """The objects, properties, numbers and styles that a caption names, in that order.

    What stands in double quotes is text in the picture: none of it is looked at. Alternatives that
    the caption names, too, are left out, and so is a part without alternatives.
    """
    text = " ".join(_QUOTED.sub(" ", _bare(caption)).split())
    found = [list(find(text))[:_MOST] for find in (_objects, _attributes, _numbers, _styles)]
    return [part for part in chain(*found) if part.others]


def quoted(caption: str) -> str | None:
    """The words that the picture is said to show in letters; None when no such thing is said.

    These are words in double quotes of any language, and words in single quotes or capitals
    after such as "says" or "reading".
    """
    text = _bare(caption)
    found = [next(filter(None, match.groups())) for match in _QUOTED.finditer(text)]
    found += [match[1] for match in _SAID.finditer(text)]
    joined = " ".join(found).strip()
    return joined if any(map(str.isalnum, joined)) else None


_QUOTED = re.compile(r'"([^"]{1,200})"|“([^“”]{1,200})[”“]|„([^„“”]{1,200})[“”]|«([^«»]{1,200})»')
_SAID = re.compile(
    rf"\b{_READS}:? (?:the )?(?:words? )?"
    r"((?:[A-Z0-9][A-Z0-9&'!.-]+ ?)+(?!\w)|['‘][^'’]{1,200}['’])"
)


def _bare(caption: str) -> str:
    """The part of a caption that is looked at; quotes around all of it are none."""
    text = caption[: vocabulary.LENGTH].strip()
    whole = _QUOTED.fullmatch(text)
    return text if whole is None else text[1:-1]


def _objects(text: str) -> Iterator[Part]:
    singular, plural = _things()
    named = [match[0].lower() for match in _pattern((*singular, *plural)).finditer(text)]
    for word in dict.fromkeys(named):
        forms = singular if word in singular else plural
        here = {_number_free(name) for name in named}
        others = tuple(other for other in forms if _number_free(other) not in here)
        yield Part("object", word, others)


def _attributes(text: str) -> Iterator[Part]:
    groups = vocabulary.lines("properties")
    known = tuple(chain(*groups))
    named = {match[0].lower() for match in _pattern(known).finditer(text)}
    for match in _pattern(known).finditer(text):
        word, noun = match[0].lower(), _noun_after(text, match.end())
        group = next(group for group in groups if word in group)
        others = tuple(f"{other} {noun}".strip() for other in group if other not in named)
        yield Part("attribute", f"{word} {noun}".strip(), others)


def _numbers(text: str) -> Iterator[Part]:
    numbers = vocabulary.lines("numbers")[0]
    digits = {str(value): word for value, word in enumerate(numbers, 1)}
    _, plural = _things()
    for match in _pattern((*numbers, *digits)).finditer(text):
        noun = _noun_after(text, match.end())
        last = noun.rpartition(" ")[2].lower()
        word = digits.get(match[0], match[0].lower())
        counts = last in plural or _PLURAL.fullmatch(last)
        if word != "one" and counts and not _UNITS.fullmatch(last):
            others = tuple(f"{other} {noun}" for other in numbers if other not in (word, "one"))
            yield Part("number", f"{word} {noun}", others)


def _styles(text: str) -> Iterator[Part]:
    groups = _style_groups()
    known = tuple(chain(*groups))
    named = [match[0].lower() for match in _pattern(known).finditer(text)]
    here = [group for group in groups if set(group) & set(named)]
    for group in here:
        said = next(word for word in named if word in group)
        yield Part("style", said, tuple(other[0] for other in groups if other not in here))


_PLURAL = re.compile(r".*[^su]s|people|children")
_UNITS = re.compile(
    "inches|feet|yards|meters|metres|miles|years|months|weeks|days|hours|minutes|seconds|times"
    "|percent|dollars|euros|pounds|degrees|stars|parts|sizes|colors|colours|grams"
)
_BEFORE_NOUN = re.compile(r"[a-z]+(?:ed|ing|en|ish|y|ous|ful|al|ic|an|ese)|and|or|little", re.I)
_NO_NOUN = re.compile(
    r"and|or|in|on|of|at|with|by|for|to|from|the|a|an|is|are|next|under|over|near", re.I
)


def _noun_after(text: str, place: int) -> str:
    """The next words up to what is likely the noun, three at most; empty where none follows."""
    words: list[str] = []
    properties = frozenset(chain(*vocabulary.lines("properties")))
    for match in re.finditer(r"[ -]?([^\W\d_]+(?:['’-][^\W\d_]+)*)|(\S)", text[place : place + 80]):
        word = match[1]
        if word is None or (_NO_NOUN.fullmatch(word) and not (words and word == "and")):
            break
        words.append(word)
        is_noun = word.lower() not in properties and not _BEFORE_NOUN.fullmatch(word)
        if len(words) == 3 or is_noun:
            break
    return " ".join(words)


@functools.cache
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """Any of the words, as a whole one; a longer one hides those within it."""
    longest = sorted(words, key=lambda word: (-len(word), word))
    return re.compile(_WORD.format(f"(?:{'|'.join(map(re.escape, longest))})"), re.IGNORECASE)


@functools.cache
def _things() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All things, each once: in singular, and in plural where that differs.

    What is also a property (orange) or a style (painting) is left out.
    """
    others = {*chain(*vocabulary.lines("properties")), *chain(*_style_groups())}
    entries = [
        entry for entry in dict.fromkeys(chain(*vocabulary.lines("things"))) if entry not in others
    ]
    forms = [vocabulary.forms(entry) for entry in entries]
    return tuple(one for one, _ in forms), tuple(more for one, more in forms if more != one)


@functools.cache
def _singular_of() -> dict[str, str]:
    return {more: one for one, more in map(vocabulary.forms, chain(*vocabulary.lines("things")))}


def _number_free(word: str) -> str:
    return _singular_of().get(word, word)


@functools.cache
def _style_groups() -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(line.split(" / ")) for line in _STYLES.splitlines())
