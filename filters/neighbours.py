"""Pairs of 64-bit hashes within a Hamming distance, and the components that they link.

Exact, in bounded memory, in plain numpy. Refuses a distance that it could not serve in reasonable
time: at most 10 for up to a million hashes and at most 4 beyond.
"""

from collections.abc import Iterable, Iterator
from itertools import combinations, islice
from math import comb

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Places = NDArray[np.intp]
Pairs = tuple[Places, Places]
Blocks = list[np.uint64]  # masks of bits
Table = tuple[Places, np.uint64, Blocks]

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
    _check(hashes, distance)
    return _in_chunks(_pairs(hashes, distance))


def components(hashes: Hashes, distance: int) -> Places:
    """The connected component of each hash when all pairs within the distance are linked.

    A component is called by the smallest index in it. Same demands and limits as `pairs_within`,
    but far quicker where hashes crowd: what is known to hang together is not compared again.
    """
    _check(hashes, distance)
    parent = np.arange(len(hashes))
    _connect(hashes, parent, distance)
    return roots(parent, parent)


def _connect(hashes: Hashes, parent: Places, distance: int) -> None:
    """Join all trees of the forest `parent` that hold hashes within the distance."""
    blocks = _plan(hashes, distance)
    if not blocks:
        for i, j in _in_chunks(_pairs_across(hashes, roots(parent, parent), distance)):
            unite(parent, i, j)
        return
    for order, mask, _ in _tables(hashes, blocks, distance):
        root = roots(parent, parent)[order]
        for i, j in _in_chunks(_joins(hashes[order], root, mask, distance)):
            unite(parent, order[i], order[j])


def _joins(values: Hashes, root: Places, mask: np.uint64, distance: int) -> Iterator[Pairs]:
    """Pairs that join what belongs together in the runs of values that agree under the mask."""
    starts, lengths = _runs(values & mask)
    changes = np.concatenate([[0], np.cumsum(root[1:] != root[:-1])])
    mixed = changes[starts + lengths - 1] > changes[starts]
    for alike, length in _by_length(starts[mixed], lengths[mixed]):
        if len(alike) >= length:
            yield from _pairs_in_columns(values, alike, length, distance)
            continue
        for start in alike.tolist():
            run = slice(start, start + length)
            for i, j in _joins_in_run(values[run], root[run], distance):
                yield i + start, j + start


def _joins_in_run(values: Hashes, root: Places, distance: int) -> Iterable[Pairs]:
    if len(values) <= LONG_RUN:
        return _pairs_across(values, root, distance)
    _, first, tree = np.unique(root, return_index=True, return_inverse=True)
    parent = first[tree]
    _connect(values, parent, distance)
    return [(np.arange(len(values)), parent)]


def _pairs_across(values: Hashes, root: Places, distance: int) -> Iterator[Pairs]:
    """All pairs within the distance but those inside the tree that holds most values."""
    if len(values) < 2:
        return
    _, tree, sizes = np.unique(root, return_inverse=True, return_counts=True)
    largest = int(sizes.argmax())
    order = np.concatenate([np.flatnonzero(tree != largest), np.flatnonzero(tree == largest)])
    for i, j in _all_pairs(values[order], distance, len(values) - int(sizes[largest])):
        yield order[i], order[j]


def unite(parent: Places, i: Places, j: Places) -> None:
    """Join the trees of each pair; a root hangs on a smaller one, so that none ever circle."""
    while len(i):
        i, j = roots(parent, i), roots(parent, j)
        apart = i != j
        i, j = np.minimum(i, j)[apart], np.maximum(i, j)[apart]
        np.minimum.at(parent, j, i)
        # Chains that arose just now are of roots in j alone: doubling flattens them.
        while np.any(parent[j] != parent[parent[j]]):
            parent[j] = parent[parent[j]]


def roots(parent: Places, places: Places) -> Places:
    """The root of each place."""
    root = parent[places]
    while np.any(root != (above := parent[root])):
        root = above
    parent[places] = root
    return root


def _check(hashes: Hashes, distance: int) -> None:
    """Raise ValueError for hashes out of order, or for too wide a distance between so many."""
    limit = MAX_DISTANCE if len(hashes) <= MANY_HASHES else MAX_DISTANCE_OF_MANY
    if not 0 <= distance <= limit:
        raise ValueError(
            f"distance {distance} between {len(hashes)} hashes (limits: 0 to {MAX_DISTANCE} for "
            f"up to {MANY_HASHES} hashes, 0 to {MAX_DISTANCE_OF_MANY} beyond)"
        )
    if not np.all(hashes[1:] > hashes[:-1]):
        raise ValueError("hashes must be unique and ascending")


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
    for order, mask, skipped in _tables(hashes, blocks, distance):
        values = hashes[order]
        for i, j in _pairs_in_runs(values, mask, distance):
            # A pair is met wherever enough blocks agree; its first such choice reports it.
            difference = values[i] ^ values[j]
            first = np.ones(len(i), bool)
            for block in skipped:
                first &= (difference & block) != 0
            yield order[i[first]], order[j[first]]


def _tables(hashes: Hashes, blocks: Blocks, distance: int) -> Iterator[Table]:
    """The order that brings together what agrees in some blocks, for each choice of them.

    With it the mask of the chosen blocks, and the blocks before the last chosen that are not.
    """
    for chosen in combinations(range(len(blocks)), len(blocks) - distance):
        mask = np.bitwise_or.reduce([blocks[block] for block in chosen])
        skipped = [blocks[block] for block in range(chosen[-1]) if block not in chosen]
        yield np.argsort(hashes & mask), mask, skipped


def _plan(hashes: Hashes, distance: int) -> Blocks:
    """The blocks of bits with the least expected work; none when comparing all is cheapest."""
    size = len(hashes)
    best: Blocks = []
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
    balanced: Hashes = bits[order[rarer[order] > 0]]
    return balanced


def _shared(sample: Hashes, blocks: Blocks, distance: int) -> float:
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
    for alike, length in _by_length(*_runs(values & mask)):
        if len(alike) >= length:
            yield from _pairs_in_columns(values, alike, length, distance)
            continue
        find = _pairs if length > LONG_RUN else _all_pairs
        for start in alike.tolist():
            for i, j in find(values[start : start + length], distance):
                yield i + start, j + start


def _by_length(starts: Places, lengths: Places) -> Iterator[tuple[Places, int]]:
    """The starts of all runs of one length, for each length."""
    order = np.argsort(lengths, kind="stable")
    sizes, begins = np.unique(lengths[order], return_index=True)
    yield from zip(np.split(starts[order], begins[1:]), sizes.tolist(), strict=False)


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


def _all_pairs(values: Hashes, distance: int, first: int | None = None) -> Iterator[Pairs]:
    """Compare each (or each of the `first`) with all that follow, tile by tile."""
    begin, size = 0, len(values)
    end = size - 1 if first is None else min(first, size - 1)
    while begin < end:
        rows = min(max(1, TILE // (size - begin)), end - begin)
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
