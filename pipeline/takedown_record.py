"""What must not be used, as it was asked for: lists below `takedown/`, and the rows they name.

Lists are only added, never changed: each is a file of its own, named in an index that is written
last and holds their digests. A list that is missing or damaged is an error, for without it what
was removed would come back. `taken.parquet` has the rows of the pool that the lists name.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import shapes, storage
from pipeline.errors import CurationError, DamagedFile

FOLDER = "takedown"
TAKEN_DOWN = "taken_down"  # the reason of a row whose content is not there any more, or never was
FORMAT = 1
KINDS = ("key", "url", "domain", "sha256", "phash")
ENTRIES = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("value", pa.string(), nullable=False),
        pa.field("distance", pa.int32()),  # of a phash
        pa.field("reason", pa.string()),
        pa.field("date", pa.string()),
    ]
)
TAKEN = pa.schema(
    [
        pa.field("key", pa.binary(16), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # of the entry, or "key" of another row
        pa.field("reason", pa.string()),
        pa.field("date", pa.string()),
    ]
)
TOMBSTONES = pa.schema(
    [*TAKEN, pa.field("digest", pa.string(), nullable=False)]  # of the base row as it was
)
_INDEX = {"format": int, "lists": [{"name": str, "entries": int, "digest": str}]}
_VISIBLE = ("key", "source")  # of a row that is taken down


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that must not be used: what kind of name it is, the name, why and since when."""

    kind: str
    value: str
    distance: int | None = None
    reason: str | None = None
    date: str | None = None

    @property
    def what(self) -> tuple[str, str, int | None]:
        return self.kind, self.value, self.distance


@dataclass(frozen=True)
class Taken:
    """The keys that are taken down in a pool, sorted; `label` says of which pool, by what lists."""

    keys: "pa.Array[Any]"
    label: str

    @property
    def digest(self) -> str:
        """Names the keys: equal ones have the same effect."""
        return hashlib.blake2b(b"".join(self.keys.to_pylist()), digest_size=8).hexdigest()


def place(root: str, *names: str) -> str:
    return storage.join(root, FOLDER, *names)


def taken_path(root: str) -> str:
    return place(root, "taken.parquet")


def marker_path(root: str) -> str:
    """What is there from the beginning of an erasure to its end."""
    return place(root, "erasing.json")


def tombstones_path(root: str) -> str:
    return place(root, "tombstones.parquet")


def lists(root: str) -> list[dict[str, Any]]:
    """The lists in force, as the index names them, in order. Raises DamagedFile."""
    path = place(root, "index.json")
    if not storage.exists(path):
        if storage.exists(taken_path(root)):
            raise DamagedFile(f"{path}: is missing, bring it back from a copy")
        return []
    value = storage.read_fields(path, "format", "lists")
    shapes.require(path, value, _INDEX)
    if value["format"] != FORMAT:
        raise DamagedFile(f"{path}: is of format {value['format']}, this program knows {FORMAT}")
    found: list[dict[str, Any]] = value["lists"]
    return found


def record_digest(root: str) -> str:
    """Names all that is asked for; empty where nothing is."""
    found = lists(root)
    return str(found[-1]["digest"]) if found else ""


def state(root: str) -> tuple[Any, ...]:
    """Something else whenever the lists are, or have been written over. Raises DamagedFile."""
    found = lists(root)
    try:
        stamps = [storage.stamp(place(root, one["name"])) for one in found]
    except FileNotFoundError as error:
        raise DamagedFile(f"{error.filename}: is missing, bring it back from a copy") from error
    return record_digest(root), *stamps


def entries(root: str) -> tuple[Entry, ...]:
    """Everything that is listed, in the order it was asked for. Raises DamagedFile."""
    return _entries(root, state(root))


@lru_cache(maxsize=4)
def _entries(root: str, _state: tuple[Any, ...]) -> tuple[Entry, ...]:
    found: list[Entry] = []
    before = ""
    for one in lists(root):
        path = place(root, one["name"])
        part = _read_list(path)
        before = _digest_of(part, before)
        if before != one["digest"]:
            raise DamagedFile(
                f"{path}: is not the list that was written; without it what was taken down would"
                " come back: bring it back from a copy"
            )
        found += part
    return tuple(found)


def _read_list(path: str) -> list[Entry]:
    try:
        with storage.open_input(path) as stream:
            table = pq.read_table(stream, page_checksum_verification=True)
        return [Entry(**row) for row in table.to_pylist()]
    except (pa.ArrowException, OSError, TypeError) as error:
        what = storage.first_line(error)
        raise DamagedFile(f"{path}: can't be read, bring it back from a copy: {what}") from error


def _digest_of(part: Sequence[Entry], before: str) -> str:
    state = hashlib.blake2b(before.encode(), digest_size=16)
    for entry in part:
        state.update(json.dumps(asdict(entry), sort_keys=True).encode() + b"\n")
    return state.hexdigest()


def append(root: str, wanted: Sequence[Entry]) -> list[Entry]:
    """Add what is not listed yet as one list, in force when this returns; returns what is new."""
    known = {entry.what for entry in entries(root)}
    new = {entry.what: entry for entry in reversed(wanted) if entry.what not in known}
    part = sorted(new.values(), key=lambda entry: (entry.kind, entry.value, entry.distance or 0))
    if not part:
        return []
    before = lists(root)
    name = f"{len(before):05d}.parquet"
    table = pa.Table.from_pylist([asdict(entry) for entry in part], schema=ENTRIES)
    with storage.writing(place(root, name)) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
    digest = _digest_of(part, before[-1]["digest"] if before else "")
    listed = [*before, {"name": name, "entries": len(part), "digest": digest}]
    storage.write_json(place(root, "index.json"), {"format": FORMAT, "lists": listed})
    return part


def write_taken(root: str, rows: pa.Table, label: str) -> None:
    """Write the rows that are taken down; from then on nobody sees more of them than their keys."""
    with storage.writing(taken_path(root)) as temporary:
        table = rows.cast(TAKEN).replace_schema_metadata({"label": label})
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
    _taken.cache_clear()  # of files in an object store no stamp is known


def taken_rows(root: str) -> pa.Table:
    """The rows that are taken down, in pool order. Raises DamagedFile."""
    return _rows(taken_path(root), TAKEN)


def tombstones(root: str) -> pa.Table:
    """The rows that have been erased, or are to be, with a digest of each. Raises DamagedFile."""
    return _rows(tombstones_path(root), TOMBSTONES)


def _rows(path: str, schema: pa.Schema) -> pa.Table:
    if not storage.exists(path):
        return schema.empty_table()
    try:
        with storage.open_input(path) as stream:
            return pq.read_table(stream, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        what = storage.first_line(error)
        raise DamagedFile(f"{path}: can't be read, remove it and run again: {what}") from error


def taken(root: str) -> Taken | None:
    """The keys that are taken down; None when there is no such row."""
    path = taken_path(root)
    return _taken(root, storage.stamp(path)) if storage.exists(path) else None


@lru_cache(maxsize=4)
def _taken(root: str, _stamp: int) -> Taken | None:
    rows = taken_rows(root)
    label = (rows.schema.metadata or {}).get(b"label", b"").decode()
    keys = sorted(set(rows["key"].to_pylist()))
    return Taken(pa.array(keys, pa.binary(16)), label)


def hidden(root: str, table: pa.Table) -> pa.Table:
    """Base rows as all may see them: of those taken down key, source and that they are.

    They look as if they were erased. The table has a column `key`.
    """
    found = taken(root)
    if found is None or not len(found.keys):
        return table
    gone: Any = pc.is_in(table["key"], value_set=found.keys)
    if not pc.any(gone).as_py():
        return table
    kept = pa.array(np.arange(len(table)), mask=gone.to_numpy())
    for number, field in enumerate(table.schema):
        if field.name in _VISIBLE:
            continue
        column = table[field.name].take(kept)
        if field.name in EMPTY:
            column = pc.if_else(gone, pa.scalar(EMPTY[field.name], field.type), column)
        table = table.set_column(number, field, column)
    return table


EMPTY: dict[str, Any] = {"failed": TAKEN_DOWN, "retriable": False}


def empty_row(key: bytes, source: str, reason: str | None) -> dict[str, Any]:
    """The base row of what is blocked on its way in, or erased: only the reason is kept."""
    return {"key": key, "source": source, "detail": reason, **EMPTY}


def refuse_unfinished(root: str) -> None:
    """Raise CurationError when an erasure was begun and has not ended."""
    if storage.exists(marker_path(root)):
        raise CurationError(
            f"{root}: an erasure has not come to its end; run `pairmill takedown --erase` again"
        )
