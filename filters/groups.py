"""Groups of hashes around the best of them: connected, but never wider than a cap.

Exact, and the same whatever the order of the rows behind the hashes. Links are kept in memory
only up to a limit; where hashes crowd beyond it, they are found again in every round.
"""

import numpy as np
from numpy.typing import NDArray

from filters.neighbours import Hashes, Pairs, Places, components, pairs_within, roots, unite

# Of 10^7 hashes of a crawl some 10^6 are left after the first round, with 1.4 * 10^7 links; this
# many take 1 GB while they are sorted.
MOST_LINKS = 1 << 25


def leaders(hashes: Hashes, rank: Places, distance: int, cap: int) -> Places:
    """The index of the hash that each one's group is named after.

    Hashes (ascending, unique) within `distance` bits are linked. Of each connected component the
    one of lowest rank leads all that are within `cap` bits of it; the others are linked among
    themselves and grouped by the same rule, until none is left. Ranks differ from each other.
    Raises ValueError when the distance is too wide for so many hashes.
    """
    leader = np.arange(len(hashes))
    waiting = leader.copy()
    while len(waiting):
        some = hashes[waiting]
        best = _best_of_each(components(some, distance), np.argsort(-rank[waiting]))
        near = np.bitwise_count(some ^ some[best]) <= cap
        leader[waiting[near]] = waiting[best[near]]
        waiting = waiting[~near]
        links = _links(hashes[waiting], distance)
        if links is not None:
            leader[waiting] = waiting[_settled(hashes[waiting], rank[waiting], links, cap)]
            break
    return leader


def _best_of_each(label: Places, worst_first: Places) -> Places:
    """For each place the last of `worst_first` with its label."""
    best = np.empty(int(label.max(initial=-1)) + 1, np.intp)
    best[label[worst_first]] = worst_first
    return best[label]


def _links(hashes: Hashes, distance: int) -> list[Pairs] | None:
    """All pairs within the distance, or None when they are more than MOST_LINKS."""
    links: list[Pairs] = []
    size = 0
    for i, j in pairs_within(hashes, distance):
        size += len(i)
        if size > MOST_LINKS:
            return None
        links.append((i.astype(np.int32), j.astype(np.int32)))
    return links


class _Graph:
    """Who is linked to whom, and the component of each node; nodes are taken out over time.

    Mutable because taking nodes out must cost no more than their surroundings, however large
    the component they were in.
    """

    def __init__(self, nodes: int, links: list[Pairs]) -> None:
        self.label = np.arange(nodes)
        for i, j in links:
            unite(self.label, i, j)
        self.label = roots(self.label, self.label)
        self.out = np.zeros(nodes, bool)
        self._next_label = nodes
        self._tree = np.arange(nodes)
        self._place = np.empty(nodes, np.intp)
        edges = _both_ways(links)
        self._starts = np.searchsorted(edges, np.arange(nodes + 1) << 32)
        self._ends = (edges & 0xFFFFFFFF).astype(np.int32)

    def take_out(self, nodes: Places) -> None:
        """Remove nodes; what hangs together no longer gets labels of its own.

        Every part of a component that falls apart touches what was taken out. So all that
        touches it grows, step by step, until at most one tree per component is still growing:
        that one is the rest, which keeps the label, and the others are complete.
        """
        self.out[nodes] = True
        _, touched = self._steps(nodes)
        growing = self._once(touched)
        seen, rest = [growing], np.zeros(0, np.intp)
        reached = np.zeros(len(self.out), bool)
        reached[growing] = True
        while len(growing):
            settled = self._grows_alone(growing)
            rest = np.concatenate([rest, growing[settled]])
            begin, end = self._steps(growing[~settled])
            unite(self._tree, begin, end)
            growing = self._once(end[~reached[end]])
            reached[growing] = True
            seen.append(growing)
        self._relabel(np.concatenate(seen), rest)

    def _steps(self, nodes: Places) -> tuple[Places, Places]:
        """Links from the nodes to nodes that are not out."""
        first, beyond = self._starts[nodes], self._starts[nodes + 1]
        counts = beyond - first
        skips = first - np.concatenate([[0], np.cumsum(counts)[:-1]]) if len(nodes) else first
        ends = self._ends[np.repeat(skips, counts) + np.arange(int(counts.sum()))]
        kept = ~self.out[ends]
        return np.repeat(nodes, counts)[kept], ends[kept].astype(np.intp)

    def _once(self, nodes: Places) -> Places:
        """The same nodes without repetition; quicker than sorting them."""
        count = np.arange(len(nodes))
        self._place[nodes] = count
        once: Places = nodes[self._place[nodes] == count]
        return once

    def _grows_alone(self, nodes: Places) -> NDArray[np.bool_]:
        """Whether no other tree of the node's component has nodes among these."""
        label, root = self.label[nodes], roots(self._tree, nodes)
        order = np.lexsort((root, label))
        new_label = np.diff(label[order], prepend=-1) != 0
        new_root = new_label | (np.diff(root[order], prepend=-1) != 0)
        place = np.cumsum(new_label) - 1
        alone = np.empty(len(nodes), bool)
        alone[order] = np.bincount(place, weights=new_root)[place] == 1
        return alone

    def _relabel(self, seen: Places, rest: Places) -> None:
        root = roots(self._tree, seen)
        cut = ~np.isin(root, roots(self._tree, rest))
        parts, part = np.unique(root[cut], return_inverse=True)
        self.label[seen[cut]] = self._next_label + part
        self._next_label += len(parts)
        self._tree[seen] = seen


def _both_ways(links: list[Pairs]) -> NDArray[np.int64]:
    """Every link from either end, as (from << 32 | to), ascending."""
    edges = np.empty(2 * sum(len(i) for i, _ in links), np.int64)
    place = 0
    for pair in links:
        for begin, end in (pair, pair[::-1]):
            edges[place : place + len(begin)] = begin.astype(np.int64) << 32 | end
            place += len(begin)
    edges.sort()
    return edges


def _settled(hashes: Hashes, rank: Places, links: list[Pairs], cap: int) -> Places:
    """The leader of each hash, when all links are known."""
    graph = _Graph(len(hashes), links)
    leader = np.arange(len(hashes))
    waiting = np.argsort(-rank)  # worst first
    while len(waiting):
        label = graph.label[waiting]
        best = waiting[_best_of_each(label, np.arange(len(waiting)))]
        near = np.bitwise_count(hashes[waiting] ^ hashes[best]) <= cap
        leader[waiting[near]] = best[near]
        graph.take_out(waiting[near])
        waiting = waiting[~near]
    return leader
