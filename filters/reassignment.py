"""Reassignment of captions to the images of a pool that they fit best, in the manner of SynC.

For synthetic images and captions that describe something else: captions are trusted, images are
not. It compares all pairs, in blocks; it refuses pools for which that would take too long.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters import vectors
from filters.vectors import Doubles, Halves, Places

_BLOCK = 1024
_WRITES = pa.schema(
    {
        "reassigned_caption": pa.string(),
        "reassigned_from": pa.binary(16),
        "reassigned_score": pa.float32(),
        "reassigned_count": pa.int32(),
        "reassigned_to": pa.binary(16),
    }
)


@dataclass(frozen=True)
class Reassignment:
    """One-to-many assignment with a cycle check (SynC, arXiv:2507.18616, and its code).

    The candidates of a caption are the `images` images nearest to it. An image speaks for itself
    by the `captions` captions of the pool nearest to it; the caption's score with it is its
    highest cosine with one of them, by the vectors in `sentences` (if not given, those in
    `text`). The caption goes to the candidate with the highest score, of equal ones the nearest.

    Of a row, `reassigned_to` is the key of the image that its caption goes to. `reassigned_count`
    is how many captions come to its image; `reassigned_caption`, `reassigned_from` (a key) and
    `reassigned_score` are the best of these, of equal scores the one of the smallest key; NULL
    when none comes. Rows that lack a vector or the caption take no part and are NULL.

    Memory: twice what is read, and blocks of some 50 MB. Time grows by the square of the rows, to
    three quarters of an hour for 200,000 of 768 numbers on one core: more than `most_rows` are
    refused; `only:` can choose among them.
    """

    images: int = 15
    captions: int = 2
    image: str = "clip_image"
    text: str = "clip_text"
    sentences: str | None = None
    caption: str = "caption"
    most_rows: int = 200_000
    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {
        "image": "numbers",
        "text": "numbers",
        "sentences": "numbers",
        "caption": "text",
    }
    writes: ClassVar[pa.Schema] = _WRITES

    def __post_init__(self) -> None:
        if self.images < 1 or self.captions < 1:
            raise ValueError(f"images {self.images} and captions {self.captions} must be above 0")

    @property
    def reads(self) -> tuple[str, ...]:
        names = (self.image, self.text, self.sentences or self.text, self.caption)
        return tuple(dict.fromkeys(names))

    def reduce(self, rows: pa.Table) -> pa.Table:
        """The columns, in the order of the rows. Raises ValueError for too many rows."""
        whole = np.ones(len(rows), bool)
        for name in self.reads:
            whole &= rows[name].is_valid().to_numpy()
        part = rows.filter(pa.array(whole))
        if len(part) > self.most_rows:
            raise ValueError(
                f"{len(part):,} captions and images to compare"
                f" (limit most_rows: {self.most_rows:,})"
            )
        if not len(part):
            nothing = {field.name: pa.nulls(len(rows), field.type) for field in _WRITES}
            return pa.table(nothing, schema=_WRITES)
        seen, read = vectors.column(part, self.image), vectors.column(part, self.text)
        said = vectors.column(part, self.sentences or self.text)
        to, scores = assigned(seen, read, said, self.images, self.captions)
        places = np.full(len(rows), -1)
        places[whole] = np.arange(len(part))
        found = _columns(part, self.caption, to, scores)
        return found.take(pa.array(places, mask=places < 0))


def assigned(
    seen: Halves, read: Halves, said: Halves, images: int, captions: int
) -> tuple[Places, Doubles]:
    """The image each caption goes to [n], and its score [n]."""
    speaking = nearest(seen, read, captions)  # of each image, what is said of it
    to = np.empty(len(read), np.int64)
    scores = np.empty(len(read))
    for start in range(0, len(read), _BLOCK):
        rows = slice(start, start + _BLOCK)
        candidates = nearest(read[rows], seen, images)
        own = vectors.unit(said[rows])
        best = np.full(len(own), -np.inf)
        chosen = candidates[:, 0]
        for candidate in candidates.T:
            for voice in speaking[candidate].T:
                cosines = np.einsum("ij,ij->i", own, vectors.unit(said[voice]))
                is_better = cosines > best
                best = np.where(is_better, cosines, best)
                chosen = np.where(is_better, candidate, chosen)
        to[rows], scores[rows] = chosen, best
    return to, scores


def nearest(asked: Halves, pool: Halves, count: int) -> Places:
    """The places in `pool` [m, d] nearest to each row [n, d], the nearest first; ties by place.

    Of a pool of fewer than `count` rows all; memory is that of a block of rows with a block of it.
    """
    count = min(count, len(pool))
    found = np.empty((len(asked), count), np.int64)
    for start in range(0, len(asked), _BLOCK):
        rows = vectors.unit(asked[start : start + _BLOCK])
        best = np.full((len(rows), count), -np.inf)
        places = np.full((len(rows), count), len(pool))
        for at in range(0, len(pool), _BLOCK):
            cosines = rows @ vectors.unit(pool[at : at + _BLOCK]).T
            best, places = _merged(best, places, cosines, at)
        found[start : start + _BLOCK] = places
    return found


def _merged(best: Doubles, places: Places, cosines: Doubles, at: int) -> tuple[Doubles, Places]:
    """The highest of those known and of a block of the pool that begins at `at`, in order."""
    count = best.shape[1]
    floor = best[:, -1:]
    if not (cosines > floor).any():
        return best, places
    kept = _top(cosines, count)
    values = np.concatenate([best, np.take_along_axis(cosines, kept, 1)], axis=1)
    both = np.concatenate([places, kept + at], axis=1)
    order = np.lexsort((both, -values), axis=1)[:, :count]
    return np.take_along_axis(values, order, 1), np.take_along_axis(both, order, 1)


def _top(cosines: Doubles, count: int) -> npt.NDArray[np.intp]:
    """Places of the highest in each row; of equal ones at the edge the first, in no order."""
    if cosines.shape[1] <= count:
        return np.tile(np.arange(cosines.shape[1]), (len(cosines), 1))
    edge = np.partition(cosines, -count, axis=1)[:, -count, None]
    above, equal = cosines > edge, cosines == edge
    room = count - above.sum(axis=1, keepdims=True)
    chosen = above | (equal & (np.cumsum(equal, axis=1) <= room))
    return np.nonzero(chosen)[1].reshape(len(cosines), count)


def _columns(rows: pa.Table, caption: str, to: Places, scores: Doubles) -> pa.Table:
    """What is written of rows that all take part; they are in the order of their keys."""
    count = np.bincount(to, minlength=len(rows))
    order = np.lexsort((np.arange(len(to)), -scores, to))
    first = order[np.unique(to[order], return_index=True)[1]]
    source = np.full(len(rows), -1)
    source[to[first]] = first
    taken = pa.array(source, mask=source < 0)
    keys: Any = rows["key"].cast(pa.binary(16))
    columns = [
        rows[caption].cast(pa.string()).take(taken),
        keys.take(taken),
        pa.array(scores, pa.float32()).take(taken),
        pa.array(count, pa.int32()),
        keys.take(pa.array(to)),
    ]
    return pa.table(columns, schema=_WRITES)
