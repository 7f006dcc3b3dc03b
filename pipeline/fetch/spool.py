"""Outcomes on disk as they come, so that nobody is asked again after a kill.

One file: a line that names what it belongs to, then records, each the sizes and the checksum of a
JSON head and a body, and these. A torn end, as a kill leaves it, is cut off.
"""

import json
import os
import zlib
from collections.abc import Iterator, KeysView
from dataclasses import fields
from struct import Struct
from typing import IO, Any

from pipeline.fetch.outcome import Outcome

_SIZES = Struct(">III")  # of head and body in bytes, and the CRC-32 of both
_SAID = tuple(field.name for field in fields(Outcome) if field.name != "data")
_MOST = 1 << 28  # a head or a body that claims more is damage


class Spool:
    """The outcomes of one piece of work by name; a class, because it holds a file.

    What is put is with the system when `put` returns, so that it outlives the process. One thread
    may put while others get. Memory is some hundred bytes for each name.
    """

    def __init__(self, path: str, label: str) -> None:
        """Goes on with the file if it has this label, else begins anew."""
        self.path = path
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        self._places: dict[str, tuple[int, int, int]] = {}
        self._stream: IO[bytes] = open(path, "a+b", buffering=0)  # noqa: SIM115 (held)
        first = f"outcomes {label}\n".encode()
        self._stream.seek(0)
        if self._stream.readline(len(first)) == first:
            self._end = self._read_on(len(first))
            self._stream.truncate(self._end)
        else:
            self._stream.truncate(0)
            self._stream.write(first)
            self._end = len(first)

    def put(self, name: str, outcome: Outcome) -> None:
        """Add an outcome; of a name that is there already the last one counts."""
        sha, body = outcome.sha256, outcome.data or b""
        said = {field: getattr(outcome, field) for field in _SAID}
        said |= {"sha256": None if sha is None else sha.hex(), "has_data": outcome.data is not None}
        head = json.dumps([name, said], separators=(",", ":")).encode()
        sizes = _SIZES.pack(len(head), len(body), zlib.crc32(body, zlib.crc32(head)))
        try:
            _write_all(self._stream, sizes + head)
            _write_all(self._stream, body)
        except OSError as error:  # which does not say where
            raise OSError(error.errno, error.strerror, self.path) from error
        self._places[name] = self._end, len(head), len(body)
        self._end += _SIZES.size + len(head) + len(body)

    def get(self, name: str) -> Outcome | None:
        """The outcome of a name, its bytes read from disk; None when there is none."""
        place = self._places.get(name)
        if place is None:
            return None
        start, head, body = place
        start += _SIZES.size
        _, said = json.loads(self._read(start, head))
        data = self._read(start + head, body) if said.pop("has_data") else None
        return _outcome(said, data)

    def names(self) -> KeysView[str]:
        return self._places.keys()

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def close(self) -> None:
        self._stream.close()

    def remove(self) -> None:
        """Close it, and forget everything."""
        self.close()
        os.remove(self.path)

    def _read(self, start: int, size: int) -> bytes:
        """Reads without moving, so that a thread may read while another writes."""
        data = os.pread(self._stream.fileno(), size, start)
        while len(data) < size:
            more = os.pread(self._stream.fileno(), size - len(data), start + len(data))
            if not more:
                raise OSError(f"{self.path}: has become shorter")
            data += more
        return data

    def _read_on(self, start: int) -> int:
        """Note the whole records from `start`; returns where they end."""
        size = os.fstat(self._stream.fileno()).st_size
        for name, place in self._records(start, size):
            self._places[name] = place
            start = place[0] + _SIZES.size + place[1] + place[2]
        return start

    def _records(self, start: int, size: int) -> Iterator[tuple[str, tuple[int, int, int]]]:
        while start + _SIZES.size <= size:
            head, body, checksum = _SIZES.unpack(self._read(start, _SIZES.size))
            begin = start + _SIZES.size
            end = begin + head + body
            if max(head, body) > _MOST or end > size:
                return
            text = self._read(begin, head)
            if zlib.crc32(self._read(begin + head, body), zlib.crc32(text)) != checksum:
                return
            yield json.loads(text)[0], (start, head, body)
            start = end


def _outcome(said: dict[str, Any], data: bytes | None) -> Outcome:
    sha = said.pop("sha256")
    said["redirects"] = tuple(said["redirects"])
    if "headers" in said:
        said["headers"] = tuple((name, value) for name, value in said["headers"])
    return Outcome(data=data, sha256=None if sha is None else bytes.fromhex(sha), **said)


def _write_all(stream: IO[bytes], data: bytes) -> None:
    """An unbuffered stream may take a part of what it is given."""
    rest = memoryview(data)
    while rest:
        rest = rest[stream.write(rest) :]
