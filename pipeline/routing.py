"""Rows that are to be fetched, on their way from the lists they came in to who fetches them.

A survey leaves the rows of each unit on disk, sorted by a hash of their site. A partition is a
range of these hashes: all rows of its sites, whatever list they stand in. One task fetches a
partition, so that a site has one visitor at a time, however many workers there are.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.errors import DamagedFile
from pipeline.fetch.options import FetchOptions
from pipeline.fetch.outcome import Refusal
from pipeline.fetch.sites import site_of
from pipeline.fetch.target import parse_target
from pipeline.keys import digest
from pipeline.sources.base import Incoming

SHARDS_TOGETHER = 8  # of a partition, when its sites allow it; they are fetched at the same time
_BUCKETS = 4096
_SHIFT = 51  # of the 63 bits of a site's hash, the upper 12 are its bucket
_ROWS_TOGETHER = 1 << 16
_BYTES_TOGETHER = 1 << 26  # of what is said of them; a row may say much
_GROUP_ROWS = 1 << 12
_WRITING: Mapping[str, Any] = {"use_dictionary": ["failed", "detail"], "write_statistics": ["site"]}
_PLAIN = re.compile(r"https?://([a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,24})(?=[/?#:]|$)", re.I | re.A)
# Of a site there may be more text than 2 GB, which is all that a plain string of Arrow can address.
ROWS = pa.schema(
    [
        pa.field("site", pa.int64(), nullable=False),
        pa.field("address", pa.int64(), nullable=False),  # hash of the URL
        pa.field("position", pa.int64(), nullable=False),
        pa.field("key", pa.binary(16), nullable=False),
        pa.field("source_key", pa.large_string()),
        pa.field("url", pa.large_string()),
        pa.field("said", pa.large_string()),  # JSON: captions and meta
        pa.field("failed", pa.string()),
        pa.field("detail", pa.large_string()),
        pa.field("retriable", pa.bool_()),
        pa.field("held", pa.string()),  # JSON: a name that may not be Unicode
        pa.field("hashes", pa.string()),  # JSON
    ]
)
Said = tuple[bytes, str, Incoming]  # key, what its source said of it, and the row
_Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Partition:
    """A range of buckets, `first` to before `end`, and its rows by source, in the plan's order."""

    first: int
    end: int
    rows: tuple[tuple[str, int], ...]


def rows_path(root: str, number: int) -> str:
    return storage.join(root, "pool", "survey", f"{number:06d}.rows.parquet")


def write_rows(path: str, rows: Iterable[Said], options: FetchOptions, plan: str) -> None:
    """Write the rows of a unit; so many at a time are sorted by site."""
    stored = (_stored(position, said, options) for position, said in enumerate(rows))
    with storage.writing(path) as temporary:
        schema = ROWS.with_metadata({"plan": plan})
        with pq.ParquetWriter(temporary, schema, compression="zstd", **_WRITING) as writer:
            for batch in _together(stored):
                columns = [list(column) for column in zip(*batch, strict=True)]
                table = pa.table(columns, schema=ROWS)
                table = table.take(pa.array(np.argsort(table["site"].to_numpy(), kind="stable")))
                writer.write_table(table, row_group_size=_GROUP_ROWS)


def _together(stored: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """Rows that are sorted together: a number of them, fewer where there is much to say."""
    said = ROWS.get_field_index("said")
    batch: list[tuple[Any, ...]] = []
    size = 0
    while some := list(islice(stored, _GROUP_ROWS)):
        batch += some
        size += sum(len(row[said]) for row in some)
        if len(batch) >= _ROWS_TOGETHER or size >= _BYTES_TOGETHER:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _stored(position: int, said: Said, options: FetchOptions) -> tuple[Any, ...]:
    """A row as it is stored: plain values alone, which cost the garbage collector nothing.

    Text that is not Unicode is replaced.
    """
    key, words, row = said
    url = row.url
    return (
        _site(url, row, key, options),
        _hash(digest(_bytes(url) if url else key, size=8)),
        position,
        key,
        _replaced(row.source_key),
        _replaced(url),
        words,
        row.failed,
        _replaced(row.detail),
        row.retriable,
        json.dumps(row.held) if row.held else None,
        json.dumps(row.hashes) if row.hashes else None,
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _replaced(text: str | None) -> str | None:
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "replace").decode()


def _site(url: str | None, row: Incoming, key: bytes, options: FetchOptions) -> int:
    """The hash of the site that is asked for a row; a row that asks nobody has one of its own."""
    if url is None or row.failed is not None:
        return _hash(key)
    plain = _PLAIN.match(url)
    if plain is not None:
        return _hash_of(plain[1])
    try:
        return _hash_of(parse_target(url, options).host)
    except Refusal:
        return _hash(key)


@lru_cache(maxsize=1 << 18)
def _hash_of(host: str) -> int:
    return _hash(digest(site_of(host.lower()).encode(), size=8))


def _hash(data: bytes) -> int:
    """63 bits, as signed integers of 64 hold them."""
    return int.from_bytes(data[:8], "big") >> 1


def has_rows(path: str, plan: str) -> bool:
    """Whether the rows of a unit are there, as this plan wrote them."""
    if not storage.exists(path):
        return False
    try:
        with storage.open_input(path) as stream:
            metadata = pq.read_metadata(stream).metadata or {}
    except pa.ArrowException:  # damaged: not there
        return False
    return metadata.get(b"plan") == plan.encode()


def partitions(root: str, units: Mapping[int, str], rows_per_shard: int) -> list[Partition]:
    """Cut all rows of these units (number to source) into ranges of some shards each.

    A function of the rows alone, so that any number of workers has the same.
    """
    names = list(dict.fromkeys(units.values()))
    counts = np.zeros((len(names), _BUCKETS), np.int64)
    for number, source in units.items():
        with storage.open_input(rows_path(root, number)) as stream:
            column = pq.read_table(stream, columns=["site"])["site"].to_numpy()
        found = np.bincount(column >> _SHIFT, minlength=_BUCKETS)
        counts[names.index(source)] += found
    total = counts.sum(axis=0)
    enough = SHARDS_TOGETHER * rows_per_shard
    found_, first, rows = [], 0, 0
    for bucket in range(_BUCKETS):
        rows += int(total[bucket])
        if rows >= enough or (bucket == _BUCKETS - 1 and rows):
            by_source = counts[:, first : bucket + 1].sum(axis=1).tolist()
            held = tuple((n, c) for n, c in zip(names, by_source, strict=True) if c)
            found_.append(Partition(first, bucket + 1, held))
            first, rows = bucket + 1, 0
    return found_


def read_partition(root: str, units: Sequence[int], partition: Partition) -> pa.Table:
    """The rows of a partition that these units hold, with the `unit` each is from, in order.

    Raises DamagedFile when a file can't be read.
    """
    low, high = partition.first << _SHIFT, (partition.end << _SHIFT) - 1
    tables = []
    for number in units:
        path = rows_path(root, number)
        filters = [("site", ">=", low), ("site", "<=", high)]
        try:
            with storage.open_input(path) as stream:
                table = pq.read_table(stream, filters=filters)
        except (pa.ArrowException, OSError) as error:
            raise DamagedFile(f"{path}: can't be read: {error}; ingest again") from error
        unit = pa.array(np.full(len(table), number, np.int32))
        tables.append(table.append_column("unit", unit))
    return pa.concat_tables(tables).combine_chunks().replace_schema_metadata(None)


def spread(table: pa.Table) -> _Places:
    """An order of rows in which each site comes as evenly as it can, equal URLs side by side.

    So any stretch of it asks many sites at a time, and none for longer than its share.
    """
    site, address = table["site"].to_numpy(), table["address"].to_numpy()
    unit, position = table["unit"].to_numpy(), table["position"].to_numpy()
    urls, of_row = np.unique(np.stack([site, address], axis=1), axis=0, return_inverse=True)
    sites, start, count = np.unique(urls[:, 0], return_index=True, return_counts=True)
    of_url = np.repeat(np.arange(len(sites)), count)
    begins = (sites & 0xFFFFFFFF) / 2.0**32
    turn = (np.arange(len(urls)) - start[of_url] + begins[of_url]) / count[of_url]
    return np.lexsort((position, unit, of_row, turn[of_row]))


def cuts(address: _Places, shards: int) -> list[int]:
    """Where shards of ordered rows end: at equal steps, but not between rows of one URL.

    One that goes on for more than half a shard is cut nevertheless. No shard is empty.
    """
    rows = len(address)
    ends = [rows * (number + 1) // shards for number in range(shards)]
    for number, end in enumerate(ends[:-1]):
        most = end + (ends[number + 1] - end) // 2
        moved = end
        while moved < most and address[moved] == address[moved - 1]:
            moved += 1
        ends[number] = end if address[moved] == address[moved - 1] else moved
    return ends


def incoming(table: pa.Table) -> Iterator[tuple[bytes, Incoming]]:
    """Stored rows with their keys, as they came in."""
    for row in table.select([*ROWS.names]).to_pylist():
        captions, meta = json.loads(row["said"])
        yield (
            row["key"],
            Incoming(
                source_key=row["source_key"],
                url=row["url"],
                captions=captions,
                meta=meta,
                failed=row["failed"],
                detail=row["detail"],
                retriable=row["retriable"],
                held=json.loads(row["held"]) if row["held"] else None,
                hashes=json.loads(row["hashes"]) if row["hashes"] else {},
            ),
        )
