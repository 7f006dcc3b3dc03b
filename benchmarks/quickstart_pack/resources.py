"""Reads Qt's binary resource files (.rcc): a tree of names with stored or compressed contents.

Layout after Qt's own reader, qresource.cpp: a header with the offsets of the tree, the data and the
names; nodes of 14 bytes, or 22 with a modification time; all numbers big-endian.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ZLIB, _FOLDER, _ZSTD = 1, 2, 4


@dataclass(frozen=True)
class _Resource:
    content: bytes
    tree: int
    data: int
    names: int
    node_bytes: int

    def number(self, layout: str, at: int) -> int:
        return int(struct.unpack_from(f">{layout}", self.content, at)[0])


def read_resources(path: Path) -> dict[str, bytes]:
    """Every file in a .rcc by its path inside; raises ValueError for anything else."""
    content = path.read_bytes()
    if content[:4] != b"qres":
        raise ValueError(f"{path}: not a Qt resource file")
    version, tree, data, names = struct.unpack_from(">IIII", content, 4)
    resource = _Resource(content, tree, data, names, 22 if version >= 2 else 14)
    return dict(_members(resource, 0, ""))


def _members(resource: _Resource, node: int, parent: str) -> Iterator[tuple[str, bytes]]:
    at = resource.tree + node * resource.node_bytes
    flags = resource.number("H", at + 4)
    path = parent + _name(resource, resource.number("I", at)) if node else ""
    if not flags & _FOLDER:
        yield path, _contents(resource, resource.number("I", at + 10), flags)
        return
    count, first = resource.number("I", at + 6), resource.number("I", at + 10)
    for child in range(first, first + count):
        yield from _members(resource, child, f"{path}/" if path else "")


def _name(resource: _Resource, offset: int) -> str:
    at = resource.names + offset
    size = 2 * resource.number("H", at)
    return resource.content[at + 6 : at + 6 + size].decode("utf-16-be")


def _contents(resource: _Resource, offset: int, flags: int) -> bytes:
    at = resource.data + offset
    stored = resource.content[at + 4 : at + 4 + resource.number("I", at)]
    if flags & _ZSTD:
        raise ValueError("a member is compressed with zstd, which this reader does not know")
    return zlib.decompress(stored[4:]) if flags & _ZLIB else stored  # 4 bytes repeat the size
