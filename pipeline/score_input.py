"""What scorers see of a shard: columns, image bytes and pixels, each read and decoded once.

Rows come in order, in chunks of bounded size. With threads, the next chunk is read and decoded
while this one is scored; what comes, and in which order, is the same.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from pipeline import decoding, shards
from pipeline.columns import values_of
from pipeline.errors import DamagedFile
from pipeline.instances import FIELDS, Instance
from pipeline.pool import BASE, Shard, read_base, read_stored, tar_path

CHUNK = 32  # samples decoded at a time, when no scorer wants larger batches
CHUNK_PIXELS = 32_000_000  # and never more pixels at once than this, one image excepted


@dataclass(frozen=True)
class Look:
    """How a scorer wants to see images: with at least so many pixels, and prepared or as they are.

    `prepare` is called ahead of the batch, in a thread, and where nothing is done ahead not at all.
    """

    scorer: str
    request: int | None
    prepare: Callable[[decoding.Pixels], Any] | None = None


@dataclass
class Rows:
    """Columns of a shard's rows that the scorers due read, as lists; `ok` rows can be scored."""

    root: str
    shard: Shard
    ok: list[bool]
    shas: list[bytes | None]
    columns: dict[str, list[Any]]
    stored: list[bool]
    keys: list[bytes]

    @classmethod
    def read(cls, root: str, shard: Shard, due: Sequence[Instance]) -> "Rows":
        wanted = {name for i in due for name in i.scorer.reads if name not in FIELDS}
        from_base = [name for name in BASE.names if name in wanted]
        needed = ["key", "failed", "extension", "image_sha256"]
        base = read_base(root, shard, [*dict.fromkeys([*needed, *from_base])])
        columns = {name: base[name].to_pylist() for name in from_base}
        sets = {name: s for i in due for name, s in i.inputs.items() if name in wanted}
        written = {name for i in due for name in i.columns.schema.names}
        for name, column_set in sets.items():
            if name not in written:
                columns[name] = values_of(column_set.read(shard, [name])[name])
        return cls(
            root=root,
            shard=shard,
            ok=base["failed"].is_null().to_pylist(),
            shas=base["image_sha256"].to_pylist(),
            columns=columns,
            stored=base["extension"].is_valid().to_pylist(),
            keys=base["key"].to_pylist(),
        )


@dataclass
class Chunk:
    """Some rows of a shard with their image bytes; decodes each image once per request.

    A class with state because decoding is lazy: an image nobody asks for is never decoded.
    `decoding_s` is the time that was spent on it while a scorer waited.
    """

    max_pixels: int
    rows: list[int] = field(default_factory=list)
    data: dict[int, bytes] = field(default_factory=dict)
    decoding_s: float = 0.0
    _decoded: dict[tuple[int, int | None], Any] = field(default_factory=dict)
    _prepared: dict[tuple[int, str], Any] = field(default_factory=dict)
    _headers: dict[int, Any] = field(default_factory=dict)

    def value(self, row: int, name: str, look: Look) -> Any:
        """A decoded field of a row; None when it has no image, Unreadable (as value) when bad."""
        data = self.data.get(row)
        if data is None or name == "image_bytes":
            return data
        if name == "header":
            return self._headers[row]
        if (row, look.request) not in self._decoded:
            started = time.perf_counter()
            self._decode(row, look)
            self.decoding_s += time.perf_counter() - started
        return self._prepared.get((row, look.scorer), self._decoded[row, look.request])

    def add(self, row: int, image: bytes | None, header: Any) -> None:
        self.rows.append(row)
        if image is not None:
            self.data[row], self._headers[row] = image, header

    def fill(self, row: int, looks: Mapping[int, Sequence[Look]]) -> None:
        """Decode and prepare an image before anybody asks."""
        for look in looks.get(row, ()) if row in self.data else ():
            if (row, look.request) not in self._decoded:
                self._decode(row, look)
            pixels = self._decoded[row, look.request]
            if look.prepare is not None and not isinstance(pixels, decoding.Unreadable):
                self._prepared[row, look.scorer] = look.prepare(pixels)

    def _decode(self, row: int, look: Look) -> None:
        data = self.data[row]
        self._decoded[row, look.request] = _or_reason(
            lambda: decoding.decode(data, look.request, max_pixels=self.max_pixels)
        )


def _or_reason(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except decoding.Unreadable as error:
        return error


def _header(image: bytes, max_pixels: int) -> Any:
    return _or_reason(lambda: decoding.read_header(image, max_pixels=max_pixels))


def are_many(waiting: Iterable[Sequence[Any]]) -> bool:
    """Whether the images among what a scorer reads of some rows are more than should wait."""
    arrays = (value for values in waiting for value in values if isinstance(value, np.ndarray))
    return sum(array.size // 3 for array in arrays) > CHUNK_PIXELS


@dataclass
class Feed:
    """The rows that some scorer asks for, in order, in chunks.

    `asked` holds them, each with the looks at its image that are sure to be asked for. With
    `threads`, reading and decoding go one chunk ahead: two chunks are in memory then, else one.
    Mutable: `waited_s` is how long the scorers waited for data.
    """

    rows: Rows
    asked: Mapping[int, Sequence[Look]]
    has_images: bool
    limit: int
    max_pixels: int
    threads: int = 0
    waited_s: float = 0.0

    def chunks(self) -> Generator[Chunk, None, None]:
        found = _chunks(self)
        if self.threads and self.has_images:
            found = _ahead(found, self)
        with closing(found):
            while True:
                started = time.perf_counter()
                chunk = next(found, None)
                self.waited_s += time.perf_counter() - started
                if chunk is None:
                    return
                yield chunk
                self.waited_s += chunk.decoding_s


def _ahead(chunks: Generator[Chunk, None, None], feed: Feed) -> Generator[Chunk, None, None]:
    """The same chunks, each read and decoded in threads while the one before it is in use.

    When this is closed, at whatever point, its threads have ended.
    """

    def next_filled() -> Chunk | None:
        chunk = next(chunks, None)
        if chunk is not None:
            list(decoders.map(partial(chunk.fill, looks=feed.asked), chunk.rows))
        return chunk

    with (
        closing(chunks),
        ThreadPoolExecutor(feed.threads, "decode") as decoders,
        ThreadPoolExecutor(1, "read") as reader,
    ):
        coming = reader.submit(next_filled)
        try:
            while (chunk := coming.result()) is not None:
                coming = reader.submit(next_filled)
                yield chunk
        finally:
            decoders.shutdown(cancel_futures=True)  # what the reader waits for, too


def _chunks(feed: Feed) -> Generator[Chunk, None, None]:
    requests = {look.request for looks in feed.asked.values() for look in looks}
    chunk, held = Chunk(feed.max_pixels), 0
    for row, image in _images(feed.rows) if feed.has_images else _no_images(feed.asked):
        if row not in feed.asked:
            continue
        header = None if image is None else _header(image, feed.max_pixels)
        size = 0 if image is None else len(image) // 3 + _pixels(header, requests)
        if chunk.rows and (len(chunk.rows) >= feed.limit or held + size > CHUNK_PIXELS):
            yield chunk
            chunk, held = Chunk(feed.max_pixels), 0
        chunk.add(row, image, header)
        held += size
    if chunk.rows:
        yield chunk


def _pixels(header: Any, requests: set[int | None]) -> int:
    if isinstance(header, decoding.Unreadable):
        return 0
    return sum(decoding.decoded_pixels(header, request) for request in requests)


def _no_images(asked: Mapping[int, Any]) -> Iterator[tuple[int, None]]:
    for row in sorted(asked):
        yield row, None


def _images(rows: Rows) -> Iterator[tuple[int, bytes | None]]:
    """(row, image bytes) for every row in order; rows without a sample have none."""
    path = tar_path(rows.root, rows.shard.name)
    samples = shards.read_shard(path)
    extensions = read_stored(rows.root, rows.shard, ["extension"])["extension"].to_pylist()
    for row, extension in enumerate(extensions):
        if extension is None:
            yield row, None
            continue
        sample = next(samples, None)
        if sample is None or sample.key != rows.keys[row].hex() or extension not in sample.parts:
            found = "its end" if sample is None else sample.detail or sample.key
            raise DamagedFile(f"{path}: expected sample {rows.keys[row].hex()}, found {found}")
        yield row, sample.parts[extension] if rows.stored[row] else None  # if not taken down
