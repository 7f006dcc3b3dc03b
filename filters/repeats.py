"""Where else in the pool an image occurs: the same bytes under other addresses, sites and pages.

Counts rows that carry an image, not downloads. A logo, a placeholder or a picture that says "not
available" has the same bytes in many places; so has a famous photograph. Says nothing about what
is too often.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc

from filters import tally

_COUNTS = {"image_urls": "url", "image_domains": "domain"}
_READS = {"image": ("image_sha256", *_COUNTS.values()), "final_url": ("final_url", "url")}


@dataclass(frozen=True)
class Repeats:
    """How many different addresses have the row's `image_sha256`, or lead to its `final_url`.

    `of` "image": `image_urls` and `image_domains` are the numbers of different `url` and `domain`
    of the rows with the row's bytes. With `page`, the name of a column that holds the URL of the
    page that shows the image, `image_pages` is the number of these. `of` "final_url":
    `final_url_sources` is the number of different `url` that end at the row's `final_url`, its own
    one among them. A count is NULL where it would be none: the row has no digest or no `final_url`,
    or no row of those counted has an address. How many rows and captions an image has, `frequency`
    tells (`of: image`). Memory: some 800 bytes for each row of a bucket, the columns read included,
    where URLs have 95.
    """

    of: Literal["image", "final_url"] = "image"
    page: str | None = None

    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"page": "text"}

    def __post_init__(self) -> None:
        if self.of not in _READS:
            raise ValueError(f"of is image or final_url, got {self.of!r}")
        if self.page is not None and self.of != "image":
            raise ValueError("page: pages are counted of images alone")

    @property
    def reads(self) -> tuple[str, ...]:
        return _READS[self.of] if self.page is None else (*_READS[self.of], self.page)

    @property
    def writes(self) -> pa.Schema:
        return pa.schema(dict.fromkeys(self._counted, pa.int32()))

    @property
    def _counted(self) -> dict[str, str]:
        """What is counted for each column written."""
        if self.of == "final_url":
            return {"final_url_sources": "url"}
        return _COUNTS if self.page is None else {**_COUNTS, "image_pages": self.page}

    def gather_key(self, rows: pa.Table) -> Any:
        """A number (uint64) per row; rows of equal number must meet in one call of `reduce`.

        Depends on nothing but the row. NULL where the row counts for no other and is NULL itself.
        """
        key = tally.leading if self.of == "image" else tally.digest
        pieces = [tally.numbers(piece, key) for piece in rows[self.reads[0]].chunks]
        return pa.chunked_array(pieces, tally.NUMBERS)

    def reduce(self, rows: pa.Table) -> pa.Table:
        """The counts of each row, in the order of the rows."""
        values = tally.codes(rows[self.reads[0]])
        counts = [tally.partners(values, tally.codes(rows[n])) for n in self._counted.values()]
        known = [pc.if_else(pc.equal(count, 0), None, count) for count in counts]
        return pa.table(known, schema=self.writes)
