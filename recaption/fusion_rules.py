"""How a fused caption is made without a model, and what one that a model wrote must keep to."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from filters import mllm, vocabulary
from filters.caption import words
from recaption import nouns
from recaption.entities import entities, retained, said_words, says

MOST = 8
"""Names that are added to a caption; the first ones."""
# They say that something is to be seen, not what.
_TELLING = frozenset(
    re.findall(
        r"\w+",
        "depict depicts depicted depicting show shows shown showing showcase showcases feature"
        " features featured featuring display displays displayed displaying capture captures"
        " captured capturing present presents presented presenting include includes included"
        " including contain contains containing illustrate illustrates illustrated illustrating"
        " portray portrays portrayed portraying appear appears appearing visible see sees seen"
        " seeing located called named known titled entitled scene image picture photo photograph"
        " view foreground background while where which whose who within also both other another",
    )
)


class Bounds(NamedTuple):
    """What a fused text must keep to: at most so many times as long as the longer parent, at least
    these shares of the raw text's names and of the synthetic text's words, and of its own words at
    most the share `added` that nobody else has."""

    longer: float = 2.0
    names: float = 0.5
    words: float = 0.5
    added: float = 0.2


class Foreign(NamedTuple):
    """What a text says that others do not, in words, and of how many words and numbers of it."""

    found: list[str]
    of: int

    @property
    def share(self) -> float | None:
        """None for a text that says nothing."""
        return len(self.found) / self.of if self.of else None


def foreign(text: str, others: str) -> Foreign:
    """The words of weight of a text that others have in no form."""
    found = vocabulary.content_words(text, 64)
    known = [word for word in said_words(others) if len(word) > 2]
    new = [w for w in found if not any(w.startswith(k) or k.startswith(w[:5]) for k in known)]
    return Foreign(new, len(found))


def added(fused: str, parents: str) -> Foreign:
    """The words of weight and the numbers that a text put together of others has by itself.

    Things may be called by their kinds, and words that tell of a picture (`shows`) are free.
    """
    kinds = {kind for thing in nouns.find(parents) for kind in nouns.kinds_of(thing)}
    words_ = foreign(fused, " ".join([parents, *sorted(kinds)]))
    numbers, known = (set(re.findall(r"\d+", text)) for text in (fused, parents))
    new = [word for word in words_.found if word not in _TELLING]
    return Foreign(new + sorted(numbers - known), words_.of + len(numbers))


def kept_words(synthetic: str, fused: str) -> float | None:
    """The share of the words of weight of one text that another has; None if there is none."""
    found = vocabulary.content_words(synthetic, 64)
    known = {part[:5] for part in said_words(fused)}  # walks, walking
    if not found:
        return None
    return sum(word.casefold()[:5] in known for word in found) / len(found)


def by_rules(synthetic: str, raw: str, found: Mapping[str, Sequence[str]], language: str) -> str:
    """The synthetic text, then what the raw text names, and experts found, that it lacks.

    In English by a sentence that says where that comes from; elsewhere in brackets.
    """
    named = [one for one in entities(mllm.without_markup(raw)) if not says(synthetic, one)][:MOST]
    parts = [("The text beside it names", named)] if named else []
    for label, entries in found.items():
        lacking = [one for one in dict.fromkeys(entries) if not says(synthetic, one)][:MOST]
        parts += [(f"Found in it ({label})", lacking)] if lacking else []
    if not parts:
        return synthetic
    text = ended(synthetic)
    if language.partition("-")[0] != "en":
        return f"{text} ({', '.join(one for _, listed in parts for one in listed)})"
    return " ".join([text, *(f"{label}: {', '.join(listed)}." for label, listed in parts)])


def ended(text: str) -> str:
    """A text with a sign at its end that ends a sentence."""
    text = text.strip()
    return text if not text or text[-1] in ".!?…。!?।" else f"{text}."


def problem_of(fused: str, raw: str, synthetic: str, bounds: Bounds) -> str | None:
    """Why a fused text is not taken: `long`, `lost_names` or `lost_words`; None if it is."""
    longest = max(len(words(raw)), len(words(synthetic)), 8)
    if len(words(fused)) > bounds.longer * longest:
        return "long"
    share = retained(mllm.without_markup(raw), fused)
    if share is not None and share < bounds.names:
        return "lost_names"
    share = kept_words(synthetic, fused)
    if share is not None and share < bounds.words:
        return "lost_words"
    return None
