"""Bodies of answers: never more bytes than the limits, as sent, unpacked, and held all together."""

import asyncio
import io
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import brotli  # type: ignore[import-untyped]
import zstandard

from pipeline.fetch.outcome import Refusal

ENCODINGS = "gzip, deflate, br, zstd"
_WINDOW = 8 << 20  # of zstd, RFC 9659
_PIECE = 1 << 16
_MOST_ENCODINGS = 2


class Budget:
    """Counts the bytes of bodies being read and not yet taken. A class, because it counts.

    Beyond the limit one body at a time goes on, so that there is always one that comes to its
    end; the others wait. So no more is held than the limit and twice the limit of one body; while
    nobody takes what is ready, the bodies that were begun by then, too.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0
        self._freed = asyncio.Event()
        self._last = asyncio.Lock()

    async def room(self) -> None:
        """Wait until there is room for another body at all."""
        while self.held >= self.limit:
            self._freed.clear()
            await self._freed.wait()

    def free(self, count: int) -> None:
        self.held -= count
        self._freed.set()

    @asynccontextmanager
    async def body(self) -> AsyncIterator["Share"]:
        """What one body takes of the budget, given back at the end but for what is kept."""
        share = Share(self)
        try:
            yield share
        finally:
            share.end()


class Share:
    """One body's part of a budget; a class, because it grows."""

    def __init__(self, budget: Budget) -> None:
        self._budget, self.taken, self._goes_on = budget, 0, False

    async def grow(self, count: int) -> None:
        budget = self._budget
        if not self._goes_on and budget.held + count > budget.limit:
            await self._wait(count)
        self.taken += count
        budget.held += count

    async def _wait(self, count: int) -> None:
        """For room, or for the right to go on without."""
        budget = self._budget
        while budget.held + count > budget.limit:
            if not budget._last.locked():
                await budget._last.acquire()
                self._goes_on = True
                return
            budget._freed.clear()
            await budget._freed.wait()

    def end(self) -> None:
        if self._goes_on:
            self._budget._last.release()
            self._goes_on = False
        self._budget.free(self.taken)


def unpack(data: bytes, encoding: str, limit: int) -> bytes:
    """A body as it was before content encoding, at most `limit` bytes. Raises Refusal."""
    names = [name.strip().lower() for name in encoding.split(",")]
    names = [name for name in names if name not in ("", "identity", "none")]
    if len(names) > _MOST_ENCODINGS:
        raise Refusal("bad_encoding", f"{len(names)} encodings, limit {_MOST_ENCODINGS}")
    for name in reversed(names):
        unpacker = _UNPACKERS.get(name)
        if unpacker is None:
            raise Refusal("bad_encoding", f"encoding {name[:40]!r} is not known")
        try:
            data = unpacker(data, limit)
        except (zlib.error, brotli.error, zstandard.ZstdError, EOFError) as error:
            raise Refusal("bad_encoding", f"{name}: {error}") from None
        if len(data) > limit:
            raise Refusal("too_large", f"more than {limit} bytes once unpacked")
    return data


def _gzip(data: bytes, limit: int) -> bytes:
    return _zlib(data, limit, 31)


def _deflate(data: bytes, limit: int) -> bytes:
    """With the header of zlib, or, as some send it, without."""
    return _zlib(data, limit, 15 if data[:1] and data[0] & 15 == 8 else -15)


def _zlib(data: bytes, limit: int, bits: int) -> bytes:
    unpacker = zlib.decompressobj(bits)
    unpacked = unpacker.decompress(data, limit + 1)
    if len(unpacked) <= limit and not unpacker.eof:
        raise EOFError("ends before its end")
    return unpacked


def _brotli(data: bytes, limit: int) -> bytes:
    unpacker = brotli.Decompressor()
    parts, size = [], 0
    part = unpacker.process(data, output_buffer_limit=_PIECE)
    while part or not unpacker.can_accept_more_data():
        parts.append(part)
        size += len(part)
        if size > limit:
            break
        part = unpacker.process(b"", output_buffer_limit=_PIECE)
    if size <= limit and not unpacker.is_finished():
        raise EOFError("ends before its end")
    return b"".join(parts)


def _zstd(data: bytes, limit: int) -> bytes:
    unpacker = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    with unpacker.stream_reader(io.BytesIO(data), read_size=_PIECE) as reader:
        parts, size = [], 0
        while size <= limit and (part := reader.read(_PIECE)):
            parts.append(part)
            size += len(part)
    return b"".join(parts)


_UNPACKERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
