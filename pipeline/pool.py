"""The pool: immutable tars, and beside each a Parquet of base rows, one for every row that came in.

`pool/index.json` names the shards and is written last: no index, no pool. Nothing lists a folder.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import packs, retry_record, shapes, storage, takedown_record
from pipeline.errors import DamagedFile, RecipeError
from pipeline.packs import open_pack, write_pack

CAPTION = pa.struct(
    [
        ("text", pa.string()),
        ("language", pa.string()),
        ("origin", pa.string()),
        ("kind", pa.string()),
        ("box", pa.list_(pa.float32())),
        ("model", pa.string()),
        ("prompt", pa.string()),
        ("tokens", pa.int32()),
        ("flags", pa.list_(pa.string())),
    ]
)

_FIELDS: "list[pa.Field[Any]]" = [
    pa.field("key", pa.binary(16), nullable=False),
    pa.field("source", pa.string(), nullable=False),
    pa.field("source_key", pa.string()),
    pa.field("url", pa.string()),
    pa.field("domain", pa.string()),
    pa.field("caption", pa.string()),
    pa.field("captions", pa.list_(CAPTION)),
    pa.field("image_sha256", pa.binary(32)),
    pa.field("extension", pa.string()),  # NULL: the tar holds no sample for this row
    pa.field("failed", pa.string()),  # reason code; NULL: nothing went wrong
    pa.field("detail", pa.string()),
    pa.field("retriable", pa.bool_()),
    # What fetching told; NULL for images that came in another way.
    pa.field("attempts", pa.int16()),
    pa.field("redirects", pa.list_(pa.string())),  # URLs after the first
    pa.field("final_url", pa.string()),
    pa.field("http_status", pa.int16()),
    pa.field("content_type", pa.string()),
    pa.field("etag", pa.string()),
    pa.field("last_modified", pa.string()),
    pa.field("received_bytes", pa.int64()),
    pa.field("received_sha256", pa.binary(32)),
    pa.field("signals", pa.string()),  # JSON: what the host says of the use of its content
    pa.field("fetched_at", pa.string()),  # ISO 8601, UTC
    pa.field("meta", pa.string()),  # JSON of what else the source knew about the row
]
BASE = pa.schema(_FIELDS)


@dataclass(frozen=True, slots=True)
class Shard:
    """What the index says of one shard: enough to plan by, and to tell it from another.

    `digest` is over its rows; `keys` over their keys alone. `size_bytes` is that of the tar.
    `retried` rows were tried again: rows of later shards tell what became of them.
    """

    name: str
    source: str
    rows: int
    samples: int
    size_bytes: int
    digest: str
    keys: str
    retried: int = 0


@dataclass(frozen=True, slots=True)
class Pool:
    """A complete pool under `root`: its shards in order, and the digest of its sources."""

    root: str
    sources: str
    shards: tuple[Shard, ...]
    inputs: str = ""

    @property
    def rows(self) -> int:
        """All that are stored: one that was tried again as often as it was tried."""
        return sum(shard.rows for shard in self.shards)

    @property
    def rows_in(self) -> int:
        """All that came in, each counted once."""
        return self.rows - sum(shard.retried for shard in self.shards)

    @property
    def digest(self) -> str:
        """Names the content of the pool, whatever the names of its shards."""
        return hashlib.blake2b(
            "".join(shard.digest for shard in self.shards).encode(), digest_size=16
        ).hexdigest()


_TEXTS, _COUNTS = ("name", "source", "digest", "keys"), ("rows", "samples", "size_bytes")
_INDEX = {
    "sources": str,
    "inputs": str,
    "shards": [{**dict.fromkeys(_TEXTS, str), **dict.fromkeys(_COUNTS, int)}],
}


def tar_path(root: str, shard: str) -> str:
    return storage.join(root, "pool", f"{shard}.tar")


def base_path(root: str, shard: str) -> str:
    return storage.join(root, "pool", f"{shard}.parquet")


def index_path(root: str) -> str:
    return storage.join(root, "pool", "index.json")


def shard_name(number: int, total: int) -> str:
    """Five digits, more when so many shards are planned; all names have one length."""
    return f"{number:0{max(5, len(str(total - 1)))}d}"


def base_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Base rows as a table; columns that a row lacks are NULL."""
    columns = [
        pa.array([row.get(field.name) for row in rows], type=field.type, from_pandas=False)
        for field in BASE
    ]
    return pa.table(columns, schema=BASE)


def describe(name: str, table: pa.Table, size_bytes: int) -> Shard:
    """The index entry of a shard with these base rows."""
    extensions = table["extension"]
    return Shard(
        name=name,
        source=table["source"][0].as_py() if len(table) else "",
        rows=len(table),
        samples=len(table) - extensions.null_count,
        size_bytes=size_bytes,
        digest=rows_digest(table),
        keys=keys_digest(table["key"]),
    )


def keys_digest(keys: "pa.ChunkedArray[Any]") -> str:
    """Digest of the keys of a shard in order; equal digests mean that rows join by position."""
    state = hashlib.blake2b(digest_size=16)
    for chunk in keys.chunks:
        data = chunk.buffers()[1]
        if data is not None:
            state.update(memoryview(data)[16 * chunk.offset : 16 * (chunk.offset + len(chunk))])
    return state.hexdigest()


def rows_digest(table: pa.Table) -> str:
    """Digest of whole base rows in order."""
    state = hashlib.blake2b(digest_size=16)
    for row in table.to_pylist():
        row["key"] = row["key"].hex()
        for name in ("image_sha256", "received_sha256"):
            row[name] = None if row[name] is None else row[name].hex()
        state.update(json.dumps(row, sort_keys=True).encode() + b"\n")
    return state.hexdigest()


def write_base(root: str, name: str, table: pa.Table, size_bytes: int, plan: str) -> Shard:
    """Write the base rows of a shard whose tar is in place: with them the shard is complete.

    `plan` names the ingest that wrote it, so that a shard of another plan is never taken over.
    """
    shard = describe(name, table, size_bytes)
    metadata = {"shard": json.dumps(_entry(shard), sort_keys=True), "plan": plan}
    with storage.writing(base_path(root, name)) as temporary:
        table = table.replace_schema_metadata(metadata)
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
    return shard


def finished_shard(root: str, name: str, plan: str) -> Shard | None:
    """The shard if this plan has already written it whole, else None."""
    path = base_path(root, name)
    if not storage.exists(path):
        return None
    try:
        with storage.open_input(path) as stream:
            metadata = pq.read_metadata(stream).metadata or {}
    except pa.ArrowException:  # damaged: not written
        return None
    if metadata.get(b"plan") != plan.encode():
        return None
    shard = Shard(**json.loads(metadata[b"shard"]))
    tar = tar_path(root, name)
    whole = storage.exists(tar) and storage.size(tar) == shard.size_bytes
    return shard if whole else None


def read_base(root: str, shard: Shard, columns: Sequence[str] | None = None) -> pa.Table:
    """The base rows of a shard, in order. Raises DamagedFile when they are not those indexed.

    Rows that were taken down look as if they were erased: they failed with that reason, and of
    the rest nothing is left but key and source. Those that were tried again failed as `retried`.
    """
    wanted = None if columns is None else [*dict.fromkeys(["key", *columns])]
    table = takedown_record.hidden(root, read_stored(root, shard, wanted))
    if shard.retried:
        table = retry_record.marked(table, retry_record.superseded(root, shard))
    return table if columns is None else table.select(list(columns))


def read_stored(root: str, shard: Shard, columns: Sequence[str] | None = None) -> pa.Table:
    """The same as they are stored, those that were taken down or tried again too."""
    path = base_path(root, shard.name)
    wanted = None if columns is None else [*dict.fromkeys(["key", *columns])]
    try:
        with storage.open_input(path) as stream:
            table = pq.read_table(stream, columns=wanted, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise DamagedFile(f"{path}: can't be read: {error}") from error
    if len(table) != shard.rows or keys_digest(table["key"]) != shard.keys:
        raise DamagedFile(f"{path}: holds other rows than pool/index.json says")
    return table if columns is None else table.select(list(columns))


def read_base_range(pool: Pool, shards: Sequence[Shard], columns: Sequence[str]) -> pa.Table:
    """The base rows of neighbouring shards, in order; from the pack when the pool has one."""
    pack = open_pack(pack_path(pool.root), pool.digest)
    if pack is None:
        tables = [read_base(pool.root, shard, columns) for shard in shards]
        return pa.concat_tables(tables).replace_schema_metadata(None)
    has_retried = any(shard.retried for shard in shards)
    wanted = [*dict.fromkeys(["key", *(["failed"] if has_retried else []), *columns])]
    table = pack.read([shard.digest for shard in shards], wanted)
    if len(table) != sum(shard.rows for shard in shards):
        raise DamagedFile(f"{pack.path}: holds other rows than pool/index.json says")
    shown = takedown_record.hidden(pool.root, table)
    if has_retried:
        gone = pc.fill_null(pc.equal(table["failed"], retry_record.RETRIED), False)
        shown = retry_record.marked(shown, gone)
    return shown.select(list(columns)).replace_schema_metadata(None)


def pack_base(pool: Pool) -> None:
    """Write the pack of a large pool's base rows; the single files stay beside their tars."""
    if len(pool.shards) < packs.PACK_FROM or open_pack(pack_path(pool.root), pool.digest):
        return
    write_pack(
        pack_path(pool.root),
        pool.digest,
        [shard.digest for shard in pool.shards],
        lambda position: _packed(pool.root, pool.shards[position]),
    )


def _packed(root: str, shard: Shard) -> pa.Table:
    """The rows of a shard as a pack has them: it says itself which were tried again."""
    table = read_stored(root, shard)
    if not shard.retried:
        return table
    return retry_record.marked(table, retry_record.superseded(root, shard))


def pack_path(root: str) -> str:
    return storage.join(root, "pool", packs.NAME)


def write_index(pool: Pool) -> None:
    value = {
        "format": 1,
        "sources": pool.sources,
        "inputs": pool.inputs,
        "shards": [_entry(shard) for shard in pool.shards],
    }
    storage.write_json(index_path(pool.root), value)


def _entry(shard: Shard) -> dict[str, Any]:
    """A shard in JSON; of one without retried rows nothing is said of them."""
    value = asdict(shard)
    if not shard.retried:
        del value["retried"]
    return value


def open_pool(root: str, sources: str | None = None) -> Pool | None:
    """The pool under `root`, None when there is none that is complete.

    Raises RecipeError when `sources` is given and the pool is made from others, CurationError
    when rows of it are half erased.
    """
    takedown_record.refuse_unfinished(root)
    return open_stored(root, sources)


def open_stored(root: str, sources: str | None = None) -> Pool | None:
    """The same, also while rows of it are being erased."""
    path = index_path(root)
    if not storage.exists(path):
        return None
    value = storage.read_fields(path, "sources", "inputs", "shards")
    shapes.require(path, value, _INDEX)
    listed = [{"retried": 0, **shard} for shard in value["shards"]]
    shapes.require(path, {"shards": listed}, {"shards": [{"retried": int}]})
    try:
        shards = tuple(Shard(**shard) for shard in listed)
    except TypeError as error:
        raise DamagedFile(f"{path}: lists what are no shards: {error}") from error
    if not shards:
        raise DamagedFile(f"{path}: is damaged, remove it and run again: it lists no shards")
    pool = Pool(root=root, sources=value["sources"], shards=shards, inputs=value["inputs"])
    if sources is not None and pool.sources != sources:
        raise RecipeError(
            f"{storage.join(root, 'pool')} was made from another `sources:` section, or with"
            " another `ingest:` or `captions: prefer:`; give another --out or `pool:`, or the"
            " recipe it was made with"
        )
    return pool
