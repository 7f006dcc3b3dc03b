"""Cuts: the shards of a reference that sorts everything, from any number of runs and ranges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import cuts
from pipeline.cuts import cut, shards_per_bucket
from pipeline.runs import Rendered, Run, write_run


def reference(places, per_shard):
    """The first place of every shard but the first."""
    count = -(-len(places) // per_shard)
    ordered = sorted(places)
    return [ordered[i * len(places) // count] for i in range(1, count)]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=30), max_size=5),
    st.integers(1, 12),
    st.integers(1, 20),
    st.integers(1, 200),
)
def test_shards_are_those_of_one_sorted_list(
    tmp_path_factory, places, per_shard, range_samples, reads
):
    folder = tmp_path_factory.mktemp("cuts")
    runs = []
    for number, own in enumerate(places):
        runs.append(Run(str(folder / str(number))))
        write_run(runs[-1], [Rendered(((p, p.to_bytes(16)),), b"") for p in own])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuts, "RANGE_SAMPLES", range_samples)
        patch.setattr(cuts, "READS", reads)
        buckets = cut(runs, [len(own) for own in places], per_shard)
    every = [place for own in places for place in own]
    if not every:
        assert buckets == []
        return
    edges = reference(every, per_shard)
    starts = [bucket.first for bucket in buckets]
    assert starts == sorted(set(starts))
    assert sum(bucket.shards for bucket in buckets) == len(edges) + 1
    inner = [edges[b.first : b.first + b.shards - 1] for b in buckets]
    assert [list(bucket.edges) for bucket in buckets] == inner
    for run, own in enumerate(places):
        rows = [bucket.rows[run].tolist() for bucket in buckets]
        firsts = [0, *(int(np.searchsorted(sorted(own), edges[n - 1])) for n in starts[1:])]
        assert rows == [list(row) for row in zip(firsts, [*firsts[1:], len(own)], strict=True)]


@given(st.integers(1, 300), st.integers(1, 50), st.integers(0, 10))
def test_shard_sizes_differ_by_one_at_most(count, per_shard, seed):
    places = np.random.default_rng(seed).choice(10**6, count, replace=False).tolist()
    sizes = np.histogram(places, bins=[0, *reference(places, per_shard), 10**6])[0]
    assert sum(sizes) == count
    assert max(sizes) <= per_shard
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("shards", "runs"), [(1, 1), (10**6, 1000), (10**5, 1000), (10**6, 1)])
def test_tasks_times_runs_stay_below_the_limit(shards, runs):
    tasks = -(-shards // shards_per_bucket(shards, runs))
    assert tasks * runs <= cuts.READS
    assert shards_per_bucket(1000, 1000) == 1
