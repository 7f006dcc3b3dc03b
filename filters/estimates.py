"""What asking a model server for many rows would cost, by a rough rule and without asking."""

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


def of_picture(side: int) -> int:
    """Tokens of a square picture of so many pixels on a side."""
    return max(1, round(side / PATCH)) ** 2


def of_prompt(text: str) -> int:
    """Tokens of a prompt: four bytes each, and what a chat puts around it."""
    return len(text.encode()) // 4 + _AROUND
