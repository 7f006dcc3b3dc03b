"""How a model writes: greedily, or drawn word by word, each row from a stream of its own.

What is drawn for a row is a function of its own probabilities and its own seed: the other rows
of a batch, their number and their order change nothing.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Writing(NamedTuple):
    """At most so many new tokens; drawn at a temperature above 0, of the likeliest `top_p`."""

    new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0


class Written(NamedTuple):
    """What a model wrote, in how many tokens, the end included, and whether that was all."""

    text: str
    tokens: int
    is_cut: bool


def seed_of(*parts: bytes) -> int:
    """A seed of 64 bits that depends on these parts alone, each of them length-prefixed."""
    state = hashlib.blake2b(digest_size=8)
    for part in parts:
        state.update(len(part).to_bytes(8, "little") + part)
    return int.from_bytes(state.digest(), "little")


class Draws:
    """For `generate` of transformers, told to be greedy: draws here, so that the draw is ours.

    A class because it holds how far the stream of each row is, and whether NaN was ever seen.
    """

    def __init__(self, seeds: Sequence[int], how: Writing) -> None:
        self.how = how
        self._streams = [np.random.Generator(np.random.Philox(key=seed)) for seed in seeds]
        self._is_bad: Any = None

    def __call__(self, _ids: Any, scores: Any) -> Any:
        """The scores [rows, words] as they came, or with all but the word drawn at -inf."""
        import torch

        bad = scores.isnan().any()
        self._is_bad = bad if self._is_bad is None else self._is_bad | bad
        if self.how.temperature == 0:
            return scores
        uniforms = torch.tensor([stream.random() for stream in self._streams])
        words = drawn(scores.float(), uniforms.to(scores.device), self.how)
        return torch.full_like(scores, float("-inf")).scatter(1, words[:, None], 0.0)

    def check(self) -> None:
        """Raises ValueError if a score was no number: what was written then means nothing."""
        if self._is_bad is not None and bool(self._is_bad):
            raise ValueError("what the model says is NaN")


def drawn(logits: Any, uniforms: Any, how: Writing) -> Any:
    """One word [rows] for each row, by a uniform number each: the inverse of the distribution.

    Of the words, likeliest first, as many count as it takes to reach a probability of `top_p`
    (Holtzman et al. 2020, arXiv:1904.09751).
    """
    odds, order = (logits / how.temperature).softmax(dim=-1).sort(dim=-1, descending=True)
    sums = odds.cumsum(dim=-1)
    counts = (sums - odds < how.top_p).sum(dim=-1, keepdim=True)
    mass = sums.gather(1, counts - 1)
    places = (sums <= uniforms[:, None] * mass).sum(dim=-1, keepdim=True)
    return order.gather(1, places.minimum(counts - 1))[:, 0]


def written(tokenizer: Any, rows: Sequence[Sequence[int]], ends: set[int]) -> list[Written]:
    """What rows of new tokens say, each up to the first that ends it."""
    found = []
    for row in rows:
        stop = next((place for place, token in enumerate(row) if token in ends), len(row))
        text = tokenizer.decode(list(row[:stop]), skip_special_tokens=True).strip()
        found.append(Written(text, min(stop + 1, len(row)), stop == len(row)))
    return found
