"""The pace of sites that more than one process asks, such as those that redirects lead to.

A file that all processes of a machine map into memory has places for each site. Who has taken one
gives it back when its answer has come, and it is free again a period later.
"""

import fcntl
import math
import mmap
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.keys import digest

SITES, PLACES = 1 << 15, 64
_SIZE = 8 * SITES * (1 + PLACES)  # bytes; those of a site that nobody asks are never written
_NEAR = 16  # records that a site may be found in
_SOON_S = 0.01  # after which to look again for a place that somebody holds
_HELD_S = 120.0  # at most, in case who holds it was killed
_LATEST_S = 86_400.0  # what is free later than that is from before the machine was started


@dataclass(frozen=True, slots=True)
class Waiting:
    """No place is free, and none will be for so many seconds, as far as is known."""

    seconds: float


class Gate:
    """The places of all sites in a file; a class, because it holds the file.

    Times are those of time.monotonic, which all processes of a machine share. A place has the time
    from which on it is free, or, while somebody holds it, the negative of the time until when.
    Raises OSError or ValueError when the file can't be used so.
    """

    def __init__(self, path: str) -> None:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        self._file, self._turn = _opened(path), _opened(f"{path}.turn")
        self._lock = threading.Lock()  # that of the file is one for all threads
        try:
            self._begin()
            self._map = mmap.mmap(self._file, _SIZE)
        except BaseException:
            self._close_files()
            raise
        whole = memoryview(self._map)
        self._names = whole[: 8 * SITES].cast("q")
        self._places = whole[8 * SITES :].cast("d")

    def _begin(self) -> None:
        """Who comes when nobody is there any more begins anew: those who held places are dead."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            os.ftruncate(self._file, 0)
        fcntl.flock(self._file, fcntl.LOCK_SH)
        os.ftruncate(self._file, _SIZE)

    def close(self) -> None:
        """Give back the file; nothing of it is to be used any more."""
        self._names.release()
        self._places.release()
        self._map.close()  # it has the file open, too
        self._close_files()

    def _close_files(self) -> None:
        os.close(self._file)
        os.close(self._turn)

    def take(self, site: str, count: int) -> int | Waiting:
        """One of the site's first `count` places, to be given back; or a time to wait."""
        name = int.from_bytes(digest(site.encode(), size=8), "big") >> 1 or 1
        if not self._lock.acquire(blocking=False):
            return Waiting(0.0)
        try:
            fcntl.flock(self._turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                return self._taken(name, min(count, PLACES))
            finally:
                fcntl.flock(self._turn, fcntl.LOCK_UN)
        except BlockingIOError:
            return Waiting(0.0)
        finally:
            self._lock.release()

    def give_back(self, place: int, period_s: float) -> None:
        """The request that took the place is over. Nobody else writes it: it needs no lock."""
        self._places[place] = time.monotonic() + period_s

    def _taken(self, name: int, count: int) -> int | Waiting:
        now = time.monotonic()
        record = self._record(name, now)
        if record is None:
            return Waiting(_SOON_S)
        first, soonest = PLACES * record, math.inf
        for place in range(first, first + count):
            left = _left(self._places[place], now)
            if left <= 0:
                self._places[place] = -(now + _HELD_S)
                return place
            soonest = min(soonest, left)
        return Waiting(soonest)

    def _record(self, name: int, now: float) -> int | None:
        """Where the places of a site are: its own, or those of one that nobody asks any more."""
        reused = None
        for step in range(_NEAR):
            record = (name + step) % SITES
            known = self._names[record]
            if known == name:
                return record
            if reused is None and (not known or self._is_left(record, now)):
                reused = record
            if not known:
                break
        if reused is not None:
            self._names[reused] = name
        return reused

    def _is_left(self, record: int, now: float) -> bool:
        places = self._places[PLACES * record : PLACES * (record + 1)]
        return all(_left(value, now) <= 0 for value in places)


def _opened(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _left(value: float, now: float) -> float:
    """Seconds until a place is free, as far as is known."""
    if value < 0:
        return _SOON_S if now < -value < now + _LATEST_S else 0.0
    return value - now if value < now + _LATEST_S else 0.0


_open: dict[str, tuple[Gate, int]] = {}  # of this process, with how many use it
_opening = threading.Lock()


@contextmanager
def gate(path: str) -> Iterator[Gate]:
    """The gate of a file, one for all threads of this process."""
    with _opening:
        found, users = _open.get(path) or (Gate(path), 0)
        _open[path] = found, users + 1
    try:
        yield found
    finally:
        with _opening:
            users = _open[path][1] - 1
            if users:
                _open[path] = found, users
            else:
                del _open[path]
                found.close()
