"""How rare the words of a caption are among all words of the pool.

Counts rows that carry an image, not downloads, and each time that a word occurs. Says nothing
about what is too rare.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.frequency import fold_text

Digests = NDArray[np.uint64]
Counts = NDArray[np.int64]

_COLUMNS = pa.schema({"ngram_rank": pa.int64(), "ngram_count": pa.int64()})
_AT_ONCE = 1 << 16  # captions
# Odd numbers by which the digests of two neighbours become that of the pair (those of SplitMix64).
_LEFT, _RIGHT = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class Ngrams:
    """How rare the rarest word or pair of neighbouring words of a caption is in the pool.

    Words are what stands between white space, after `fold_text` if `fold`. `ngram_count` is how
    often the caption's rarest word or pair occurs in all captions, `ngram_rank` its place among
    all words and pairs by falling count, from 1: a caption passes `ngram_rank <= n` if all its
    words and pairs are among the n most frequent. Equal counts are in the order of a digest of
    64 bits, by which words are told apart. NULL without a word.

    All rows meet at once, so there is no `gather_key`. Memory, beside the columns read:
    some 370 bytes a row where captions have 67 (10^6 rows: 0.37 GB, 14 CPU s).
    """

    fold: bool = True

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption",)
    writes: ClassVar[pa.Schema] = _COLUMNS

    def reduce(self, rows: pa.Table) -> pa.Table:
        """Rank and count of each row, in the order of the rows."""
        read = list(_read(rows["caption"], self.fold))
        vocabulary, counts = _counted(read)
        order = np.argsort(-counts, kind="stable")
        ranks = np.empty_like(order)
        ranks[order] = np.arange(1, len(order) + 1)
        worst = np.concatenate([_worst(words, vocabulary, ranks) for words in read] or [ranks[:0]])
        none = worst == 0
        found = np.zeros_like(worst)
        found[~none] = counts[order[worst[~none] - 1]]
        return pa.table([pa.array(worst, mask=none), pa.array(found, mask=none)], schema=_COLUMNS)


class Words(NamedTuple):
    """The digests of the words of some captions, and how many words each of these has."""

    digests: Digests
    lengths: Counts


def _read(captions: "pa.ChunkedArray[Any]", fold: bool) -> Iterator[Words]:
    """The words of the captions, some at a time."""
    for chunk in captions.chunks:
        for start in range(0, len(chunk), _AT_ONCE):
            texts = chunk.slice(start, _AT_ONCE).to_pylist()
            yield _words([text and (fold_text(text) if fold else text) for text in texts])


def _words(texts: Sequence[str | None]) -> Words:
    split = [text.split() if text else [] for text in texts]
    known: dict[str, int] = {}
    places = [known.setdefault(word, len(known)) for words in split for word in words]
    digests = np.frombuffer(b"".join(map(_digest, known)), ">u8").astype(np.uint64)
    return Words(digests[np.array(places, np.intp)], np.array([len(w) for w in split], np.int64))


def _pairs(words: Words) -> Digests:
    """The digests of neighbouring words of each caption."""
    has_next = np.ones(len(words.digests), bool)
    has_next[np.cumsum(words.lengths)[words.lengths > 0] - 1] = False
    at = np.flatnonzero(has_next)
    mixed = words.digests[at] * _LEFT ^ words.digests[at + 1] * _RIGHT
    mixed ^= mixed >> np.uint64(31)
    return mixed * _LEFT


def _counted(read: Sequence[Words]) -> tuple[Digests, Counts]:
    """All words and pairs by digest, and how often each occurs."""
    parts = [part for words in read for part in (words.digests, _pairs(words))]
    every = np.concatenate([*parts, np.zeros(0, np.uint64)])
    del parts
    every.sort()
    is_first = np.ones(len(every), bool)
    is_first[1:] = every[1:] != every[:-1]
    starts = np.flatnonzero(is_first)
    return every[starts], np.diff(starts, append=len(every))


def _worst(words: Words, vocabulary: Digests, ranks: Counts) -> Counts:
    """The highest rank of a word or pair of each caption; 0 without a word."""
    worst = np.zeros(len(words.lengths), np.int64)
    for digests, lengths in (
        (words.digests, words.lengths),
        (_pairs(words), np.maximum(words.lengths - 1, 0)),
    ):
        has_some = lengths > 0
        if has_some.any():
            starts = (np.cumsum(lengths) - lengths)[has_some]
            found = np.maximum.reduceat(ranks[np.searchsorted(vocabulary, digests)], starts)
            worst[has_some] = np.maximum(worst[has_some], found)
    return worst


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
