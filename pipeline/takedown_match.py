"""Which rows must not be used: by key, URL, host, digest, or by how alike an image looks.

Asked of rows on their way in, before their bytes are written, and of a whole pool whenever it or
the lists have changed. A row is taken down by its key, and with it every row of that key.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import catalog, decoding
from pipeline import takedown_record as record
from pipeline.columns import ColumnSet
from pipeline.instances import Instance, fingerprint
from pipeline.keys import digest
from pipeline.pool import Pool, read_stored
from pipeline.score import score_shard
from pipeline.score_job import ScoreJob
from pipeline.takedown_record import TAKEN_DOWN, Entry, Taken
from pipeline.urls import canonical

if TYPE_CHECKING:
    from pipeline.build import Build

VERSION = 3  # raise it when the same lists would take down other rows; 3: pages of rows
_HASHES = "hashes"  # the scorer, and the name of its columns
MIN_CONTRAST = 2.0  # below it a phash is noise, and says nothing
_COMPARED_AT_ONCE = 1 << 22  # pairs of hashes: 32 MB
_READ = ("key", "url", "redirects", "image_sha256", "received_sha256", "failed", "detail", "meta")
_PAGE = "page_url"  # in the meta of a row, the page that its pair was found on
Looks = Sequence[tuple[int, float] | None]  # phash and contrast of an image
Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Listed:
    """All entries in a form that answers at once; of equal names the first entry counts."""

    keys: dict[bytes, Entry] = field(default_factory=dict)
    urls: dict[str, Entry] = field(default_factory=dict)
    hosts: dict[str, Entry] = field(default_factory=dict)
    images: dict[bytes, Entry] = field(default_factory=dict)
    alike: dict[int, dict[int, Entry]] = field(default_factory=dict)  # by distance and phash

    @property
    def is_empty(self) -> bool:
        return not (self.keys or self.urls or self.hosts or self.images or self.alike)

    def by_name(self, key: bytes, url: str | None, meta: Mapping[str, Any]) -> Entry | None:
        """The entry that names a row, or its page, by what is known before its image is there."""
        page = meta.get(_PAGE)
        return self.keys.get(key) or self.by_urls([url, page if isinstance(page, str) else None])

    def by_base(self, row: Mapping[str, Any]) -> Entry | None:
        """The entry that names a row of the pool by its base columns key, url and meta."""
        is_asked = (self.urls or self.hosts) and _PAGE in (row["meta"] or "")
        meta = json.loads(row["meta"]) if is_asked else {}
        return self.by_name(row["key"], row["url"], meta)

    def by_urls(self, urls: Iterable[str | None]) -> Entry | None:
        """The entry for one of these addresses, such as those that redirects led to."""
        for url in filter(None, urls) if self.urls or self.hosts else ():
            name, host = canonical(url)
            found = self.urls.get(name) or self._by_host(host)
            if found is not None:
                return found
        return None

    def _by_host(self, host: str | None) -> Entry | None:
        while host:
            if host in self.hosts:
                return self.hosts[host]
            host = host.partition(".")[2]
        return None

    def by_bytes(self, sha256: bytes | None) -> Entry | None:
        return None if sha256 is None else self.images.get(sha256)

    def by_looks(self, hashes: Looks) -> list[Entry | None]:
        """For each image the entry whose hash is near enough; compares with all of them."""
        found: list[Entry | None] = [None] * len(hashes)
        clear = [(n, h[0]) for n, h in enumerate(hashes) if h is not None and h[1] >= MIN_CONTRAST]
        asked = np.array([phash for _, phash in clear], np.uint64)
        for distance, listed in sorted(self.alike.items()):
            known = np.array(sorted(listed), np.uint64)
            at_once = max(1, _COMPARED_AT_ONCE // len(known))
            for start in range(0, len(asked), at_once):
                apart = np.bitwise_count(asked[start : start + at_once, None] ^ known)
                for row, place in enumerate(apart.argmin(axis=1).tolist(), start):
                    if apart[row - start, place] <= distance and found[clear[row][0]] is None:
                        found[clear[row][0]] = listed[int(known[place])]
        return found


def listed(root: str) -> Listed:
    """What is listed below `root`. Raises DamagedFile rather than forget a list."""
    return _listed(root, record.state(root))


@lru_cache(maxsize=2)
def _listed(root: str, _state: tuple[Any, ...]) -> Listed:
    found = Listed()
    for entry in record.entries(root):
        if entry.kind == "key":
            found.keys.setdefault(bytes.fromhex(entry.value), entry)
        elif entry.kind == "url":
            found.urls.setdefault(canonical(entry.value)[0], entry)
        elif entry.kind == "domain":
            found.hosts.setdefault(entry.value, entry)
        elif entry.kind == "sha256":
            found.images.setdefault(bytes.fromhex(entry.value), entry)
        else:
            alike = found.alike.setdefault(entry.distance or 0, {})
            alike.setdefault(int(entry.value, 16), entry)
    return found


def by_image(found: Listed, image: bytes, sha256: bytes | None, max_pixels: int) -> Entry | None:
    """The entry for an image that has just come in, before it is written."""
    entry = found.by_bytes(sha256)
    if entry is not None or not found.alike:
        return entry
    try:
        pixels = decoding.decode(image, max_pixels=max_pixels)
    except decoding.Unreadable:  # no picture that could look like another
        return None
    hashed = _hasher()({"image": [pixels]})
    return found.by_looks(list(zip(hashed["phash"], hashed["hash_contrast"], strict=True)))[0]


def _hasher() -> Any:
    return catalog.scorer_class(_HASHES)()


def bring_up(build: "Build", made: Pool) -> Taken | None:
    """The rows of a pool that are taken down, looked up anew when it or the lists have changed.

    None when there are none. Needs a look at every image once, if perceptual hashes are listed.
    """
    known = record.taken(build.root)
    if is_behind(made):
        columns = _hash_columns(build, made) if listed(build.root).alike else None
        record.write_taken(build.root, _matched(made, columns), _label(made))
        known = record.taken(build.root)
    return known if known is not None and len(known.keys) else None


def is_behind(made: Pool) -> bool:
    """Whether the rows of a pool have not been looked up by the lists that are in force."""
    known = record.taken(made.root)
    is_asked = bool(record.lists(made.root))
    return is_asked and (known is None or known.label != _label(made))


def _label(made: Pool) -> str:
    asked = record.record_digest(made.root)
    return digest(asked.encode(), made.digest.encode(), str(VERSION).encode()).hex()


def used_digest(made: Pool | None, taken: Taken | None) -> str:
    """Names the rows of a pool that may be used: what scorers depend on that see all of them."""
    if made is None or taken is None:
        return made.digest if made else ""
    return digest(made.digest.encode(), taken.digest.encode()).hex()


def _hash_columns(build: "Build", made: Pool) -> ColumnSet:
    """The perceptual hashes of all images: the columns that a recipe's `hashes: {}` writes."""
    scorer = _hasher()
    max_pixels = build.recipe.ingest.max_pixels
    decoder = f"{decoding.DECODER_VERSION}, {max_pixels} pixels"
    columns = ColumnSet(build.root, _HASHES, fingerprint(scorer, {}, decoder), scorer.writes)
    job = ScoreJob(build.root, (Instance(_HASHES, scorer, columns),), max_pixels)
    build.stage(
        "hash for takedown",
        partial(score_shard, job=job),
        [(shard.name, shard) for shard in made.shards],
        columns.has,
    )
    return columns


def _matched(made: Pool, columns: ColumnSet | None) -> pa.Table:
    """The rows that are named, and those that share a key with one, in pool order."""
    found = listed(made.root)
    named: dict[bytes, Entry] = {}
    for row in record.tombstones(made.root).to_pylist():
        named.setdefault(row["key"], Entry(row["kind"], "", None, row["reason"], row["date"]))
    for shard in made.shards:
        base = read_stored(made.root, shard, _READ).to_pylist()
        looks: list[Entry | None] = [None] * len(base)
        if columns is not None:
            hashes = columns.read(shard, ["phash", "hash_contrast"]).to_pydict().values()
            pairs = zip(*hashes, strict=True)
            looks = found.by_looks([None if p is None else (p, c) for p, c in pairs])
        for row, alike in zip(base, looks, strict=True):
            entry = found.by_base(row) or found.by_urls(row["redirects"] or ())
            for sha256 in (row["image_sha256"], row["received_sha256"]):
                entry = entry or found.by_bytes(sha256)
            if row["failed"] == TAKEN_DOWN:
                entry = entry or Entry("key", "", None, row["detail"])
            if (entry := entry or alike) is not None:
                named.setdefault(row["key"], entry)
    return pa.Table.from_pylist(list(_rows(made, named)), schema=record.TAKEN)


def _rows(made: Pool, named: dict[bytes, Entry]) -> Iterator[dict[str, Any]]:
    for shard in made.shards:
        keys = read_stored(made.root, shard, ["key"])["key"].to_pylist()
        for row, key in enumerate(keys):
            entry = named.get(key)
            if entry is not None:
                told = {"kind": entry.kind, "reason": entry.reason, "date": entry.date}
                yield {"key": key, "shard": shard.name, "row": row, **told}
