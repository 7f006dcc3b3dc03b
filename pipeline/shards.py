"""Tar shards in webdataset layout, read and written here and nowhere else.

What we write is a function of the samples alone. What we read may come from strangers: nothing
is ever extracted to disk, links are not followed, and every group of members becomes a sample or
a reason.
"""

import errno
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import IO

from pipeline import storage

_BLOCK = 512
END = b"\0" * (2 * _BLOCK)  # two zero blocks end an archive
MAX_SAMPLE_BYTES = 1 << 30  # of all members; what claims more is not read
_READ_BYTES = 1 << 24  # at a time, so that a member that promises more than there is costs nothing
_DAMAGE = (
    *(tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError),
    *(ValueError, IndexError, OverflowError, MemoryError, RecursionError),  # of made-up headers
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample as stored: raw member bytes by extension under one key.

    `failed` is a reason when the group of members is not a sample, with `detail` for a person.
    """

    key: str
    parts: dict[str, bytes] = field(repr=False)
    failed: str | None = None
    detail: str | None = None


def read_shard(path: str, *, headers_only: bool = False) -> Iterator[Sample]:
    """Yield the samples of a tar in tar order: adjacent members with one key are a sample.

    The key is the member's name up to the first dot of its base name, as in webdataset. A tar
    that ends in the middle, without an end mark, or goes on after it, ends with a failed sample
    that says so. With `headers_only` parts are
    empty and no data is read.
    """
    with storage.open_input(path) as stream:
        for key, group in groupby(_members(stream, headers_only), key=lambda m: m[0]):
            yield _sample(key, [(extension, data) for _, extension, data in group])


def _sample(key: str, members: list[tuple[str, bytes | str]]) -> Sample:
    parts: dict[str, bytes] = {}
    for extension, data in members:
        if isinstance(data, str):
            return Sample(key, {}, extension, data)
        if extension in parts:
            return Sample(key, {}, "duplicate_member", f"two members {extension!r}")
        parts[extension] = data
    return Sample(key, parts)


def _members(stream: IO[bytes], headers_only: bool) -> Iterator[tuple[str, str, bytes | str]]:
    """(key, extension, data) per member; for what can't be read (key, reason, detail)."""
    at, last, held = "the start", "", 0
    try:
        with tarfile.open(fileobj=stream, mode="r:*") as tar:
            for member in tar:
                folder, slash, name = member.name.rpartition("/")
                base, _, extension = name.partition(".")
                key = folder + slash + base
                last, held = key, member.size + (held if key == last else 0)
                refusal = _refusal(member, held)
                if refusal is not None:
                    yield key, *refusal
                elif not member.isdir():
                    yield key, extension.lower(), b"" if headers_only else _data(tar, member)
                at = f"byte {member.offset_data + -(-member.size // _BLOCK) * _BLOCK}"
            odd_end = _odd_end(tar, at)
            if odd_end is not None:
                yield "", *odd_end
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # of the disk, not of a decompressor or a seek
            raise
        yield "", *_cut(at, error)
    except _DAMAGE as error:
        yield "", *_cut(at, error)


def _odd_end(tar: tarfile.TarFile, at: str) -> tuple[str, str] | None:
    """Why a tar may have held more than was read: `tarfile` stops in silence at a bad header."""
    stream = tar.fileobj
    if stream is None:
        return None
    stream.seek(tar.offset)
    header = stream.read(_BLOCK)
    if not header:
        return "no_end_of_archive", f"the tar has no end mark after {at}; it may have been longer"
    if any(header):
        return _cut(at, ValueError("what follows is no header"))
    if any(stream.read(_READ_BYTES)):
        return "data_after_end", f"the tar goes on after its end mark behind {at}"
    return None


def _cut(at: str, error: BaseException) -> tuple[str, str]:
    what = " ".join(str(error).split()) or type(error).__name__
    return "truncated_archive", f"the tar can't be read after {at}: {what}"


def _refusal(member: tarfile.TarInfo, held: int) -> tuple[str, str] | None:
    """Why a member is not read: the reason, and what it is."""
    if member.issparse() or not (member.isfile() or member.isdir()):
        return "not_a_file", f"{member.name!r} is a link, a device or a sparse file"
    if held > MAX_SAMPLE_BYTES:
        return "too_large", f"{held} bytes with {member.name!r} (limit {MAX_SAMPLE_BYTES})"
    return None


def _data(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    data = b""
    if stream is not None:
        data = b"".join(iter(partial(stream.read, _READ_BYTES), b""))
    if len(data) != member.size:
        raise EOFError(f"{member.name!r} has {len(data)} of {member.size} bytes")
    return data


class ShardWriter:
    """Writes samples to an open tar as they come; a class because it holds the open file.

    The bytes depend on nothing but the samples: no times, owners or host names enter.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.samples = 0

    def write(self, sample: Sample) -> None:
        """Append one sample, its members in the order given."""
        for extension, data in sample.parts.items():
            self._stream.write(member(f"{sample.key}.{extension}", data))
        self.samples += 1

    def close(self) -> None:
        self._stream.write(END)


def member(name: str, data: bytes) -> bytes:
    """A whole tar member: header, data, and zeros up to the next block."""
    header = tarfile.TarInfo(name)
    header.size = len(data)
    head = header.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    return head + data + b"\0" * (-len(data) % _BLOCK)
