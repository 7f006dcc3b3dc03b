"""What a reward head of the kind `tokenwise` looks at: a few numbers of a pair, not its vectors.

Cosines, how well words and patches find each other, and what other captions and words get in the
same picture. Nothing of it is of the text alone. It refuses models without patches and words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from filters import embedded, tokens
from filters.clip import EMBEDDED, ClipScore, Floats, Pixels
from filters.shared_images import once
from filters.tokens import Words
from filters.tokenwise import interaction

OF_VECTORS, OF_TOKENS = 3, 4
"""How many numbers come of vectors, beside one for each part of them, and how many of tokens."""
_SHARPNESS = 20.0  # of the soft maximum over other captions: a difference of .05 is a factor of e


class Others(NamedTuple):
    """Unit vectors [m, d] of other captions, and of single words of other captions.

    What they get in a picture is its usual: some pictures agree with anything, some with nothing.
    """

    texts: Floats
    words: Floats


def parts_of(model: str, dimension: int) -> tuple[int, ...]:
    """Lengths of the parts of a vector whose cosines count apart.

    The embedded encoder has trained heads beside ConSE, which knows the names of 1,000 classes.
    """
    if model != EMBEDDED:
        return (dimension,)
    classes = int(embedded.read_heads()["classes"].shape[1])
    return (dimension - classes, classes)


def of_vectors(images: Floats, texts: Floats, others: Floats, parts: Sequence[int]) -> Floats:
    """[n, parts + 3] of unit vectors [n, d]: the cosine of each part; then of the image alone
    mean, deviation and soft maximum of its cosines with other captions.
    """
    ends = np.cumsum(parts)
    found = np.zeros((len(images), len(parts) + OF_VECTORS), np.float32)
    for place, (v, t) in enumerate(zip(images, texts, strict=True)):
        for number, (end, size) in enumerate(zip(ends, parts, strict=True)):
            found[place, number] = _cosine(v[end - size : end], t[end - size : end])
        usual = (others @ v).astype(np.float64)
        soft = np.log(np.exp(_SHARPNESS * usual).mean()) / _SHARPNESS
        found[place, len(parts) :] = usual.mean(), usual.std(), soft
    return found


def _cosine(v: Floats, t: Floats) -> float:
    length = float(np.linalg.norm(v) * np.linalg.norm(t))
    return float(v @ t) / length if length > 0 else 0.0


def of_tokens(patches: Floats, words: Words, others: Floats) -> Floats:
    """[4] of patches [n, d]: what they find in the words, and the words in them (FILIP, both ways);
    then of the picture alone mean and deviation of the best patch of other words.

    Of a text in which nothing is read the first two are 0.
    """
    return _of_tokens(patches, words, _usual(patches, others))


def _of_tokens(patches: Floats, words: Words, usual: tuple[float, float]) -> Floats:
    found = interaction(patches, words.vectors) if len(words.vectors) else None
    both = (0.0, 0.0) if found is None else (found.i2t, found.t2i)
    return np.array([*both, *usual], np.float32)


def _usual(patches: Floats, others: Floats) -> tuple[float, float]:
    """Mean and deviation of the best patch of other words: of the picture alone."""
    best = (patches @ others.T).max(axis=0).astype(np.float64)
    return float(best.mean()), float(best.std())


def tokens_of(
    clip: ClipScore, images: Sequence[Pixels], texts: Sequence[str], others: Floats
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """`of_tokens` of pairs [n, 4], and of which texts anything is read.

    What is there several times, the same array or an equal text, is looked at once.
    """
    distinct, which = once(images)
    seen = [(one, _usual(one, others)) for one in tokens.patches(clip, distinct)]
    read = [*dict.fromkeys(texts)]
    words = dict(zip(read, tokens.words(clip, read), strict=True))
    found = np.zeros((len(images), OF_TOKENS), np.float32)
    for place, (number, text) in enumerate(zip(which, texts, strict=True)):
        patches, usual = seen[number]
        found[place] = _of_tokens(patches, words[text], usual)
    is_read = np.array([len(words[text].vectors) > 0 for text in texts], bool)
    return found, is_read


@dataclass(frozen=True)
class PairNumbers:
    """What a tokenwise head over an encoder looks at, for its training."""

    clip: ClipScore

    def check(self) -> None:
        """Raises ValueError for an encoder without patches and words in one space."""
        check(self.clip)

    def parts(self, dimension: int) -> tuple[int, ...]:
        """Lengths of the parts of a vector whose cosines count apart."""
        return parts_of(self.clip.model, dimension)

    def of_vectors(
        self, images: Floats, texts: Floats, others: Floats, parts: Sequence[int]
    ) -> Floats:
        """See the function."""
        return of_vectors(images, texts, others, parts)

    def of_tokens(self, images: Sequence[Pixels], texts: Sequence[str], others: Floats) -> Floats:
        """`tokens_of` of pairs, where a text without words is a text like others."""
        return tokens_of(self.clip, images, texts, others)[0]

    def a_word_of_each(self, texts: Sequence[str]) -> list[Floats]:
        """The vector of a content word of every text that has one."""
        found = enumerate(tokens.words(self.clip, texts))
        words = [one_word(words, turn) for turn, words in found]
        return [word for word in words if word is not None]


def one_word(words: Words, turn: int) -> Floats | None:
    """The vector of one content word, whose turn it is; None where there is none."""
    if not words.names:
        return None
    judged = words.content
    vector: Floats = words.vectors[words.last[judged[turn % len(judged)]]]
    return vector


def check(clip: ClipScore) -> None:
    """Raises ValueError for an encoder without patches and words in one space."""
    tokens.check(clip.model)
    if clip.weights is not None:
        raise ValueError("a tokenwise head does not know other heads of 'embedded' (`weights`)")
    if clip.merge is not None:
        raise ValueError("a tokenwise head needs all patches, and `merge` joins them")


def problem(weights: dict[str, Floats], parts: Sequence[int], dimension: int) -> str | None:
    """What of a head's vectors of others does not fit together, if anything."""
    if not all(size > 0 for size in parts) or sum(parts) != dimension:
        return f"parts {list(parts)} are not those of vectors of {dimension} numbers"
    for name in ("others.texts", "others.words"):
        shape = weights[name].shape if name in weights else None
        if shape is None or len(shape) != 2 or shape[1] != dimension or not shape[0]:
            return f"{name} has the shape {shape}, wanted (any, {dimension})"
        if not np.isfinite(weights[name]).all():
            return f"{name} holds NaN or infinity"
    return None
