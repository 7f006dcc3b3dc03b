"""One shard of the pool from the rows that came in: a tar of samples, and a base row for each row.

The rows are written as they come, so that one image is in memory at a time.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pipeline import decoding, pool, storage, takedown_match
from pipeline.domains import registered_domain
from pipeline.pool import Shard
from pipeline.shards import Sample, ShardWriter
from pipeline.sources.base import Incoming
from pipeline.takedown_match import Listed
from pipeline.takedown_record import TAKEN_DOWN, Entry, empty_row

DUPLICATE = "duplicate_key"
KNOWN_HASHES = "known_hashes"  # in the meta: what the list said of the bytes, for the next try
Keyed = tuple[bytes, Incoming]


@dataclass(frozen=True)
class Place:
    """Where a shard goes: `plan` names the ingest that writes it, `source` what its rows are of."""

    root: str
    name: str
    source: str
    plan: str
    max_pixels: int = decoding.MAX_PIXELS


def write_shard(place: Place, rows: Iterable[Keyed], check: Callable[[bytes], None]) -> Shard:
    """Write the rows with their keys. `check` is told all keys in order before anything counts."""
    path = pool.tar_path(place.root, place.name)
    listed = takedown_match.listed(place.root)
    with storage.writing(path) as temporary, open(temporary, "wb") as stream:
        writer = ShardWriter(stream)
        base = [_pool_row(key, _allowed(row, listed, place), place, writer) for key, row in rows]
        writer.close()
        check(b"".join(row["key"] for row in base))
    size = storage.size(path)
    return pool.write_base(place.root, place.name, pool.base_table(base), size, place.plan)


def mark_duplicate(row: Incoming) -> None:
    """Make a row one that another stands for, unless it has failed by itself."""
    if row.failed is None:
        row.failed, row.detail = DUPLICATE, "another row carries this pair"
        row.retriable = False


def block(row: Incoming, entry: Entry | None) -> None:
    """Make a row one that was taken down if an entry names it."""
    if entry is not None:
        row.failed, row.detail, row.retriable = TAKEN_DOWN, entry.reason, False


def _allowed(row: Incoming, listed: Listed, place: Place) -> Incoming:
    """The row with its image, which fails when that is listed."""
    if row.image is not None and (listed.images or listed.alike):
        entry = takedown_match.by_image(listed, row.image, row.image_sha256, place.max_pixels)
        block(row, entry)
    return row


def _pool_row(key: bytes, row: Incoming, place: Place, writer: ShardWriter) -> dict[str, Any]:
    """The base row of an incoming row; its sample is written when there is one."""
    if row.failed == TAKEN_DOWN:
        return empty_row(key, place.source, row.detail)
    meta = {**row.meta, KNOWN_HASHES: row.hashes} if row.hashes else row.meta
    base = {
        "key": key,
        "source": place.source,
        "source_key": row.source_key,
        "url": row.url,
        "domain": registered_domain(row.url),
        "caption": row.caption,
        "captions": row.captions or None,
        "image_sha256": row.image_sha256,
        "failed": row.failed,
        "detail": row.detail,
        "retriable": row.retriable,
        **row.fetched,
        "meta": json.dumps(meta, sort_keys=True, default=str) if meta else None,
    }
    if row.failed is not None or row.metadata_only:
        return base
    if row.image is None:
        return base | {"failed": "no_image", "retriable": False}
    try:
        header = decoding.read_header(row.image, max_pixels=place.max_pixels)
    except decoding.Unreadable as error:
        return base | {"failed": error.reason, "detail": error.detail, "retriable": False}
    extension = decoding.EXTENSIONS[header.format]
    writer.write(Sample(key.hex(), {extension: row.image, **_others(row, extension)}))
    return base | {"extension": extension}


def _others(row: Incoming, extension: str) -> dict[str, bytes]:
    """The members beside the image: those that came, and the caption as `txt` if none did.

    One that has the name the image takes by its true format is called `other.<name>`.
    """
    others = {
        f"other.{name}" if name == extension else name: data for name, data in row.parts.items()
    }
    if row.caption is not None:
        others.setdefault("txt", row.caption.encode("utf-8"))
    return others
