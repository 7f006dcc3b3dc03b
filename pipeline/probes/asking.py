"""Has scorers look at pairs of picture and text, as they would at the rows of a pool.

The pairs become shards of a small pool that is removed again, so that decoding, reasons and
missing values are those of a build. Answers that a scorer has paid for stay in its `requests/`.
"""

import contextlib
import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline import decoding, pool, storage
from pipeline.columns import values_of
from pipeline.errors import CurationError
from pipeline.instances import Instance
from pipeline.probes.questions import Pair
from pipeline.score import score_shard
from pipeline.score_job import ScoreJob
from pipeline.shards import Sample, ShardWriter
from pipeline.stage import reason

_LOG = logging.getLogger(__name__)
_ROWS = 256  # of a shard
_PIXELS = 32_000_000  # and no more of them, one picture excepted
_TOLD = 4096  # pairs between two words about how far it is
Block = list[tuple[Pair, bytes]]
Values = dict[str, list[Any]]


@dataclass
class Asking:
    """Scores pairs in a folder of its own.

    Mutable: `reasons` counts why values are missing, by the first word; `learnt` holds by its
    path what fitted scorers have learnt.
    """

    root: str
    max_pixels: int
    reasons: Counter[str] = field(default_factory=Counter)
    learnt: dict[str, bytes] = field(default_factory=dict)
    _shard: pool.Shard | None = None

    def blocks(self, pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
        """Pairs in order, so many at a time as are scored at once."""
        for block in self._blocks(pairs):
            self._write(block)
            yield [pair for pair, _ in block]

    def values(self, chain: Sequence[Instance], *, is_final: bool = True) -> Values:
        """What the last scorer of a chain writes about the pairs of the block.

        Reasons for missing values are not counted when the pairs will be asked about again.
        """
        shard = self.shard
        try:
            score_shard(shard, ScoreJob(self.root, tuple(chain), self.max_pixels))
        except CurationError:
            raise
        except Exception as error:
            names = ", ".join(instance.name for instance in chain)
            raise CurationError(f"{names}: {reason(error)}") from error
        columns = chain[-1].columns
        table = columns.read(shard)
        if is_final:
            said = (text for text in table[columns.error_column].to_pylist() if text is not None)
            self.reasons.update(text.partition(":")[0] for text in said)
        return {name: values_of(table[name]) for name in columns.schema.names}

    @property
    def shard(self) -> pool.Shard:
        """The pairs of the block as a shard of a pool."""
        assert self._shard is not None
        return self._shard

    def clear(self) -> None:
        """Remove the pool and its columns, and the folder if nothing else is there."""
        for name in ("pool", "columns"):
            storage.remove(storage.join(self.root, name))
        for folder in (self.root, os.path.dirname(self.root)):
            with contextlib.suppress(OSError):  # not empty, or not there
                os.rmdir(folder)

    def _write(self, block: Block) -> None:
        self.clear()
        path = pool.tar_path(self.root, pool.shard_name(0, 1))
        rows = []
        with storage.writing(path, durable=False) as temporary, open(temporary, "wb") as stream:
            writer = ShardWriter(stream)
            for number, ((_, text), data) in enumerate(block):
                key = number.to_bytes(16, "big")
                extension = self._extension(data)
                writer.write(Sample(key.hex(), {extension: data}))
                sha = hashlib.sha256(data).digest()
                rows.append({"key": key, "source": "probe", "caption": text,
                             "image_sha256": sha, "extension": extension})  # fmt: skip
            writer.close()
        table = pool.base_table(rows)
        self._shard = pool.write_base(
            self.root, pool.shard_name(0, 1), table, storage.size(path), ""
        )
        for place, data in self.learnt.items():
            storage.write_atomic(place, data)

    def _extension(self, data: bytes) -> str:
        """By the format; of what is no picture any, and its decoding says why."""
        try:
            return decoding.EXTENSIONS[decoding.read_header(data, self.max_pixels).format]
        except decoding.Unreadable:
            return "jpg"

    def _blocks(self, pairs: Sequence[Pair]) -> Iterator[Block]:
        block: Block = []
        read: dict[str, tuple[bytes, int]] = {}
        weight = 0
        for number, pair in enumerate(pairs):
            picture = pair[0]
            if picture.name not in read:
                data = picture.read()
                read[picture.name] = data, self._weight(data)
            data, size = read[picture.name]
            if block and (len(block) >= _ROWS or weight + size > _PIXELS):
                yield block
                block, weight, read = [], 0, {picture.name: (data, size)}
            block.append((pair, data))
            weight += size
            if number and number % _TOLD == 0:
                _LOG.info("asked about %s of %s pairs", f"{number:,}", f"{len(pairs):,}")
        if block:
            yield block

    def _weight(self, data: bytes) -> int:
        try:
            header = decoding.read_header(data, self.max_pixels)
        except decoding.Unreadable:
            return 0
        return header.width * header.height
