"""Reads the files inside a Qt resource archive (.rcc), the form in which GCompris ships its photos.

The layout is that of `rcc --binary`: a header, a tree of nodes, a table of names, the data.
Only stored and zlib-compressed members are read; others are passed over.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ZLIB, _FOLDER, _ZSTANDARD = 1, 2, 4


@dataclass(frozen=True)
class _Archive:
    raw: bytes
    tree: int
    data: int
    names: int
    node_size: int


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Every file as (path inside, contents), in the archive's order; ValueError for others."""
    raw = path.read_bytes()
    if raw[:4] != b"qres":
        raise ValueError(f"{path}: not a Qt resource archive")
    version, tree, data, names = struct.unpack_from(">4I", raw, 4)
    archive = _Archive(raw, tree, data, names, 14 if version == 1 else 22)
    yield from _walk(archive, 0, "")


def _walk(archive: _Archive, index: int, folder: str) -> Iterator[tuple[str, bytes]]:
    at = archive.tree + index * archive.node_size
    name_at, flags = struct.unpack_from(">IH", archive.raw, at)
    path = f"{folder}/{_name(archive, name_at)}" if index else ""
    if flags & _FOLDER:
        count, first = struct.unpack_from(">II", archive.raw, at + 6)
        for child in range(first, first + count):
            yield from _walk(archive, child, path)
    elif not flags & _ZSTANDARD:
        (offset,) = struct.unpack_from(">I", archive.raw, at + 10)
        yield path, _contents(archive, offset, bool(flags & _ZLIB))


def _name(archive: _Archive, offset: int) -> str:
    at = archive.names + offset
    (length,) = struct.unpack_from(">H", archive.raw, at)
    return archive.raw[at + 6 : at + 6 + 2 * length].decode("utf-16-be")


def _contents(archive: _Archive, offset: int, compressed: bool) -> bytes:
    at = archive.data + offset
    (size,) = struct.unpack_from(">I", archive.raw, at)
    stored = archive.raw[at + 4 : at + 4 + size]
    return zlib.decompress(stored[4:]) if compressed else stored
