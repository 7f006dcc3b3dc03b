"""Records of WARC files, one after the other, whatever is damaged between them.

fastwarc reads; this module only finds the next record behind damage, and counts what it passed.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from fastwarc import ArchiveIterator, WarcRecord, WarcRecordType

from pipeline import storage

_GZIP, _PLAIN = b"\x1f\x8b\x08", b"WARC/1."
_EMPTY = bytes(8)  # checksum and size of a gzip member that holds nothing, as bgzip ends with
_NO_KIND = (WarcRecordType.unknown, WarcRecordType.no_type)
_BLOCK = 1 << 20
_PATIENCE = 16  # starts in vain that are tried byte by byte


@dataclass(slots=True)
class Tally:
    """Counts of one reading; `skipped` by reason, `damaged` stretches of a file passed over."""

    records: int = 0
    damaged: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


def records(
    path: str, kinds: WarcRecordType, tally: Tally, *, parse_http: bool = True
) -> Iterator[WarcRecord]:
    """The records of these kinds in a local file or at an fsspec URL, plain, gzip, zstd or lz4.

    A record is good until the next is asked for. Reading one may raise OSError; the walk goes on
    behind it. Behind other damage it goes on at what looks like the next record of a plain or gzip
    file, in growing steps when that was none. A file that begins with what is no record is damaged.
    """
    with storage.open_input(path) as stream:
        start, vain = 0, 0
        while start >= 0:
            last = start - 1
            stream.seek(start)
            found = ArchiveIterator(
                stream,
                record_types=kinds,
                parse_http=parse_http,
                auto_decode="transfer",
                fsspec_args=False,
            )
            try:
                for record in found:
                    last = record.stream_pos
                    tally.records += 1
                    vain = 0
                    yield record
            except OSError:
                tally.damaged += last >= start or start == 0
            else:
                tally.damaged += start == 0 and last < 0 and _begins_wrongly(stream)
                start = _behind_empty(stream, max(last, start))
                continue
            step = 1 if vain < _PATIENCE else min(2 ** (vain - _PATIENCE), _BLOCK)
            vain += 1
            start = _next_start(stream, max(last, start) + step)


def _next_start(stream: IO[bytes], start: int) -> int:
    """Where the next record seems to begin; -1 at the end of the file."""
    return _find(stream, start, _GZIP if _is_gzip(stream) else _PLAIN)


def _behind_empty(stream: IO[bytes], start: int) -> int:
    """Where a gzip file goes on behind an empty member, which fastwarc takes for the end; or -1."""
    at = _find(stream, start, _EMPTY + _GZIP) if _is_gzip(stream) else -1
    return at if at < 0 else at + len(_EMPTY)


def _begins_wrongly(stream: IO[bytes]) -> bool:
    """Whether the first record is of no kind, as one with other ends of lines than CR LF."""
    stream.seek(0)
    first = next(iter(ArchiveIterator(stream, parse_http=False, fsspec_args=False)), None)
    return first is not None and first.record_type in _NO_KIND


def _is_gzip(stream: IO[bytes]) -> bool:
    stream.seek(0)
    return stream.read(len(_GZIP)) == _GZIP


def _find(stream: IO[bytes], start: int, mark: bytes) -> int:
    stream.seek(start)
    held = b""
    while block := stream.read(_BLOCK):
        at = (held + block).find(mark)
        if at >= 0:
            return start - len(held) + at
        start += len(block)
        held = (held + block)[-len(mark) + 1 :]
    return -1
