"""All pairs of 64-bit hashes within a Hamming distance: exact, in bounded memory, in plain numpy.

Refuses a distance that it could not serve in reasonable time: at most 10 for up to a million
hashes and at most 4 beyond.
"""

from collections.abc import Iterable, Iterator
from itertools import combinations, islice
from math import comb

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Places = NDArray[np.intp]
Pairs = tuple[Places, Places]

MANY_HASHES = 1_000_000
MAX_DISTANCE = 10
MAX_DISTANCE_OF_MANY = 4

PAIRS_PER_CHUNK = 1 << 20
# Comparisons per numpy call: 8-byte differences of one tile then stay in a 1 MB cache.
TILE = 1 << 16
SHORT_RUN = 64
# Below this a run is compared as it is; above, splitting it further may pay.
LONG_RUN = 4096
# Costs in nanoseconds, measured; only their ratio matters, and only for speed.
SORT_COST, COMPARE_COST = 60.0, 1.0
SAMPLED_HASHES, SAMPLED_TABLES = 4096, 24


def pairs_within(hashes: Hashes, distance: int) -> Iterator[Pairs]:
    """Every pair of hashes that differ in at most `distance` bits, exactly once.

    `hashes` are ascending and unique. Yields pairs of equally long index arrays `(i, j)`, i < j
    element by element, in no promised order, of about a million pairs each; memory is a few
    times that of the hashes, however many of them share bits. Raises ValueError for hashes out
    of order and for a distance beyond the limits.

    The bits are dealt to blocks of which at most `distance` can hold a difference, so two
    neighbours agree in all the others: sorting by each choice of blocks brings them together
    (Manku, Jain, Das Sarma: Detecting near-duplicates for web crawling, WWW 2007).
    """
    check_distance(distance, len(hashes))
    if not np.all(hashes[1:] > hashes[:-1]):
        raise ValueError("hashes must be unique and ascending")
    return _in_chunks(_pairs(hashes, distance))


def components(hashes: Hashes, distance: int) -> Places:
    """The connected component of each hash when all pairs within the distance are linked.

    A component is called by the smallest index in it. Same demands and limits as `pairs_within`.
    """
    parent = np.arange(len(hashes))
    for i, j in pairs_within(hashes, distance):
        _unite(parent, i, j)
    return _jump(parent, parent)


def _unite(parent: Places, i: Places, j: Places) -> None:
    """Join the trees of each pair; a root hangs on a smaller one, so that none ever circle."""
    while len(i):
        i, j = _jump(parent, i), _jump(parent, j)
        apart = i != j
        i, j = np.minimum(i, j)[apart], np.maximum(i, j)[apart]
        np.minimum.at(parent, j, i)
        # Chains that arose just now are of roots in j alone: doubling flattens them.
        while np.any(parent[j] != parent[parent[j]]):
            parent[j] = parent[parent[j]]


def _jump(parent: Places, places: Places) -> Places:
    """The root of each place."""
    root = parent[places]
    while np.any(root != (above := parent[root])):
        root = above
    parent[places] = root
    return root


def check_distance(distance: int, hashes: int) -> None:
    """Raise ValueError, with value and limit, for a distance too wide for so many hashes."""
    limit = MAX_DISTANCE if hashes <= MANY_HASHES else MAX_DISTANCE_OF_MANY
    if not 0 <= distance <= limit:
        raise ValueError(
            f"distance {distance} between {hashes} hashes (limits: 0 to {MAX_DISTANCE} for up to "
            f"{MANY_HASHES} hashes, 0 to {MAX_DISTANCE_OF_MANY} beyond)"
        )


def _in_chunks(found: Iterable[Pairs]) -> Iterator[Pairs]:
    """The same pairs, smaller index first, in arrays of about PAIRS_PER_CHUNK."""
    waiting: list[Pairs] = []
    size = 0
    for pair in found:
        waiting.append(pair)
        size += len(pair[0])
        if size >= PAIRS_PER_CHUNK:
            yield _ordered(waiting)
            waiting, size = [], 0
    if size:
        yield _ordered(waiting)


def _ordered(pairs: list[Pairs]) -> Pairs:
    first = np.concatenate([i for i, _ in pairs])
    second = np.concatenate([j for _, j in pairs])
    return np.minimum(first, second), np.maximum(first, second)


def _pairs(hashes: Hashes, distance: int) -> Iterator[Pairs]:
    """Pairs of places in `hashes`, which may stand in any order here."""
    blocks = _plan(hashes, distance)
    if not blocks:
        yield from _all_pairs(hashes, distance)
        return
    for chosen in combinations(range(len(blocks)), len(blocks) - distance):
        masks = [blocks[block] for block in chosen]
        order = np.argsort(hashes & np.bitwise_or.reduce(masks))
        values = hashes[order]
        skipped = [blocks[block] for block in range(chosen[-1]) if block not in chosen]
        for i, j in _pairs_in_runs(values, np.bitwise_or.reduce(masks), distance):
            # A pair is met wherever enough blocks agree; its first such choice reports it.
            difference = values[i] ^ values[j]
            first = np.ones(len(i), bool)
            for mask in skipped:
                first &= (difference & mask) != 0
            yield order[i[first]], order[j[first]]


def _plan(hashes: Hashes, distance: int) -> list[np.uint64]:
    """The blocks of bits with the least expected work; none when comparing all is cheapest."""
    size = len(hashes)
    best: list[np.uint64] = []
    least = size * (size - 1) / 2 * COMPARE_COST
    if size <= SHORT_RUN:
        return best
    sample = hashes[:: -(-size // SAMPLED_HASHES)]
    bits = _informative_bits(sample)
    for count in range(distance + 1, min(distance + 6, len(bits) + 1)):
        tables = comb(count, distance)
        if tables * size * SORT_COST >= least:
            break
        blocks = [np.bitwise_or.reduce(bits[start::count]) for start in range(count)]
        shared = _shared(sample, blocks, distance)
        cost = tables * (size * SORT_COST + shared * size * (size - 1) / 2 * COMPARE_COST)
        if cost < least:
            best, least = blocks, cost
    return best


def _informative_bits(hashes: Hashes) -> Hashes:
    """Masks of the single bits that vary, the most balanced first: dealt out, blocks are even."""
    bits = np.uint64(1) << np.arange(64, dtype=np.uint64)
    ones = np.array([np.count_nonzero(hashes & bit) for bit in bits])
    rarer = np.minimum(ones, len(hashes) - ones)
    order = np.argsort(-rarer, kind="stable")
    return bits[order[rarer[order] > 0]]


def _shared(sample: Hashes, blocks: list[np.uint64], distance: int) -> float:
    """The chance that two hashes agree in a choice of blocks, on average over the choices."""
    kept = len(blocks) - distance
    step = -(-comb(len(blocks), distance) // SAMPLED_TABLES)
    chances = []
    for chosen in islice(combinations(blocks, kept), 0, None, step):
        mask = np.bitwise_or.reduce(chosen)
        _, lengths = _runs(np.sort(sample & mask))
        chance = float(np.sum(lengths * (lengths - 1))) / (len(sample) * (len(sample) - 1))
        # A sample cannot see what is rarer than one pair in it: assume fair bits there.
        chances.append(max(chance, 0.5 ** int(np.bitwise_count(mask))))
    return sum(chances) / len(chances)


def _runs(keys: Hashes) -> tuple[Places, Places]:
    """Starts and lengths of the runs of two or more equal keys; `keys` are sorted."""
    edges = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    starts = np.concatenate([[0], edges])
    lengths = np.diff(np.concatenate([starts, [len(keys)]]))
    several = lengths > 1
    return starts[several], lengths[several]


def _pairs_in_runs(values: Hashes, mask: np.uint64, distance: int) -> Iterator[Pairs]:
    """Pairs within the distance among values that agree under the mask, by which they stand."""
    starts, lengths = _runs(values & mask)
    order = np.argsort(lengths, kind="stable")
    sizes, begins = np.unique(lengths[order], return_index=True)
    for length, alike in zip(sizes.tolist(), np.split(starts[order], begins[1:]), strict=False):
        if len(alike) >= length:
            yield from _pairs_in_columns(values, alike, length, distance)
            continue
        find = _pairs if length > LONG_RUN else _all_pairs
        for start in alike.tolist():
            for i, j in find(values[start : start + length], distance):
                yield i + start, j + start


def _pairs_in_columns(
    values: Hashes, starts: Places, length: int, distance: int
) -> Iterator[Pairs]:
    """Compare within many runs of one length at once, each of them a column."""
    width = TILE // length + 1
    places = np.arange(length)[:, None]
    for begin in range(0, len(starts), width):
        some = starts[begin : begin + width]
        columns = values[places + some]
        for gap in range(1, length):
            found = _near(columns[gap:] ^ columns[:-gap], distance)
            if len(found):
                row, column = np.divmod(found, len(some))
                i = some[column] + row
                yield i, i + gap


def _all_pairs(values: Hashes, distance: int) -> Iterator[Pairs]:
    """Compare each with all that follow, tile by tile."""
    begin, size = 0, len(values)
    while begin < size - 1:
        rows = max(1, TILE // (size - begin))
        for left in range(begin, size, TILE):
            columns = values[left : left + TILE]
            found = _near(values[begin : begin + rows, None] ^ columns, distance)
            i, j = np.divmod(found, len(columns))
            later = j + left > i + begin
            if later.any():
                yield i[later] + begin, j[later] + left
        begin += rows


def _near(difference: Hashes, distance: int) -> Places:
    return np.flatnonzero(np.bitwise_count(difference) <= distance)
