"""Words and patches under the retrained heads: FILIP's score, and a reward of the kind that ships.

The reward learns as in `benchmarks.reward`, from captions that are exchanged between the drawings
of the judges' side. It and the numbers of a pool take minutes, so they are kept in a folder.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.embedded.heads import Lesson
from benchmarks.reward import learning
from benchmarks.reward.captions import EXCHANGED
from benchmarks.reward.drawings import Maker
from benchmarks.reward.numbers import Heads, of_tokens, patches_of, reader
from filters.reward_head import Head, read_head
from pipeline.reward.table import Floats

Array = np.ndarray[Any, Any]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tokenwise:
    """A reward head, and what it looks at in pairs of a bench under the encoder's heads."""

    maker: Maker
    arrays: Heads
    head: Head
    folder: Path

    def filip(self, rows: Rows, captions: Sequence[str]) -> Array:
        """`filip_score` [n]: the mean of both directions."""
        found: Array = self._numbers(rows, captions)[:, :2].astype(np.float64).mean(axis=1)
        return found

    def reward(self, rows: Rows, captions: Sequence[str], vectors: tuple[Floats, Floats]) -> Array:
        """The reward [n] of pairs with such vectors [n, d] of images and of captions."""
        found = self.head.scores(*vectors, self._numbers(rows, captions))
        return self.head.rewards(found).astype(np.float64)

    def _numbers(self, rows: Rows, captions: Sequence[str]) -> Floats:
        """What tokens say of each pair [n, 4]; every caption must have a word."""
        others = self.head.others.words
        paths = [self.maker.bench.pairs[row].path for row in rows]
        told = digest(_bytes_of(self.arrays), others.tobytes(), repr((paths, [*captions])).encode())
        path = self.folder / f"tokens-{told}.npy"
        if not path.exists():
            read = reader(captions, self.arrays)
            seen = patches_of([self.maker.data / name for name in paths], self.arrays)
            pairs = ((patches, read(text)) for patches, text in zip(seen, captions, strict=True))
            numbers = of_tokens(pairs, others)
            with _partial(path).open("wb") as file:
                np.save(file, numbers)
            _partial(path).replace(path)
        found: Floats = np.load(path)
        return found


def learn(maker: Maker, lessons: list[Lesson], arrays: Heads, folder: Path) -> Tokenwise:
    """With the head that learnt from these lessons, of which the encoder's heads know nothing."""
    told = digest(_bytes_of(arrays), repr(lessons).encode(), learning.described().encode())
    path = folder / f"reward-{told}.safetensors"
    if not path.exists():
        train, held_out = maker.learnt_from(lessons, arrays)
        assert train.numbers is not None
        head = learning.taught(train, held_out, EXCHANGED)
        learnt = learning.arrays_of(head, train, train.numbers)
        _partial(path).write_bytes(
            learning.file_of(learnt, train.numbers, digest(_bytes_of(arrays)))
        )
        _partial(path).replace(path)
    return Tokenwise(maker, arrays, read_head(str(path)), folder)


def digest(*parts: bytes) -> str:
    """A short name of what something is made of."""
    return hashlib.sha256(b"".join(hashlib.sha256(p).digest() for p in parts)).hexdigest()[:16]


def _bytes_of(arrays: Heads) -> bytes:
    return b"".join(arrays[name].tobytes() for name in sorted(arrays))


def _partial(path: Path) -> Path:
    """Its own for each process: several may make the same file."""
    return path.with_suffix(f".{os.getpid()}.tmp")
