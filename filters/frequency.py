"""How often a caption or an image occurs in the pool, and with how many different partners.

Counts rows that carry an image, not downloads; what is compared is the whole caption, not words
in it. Says nothing about what is too often.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Column = Any  # an array of Arrow, whole or in chunks: Arrow comes without types
Codes = NDArray[np.int64]  # equal numbers from 0 on for equal values, -1 for NULL

_WRITES = {
    "caption": pa.schema({"caption_count": pa.int32(), "caption_images": pa.int32()}),
    "image": pa.schema({"image_count": pa.int32(), "image_captions": pa.int32()}),
}
_FOLDED_AT_ONCE = 1 << 16
_KEYS = pa.uint64()


@dataclass(frozen=True)
class Frequency:
    """Counts of equal captions (`of` "caption") or of equal `image_sha256` (`of` "image").

    `caption_count` is the number of rows with the row's caption and `caption_images` that of the
    different images they have, NULL if none of these is known; both are NULL without a caption.
    `image_count` is the number of rows with the row's image and `image_captions` that of the
    different captions they have, 0 if they have none; both are NULL without a digest. With
    `fold`, captions are equal that are so after `fold_text`. Memory: some 350 bytes for each row
    of a bucket, the columns read included, where captions have 55.
    """

    of: Literal["caption", "image"] = "caption"
    fold: bool = True

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption", "image_sha256")

    def __post_init__(self) -> None:
        if self.of not in _WRITES:
            raise ValueError(f"of is caption or image, got {self.of!r}")

    @property
    def writes(self) -> pa.Schema:
        return _WRITES[self.of]

    def gather_key(self, rows: pa.Table) -> Column:
        """A number (uint64) per row; rows of equal number must meet in one call of `reduce`.

        Depends on nothing but the row. NULL where the row counts for no other and is NULL itself.
        """
        if self.of == "image":
            pieces = rows["image_sha256"].chunks
            return pa.chunked_array([_numbers(piece, lambda d: d[:8]) for piece in pieces], _KEYS)
        return pa.chunked_array([_numbers(text, _digest) for text in self._texts(rows)], _KEYS)

    def reduce(self, rows: pa.Table) -> pa.Table:
        """The two counts of each row, in the order of the rows."""
        captions = _codes(pa.chunked_array(self._texts(rows), pa.large_string()))
        images = _codes(rows["image_sha256"])
        if self.of == "image":
            counts = [_rows_with(images), _partners(images, captions)]
        else:
            counts = [_rows_with(captions), _partners(captions, images)]
            counts[1] = pc.if_else(pc.equal(counts[1], 0), None, counts[1])
        return pa.table(counts, schema=self.writes)

    def _texts(self, rows: pa.Table) -> Iterator[Column]:
        for chunk in rows["caption"].cast(pa.large_string()).chunks:
            yield from _folded(chunk) if self.fold else [chunk]


def fold_text(text: str) -> str:
    """The text in Unicode's NFKC, then with case folded and white space collapsed."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _folded(texts: Column) -> Iterator[Column]:
    for start in range(0, len(texts), _FOLDED_AT_ONCE):
        some = texts.slice(start, _FOLDED_AT_ONCE).to_pylist()
        folded = [None if text is None else fold_text(text) for text in some]
        yield pa.array(folded, pa.large_string())


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def _numbers(values: Column, key: Callable[[Any], bytes]) -> Column:
    """The eight bytes that `key` makes of each value, as a number; NULL of NULL."""
    known = values.is_valid().to_numpy(zero_copy_only=False)
    numbers = np.zeros(len(values), np.uint64)
    told = b"".join([key(value) for value in values.drop_null().to_pylist()])
    numbers[known] = np.frombuffer(told, ">u8")
    return pa.array(numbers, mask=~known)


def _codes(values: Column) -> Codes:
    if pa.types.is_fixed_size_binary(values.type):  # of which Arrow can't encode more than 2 GB
        values = values.cast(pa.large_binary())
    chunks = values.dictionary_encode().chunks
    parts = [pc.fill_null(chunk.indices, -1).to_numpy().astype(np.int64) for chunk in chunks]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _rows_with(codes: Codes) -> Column:
    return _per_row(np.bincount(codes[codes >= 0]), codes)


def _partners(codes: Codes, others: Codes) -> Column:
    """How many different `others` the rows of the row's code have."""
    both = (codes >= 0) & (others >= 0)
    span = int(others.max(initial=0)) + 1
    pairs = np.sort(codes[both] * span + others[both])
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    return _per_row(np.bincount(pairs // span, minlength=int(codes.max(initial=-1)) + 1), codes)


def _per_row(counts: NDArray[np.int64], codes: Codes) -> Column:
    known = codes >= 0
    values = np.zeros(len(codes), np.int32)
    values[known] = counts[codes[known]]
    return pa.array(values, mask=~known)
