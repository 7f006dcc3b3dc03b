"""Which rows show the same picture: copies of the same bytes and pictures that hash alike.

Every row is put into exactly one group, whatever the order of the rows. Groups are found, not
judged: nothing here drops a row. Hashes of flat pictures say nothing and join nothing.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from filters.groups import leaders
from filters.neighbours import MAX_DISTANCE, Hashes, Places

Column = Any  # an array of Arrow, whole or in chunks: Arrow comes without types

_COLUMNS: dict[str, pa.DataType] = {
    "dup_group": pa.binary(16),
    "dup_size": pa.int32(),
    "dup_distance": pa.int32(),
    "dup_exact": pa.bool_(),
}
# Lists are built in pieces of at most so many bytes of text: offsets in them have 32 bits.
_BYTES_PER_PIECE = 1 << 30


@dataclass(frozen=True)
class Duplicates:
    """Groups of rows with one picture, each named after its best member.

    The best of some rows is the one with the most pixels (rows without a size come last), of
    equals the one with the smallest key. Rows with equal `image_sha256` are one picture; a row
    without is a picture of its own. A picture has a hash when a row of it has a `phash` with at
    least `min_bits` bits set and a `hash_contrast` of at least `min_contrast`; it is that of the
    best such row.

    Pictures with hashes that differ in at most `distance` bits are linked. Of each connected
    component the best row's picture and all whose hash is within `cap` bits of its hash (twice
    `distance` if None) are a group; the others are linked anew among themselves, by the same
    rule, until none is left. So no chain of small steps leads far, at the price that a member
    within `distance` of another may be in the next group. Pictures without a hash are groups.

    `dup_group` is the key of the group's best row, NULL when the group is a single row;
    `dup_size` counts its rows; `dup_distance` is the bits between the hashes of the row's picture
    and the best row's: 0 for itself and copies, NULL when the row is alone. `dup_exact` says that
    another row has the same bytes. `dup_captions` (if `merge_captions`) holds the distinct
    captions of the group, also of a single row: the best row's, then by smallest key, the first
    `max_captions` of them; NULL when there is none.

    All rows meet at once, so there is no `gather_key`. Memory, beside the columns read: some 250
    bytes a row, and with `merge_captions` some 700 where captions have 55. Measured with them: 0.7
    GB for 2 * 10^6 rows and 1.9 GB with captions, 3.0 GB for 10^7. More than 2 GB of text do.
    """

    # Below a contrast of 2 the hash of a JPEG is that of a plain area one time in 10^4 pairs and
    # soon more; half of the copies are missed there anyway. Photos have 32 bits set, mirrored
    # ones 12 or more; plain areas, gradients, stripes and frames have 1 to 11, whatever they show.
    distance: int = 4
    cap: int | None = None
    min_contrast: float = 2.0
    min_bits: int = 12
    merge_captions: bool = False
    max_captions: int = 10

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 <= self.distance <= MAX_DISTANCE:
            raise ValueError(f"distance is 0 to {MAX_DISTANCE}, got {self.distance}")
        if not self.distance <= self.widest <= 64:
            raise ValueError(f"cap is distance ({self.distance}) to 64, got {self.cap}")
        if not self.min_contrast >= 0:
            raise ValueError(f"min_contrast is 0 or more, got {self.min_contrast}")
        if not 0 <= self.min_bits <= 64:
            raise ValueError(f"min_bits is 0 to 64, got {self.min_bits}")
        if self.max_captions < 1:
            raise ValueError(f"max_captions is 1 or more, got {self.max_captions}")

    @property
    def widest(self) -> int:
        """The cap in bits, resolved."""
        return 2 * self.distance if self.cap is None else self.cap

    @property
    def identity(self) -> dict[str, Any]:
        """The parameters, with the cap resolved."""
        return asdict(self) | {"cap": self.widest}

    @property
    def reads(self) -> tuple[str, ...]:
        names = ("phash", "hash_contrast", "image_sha256", "width", "height")
        return (*names, "caption") if self.merge_captions else names

    @property
    def writes(self) -> pa.Schema:
        captions = {"dup_captions": pa.list_(pa.string())} if self.merge_captions else {}
        return pa.schema({**_COLUMNS, **captions})

    def reduce(self, rows: pa.Table) -> pa.Table:
        """The columns of all rows, in their order.

        Raises ValueError when `distance` is too wide for so many different hashes.
        """
        by_key = key_order(rows["key"])
        ranked = _best_first(rows, by_key)
        rank = np.empty_like(ranked)
        rank[ranked] = np.arange(len(ranked))
        picture, copies = _pictures(rows["image_sha256"])
        node, hashes = _nodes(self._hashed(rows), rows["phash"], picture, rank)
        group = self._groups(hashes, _lowest(rank, node))[node]
        size = np.bincount(group)[group]
        best = ranked[_lowest(rank, group)[group]]
        alone = size == 1
        bits = _bits_apart(hashes, node, group)
        columns = [
            rows["key"].take(pa.array(best, mask=alone)),
            pa.array(size.astype(np.int32)),
            pa.array(bits, mask=alone),
            pa.array(copies > 1),
        ]
        if self.merge_captions:
            columns.append(_captions(rows["caption"], group, best, by_key, self.max_captions))
        return pa.table(columns, schema=self.writes)

    def _hashed(self, rows: pa.Table) -> NDArray[np.bool_]:
        """Whether each row has a hash that says something."""
        contrast = pc.fill_null(rows["hash_contrast"].cast(pa.float32()), 0).to_numpy()
        bits = np.bitwise_count(pc.fill_null(rows["phash"], 0).to_numpy())
        known = rows["phash"].is_valid().to_numpy() & rows["hash_contrast"].is_valid().to_numpy()
        says: NDArray[np.bool_] = known & (contrast >= self.min_contrast) & (bits >= self.min_bits)
        return says

    def _groups(self, hashes: Hashes, rank: Places) -> Places:
        """The node that each node is grouped with; those behind the hashes stay alone."""
        group = np.arange(len(rank))
        lead = leaders(hashes, rank[: len(hashes)], self.distance, self.widest)
        group[: len(hashes)] = lead
        return group


def key_order(keys: Column) -> Places:
    """The order that sorts rows by 16-byte key; at once when they stand in order."""
    words = _words(keys)
    high, low = words[:, 0], words[:, 1]
    rising = (high[1:] > high[:-1]) | ((high[1:] == high[:-1]) & (low[1:] > low[:-1]))
    return np.arange(len(words)) if rising.all() else np.lexsort((low, high))


def _words(keys: Column) -> NDArray[np.uint64]:
    """The two halves of each key as integers, [n, 2]."""
    parts = [
        np.frombuffer(chunk.buffers()[1], ">u8", 2 * len(chunk), 16 * chunk.offset)
        for chunk in keys.chunks
        if len(chunk)
    ]
    flat = np.concatenate(parts) if parts else np.zeros(0, ">u8")
    return flat.astype(np.uint64).reshape(-1, 2)


def _best_first(rows: pa.Table, by_key: Places) -> Places:
    """Rows by falling number of pixels, then by key."""
    sides = [rows[name].cast(pa.int64()) for name in ("width", "height")]
    pixels = pc.fill_null(pc.multiply(*sides), -1).to_numpy()
    order: Places = by_key[np.argsort(-pixels[by_key], kind="stable")]
    return order


def _pictures(digests: Column) -> tuple[Places, Places]:
    """The number of the picture of each row, and how many rows have it."""
    codes = _codes(digests)
    unknown = np.flatnonzero(codes < 0)
    codes[unknown] = int(codes.max(initial=-1)) + 1 + np.arange(len(unknown))
    return codes, np.bincount(codes)[codes]


def _codes(values: Column) -> Places:
    """Equal numbers from 0 on for equal values; -1 for NULL."""
    if pa.types.is_fixed_size_binary(values.type):  # of which Arrow can't encode more than 2 GB
        values = values.cast(pa.large_binary())
    chunks = values.dictionary_encode().chunks
    parts = [pc.fill_null(chunk.indices, -1).to_numpy().astype(np.intp) for chunk in chunks]
    return np.concatenate(parts) if parts else np.zeros(0, np.intp)


def _nodes(
    hashed: NDArray[np.bool_], phash: Column, picture: Places, rank: Places
) -> tuple[Places, Hashes]:
    """The node of each row, and the hashes of the first nodes, ascending and unique.

    Pictures with one hash are one node; each picture without a hash is a node behind those.
    """
    rows = np.flatnonzero(hashed)
    worst_first = rows[np.argsort(-rank[rows])]
    speaker = np.full(int(picture.max(initial=-1)) + 1, -1)  # the row whose hash is the picture's
    speaker[picture[worst_first]] = worst_first
    speaks = speaker >= 0
    values = pc.fill_null(phash, 0).to_numpy()
    hashes, place = np.unique(values[speaker[speaks]], return_inverse=True)
    node = np.empty(len(speaker), np.intp)
    node[speaks] = place
    node[~speaks] = len(hashes) + np.arange(len(speaker) - len(place))
    return node[picture], hashes


def _lowest(rank: Places, node: Places) -> Places:
    """The lowest rank of the rows of each node; of a number without rows the number of rows."""
    lowest = np.full(int(node.max(initial=-1)) + 1, len(rank))
    np.minimum.at(lowest, node, rank)
    return lowest


def _bits_apart(hashes: Hashes, node: Places, group: Places) -> NDArray[np.int32]:
    bits = np.zeros(len(node), np.int32)
    hashed = node < len(hashes)
    bits[hashed] = np.bitwise_count(hashes[node[hashed]] ^ hashes[group[hashed]])
    return bits


def _captions(captions: Column, group: Places, best: Places, by_key: Places, most: int) -> Column:
    """The distinct captions of each row's group, the best row's first."""
    encoded = captions.cast(pa.large_string())
    codes = _codes(encoded)
    place = np.empty_like(by_key)
    place[by_key] = np.arange(1, len(by_key) + 1)
    place[best] = 0
    told = np.flatnonzero(codes >= 0)
    told = _first_of_each(told, group, codes, place)
    told = told[np.lexsort((place[told], group[told]))]
    starts = np.searchsorted(group[told], np.arange(int(group.max(initial=-1)) + 2))
    told = told[np.arange(len(told)) - starts[group[told]] < most]
    starts = np.searchsorted(group[told], np.arange(int(group.max(initial=-1)) + 2))
    texts = encoded.take(pa.array(told)).combine_chunks()
    lists = _lists(texts, starts)
    return pa.chunked_array(list(_spread(lists, texts, starts, group)), pa.list_(pa.string()))


def _first_of_each(told: Places, group: Places, codes: Places, place: Places) -> Places:
    """Of rows with one caption in one group, the one with the lowest place."""
    order = told[np.lexsort((place[told], codes[told], group[told]))]
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(group[order]) != 0) | (np.diff(codes[order]) != 0)
    return order[new]


def _lists(texts: Column, starts: Places) -> Column:
    empty = np.append(np.diff(starts) == 0, False)
    return pa.LargeListArray.from_arrays(pa.array(starts, mask=empty), texts)


def _spread(lists: Column, texts: Column, starts: Places, group: Places) -> Iterator[Column]:
    """The list of each row's group, in pieces whose text fits 32-bit offsets."""
    sizes = pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False)
    ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    per_group = np.diff(ends[starts])
    piece = np.cumsum(per_group[group]) // _BYTES_PER_PIECE
    edges = np.flatnonzero(np.diff(piece)) + 1
    for some in np.split(group, edges):
        yield lists.take(pa.array(some)).cast(pa.list_(pa.string()))
