"""Damaged copies of a caption, each of a kind: what a reward should learn to rank below it.

A kind that finds nothing to damage makes nothing. Everything is a function of the caption, the
key and the seed. English first: other languages get the kinds that need no word lists.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.keys import draw_bits
from pipeline.reward import words

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_MOST_SHUFFLES = 8
_FEWEST_WORDS = 3  # of a caption that can lose some


@dataclass(frozen=True)
class Dice:
    """Draws for one caption; `what` names what each is for."""

    key: bytes
    seed: int

    def below(self, count: int, what: str) -> int:
        """A number from 0 to below `count`."""
        return draw_bits(self.key, self.seed, f"reward-{what}") % count

    def order(self, count: int, what: str) -> list[int]:
        """The numbers below `count` in an order by chance."""
        bits = [draw_bits(self.key, self.seed, f"reward-{what}-{n}") for n in range(count)]
        return sorted(range(count), key=lambda n: (bits[n], n))


@dataclass(frozen=True)
class Found:
    """A word or phrase of a caption, and what may stand in its place."""

    start: int
    end: int
    choices: tuple[str, ...]


Finder = Callable[[str], Iterator[Found]]
Maker = Callable[[str, Dice], str | None]


def damaged(caption: str, kind: str, dice: Dice) -> str | None:
    """A copy of the caption with a fault of this kind; None when there is nothing to damage."""
    made = _MAKERS[kind](caption, dice)
    return None if made is None or made.strip() in ("", caption.strip()) else made


def _swapped(
    lists: Callable[[str], Iterator[Found]], what: str
) -> Callable[[str, Dice], str | None]:
    def swap(caption: str, dice: Dice) -> str | None:
        found = list(lists(caption))
        if not found:
            return None
        chosen = found[dice.below(len(found), f"{what}-place")]
        word = chosen.choices[dice.below(len(chosen.choices), f"{what}-word")]
        return _replaced(caption, chosen, word)

    return swap


def _replaced(caption: str, place: Found, word: str) -> str:
    """The caption with another word at a place: its capitals stay, and `a` becomes `an`."""
    old = caption[place.start : place.end]
    if old.isupper() and len(old) > 1:
        word = word.upper()
    elif old[:1].isupper():
        word = word[:1].upper() + word[1:]
    before = re.sub(
        r"\b(a)n?( )$",
        lambda m: m[1] + ("n" if word[:1].lower() in "aeiou" else "") + m[2],
        caption[: place.start],
        flags=re.IGNORECASE,
    )
    return before + word + caption[place.end :]


def _objects(caption: str) -> Iterator[Found]:
    """Things, singular or plural, and others of their sort."""
    present = {match[0].lower() for match in _WORD.finditer(caption)}
    for match in _WORD.finditer(caption):
        for group, is_plural in _OBJECT_LISTS.get(match[0].lower(), ()):
            forms = [_plural(word) if is_plural else word for word in words.OBJECTS[group]]
            choices = tuple(form.replace("-", " ") for form in forms if form not in present)
            if choices:
                yield Found(match.start(), match.end(), choices)


def _plural(word: str) -> str:
    """The plural by the rules of English, or as listed."""
    if word in words.PLURALS:
        return words.PLURALS[word]
    return word + ("es" if word.endswith(("s", "x", "ch", "sh", "to")) else "s")


def _object_lists() -> dict[str, list[tuple[int, bool]]]:
    found: dict[str, list[tuple[int, bool]]] = {}
    for number, group in enumerate(words.OBJECTS):
        for word in group:
            found.setdefault(word, []).append((number, False))
            if _plural(word) != word:
                found.setdefault(_plural(word), []).append((number, True))
    return found


_OBJECT_LISTS = _object_lists()


def _phrases(lists: Sequence[Sequence[str]]) -> Finder:
    """Finds the words or phrases of some lists; a longer phrase hides those within it."""
    others: dict[str, list[str]] = {}
    for group in lists:
        for phrase in group:
            others.setdefault(phrase, []).extend(other for other in group if other != phrase)
    longest = sorted(others, key=lambda phrase: (-len(phrase), phrase))
    pattern = re.compile(
        rf"(?<![\w-])({'|'.join(map(re.escape, longest))})(?![\w-])", re.IGNORECASE
    )

    def find(caption: str) -> Iterator[Found]:
        matches = list(pattern.finditer(caption))
        present = {match[0].lower() for match in matches}
        for match in matches:
            choices = [one for one in others[match[0].lower()] if one not in present]
            if choices:
                yield Found(match.start(), match.end(), tuple(dict.fromkeys(choices)))

    return find


_number_words = _phrases([words.NUMBERS, words.COUNTED])
_details = _phrases([*words.ATTRIBUTES, words.NUMBERS])


def _numbers(caption: str) -> Iterator[Found]:
    yield from _number_words(caption)
    for match in re.finditer(r"(?<![\w.,-])\d{1,3}(?![\w.,-])", caption):
        value = int(match[0])
        near = [value + step for step in (-3, -2, -1, 1, 2, 3) if value + step > 0]
        yield Found(match.start(), match.end(), tuple(map(str, near)))


def _shuffled(caption: str, dice: Dice) -> str | None:
    """The same words in another order."""
    parts = caption.split()
    for attempt in range(_MOST_SHUFFLES):
        moved = [parts[n] for n in dice.order(len(parts), f"shuffled-{attempt}")]
        if [part.lower() for part in moved] != [part.lower() for part in parts]:
            return " ".join(moved)
    return None


def _dropped(caption: str, dice: Dice) -> str | None:
    """The caption without a property, or without its last phrase."""
    found = list(_details(caption))
    cut = _last_phrase(caption)
    choices = len(found) + (cut is not None)
    if len(caption.split()) < _FEWEST_WORDS or not choices:
        return None
    number = dice.below(choices, "dropped")
    if number == len(found):
        return cut
    chosen = found[number]
    after = caption[chosen.end :].lstrip()
    return _replaced(caption, Found(chosen.start, len(caption), ()), after)


_LINKS = re.compile(r"[,:;]\s|\s(?:with|and|in|on|at|under|behind|near|while|wearing|holding|of)\s")


def _last_phrase(caption: str) -> str | None:
    """The caption up to the last word that begins a phrase; None when too little would be left."""
    places = [match.start() for match in _LINKS.finditer(caption)]
    return caption[: places[-1]].rstrip(" ,:;") if places and places[-1] > 2 else None


def _truncated(caption: str, dice: Dice) -> str | None:
    """The caption up to the middle of a word, as broken software cuts it."""
    if len(caption.split()) < _FEWEST_WORDS:
        return None
    fewest, most = len(caption) * 3 // 10, len(caption) * 7 // 10
    return caption[: fewest + dice.below(max(1, most - fewest), "truncated")].rstrip()


def _generic(_: str, dice: Dice) -> str:
    return words.GENERIC[dice.below(len(words.GENERIC), "generic")]


def _in_other_language(caption: str, dice: Dice) -> str | None:
    """The words that a small table knows, in German, French or Spanish.

    It takes one that says something, and half of the words.
    """
    parts = [match[0].lower() for match in _WORD.finditer(caption)]
    known = [part for part in parts if part in words.TRANSLATIONS]
    if not set(known) - words.LINKING or 2 * len(known) < len(parts):
        return None
    language = dice.below(3, "language")
    return " ".join(words.TRANSLATIONS[part][language] for part in known)


_MAKERS: dict[str, Maker] = {
    "object": _swapped(_objects, "object"),
    "attribute": _swapped(_phrases(words.ATTRIBUTES), "attribute"),
    "relation": _swapped(_phrases(words.RELATIONS), "relation"),
    "number": _swapped(_numbers, "number"),
    "shuffled": _shuffled,
    "dropped": _dropped,
    "truncated": _truncated,
    "generic": _generic,
    "language": _in_other_language,
}
BY_WORDS = tuple(_MAKERS)
"""The kinds that need nothing but the caption."""
