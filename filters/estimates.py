"""What asking a model server for many rows would cost, by a rough rule and without asking.

Of captions that are not written yet it is known how many there are at most, and of how many tokens.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

PATCH = 28
"""Pixels of a side that make a token, as the client of servers estimates."""
_AROUND = 16  # tokens that a chat puts around a question


class Estimate(NamedTuple):
    """Requests, tokens of prompts and pictures, tokens of answers."""

    requests: int
    prompt_tokens: int
    answer_tokens: int


NOTHING = Estimate(0, 0, 0)
"""What a model costs that runs here."""
BYTES = 4
"""Bytes of a text that make a token."""
Held = tuple[int, int]
"""How many texts a column holds at most, and of how many tokens together."""
Given = Mapping[str, Held]
"""What is known of that, by the names of columns."""


def together(given: Given, names: Iterable[str]) -> Held | None:
    """What several columns hold; None where that of one is not known."""
    found = [given.get(name) for name in dict.fromkeys(names)]
    known = [held for held in found if held is not None]
    if len(known) < len(found):
        return None
    return sum(texts for texts, _ in known), sum(tokens for _, tokens in known)


def sentences(held: Held, shortest: int) -> int:
    """How many sentences of at least so many tokens texts have at most, each text one or more."""
    texts, tokens = held
    return (tokens + (shortest - 1) * texts) // shortest


def of_picture(side: int) -> int:
    """Tokens of a square picture of so many pixels on a side."""
    return max(1, round(side / PATCH)) ** 2


def of_prompt(text: str) -> int:
    """Tokens of a prompt: four bytes each, and what a chat puts around it."""
    return len(text.encode()) // BYTES + _AROUND
