"""How an LLM is asked to fuse texts: what stands in the prompt, and how much of each text."""

from collections.abc import Sequence

from filters.sampling import Writing
from recaption import prompts
from recaption.asking import Ask, Said, Writer
from recaption.fusion_parents import Parents

LABELS = 24
"""Tokens of what is written around each text in a prompt."""


def fused(
    writer: Writer, parents: Sequence[Parents], prompt: prompts.Prompt, limits: tuple[int, int]
) -> list[Said | Exception]:
    """What is written for each; `limits` are tokens of all texts together, and of an answer."""
    text_tokens, new_tokens = limits
    how = Writing(new_tokens)
    asks = [Ask(prompt.text, composed(writer, one, text_tokens), how) for one in parents]
    return writer.write(asks)


def composed(writer: Writer, given: Parents, text_tokens: int) -> str:
    """All texts as they stand in the prompt, the raw one last and cut to what is left."""
    (first,) = writer.read([given.text("synthetic")], text_tokens // 2)
    found = given.listed
    room = text_tokens // 4 // max(1, len(found))
    experts = writer.read([", ".join(entries) for entries in found.values()], max(1, room))
    left = text_tokens - sum(map(writer.count, [first, *experts]))
    (last,) = writer.read([given.text("raw")], max(1, left))
    parts = [first, *(f"{n}: {t}" for n, t in zip(found, experts, strict=True) if t)]
    return '"\nFound: "'.join(parts) + f'"\nB: "{last}'
