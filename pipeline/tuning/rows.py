"""Which pairs of a pool are trusted, or are anchors: by a condition, by keys, or all it kept.

Only rows with an image and a text count. Nothing is read but columns.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.columns import ColumnSet
from pipeline.conditions import check_condition, evaluate
from pipeline.errors import CurationError, DamagedFile, RecipeError
from pipeline.keys import KEY_BYTES
from pipeline.pool import BASE, Pool, Shard, open_pool, read_base
from pipeline.record import FILE, open_record
from pipeline.subsets import read_subset, uids_of

if TYPE_CHECKING:
    from pipeline.tuning.config import PairOptions

_HEX = re.compile(r"[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True)
class Pair:
    """A row: its key in hexadecimal digits, the digest of its image, its text."""

    key: str
    image: bytes
    text: str


@dataclass(frozen=True)
class Pairs:
    """Chosen rows of a pool, in its order."""

    pool: Pool
    rows: tuple[Pair, ...]

    def __len__(self) -> int:
        return len(self.rows)


def choose_pairs(root: str, options: "PairOptions", keys: frozenset[bytes] | None) -> Pairs:
    """The rows where the condition holds and whose key is among `keys`, as far as those are given.

    Without both, the rows that the build kept, or all of a plain pool. Raises RecipeError for a
    condition that can't be, CurationError when there is no pool or no row.
    """
    record = open_record(root) if storage.exists(storage.join(root, FILE)) else None
    made = open_pool(root) if record is None else record.pool
    if made is None:
        raise CurationError(f"{root}: there is neither a pool nor a build here")
    columns = {} if record is None else record.columns
    sets = _sets(options, columns, made)
    kept = record.selection() if record and options.where is None and keys is None else None
    rows: list[Pair] = []
    for shard in made.shards:
        chosen = [True] * shard.rows
        if kept is not None:
            chosen = (kept.part(shard.name).times() > 0).tolist()
        rows += _of_shard(made, shard, options, sets, (chosen, keys))
    if not rows:
        raise CurationError(f"{root}: none of {made.rows:,} rows has an image and was chosen")
    return Pairs(made, tuple(rows))


def _sets(
    options: "PairOptions", columns: Mapping[str, ColumnSet], made: Pool
) -> dict[str, ColumnSet]:
    """The column sets that the condition and the texts come from."""
    types = {field.name: field.type for field in BASE}
    if made.shards:
        first = made.shards[0]
        for name, found in columns.items():
            types[name] = found.read(first, [name]).schema.field(name).type
    names = {options.text}
    if options.where is not None:
        names |= set(check_condition(options.where, types).columns)
    if options.text not in types:
        raise RecipeError(f"there is no column {options.text!r}")
    if not _is_text(types[options.text]):
        raise RecipeError(f"column {options.text!r} holds {types[options.text]}, not texts")
    return {name: columns[name] for name in sorted(names) if name in columns}


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _of_shard(
    made: Pool,
    shard: Shard,
    options: "PairOptions",
    sets: dict[str, ColumnSet],
    limits: tuple[list[bool], frozenset[bytes] | None],
) -> Iterator[Pair]:
    chosen, keys = limits
    base = read_base(made.root, shard, BASE.names)
    for name, columns in sets.items():
        base = base.append_column(name, columns.read(shard, [name])[name])
    if options.where is not None:
        chosen = evaluate(options.where, base)
    wanted = [base[n].to_pylist() for n in ("key", "image_sha256", "extension", options.text)]
    for is_chosen, key, image, extension, text in zip(chosen, *wanted, strict=True):
        has_pair = extension is not None and image is not None and text and text.strip()
        if is_chosen and has_pair and (keys is None or key in keys):
            yield Pair(key.hex(), image, " ".join(text.split()))


def read_keys(path: str) -> frozenset[bytes]:
    """The keys in a file. Raises CurationError when it holds something else."""
    if path.endswith(".npy"):
        found: Sequence[Any] = uids_of(read_subset(path))
    elif path.endswith(".parquet"):
        found = _column_of_keys(path)
    else:
        found = storage.read_bytes(path).decode("utf-8", "replace").split()
    return frozenset(_key(path, value) for value in found)


def _column_of_keys(path: str) -> list[Any]:
    try:
        with storage.open_input(path) as stream:
            names = pq.read_schema(stream).names
            name = next((name for name in ("key", "uid") if name in names), None)
            if name is None:
                raise CurationError(f"{path}: has no column 'key' or 'uid'")
            values: list[Any] = pq.read_table(stream, columns=[name])[name].to_pylist()
            return values
    except pa.ArrowException as error:
        raise DamagedFile(f"{path}: can't be read: {storage.first_line(error)}") from error


def _key(path: str, value: Any) -> bytes:
    if isinstance(value, bytes) and len(value) == KEY_BYTES:
        return value
    if isinstance(value, str) and _HEX.fullmatch(value):
        return bytes.fromhex(value)
    raise CurationError(f"{path}: {value!r:.60} is no key of {2 * KEY_BYTES} hexadecimal digits")
