"""How often a caption, an image or another value occurs in the pool, and with how many partners.

Counts rows that carry an image, not downloads; what is compared is the whole caption, not words
in it. Says nothing about what is too often.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from filters import tally
from filters.tally import Column

_WRITES = {
    "caption": pa.schema({"caption_count": pa.int32(), "caption_images": pa.int32()}),
    "image": pa.schema({"image_count": pa.int32(), "image_captions": pa.int32()}),
}
_FOLDED_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Frequency:
    """Counts of equal captions (`of` "caption"), of equal `image_sha256` (`of` "image"), or of
    equal values of another column.

    `caption_count` is the number of rows with the row's caption and `caption_images` that of the
    different images they have, NULL if none of these is known; both are NULL without a caption.
    `image_count` is the number of rows with the row's image and `image_captions` that of the
    different captions they have, 0 if they have none; both are NULL without a digest. With
    `fold`, captions are equal that are so after `fold_text`. `<column>_count` is the number of
    rows with the row's value in a column of texts, numbers or digests, as it is; NULL without.
    Memory: some 350 bytes for each row of a bucket, the columns read included, where captions
    have 55.
    """

    of: str = "caption"
    fold: bool = True

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not isinstance(self.of, str) or not self.of:
            raise ValueError(f"of is caption, image or the name of a column, got {self.of!r}")

    @property
    def reads(self) -> tuple[str, ...]:
        return ("caption", "image_sha256") if self.of in _WRITES else (self.of,)

    @property
    def writes(self) -> pa.Schema:
        return _WRITES.get(self.of) or pa.schema({f"{self.of}_count": pa.int32()})

    def gather_key(self, rows: pa.Table) -> Column:
        """A number (uint64) per row; rows of equal number must meet in one call of `reduce`.

        Depends on nothing but the row. NULL where the row counts for no other and is NULL itself.
        """
        if self.of == "caption":
            numbers = [tally.numbers(texts, tally.digest) for texts in self._texts(rows)]
        elif self.of == "image":
            numbers = [tally.numbers(some, tally.leading) for some in rows["image_sha256"].chunks]
        else:
            numbers = [tally.numbers(some, _digest_of_any) for some in rows[self.of].chunks]
        return pa.chunked_array(numbers, tally.NUMBERS)

    def reduce(self, rows: pa.Table) -> pa.Table:
        """The counts of each row, in the order of the rows."""
        if self.of not in _WRITES:
            return pa.table([tally.rows_with(tally.codes(rows[self.of]))], schema=self.writes)
        captions = tally.codes(pa.chunked_array(self._texts(rows), pa.large_string()))
        images = tally.codes(rows["image_sha256"])
        if self.of == "image":
            counts = [tally.rows_with(images), tally.partners(images, captions)]
        else:
            counts = [tally.rows_with(captions), tally.partners(captions, images)]
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


def _digest_of_any(value: Any) -> bytes:
    return tally.digest(value.hex() if isinstance(value, bytes) else str(value))
