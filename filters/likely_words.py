"""The likelihood of a caption's words under the embedded encoder: no captioner, but offline.

A word of the caption competes with a fixed list of things and properties; what is compared are
cosines with the image. Grammar, order and number of the words play no part.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from filters import embedded, vocabulary
from filters.shared_images import once

Doubles = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

TEMPERATURE = 0.1
"""Chosen so that real pairs stand out from swapped ones; from .1 to .4 they do about equally."""
MOST_WORDS = 24
_REMEMBERED = 4096  # vectors of words, 6 KB each


class Words(NamedTuple):
    """The content words of each text, and whether it has more than are looked at."""

    words: list[list[str]]
    cut: list[bool]


def words(texts: Sequence[str]) -> Words:
    found = [vocabulary.content_words(text, MOST_WORDS + 1) for text in texts]
    cut = [
        len(f) > MOST_WORDS or len(text) > vocabulary.LENGTH
        for f, text in zip(found, texts, strict=True)
    ]
    return Words([f[:MOST_WORDS] for f in found], cut)


def log_probabilities(looks: Sequence[list[Pixels]], read: Words) -> Doubles:
    """Mean over a text's words of log p(word | image), [n, looks]; NaN for a text without words.

    p(w | image) = exp(c(w) / T) / sum of exp(c(u) / T) over the list and w, where c is the cosine
    of image and word and T the temperature.
    """
    columns = [_logs(look, read.words) for look in looks]
    return np.array(columns, np.float64).reshape(len(looks), len(read.words)).T


def _logs(look: list[Pixels], words: list[list[str]]) -> list[float]:
    """The mean log of each text's words, by images of which each is looked at once."""
    distinct, which = once(look)
    seen = embedded.encode_images(distinct).astype(np.float64)
    totals = [float(np.logaddexp.reduce(_known() @ image / TEMPERATURE)) for image in seen]
    pairs = zip(which, words, strict=True)
    return [_mean_log(seen[number], totals[number], own) for number, own in pairs]


def prepare() -> None:
    """Load the encoder and read the list."""
    _known()
    embedded.encode_images([np.zeros((1, 1, 3), np.uint8)])


def _mean_log(image: Doubles, total: float, own: list[str]) -> float:
    """`total` is the log of the sum over the list."""
    if not own:
        return math.nan
    logs = []
    for word in own:
        score = float(_vector(word) @ image) / TEMPERATURE
        is_known = word in _list_of_words()
        logs.append(score - (total if is_known else float(np.logaddexp(total, score))))
    return math.fsum(logs) / len(logs)


@functools.cache
def _list_of_words() -> frozenset[str]:
    return frozenset(vocabulary.things_and_properties())


@functools.cache
def _known() -> Doubles:
    """Vectors [words, d] of the fixed list."""
    return np.stack([_vector(word) for word in vocabulary.things_and_properties()])


@functools.lru_cache(maxsize=_REMEMBERED)
def _vector(word: str) -> Doubles:
    vector: Doubles = embedded.encode_texts([word])[0].astype(np.float64)
    return vector
