"""Texts as models read them: made readable, without their control words, and in fixed shapes.

Texts of like length go together in batches whose shape depends on the length alone, filled up, so
that what becomes of one never depends on the others.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from filters import hub_weights

TOKENS = {"cpu": 512, "cuda": 8192}
"""Tokens of a batch with its padding."""


def readable(text: str) -> tuple[str, bool]:
    """What is read of a text, in one line, and whether there was more of it."""
    start = text[: 2 * hub_weights.TEXT_LENGTH].encode("utf-8", "replace").decode()
    return " ".join(start.replace("\0", " ").split()), len(start) < len(text)


def special_tokens(tokenizer: Any) -> set[str]:
    """All that a tokenizer takes for something else than words."""
    return {str(one) for one in [*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens]}


def by_length(
    counts: Sequence[int], lengths: Sequence[int], device: str
) -> Iterator[tuple[list[int], tuple[int, int]]]:
    """Places of texts of so many tokens, and the shape [rows, tokens] of the batch they go in.

    `lengths` are those that texts are padded to, in order; longer texts are in no batch.
    """
    below = 0
    for length in lengths:
        part = [place for place, count in enumerate(counts) if below < count <= length]
        rows = max(1, TOKENS["cuda" if device == "cuda" else "cpu"] // length)
        for start in range(0, len(part), rows):
            yield part[start : start + rows], (rows, length)
        below = length
