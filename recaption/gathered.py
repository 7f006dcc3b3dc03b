"""All captions of an image, whichever rows of the pool have them: of pages in several languages, of
copies on several sites. Nothing is written anew, and nothing is judged.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters import tally
from filters.tally import Codes, Column
from recaption import captions


@dataclass(frozen=True)
class GatheredCaptions:
    """`captions`: those of all rows with the row's `image_sha256`, the same list for each of them.

    They come in the order of the rows' keys, each text once in a language, and of each language the
    first `most`. `language` names a column of text that tells the language of a row's captions
    (`language`, a field of its page, or `source` where each source has its own); a caption that
    knows its language keeps it. A row without a digest has NULL, one whose image nobody describes
    an empty list. Memory: some 1,000 bytes for each row of a bucket, the columns read included,
    where captions have 60 characters.
    """

    language: str | None = None
    most: int = 10

    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"language": "text"}
    writes: ClassVar[pa.Schema] = captions.WRITES

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"most is 1 or more, got {self.most}")

    @property
    def reads(self) -> tuple[str, ...]:
        own = ("image_sha256", "captions")
        return own if self.language is None else (*own, self.language)

    def gather_key(self, rows: pa.Table) -> Column:
        """A number (uint64) per row; rows of equal number must meet in one call of `reduce`.

        NULL where the row counts for no other and is NULL itself.
        """
        chunks = rows["image_sha256"].chunks
        numbers = [tally.numbers(some, tally.leading) for some in chunks]
        return pa.chunked_array(numbers, tally.NUMBERS)

    def reduce(self, rows: pa.Table) -> pa.Table:
        """The captions of each row, in the order of the rows, which is that of their keys."""
        image = tally.codes(rows["image_sha256"])
        lists = _whole(rows["captions"])
        told, of_row = pc.list_flatten(lists), pc.list_parent_indices(lists)
        language = pc.struct_field(told, "language")
        if self.language is not None:
            language = pc.coalesce(language, _whole(rows[self.language]).take(of_row))
        text = tally.codes(pa.chunked_array([pc.struct_field(told, "text")]))
        spoken = tally.codes(pa.chunked_array([language]))
        shown = image[of_row.to_numpy()]
        chosen = self._chosen(shown, spoken, text)
        starts = np.searchsorted(shown[chosen], np.arange(int(image.max(initial=-1)) + 2))
        names = [field.name for field in captions.CAPTION]
        fields = [language if n == "language" else pc.struct_field(told, n) for n in names]
        texts = pa.StructArray.from_arrays(fields, names).take(pa.array(chosen))
        of_image = pa.LargeListArray.from_arrays(pa.array(starts, pa.int64()), texts)
        found = of_image.take(pa.array(image, mask=image < 0))
        return pa.table([found], names=[captions.COLUMN])

    def _chosen(self, image: Codes, language: Codes, text: Codes) -> Codes:
        """Of captions, by number, the first with its text, image and language; by image, in order.

        Those of no image and those without a text are left out.
        """
        known = np.flatnonzero((image >= 0) & (text >= 0))
        order = known[np.lexsort((known, text[known], language[known], image[known]))]
        first = order[_begins(image[order], language[order], text[order])]
        first = first[np.lexsort((first, language[first], image[first]))]
        begins = np.flatnonzero(_begins(image[first], language[first]))
        turn = np.arange(len(first)) - np.repeat(begins, np.diff(begins, append=len(first)))
        first = first[turn < self.most]
        return np.asarray(first[np.lexsort((first, image[first]))])


def _begins(*values: Codes) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Where any of these differs from the one before it."""
    new = np.ones(len(values[0]), bool)
    new[1:] = np.any([np.diff(some) != 0 for some in values], axis=0)
    return new


def _whole(column: Column) -> Column:
    """A column in one piece."""
    found = column.combine_chunks()
    return found if isinstance(found, pa.Array) else pa.concat_arrays(found.chunks)
