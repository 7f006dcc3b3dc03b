"""Answers of model servers and what they cost, in one SQLite file that many processes share.

An answer is stored by the digest of all that decides about it, in a transaction of its own as
soon as it has arrived: a killed process loses requests under way and nothing else. A damaged file
is set aside and made anew. Where nothing can be stored – a read-only folder, a full disk, an
object store – the run goes on without, after one warning; only a budget can't be kept then, and
what has one is refused.
"""

import fcntl
import json
import logging
import os
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any, TypeVar

from filters.served_types import Answer, Server

FILE = "requests.sqlite"
RUN = "run"
"""A file beside it that names the run, where somebody does: another name is another run."""
BUSY_S = 30.0  # how long a process waits for another one's transaction, which takes milliseconds
_VERSION = 1
_AT_ONCE = 500  # keys in one query
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_NETWORK = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "fuse",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "gluster",
    "afs",
)
_NAMES = "create table if not exists names (name blob primary key, key blob not null)"
_FAILURES = """
create table if not exists failures (key blob primary key, times int not null, run text)
"""
_TABLES = """
begin immediate;
create table answers (key blob primary key, answer text not null, crc int not null);
create table spent (model text primary key, requests int not null, tokens int not null);
pragma user_version = 1;
commit
"""
_LOG = logging.getLogger(__name__)
T = TypeVar("T")


class Store:
    """Answers and spendings in a file; with no path, spendings of this process alone.

    A class because it holds the connection, which all threads of a process take turns with; it
    must not be carried over a fork.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._inode: int | None = None
        self._unusable: str | None = None
        self._warned: set[str] = set()

    @property
    def problem(self) -> str | None:
        """Why nothing can be stored, once that is known."""
        return self._unusable

    def recall(self, keys: Sequence[bytes]) -> dict[bytes, Answer]:
        """The answers that are stored of these keys."""
        return self._recall("select key, answer, crc from answers where key", keys)

    def recall_named(self, names: Sequence[bytes]) -> dict[bytes, Answer]:
        """The same by names that answers were given."""
        return self._recall(_BY_NAME, names)

    def _recall(self, query: str, keys: Sequence[bytes]) -> dict[bytes, Answer]:
        if self.path is None:
            return {}
        rows: list[tuple[bytes, str, int]] = []
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            marks = ",".join("?" * len(part))
            rows += self._do(_query(f"{query} in ({marks})", part)) or []
        return {key: _answer(text) for key, text, crc in rows if _crc(text) == crc}

    def name(self, names: Mapping[bytes, bytes]) -> None:
        """Have answers be found by other names, too, each of which stands for a key."""

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("insert or replace into names values (?, ?)", names.items())

        if self.path is not None and names:
            self._do(_in_transaction(work))

    def reserve(self, server: Server, tokens: int) -> bool | None:
        """Count a request about to be sent; False if the budget has no room for it.

        None when that can't be known: the file can't be used.
        """

        def work(connection: sqlite3.Connection) -> bool:
            connection.execute(
                "insert into spent values (?, 0, 0) on conflict do nothing", (server.model,)
            )
            changed = connection.execute(
                "update spent set requests = requests + 1, tokens = tokens + :tokens"
                " where model = :model and requests < coalesce(:max_requests, 1e18)"
                " and tokens + :tokens <= coalesce(:max_tokens, 1e18)",
                {
                    "tokens": tokens,
                    "model": server.model,
                    "max_requests": server.max_requests,
                    "max_tokens": server.max_tokens,
                },
            )
            return changed.rowcount == 1

        return self._do(_in_transaction(work))

    def count(self, model: str, requests: int, tokens: int) -> None:
        """Add to what was spent, or take back what was reserved."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_COUNT, (model, requests, tokens))

        self._do(_in_transaction(work))

    def keep(
        self, key: bytes, model: str, answer: Answer, requests: int = 0, tokens: int = 0
    ) -> None:
        """Store an answer, and add to what was spent; both or neither."""
        text = json.dumps(asdict(answer))

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_COUNT, (model, requests, tokens))
            if self.path is not None:
                row = (key, text, _crc(text))
                connection.execute("insert or replace into answers values (?, ?, ?)", row)

        self._do(_in_transaction(work))

    def note_failures(self, keys: Sequence[bytes]) -> dict[bytes, int]:
        """Count a failure of each request; in how many runs it has failed. None without a file.

        Where no run has a name, each call is one. They stay when a request is answered after all:
        its answer is found before anybody asks.
        """
        run = self._run()

        def work(connection: sqlite3.Connection) -> dict[bytes, int]:
            counted = (connection.execute(_FAILED, (key, run)).fetchone() for key in keys)
            return {key: row[0] for key, row in zip(keys, counted, strict=True)}

        if self.path is None or not keys:
            return {}
        return self._do(_in_transaction(work)) or {}

    def _run(self) -> str | None:
        """The name of the run, as the file beside this one says it; None if there is none."""
        if self.path is None:
            return None
        try:
            with open(os.path.join(os.path.dirname(self.path), RUN), encoding="utf-8") as stream:
                return stream.read()
        except (OSError, UnicodeDecodeError):
            return None

    def spent(self, model: str) -> tuple[int, int]:
        """Requests and tokens counted for a model."""
        query = "select requests, tokens from spent where model = ?"
        rows = self._do(_query(query, [model]))
        return (rows[0][0], rows[0][1]) if rows else (0, 0)

    def close(self) -> None:
        """Give the file back; the next use opens it again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """What the work returns; None, after a warning, when the file does not let it."""
        with self._lock:
            for _ in range(2):
                try:
                    connection = self._open()
                    return None if connection is None else work(connection)
                except sqlite3.DatabaseError as error:
                    if self._connection is not None and self._connection.in_transaction:
                        self._close()
                    if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                        self._warn(f"{error}; answers are not kept while this lasts")
                        return None
                    self._set_aside(error)
            return None

    def _open(self) -> sqlite3.Connection | None:
        if self.path is not None and _inode(self.path) != self._inode:
            self._close()  # it was set aside by another process, or removed
        if self._connection is None and self._unusable is None:
            try:
                self._connection = self._connect()
            except (OSError, sqlite3.OperationalError) as error:
                self._close()
                self._unusable = f"{self.path}: {error}"
                self._warn(f"{error}; answers are not kept, and are paid for again after a crash")
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        if self.path is None:
            connection = _connection(":memory:")
            _make_tables(connection)
            return connection
        if "://" in self.path:
            raise OSError("is no path of a file system")
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with _locked(f"{self.path}.lock"):
            self._inode = _inode(self.path)
            connection = self._connection = _connection(self.path)
            _make_tables(connection)
            # a journal beside the file needs memory that processes share: no network has that
            mode = "delete" if is_on_network(self.path) else "wal"
            if connection.execute(f"pragma journal_mode = {mode}").fetchone()[0] != mode:
                connection.execute("pragma journal_mode = delete")
            connection.execute("pragma synchronous = normal")
            self._inode = _inode(self.path)
        return connection

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        """Move the damaged file away, unless another process has done so."""
        self._close()
        if self.path is None:
            return
        with suppress(OSError), _locked(f"{self.path}.lock"):
            if _inode(self.path) != self._inode:
                return
            aside = _free_name(self.path)
            for end in ("", "-wal", "-shm", "-journal"):
                with suppress(FileNotFoundError):
                    os.rename(f"{self.path}{end}", f"{aside}{end}")
            self._warn(f"{error}; it is set aside as {aside}, and its answers are asked for again")

    def _warn(self, what: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            _LOG.warning("%s: %s", self.path, what)


_BY_NAME = "select name, answer, crc from names join answers using (key) where name"
_COUNT = """
insert into spent values (?1, max(?2, 0), max(?3, 0)) on conflict (model) do update
set requests = max(requests + ?2, 0), tokens = max(tokens + ?3, 0)
"""


_FAILED = """
insert into failures values (?1, 1, ?2) on conflict (key) do update
set times = times + (?2 is null or run is not ?2), run = ?2 returning times
"""


def _connection(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)


def _make_tables(connection: sqlite3.Connection) -> None:
    """Raises sqlite3.DatabaseError (SQLITE_NOTADB) for a file of another make, too."""
    version = connection.execute("pragma user_version").fetchone()[0]
    if version == _VERSION:
        for table in (_FAILURES, _NAMES):  # which files made before these were kept have not
            connection.execute(table)
        if "run" not in {row[1] for row in connection.execute("pragma table_info(failures)")}:
            connection.execute("alter table failures add column run text")
        return
    if version or connection.execute("select count(*) from sqlite_master").fetchone()[0]:
        error = sqlite3.DatabaseError(f"is of version {version}, not {_VERSION}")
        error.sqlite_errorcode = sqlite3.SQLITE_NOTADB
        raise error
    connection.executescript(_TABLES)
    connection.execute(_FAILURES)
    connection.execute(_NAMES)


def _query(text: str, values: Sequence[Any]) -> Callable[[sqlite3.Connection], list[Any]]:
    return lambda connection: connection.execute(text, values).fetchall()


def _in_transaction(work: Callable[[sqlite3.Connection], T]) -> Callable[[sqlite3.Connection], T]:
    def whole(connection: sqlite3.Connection) -> T:
        connection.execute("begin immediate")
        with connection:  # commits, or rolls back
            return work(connection)

    return whole


def _inode(path: str) -> int | None:
    """What tells a file from another one of its name; None if there is none."""
    try:
        return os.stat(path).st_ino
    except OSError:  # also when it goes away meanwhile
        return None


def _crc(text: str) -> int:
    return zlib.crc32(text.encode())


def _answer(text: str) -> Answer:
    found = json.loads(text)
    return Answer(**{**found, "logprobs": tuple(found["logprobs"])})


def _free_name(path: str) -> str:
    root, extension = os.path.splitext(path)
    number = 1
    while os.path.exists(f"{root}.damaged-{number}{extension}"):
        number += 1
    return f"{root}.damaged-{number}{extension}"


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """One process at a time, and no trace of one that was killed."""
    with open(path, "ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def is_on_network(path: str, mounts: str = "/proc/self/mounts") -> bool:
    """Whether a path lies on a network file system, by the table of mounts; False without one."""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as stream:
            lines = [line.split() for line in stream]
    except OSError:
        return False
    place = f"{os.path.realpath(path)}/"
    over = [line for line in lines if len(line) > 2 and place.startswith(f"{line[1].rstrip('/')}/")]
    kind = max(over, key=lambda line: len(line[1]), default=["", "", ""])[2]
    return kind.startswith(_NETWORK)
