"""Which sample comes when and where: arithmetic over an export's manifest, and no reading.

An epoch is a line of all samples: the shards in an order drawn by seed and epoch, each shard's
samples as they lie in it. The line is cut into equal parts, one for each rank, and these into one
for each worker; a part is read in blocks, whose samples are put in an order drawn by seed and
epoch. So everything follows from numbers, and reading can begin at any batch.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, cycle

from pipeline import storage
from pipeline.errors import CurationError, DamagedFile
from pipeline.keys import draw_bits

VERSION = 1  # raise it when the same seed would give another order
DROP, WRAP = "drop", "wrap"


@dataclass(frozen=True)
class Order:
    """In what order samples come, and how many a batch has.

    `shuffle` is how many samples a worker holds at once to put them in another order; 0 leaves
    samples and shards as they were written. If the samples are no whole number of batches on
    every rank, `uneven` says what becomes of the rest: `drop` leaves those out that come last in
    the epoch (others in every epoch), fewer than batch_size x world; `wrap` begins the line again
    until all batches are full, so that as many come twice.
    """

    batch_size: int = 256
    shuffle: int = 1000
    seed: int = 0
    uneven: str = DROP

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.shuffle < 0:
            raise ValueError("batch_size must be at least 1, and shuffle at least 0")
        if self.uneven not in (DROP, WRAP):
            raise ValueError(f"uneven {self.uneven!r}: it is {DROP} or {WRAP}")

    @property
    def block_batches(self) -> int:
        """How many batches are made of the samples that are held at once."""
        return max(1, -(-self.shuffle // self.batch_size))


@dataclass(frozen=True)
class Place:
    """Which of `world` processes reads, and by how many worker processes of its own."""

    rank: int
    world: int
    workers: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world or self.workers < 0:
            raise ValueError(f"rank {self.rank} of {self.world} with {self.workers} workers")

    @property
    def readers(self) -> int:
        return max(1, self.workers)


@dataclass(frozen=True)
class Shard:
    """A tar of an export: where it is, and how many samples it has."""

    path: str
    samples: int


@dataclass(frozen=True)
class Export:
    """The shards of an export that hold samples, as written; `digest` tells it from others."""

    shards: tuple[Shard, ...]
    digest: str

    @property
    def samples(self) -> int:
        return sum(shard.samples for shard in self.shards)


@dataclass(frozen=True)
class Range:
    """Samples of one shard: from place `first` to before place `beyond`."""

    shard: Shard
    first: int
    beyond: int


def open_export(folder: str) -> Export:
    """The export in a build's output, or in its folder `shards`.

    Raises CurationError when there is no manifest, or no sample; DamagedFile when it is none.
    """
    inside = storage.join(folder, "shards")
    root = inside if storage.exists(storage.join(inside, "manifest.json")) else folder
    path = storage.join(root, "manifest.json")
    if not storage.exists(path):
        raise CurationError(f"{folder}: there is no finished export; run `pairmill export`")
    listed = []
    for shard in storage.read_fields(path, "shards")["shards"]:
        try:
            name, samples = shard["name"], shard["samples"]
            is_shard = name == os.path.basename(name) and type(samples) is int and samples >= 0
        except (KeyError, TypeError):
            is_shard = False
        if not is_shard:
            raise DamagedFile(f"{path}: is damaged, export again: its shards are none")
        listed.append((name, samples, str(shard.get("sha256"))))
    shards = tuple(Shard(storage.join(root, name), count) for name, count, _ in listed if count)
    if not shards:
        raise CurationError(f"{root}: the export has no samples, so there is nothing to train on")
    return Export(shards, hashlib.sha256(repr(listed).encode()).hexdigest())


def batches_of_rank(samples: int, order: Order, world: int) -> int:
    """How many batches every rank has in an epoch. Raises CurationError when that is none."""
    step = order.batch_size * world
    count = samples // step if order.uneven == DROP else -(-samples // step)
    if not count:
        raise CurationError(
            f"{samples} samples do not make a batch of {order.batch_size} on each of {world}"
            " ranks; take a smaller batch_size, or `uneven='wrap'`"
        )
    return count


def reading(export: Export, order: Order, place: Place, reader: int) -> tuple[int, int]:
    """Where in the line of samples a reader begins, and how many batches are its own.

    Of a rank's batches reader r makes those numbered r, r + readers, r + 2 readers, …
    """
    total = batches_of_rank(export.samples, order, place.world)
    shares = [len(range(r, total, place.readers)) for r in range(place.readers)]
    before = place.rank * total + [0, *accumulate(shares)][reader]
    return before * order.batch_size, shares[reader]


def shards_of_epoch(export: Export, order: Order, epoch: int) -> list[Shard]:
    """All shards, in the order of this epoch."""
    if not order.shuffle:
        return list(export.shards)
    salt = f"training-shards-{epoch}"
    dice = [
        (draw_bits(str(number).encode(), order.seed, salt), number)
        for number in range(len(export.shards))
    ]
    return [export.shards[number] for _, number in sorted(dice)]


def ranges(shards: list[Shard], first: int, count: int) -> Iterator[Range]:
    """Where `count` samples of the line lie, from place `first`; after the last comes the first."""
    start, beyond = 0, first + count
    for shard in cycle(shards):
        inside = Range(shard, max(first - start, 0), min(beyond - start, shard.samples))
        if inside.first < inside.beyond:
            yield inside
        start += shard.samples
        if start >= beyond:
            return


def block_order(first: int, count: int, order: Order, epoch: int) -> list[int]:
    """The order of the samples in a block that begins at place `first` of the line."""
    if not order.shuffle:
        return list(range(count))
    salt = f"training-samples-{epoch}"
    dice = [(draw_bits(str(first + n).encode(), order.seed, salt), n) for n in range(count)]
    return [n for _, n in sorted(dice)]
