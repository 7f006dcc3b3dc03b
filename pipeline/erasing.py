"""Empty rows of a pool that were taken down: their bytes, base rows, columns, stored answers.

The one exception to a pool being immutable. Places and keys stay, and a tombstone of each row.
Every file is replaced whole, and every step does nothing where it is done: killed anywhere it is
finished by running it again, and until then nobody else opens the pool.
"""

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import packs, pool, retry_record, storage
from pipeline import takedown_record as record
from pipeline.columns import ColumnSet, empty_packed, empty_rows
from pipeline.errors import DamagedFile
from pipeline.places import crawl_folder, requests_folder
from pipeline.pool import Pool, Shard
from pipeline.shards import ShardWriter, read_shard
from pipeline.takedown_record import TAKEN_DOWN

Gone = npt.NDArray[np.bool_]
Changed = Mapping[str, tuple[Shard, Shard, Gone]]  # by name: the shard before, after, rows gone
_ANSWERS = "requests.sqlite"
_TABLES = ("answers", "names", "failures")  # what was spent stays


def erase(made: Pool) -> Pool:
    """Empty every row of a pool that is taken down; returns the pool that is left.

    The caller holds the lock. Answers of model servers have no names that lead to rows, so all
    that are stored go.
    """
    root = made.root
    reasons = _reasons(root)
    due = _due(made)
    if not due and not storage.exists(record.marker_path(root)):
        return made
    storage.sweep(root)  # what killed writers left may hold the rows
    retry_record.forget(root, {shard.name for shard in made.shards})  # and so may this
    _write_tombstones(made, due)
    storage.write_json(record.marker_path(root), {"format": record.FORMAT})
    rows = _rows(made, record.tombstones(root))
    changed = {
        shard.name: (shard, _erase_shard(root, shard, rows[shard.name], reasons), rows[shard.name])
        for shard in made.shards
        if shard.name in rows
    }
    _empty_columns(root, changed)
    forget_answers(requests_folder(root))
    for source in {shard.source for shard, _, _ in changed.values()}:
        storage.remove(crawl_folder(root, source))  # pages that name the rows, if it was crawled
    after = tuple(changed[s.name][1] if s.name in changed else s for s in made.shards)
    left = replace(made, shards=after)
    pool.write_index(left)
    storage.remove(pool.pack_path(root))
    pool.pack_base(left)
    storage.remove(record.marker_path(root))
    return left


def _reasons(root: str) -> dict[bytes, str | None]:
    rows = record.taken_rows(root)
    return dict(zip(rows["key"].to_pylist(), rows["reason"].to_pylist(), strict=True))


def _due(made: Pool) -> dict[str, list[int]]:
    """By shard the rows that are taken down and have content."""
    due: dict[str, list[int]] = {}
    shards = {shard.name: shard for shard in made.shards}
    listed: dict[str, list[int]] = {}
    for row in record.taken_rows(made.root).select(["shard", "row"]).to_pylist():
        listed.setdefault(row["shard"], []).append(row["row"])
    for name, rows in listed.items():
        failed = pool.read_stored(made.root, shards[name], ["failed"])["failed"].to_pylist()
        if full := [row for row in rows if failed[row] != TAKEN_DOWN]:
            due[name] = full
    return due


def _write_tombstones(made: Pool, due: Mapping[str, Sequence[int]]) -> None:
    """Note what is to be erased, before anything is; what was noted stays."""
    stones = record.tombstones(made.root).to_pylist()
    known = {(stone["shard"], stone["row"], stone["key"]) for stone in stones}
    wanted = {(row["shard"], row["row"]): row for row in record.taken_rows(made.root).to_pylist()}
    for shard in (shard for shard in made.shards if shard.name in due):
        base = pool.read_stored(made.root, shard)
        for row in due[shard.name]:
            stone = wanted[shard.name, row]
            if (shard.name, row, stone["key"]) not in known:
                stones.append({**stone, "digest": pool.rows_digest(base.slice(row, 1))})
    stones.sort(key=lambda stone: (stone["shard"], stone["row"], stone["key"]))
    table = pa.Table.from_pylist(stones, schema=record.TOMBSTONES)
    with storage.writing(record.tombstones_path(made.root)) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def _rows(made: Pool, stones: pa.Table) -> dict[str, Gone]:
    """By shard which of its rows have a tombstone; one of another pool lies on no row here."""
    buried: dict[str, dict[int, bytes]] = {}
    for stone in stones.select(["shard", "row", "key"]).to_pylist():
        buried.setdefault(stone["shard"], {})[stone["row"]] = stone["key"]
    found: dict[str, Gone] = {}
    for shard in (shard for shard in made.shards if shard.name in buried):
        keys = pool.read_stored(made.root, shard, ["key"])["key"].to_pylist()
        here = buried[shard.name]
        gone = np.array([here.get(row) == key for row, key in enumerate(keys)], bool)
        if gone.any():
            found[shard.name] = gone
    return found


def _erase_shard(root: str, shard: Shard, gone: Gone, reasons: Mapping[bytes, str | None]) -> Shard:
    """Write tar and base rows of a shard without what is gone; the shard that is left."""
    base = pool.read_stored(root, shard)
    rows = base.to_pylist()
    keys = {row["key"].hex() for row, is_gone in zip(rows, gone, strict=True) if is_gone}
    tar = pool.tar_path(root, shard.name)
    if any(sample.key in keys for sample in read_shard(tar, headers_only=True)):
        _write_tar(tar, keys)
    if any(row["failed"] != TAKEN_DOWN for row, g in zip(rows, gone, strict=True) if g):
        left = [
            record.empty_row(row["key"], row["source"], reasons.get(row["key"])) if g else row
            for row, g in zip(rows, gone, strict=True)
        ]
        plan = (base.schema.metadata or {}).get(b"plan", b"").decode()
        after = pool.write_base(root, shard.name, pool.base_table(left), storage.size(tar), plan)
    else:
        after = pool.describe(shard.name, base, storage.size(tar))
    return replace(after, retried=shard.retried)


def _write_tar(path: str, gone: set[str]) -> None:
    with storage.writing(path) as temporary, open(temporary, "wb") as stream:
        writer = ShardWriter(stream)
        for sample in read_shard(path):
            if sample.failed is not None:
                raise DamagedFile(f"{path}: {sample.detail}; bring it back from a copy")
            if sample.key not in gone:
                writer.write(sample)
        writer.close()


def _empty_columns(root: str, changed: Changed) -> None:
    """NULL in every column of every scorer; what a scorer has learnt of the rows goes."""
    folder = storage.join(root, "columns")
    by_digest = {before.digest: (after, gone) for before, after, gone in changed.values()}
    for name in storage.files_below(folder):
        path, (place, _, file) = storage.join(folder, name), name.rpartition("/")
        if file == "fitted.safetensors":
            storage.remove(path)
        elif file == packs.NAME:
            label = place.rpartition("/")[2].partition("-")[0]
            empty_packed(path, label, by_digest)
        elif (found := changed.get(file.removesuffix(".parquet"))) is not None:
            _empty_file(path, found)


def _empty_file(path: str, found: tuple[Shard, Shard, Gone]) -> None:
    try:
        empty_rows(path, *found)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk
        storage.remove(path)  # damaged: it is made again, without these rows


def forget_answers(folder: str) -> None:
    """Remove what model servers have answered, in this folder; what was spent is still known."""
    path = os.path.join(folder, _ANSWERS)
    for name in os.listdir(folder):
        if re.match(r"requests\.damaged-\d+\.sqlite", name):
            os.unlink(os.path.join(folder, name))
    if not os.path.exists(path):
        return
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("pragma secure_delete = on")
            found = connection.execute("select name from sqlite_master where type = 'table'")
            for table in {row[0] for row in found.fetchall()} & set(_TABLES):
                connection.execute(f"delete from {table}")
            connection.execute("vacuum")
            connection.execute("pragma wal_checkpoint(truncate)")
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
            raise OSError(f"{path}: {error}") from error
        for end in ("", "-wal", "-shm", "-journal"):
            storage.remove(path + end)


_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def problems(made: Pool, columns: Iterable[ColumnSet]) -> Iterator[str]:
    """Tombstoned rows of a pool of which anything is left, in these columns too."""
    sets = {one.folder: one for one in columns}
    rows = _rows(made, record.tombstones(made.root))
    for shard in (shard for shard in made.shards if shard.name in rows):
        base = pool.read_stored(made.root, shard).to_pylist()
        gone = [row for row, g in zip(base, rows[shard.name], strict=True) if g]
        for row in gone:
            if any(value is not None for name, value in row.items() if name not in _LEFT):
                yield f"{pool.base_path(made.root, shard.name)}: {row['key'].hex()} is not erased"
        keys = {row["key"].hex() for row in gone}
        tar = pool.tar_path(made.root, shard.name)
        for sample in read_shard(tar, headers_only=True) if storage.exists(tar) else ():
            if sample.key in keys:
                yield f"{tar}: {sample.key} is not erased"
        for one in sets.values():
            yield from _left_in(one, shard, rows[shard.name])


def _left_in(columns: ColumnSet, shard: Shard, gone: Gone) -> Iterator[str]:
    """Values of erased rows in the columns of a scorer; that these can't be read is said apart."""
    with contextlib.suppress(DamagedFile):
        table = columns.read(shard, columns.names).filter(pa.array(gone))
        for name in table.column_names:
            if table[name].null_count < len(table):
                yield f"{columns.path(shard)}: {name!r} holds values of rows that were erased"


_LEFT: tuple[Any, ...] = ("key", "source", "failed", "detail", "retriable")
