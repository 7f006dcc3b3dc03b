"""Pictures on a list of hashes: the hook for services that name what must not be kept.

Lists of SHA-256 digests of files and of 64-bit perceptual hashes, one per line in hexadecimal, as
opt-out registers and services against child abuse give them to those who may have them. Nothing
is sent anywhere. A million hashes take some 100 MB and are asked in microseconds.
"""

import functools
import hashlib
import os
from dataclasses import dataclass
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes = npt.NDArray[np.uint64]

MAX_DISTANCE = 12
_LONGEST_LINE = 4096
_COLUMNS: dict[str, pa.DataType] = {
    "blocked": pa.bool_(),
    "blocked_by": pa.string(),
    "blocked_distance": pa.int32(),
}
_BITS = 64
_COMPARED_AT_ONCE = 1 << 22  # candidates of one chunk of rows: 32 MB


@dataclass(frozen=True)
class Blocklist:
    """Whether a picture is on a list: by its file's digest, or by a perceptual hash near a listed.

    `hashes` is the path of a text file, its content counts, not its place: lines of 64
    hexadecimal digits are SHA-256 digests of image files, lines of 16 are `phash` values; what
    follows a comma, white space or "#" is ignored. `distance` is how many of the 64 bits may
    differ, 0 to 12; `min_contrast` is the `hash_contrast` below which a picture's hash is noise
    and is not asked. `blocked_by` is `sha256`, `phash` or NULL; `blocked_distance` is that to the
    nearest listed hash within reach, 0 for an equal digest, else NULL.

    Raises ValueError for a file that is missing or has other lines.
    """

    hashes: str
    distance: int = 4
    min_contrast: float = 2.0

    version: ClassVar[int] = 1
    writes: ClassVar[pa.Schema] = pa.schema(_COLUMNS)
    batch_size: ClassVar[int] = 1024

    def __post_init__(self) -> None:
        if not 0 <= self.distance <= MAX_DISTANCE:
            raise ValueError(f"distance must be 0 to {MAX_DISTANCE} bits, got {self.distance}")
        if not Path(self.hashes).is_file():
            raise ValueError(f"hashes: there is no file {self.hashes!r}; give its whole path")

    @property
    def reads(self) -> tuple[str, ...]:
        """The file's digest alone where the list has no perceptual hashes."""
        if len(self._list.near):
            return ("image_sha256", "phash", "hash_contrast")
        return ("image_sha256",)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values: the listed hashes, wherever they are."""
        return {
            "hashes": self._list.digest,
            "distance": self.distance,
            "min_contrast": self.min_contrast,
        }

    def prepare(self) -> None:
        """Read the list. Raises ValueError for lines that are no hashes."""
        self._index  # noqa: B018

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        exact = self._list.has(batch["image_sha256"])
        nearest: list[int | None] = [None] * len(exact)
        if "phash" in self.reads and exact:
            asked = np.array([int(value) for value in batch["phash"]], np.uint64)
            clear = np.array(batch["hash_contrast"], np.float64) >= self.min_contrast
            found = self._index.nearest(asked)
            nearest = [
                int(d) if c and d <= self.distance else None
                for d, c in zip(found, clear, strict=True)
            ]
        by = [
            "sha256" if is_exact else "phash" if near is not None else None
            for is_exact, near in zip(exact, nearest, strict=True)
        ]
        return {
            "blocked": [reason is not None for reason in by],
            "blocked_by": by,
            "blocked_distance": [0 if e else n for e, n in zip(exact, nearest, strict=True)],
        }

    @property
    def _list(self) -> "Listed":
        return _read(self.hashes, os.stat(self.hashes).st_mtime_ns)

    @property
    def _index(self) -> "Near":
        return _near(self.hashes, os.stat(self.hashes).st_mtime_ns, self.distance)


class Listed(NamedTuple):
    """What a file lists, each sorted and once; `digest` is of both, whatever their order there."""

    exact: npt.NDArray[Any]  # 32 bytes each, as two-level sortable records
    near: Hashes
    digest: str

    def has(self, digests: list[bytes]) -> list[bool]:
        """Which of the digests are listed."""
        if not len(self.exact) or not digests:
            return [False] * len(digests)
        asked = _as_records(b"".join(digests))
        place = np.searchsorted(self.exact, asked)
        place[place == len(self.exact)] = 0
        found: list[bool] = (self.exact[place] == asked).tolist()
        return found


def _as_records(raw: bytes) -> npt.NDArray[Any]:
    # Bytes of numpy end at a zero, so digests are kept as hexadecimal text.
    return np.frombuffer(raw.hex().encode(), "S64")


def parse(raw: bytes, name: str = "hashes") -> Listed:
    """What the lines of a list say. Raises ValueError with the line that is no hash."""
    exact: list[bytes] = []
    near: list[bytes] = []
    for number, line in enumerate(raw.splitlines(), 1):
        word = _first_word(line)
        if not word:
            continue
        try:
            value = bytes.fromhex(word.decode("ascii"))
        except ValueError:
            value = b""
        if len(value) not in (8, 32) or 2 * len(value) != len(word):
            raise ValueError(f"{name}: line {number} is no hash of 64 or 16 hexadecimal digits")
        (exact if len(value) == 32 else near).append(value)
    listed = np.unique(_as_records(b"".join(exact)))
    hashes = np.unique(np.frombuffer(b"".join(near), ">u8").astype(np.uint64))
    digest = hashlib.sha256(listed.tobytes() + b"|" + hashes.tobytes()).hexdigest()
    return Listed(listed, hashes, digest)


def _first_word(line: bytes) -> bytes:
    words = line[:_LONGEST_LINE].removeprefix(b"\xef\xbb\xbf").partition(b"#")[0]
    parts = words.replace(b",", b" ").replace(b";", b" ").split()
    return parts[0].strip(b"\"'").removeprefix(b"0x") if parts else b""


@functools.lru_cache(maxsize=4)
def _read(path: str, stamp: int) -> Listed:
    return parse(Path(path).read_bytes(), path)


@functools.lru_cache(maxsize=4)
def _near(path: str, stamp: int, distance: int) -> "Near":
    return Near(_read(path, stamp).near, distance)


class Table(NamedTuple):
    """Hashes in the order of some of their bits: those that agree in all of them stand together."""

    mask: np.uint64
    keys: Hashes
    hashes: Hashes


class Near:
    """Finds the nearest of many hashes within a distance, exactly.

    The bits are dealt to blocks, and the hashes sorted by each block. Of two hashes that differ in
    `distance` bits one block differs in at most `distance // blocks`: the question tries all ways
    to turn over so many (Norouzi, Punjani, Fleet: Fast search in Hamming space with multi-index
    hashing, CVPR 2012). A class because it holds the tables.
    """

    def __init__(self, hashes: Hashes, distance: int) -> None:
        self._hashes, self._distance = hashes, distance
        blocks, self._flips = _plan(len(hashes), distance)
        bits = np.uint64(1) << np.arange(_BITS, dtype=np.uint64)
        self._masks = [np.bitwise_or.reduce(bits[start::blocks]) for start in range(blocks)]
        self._bits = [bits[start::blocks] for start in range(blocks)]
        self._tables = [self._table(mask) for mask in self._masks]

    def _table(self, mask: np.uint64) -> Table:
        keys = self._hashes & mask
        order = np.argsort(keys, kind="stable")
        return Table(mask, keys[order], self._hashes[order])

    def nearest(self, asked: Hashes) -> npt.NDArray[np.int64]:
        """The distance to the nearest for each; beyond the limit some larger number."""
        best = np.full(len(asked), _BITS + 1, np.int64)
        for table, bits in zip(self._tables, self._bits, strict=True):
            for flip in _flips(bits, self._flips):
                key = (asked & table.mask) ^ flip
                first = np.searchsorted(table.keys, key, "left")
                count = np.searchsorted(table.keys, key, "right") - first
                self._compare(asked, table, (first, count), best)
        return best

    def _compare(
        self, asked: Hashes, table: Table, runs: tuple[Any, Any], best: npt.NDArray[np.int64]
    ) -> None:
        """Lower `best` by the distances to the run of hashes that each question met."""
        rows = np.flatnonzero(runs[1])
        first, count = runs[0][rows], runs[1][rows]
        start = 0
        while start < len(rows):
            total = np.cumsum(count[start:])
            stop = start + max(1, int(np.searchsorted(total, _COMPARED_AT_ONCE)))
            some = slice(start, stop)
            row = np.repeat(rows[some], count[some])
            ends = np.cumsum(count[some])
            place = np.arange(ends[-1]) - np.repeat(ends - count[some] - first[some], count[some])
            apart = np.bitwise_count(asked[row] ^ table.hashes[place])
            np.minimum.at(best, row, apart)
            start = stop


def _plan(size: int, distance: int) -> tuple[int, int]:
    """How many blocks, and how many differences one of them may hold, for the least work.

    With b blocks one has at most distance // b differences; a run then holds size / 2**(64 / b).
    """
    best, least = (1, distance), float("inf")
    for blocks in range(1, distance + 2):
        flips = distance // blocks
        width = _BITS // blocks
        probes = sum(comb(width, n) for n in range(flips + 1))
        cost = blocks * probes * (200 + size / 2.0**width * 2)
        if cost < least:
            best, least = (blocks, flips), cost
    return best


def _flips(bits: Hashes, most: int) -> Hashes:
    """Every way to turn over at most so many of the bits."""
    chosen = [
        np.bitwise_or.reduce(np.array(some, np.uint64)) if some else np.uint64(0)
        for count in range(most + 1)
        for some in combinations(bits, count)
    ]
    return np.array(chosen, np.uint64)
