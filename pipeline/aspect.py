"""Buckets of one size each: shards for text-to-image training, whose batches are of one shape.

Sizes are multiples of a step whose area is at most that of a square of the side, as wide as they
can be for their height; each of them wide and tall.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

GROUP_BITS = 6  # of a place in the shuffle, the first: the number of a bucket
MOST = 1 << GROUP_BITS
_MARGIN = 1e-9


@dataclass(frozen=True)
class Buckets:
    """Sizes for each of `sides`, in multiples of `step`, no longer than `max_ratio` to one.

    A picture gets the size nearest to its shape (by the logarithm of width to height), of the
    largest side that it fills; with `enlarge` one that fills none is made larger for the smallest.
    """

    sides: tuple[int, ...]
    step: int
    max_ratio: float
    enlarge: bool = False

    @cached_property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """All widths and heights, by side, then from tall to wide. Raises ValueError for too many.

        The numbers of buckets are places in this list.
        """
        found = [size for sizes in self._of_sides for size in sizes]
        if len(found) > MOST:
            raise ValueError(f"these are {len(found)} sizes (limit {MOST}); make 'step' larger")
        if not found:
            raise ValueError(f"no size has sides of {self.step} and this area; make 'step' smaller")
        return tuple(found)

    @cached_property
    def _of_sides(self) -> tuple[list[tuple[int, int]], ...]:
        """The sizes of each side, the smallest side first."""
        return tuple(self._of(side) for side in sorted(set(self.sides)))

    def _of(self, side: int) -> list[tuple[int, int]]:
        widest: dict[int, int] = {}  # of each height, of sizes that are not tall
        for width in range(self.step, side * side // self.step + 1, self.step):
            height = side * side // width // self.step * self.step
            if 0 < height <= width and width / height <= self.max_ratio + _MARGIN:
                widest[height] = width
        wide = [(width, height) for height, width in widest.items()]
        return sorted({*wide, *((height, width) for width, height in wide)}, key=_shape)

    def choose(self, width: int, height: int) -> int | None:
        """The number of the bucket for a picture of this size; None when it fills none."""
        shape = math.log(width / height)
        for sizes in reversed(self._of_sides):
            size = min(sizes, key=lambda size: abs(_shape(size) - shape), default=None)
            if size is not None and (size[0] <= width and size[1] <= height):
                return self.sizes.index(size)
        if not self.enlarge:
            return None
        sizes = self._of_sides[0] or list(self.sizes)
        return self.sizes.index(min(sizes, key=lambda size: abs(_shape(size) - shape)))

    def label(self, number: int) -> str:
        """`1024x768`."""
        return "{}x{}".format(*self.sizes[number])


@dataclass(frozen=True)
class Fit:
    """How a picture comes to a size: scaled to `scaled`, then cut at `left` and `top`.

    Where these are negative, it stands in the middle of a larger, empty one.
    """

    size: tuple[int, int]
    scaled: tuple[int, int]
    left: int
    top: int

    def box(self, before: Sequence[float]) -> list[float] | None:
        """Where a box is afterwards (left, top, right, bottom as shares); None if it is gone."""
        found = []
        for place, share in enumerate(before):
            axis = place % 2
            moved = share * self.scaled[axis] - (self.left, self.top)[axis]
            found.append(min(1.0, max(0.0, moved / self.size[axis])))
        return found if found[0] < found[2] and found[1] < found[3] else None


def resized(width: int, height: int, max_side: int, mode: str) -> Fit:
    """What `encoding.resize` does to a picture of this size."""
    side = max(width, height) if mode in ("longest", "border") else min(width, height)
    factor = max_side / side
    scaled = (width, height)
    if side > max_side:
        scaled = max(1, round(width * factor)), max(1, round(height * factor))
    size = scaled
    if mode == "crop":
        size = (min(*scaled, max_side),) * 2
    elif mode == "border":
        size = (max_side, max_side)
    left, top = ((old - new) // 2 for old, new in zip(scaled, size, strict=True))
    if mode == "border":
        left, top = (-((max_side - length) // 2) for length in scaled)
    return Fit(size, scaled, left, top)


def fit(width: int, height: int, size: tuple[int, int]) -> Fit:
    """The whole size is covered by the middle of the picture."""
    factor = max(size[0] / width, size[1] / height)
    scaled = max(size[0], round(width * factor)), max(size[1], round(height * factor))
    return Fit(size, scaled, (scaled[0] - size[0]) // 2, (scaled[1] - size[1]) // 2)


def starts(groups: Sequence[int], per_shard: int) -> Iterator[tuple[int, int]]:
    """The rank of every shard's first sample, with the place of its group; none spans two."""
    before = 0
    for number, count in enumerate(groups):
        shards = -(-count // per_shard)
        yield from ((before + i * count // shards, number) for i in range(shards))
        before += count


def grouped(place: int, number: int) -> int:
    """A place in the shuffle as one among those of a bucket."""
    return (number << (64 - GROUP_BITS)) | (place >> GROUP_BITS)


def group_of(place: int) -> int:
    """The number of the bucket that a grouped place belongs to."""
    return place >> (64 - GROUP_BITS)


def _shape(size: tuple[int, int]) -> float:
    return math.log(size[0] / size[1])
