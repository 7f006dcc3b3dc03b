"""What a pair is compared with offline: drawings that ship, their captions, and a list of words.

They are the same for every pool, so a value never depends on the rows beside it. Vectors that were
made for other heads of the embedded encoder are refused.
"""

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from filters import embedded, vocabulary

SAME = 0.8
"""Cosine of two captions from which they say the same: neither is a wrong one for the other."""
COPIES = 8
"""Copies of a caption with one word swapped that it is compared with, at most."""
MOST_WORDS = 24
_FILE = Path(__file__).with_name("reference_embedded.safetensors")
_REMEMBERED = 4096  # vectors of words, 5 KB each

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Reference:
    """Unit vectors [m, d] of drawings and of their captions, and how texts get theirs.

    `encode` gives the vectors [n, d] of texts, `word` that of a word, which it may remember.
    """

    pictures: Floats
    captions: Floats
    encode: Callable[[list[str]], Floats]
    word: Callable[[str], Floats]

    @cached_property
    def words(self) -> Floats:
        """Vectors [w, d] of the things and properties that a picture may show."""
        return np.stack([self.word(name) for name in vocabulary.things_and_properties()])

    def seen(self, picture: Floats) -> "Seen":
        """A picture by its unit vector [d]."""
        return Seen(picture, self)

    def said(self, text: str) -> "Said":
        """A text, to be held against pictures."""
        return Said(text, self)


@dataclass(frozen=True, eq=False)
class Seen:
    """A picture, and what others' captions and words get in it: each is looked at when asked."""

    vector: Floats
    reference: Reference

    @cached_property
    def captions(self) -> Floats:
        """Cosines [m] with the captions of the drawings."""
        return self.reference.captions @ self.vector

    @cached_property
    def words(self) -> Floats:
        """Cosines [w] with the words of the list."""
        return self.reference.words @ self.vector


@dataclass(frozen=True, eq=False)
class Said:
    """A text, and all that it is compared with: each is looked at when it is asked for."""

    text: str
    reference: Reference

    @cached_property
    def vector(self) -> Floats:
        found: Floats = self.reference.encode([self.text])[0]
        return found

    @cached_property
    def pictures(self) -> Floats:
        """Cosines [m] with the drawings."""
        return self.reference.pictures @ self.vector

    @cached_property
    def is_other(self) -> Bools:
        """Which drawings [m] have a caption that says something else; all where none does."""
        others: Bools = self.reference.captions @ self.vector < SAME
        return others if others.any() else ~others

    @cached_property
    def copies(self) -> Floats:
        """Vectors [c, d] of copies with one word swapped; none where no word is known."""
        return self.reference.encode(vocabulary.altered(self.text, COPIES))

    @cached_property
    def names(self) -> list[str]:
        """The words that say something by themselves, each once."""
        return vocabulary.content_words(self.text, MOST_WORDS)

    @cached_property
    def words(self) -> Floats:
        """Vectors [n, d] of `names`."""
        found = [self.reference.word(name) for name in self.names]
        return np.stack(found) if found else np.zeros((0, len(self.vector)), np.float32)


@functools.cache
def shipped() -> Reference:
    """That of the encoder that ships. Raises ValueError when it was made for other heads."""
    from safetensors import safe_open

    with safe_open(_FILE, "numpy") as stored:
        made_for = (stored.metadata() or {}).get("encoder_digest")
        pictures, sentences = (unit(stored.get_tensor(n)) for n in ("pictures", "sentences"))
    if made_for != embedded.weights_digest():
        raise ValueError(f"{_FILE}: made for other weights of the embedded encoder: {made_for}")
    captions = embedded.embed_sentences(sentences, embedded.read_heads())
    return Reference(pictures, captions, embedded.encode_texts, _word)


@functools.cache
def digest() -> str:
    """The digest of the file and of the list of words."""
    return f"{hashlib.sha256(_FILE.read_bytes()).hexdigest()} {vocabulary.digest()}"


def whole_numbers(vectors: Floats) -> npt.NDArray[np.int8]:
    """Unit vectors as they are stored: a byte for each number, the largest of a row 127."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    stored: npt.NDArray[np.int8] = np.rint(vectors / largest * 127).astype(np.int8)
    return stored


def unit(rows: npt.NDArray[np.int8]) -> Floats:
    """The vectors of length 1 that `whole_numbers` tells of."""
    wide = rows.astype(np.float32)
    vectors: Floats = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return vectors


@functools.lru_cache(maxsize=_REMEMBERED)
def _word(name: str) -> Floats:
    vector: Floats = embedded.encode_texts([name])[0]
    return vector
