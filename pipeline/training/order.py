"""Which sample comes when and where: arithmetic over an export's manifest, and no reading.

An epoch is a line of all samples: the shards in an order drawn by seed and epoch, each shard's
samples as they lie in it. The line is cut into equal parts, one for each rank, and these into one
for each worker; a part is read in blocks, whose samples are put in an order drawn by seed and
epoch. So everything follows from numbers, and reading can begin at any batch.

An export into buckets has a line for each, so that the images of a batch are of one size. From
which the n-th batch comes is drawn by seed and epoch, and is the same on every rank.
"""

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle

from pipeline import storage
from pipeline.errors import CurationError, DamagedFile
from pipeline.keys import draw_bits
from pipeline.training.parameters import check_whole

VERSION = 2  # raise it when the same seed would give another order
DROP, WRAP = "drop", "wrap"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """In what order samples come, and how many a batch has.

    `shuffle` is how many samples a worker holds at once to put them in another order, and of
    each bucket a batch at least; 0 leaves samples and shards as they were written. If the samples
    (of a bucket) are no whole number of batches on every rank, `uneven` says what becomes of the
    rest: `drop` leaves those out that come last in the epoch (others in every epoch), fewer than
    batch_size x world; `wrap` begins the line again until all batches are full, so that as many
    come twice.
    """

    batch_size: int = 256
    shuffle: int = 1000
    seed: int = 0
    uneven: str = DROP

    def __post_init__(self) -> None:
        check_whole(1, batch_size=self.batch_size)
        check_whole(0, shuffle=self.shuffle, seed=self.seed)
        if self.uneven not in (DROP, WRAP):
            raise ValueError(f"uneven {self.uneven!r}: it is {DROP} or {WRAP}")

    def block_batches(self, buckets: int = 1) -> int:
        """How many batches are made of the samples of a bucket that are held at once."""
        return max(1, -(-self.shuffle // (self.batch_size * buckets)))


@dataclass(frozen=True)
class Place:
    """Which of `world` processes reads, and by how many worker processes of its own."""

    rank: int
    world: int
    workers: int = 0

    def __post_init__(self) -> None:
        check_whole(0, rank=self.rank, workers=self.workers)
        check_whole(1, world=self.world)
        if self.rank >= self.world:
            raise ValueError(f"rank {self.rank} of {self.world} with {self.workers} workers")

    @property
    def readers(self) -> int:
        return max(1, self.workers)


@dataclass(frozen=True)
class Shard:
    """A tar of an export: where it is, how many samples it has, and the size of its images."""

    path: str
    samples: int
    bucket: str = ""


@dataclass(frozen=True)
class Export:
    """The shards of an export that hold samples, as written; `digest` tells it from others."""

    shards: tuple[Shard, ...]
    digest: str

    @property
    def samples(self) -> int:
        return sum(shard.samples for shard in self.shards)

    @property
    def buckets(self) -> tuple[str, ...]:
        """Sizes of images, as the manifest names them; of an export without buckets one, ``""``."""
        return tuple(dict.fromkeys(shard.bucket for shard in self.shards))

    def of(self, bucket: str) -> "Export":
        """The shards of a bucket alone."""
        return Export(tuple(s for s in self.shards if s.bucket == bucket), self.digest)


@dataclass(frozen=True)
class Part:
    """What a reader reads of a bucket: from a place of its line on, so many batches."""

    bucket: str
    first: int
    batches: int


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
    listed, shards = [], []
    for shard in storage.read_fields(path, "shards")["shards"]:
        try:
            name, samples = shard["name"], shard["samples"]
            is_shard = name == os.path.basename(name) and type(samples) is int and samples >= 0
            bucket = str(shard.get("bucket", ""))
        except (AttributeError, KeyError, TypeError):
            is_shard = False
        if not is_shard:
            raise DamagedFile(f"{path}: is damaged, export again: its shards are none")
        listed.append((name, samples, str(shard.get("sha256"))))
        if samples:
            shards.append(Shard(storage.join(root, name), samples, bucket))
    if not shards:
        raise CurationError(f"{root}: the export has no samples, so there is nothing to train on")
    return Export(tuple(shards), hashlib.sha256(repr(listed).encode()).hexdigest())


def batches_of_rank(export: Export, order: Order, world: int) -> dict[str, int]:
    """How many batches of each bucket every rank has in an epoch.

    Raises CurationError when there are none; buckets of which none come are warned of.
    """
    step = order.batch_size * world
    samples = {bucket: export.of(bucket).samples for bucket in export.buckets}
    found = {
        bucket: count // step if order.uneven == DROP else -(-count // step)
        for bucket, count in samples.items()
    }
    if not any(found.values()):
        raise CurationError(
            f"{max(samples.values())} samples do not make a batch of {order.batch_size} on each of"
            f" {world} ranks; take a smaller batch_size, or `uneven='wrap'`"
        )
    short = {bucket: samples[bucket] for bucket, batches in found.items() if not batches}
    if short:
        _LOG.warning(
            "%d samples never come, of buckets that do not make a batch of %d on each of %d ranks:"
            " %s; take a smaller batch_size, or `uneven='wrap'`",
            *(sum(short.values()), order.batch_size, world, ", ".join(short)),
        )
    return found


def turns(batches: dict[str, int], order: Order, epoch: int) -> list[str]:
    """The bucket of each batch of a rank, in the order of this epoch; those of every rank."""
    line = [bucket for bucket, count in batches.items() for _ in range(count)]
    if not order.shuffle or len(batches) == 1:
        return line
    salt = f"training-buckets-{epoch}"
    dice = [(draw_bits(str(n).encode(), order.seed, salt), n) for n in range(len(line))]
    return [line[n] for _, n in sorted(dice)]


def reading(line: Sequence[str], batch_size: int, place: Place, reader: int) -> list[Part]:
    """What a reader reads of each bucket, if these are the buckets of a rank's batches.

    Of a rank's batches reader r makes those numbered r, r + readers, r + 2 readers, …
    """
    parts = []
    for bucket in dict.fromkeys(line):
        shares = [line[r :: place.readers].count(bucket) for r in range(place.readers)]
        before = place.rank * sum(shares) + [0, *accumulate(shares)][reader]
        parts.append(Part(bucket, before * batch_size, shares[reader]))
    return parts


def shards_of_epoch(export: Export, order: Order, epoch: int) -> list[Shard]:
    """All shards of an export, or of a bucket, in the order of this epoch."""
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
