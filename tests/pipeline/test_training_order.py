"""The order of training samples: every one once, equally many for each, and other every epoch."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import CurationError, DamagedFile
from pipeline.training.order import (
    Export,
    Order,
    Place,
    Shard,
    batches_of_rank,
    block_order,
    open_export,
    ranges,
    reading,
    shards_of_epoch,
    turns,
)
from tests.pipeline.training_exports import write_plain

COUNTS = st.lists(st.integers(1, 9), min_size=1, max_size=6)


def export_of(counts, buckets=("",)):
    """Shards of so many samples, of each of these buckets in turn."""
    shards = (Shard(f"{n}.tar", count, buckets[n % len(buckets)]) for n, count in enumerate(counts))
    return Export(tuple(shards), "digest")


def read_by_all(export, order, world, workers, epoch=0):
    """For each rank and reader the samples it reads, as (shard, place)."""
    found = {}
    line = turns(batches_of_rank(export, order, world), order, epoch)
    for rank in range(world):
        for reader in range(max(1, workers)):
            own = reading(line, order.batch_size, Place(rank, world, workers), reader)
            found[rank, reader] = [
                (one.shard.path, n)
                for part in own
                for one in ranges(
                    shards_of_epoch(export.of(part.bucket), order, epoch),
                    part.first,
                    part.batches * order.batch_size,
                )
                for n in range(one.first, one.beyond)
            ]
    return found


@given(COUNTS, st.integers(1, 5), st.integers(1, 4), st.integers(0, 4), st.sampled_from([0, 7]))
def test_every_sample_is_read_once_or_the_rest_is_left_out(counts, size, world, workers, shuffle):
    export, order = export_of(counts), Order(size, shuffle)
    if export.samples < size * world:
        with pytest.raises(CurationError, match="do not make a batch"):
            batches_of_rank(export, order, world)
        return
    found = read_by_all(export, order, world, workers)
    read = [one for part in found.values() for one in part]
    assert len(set(read)) == len(read) == export.samples - export.samples % (size * world)
    per_rank = sum(batches_of_rank(export, order, world).values())
    for rank in range(world):
        own = [len(part) for (of, _), part in found.items() if of == rank]
        assert sum(own) == per_rank * size
        # Equal to within a batch, and the first readers have the more: PyTorch asks in turn.
        assert sorted(own, reverse=True) == own
        assert own[0] - own[-1] <= size


@given(COUNTS, st.integers(1, 30), st.integers(1, 4), st.integers(0, 4))
def test_wrapped_every_sample_is_read_and_as_few_twice_as_can_be(counts, size, world, workers):
    export, order = export_of(counts), Order(size, uneven="wrap")
    read = [one for part in read_by_all(export, order, world, workers).values() for one in part]
    step = size * world
    assert len(read) == -(-export.samples // step) * step
    times = [read.count(one) for one in set(read)]
    assert len(times) == export.samples
    assert max(times) - min(times) <= 1


def test_whoever_reads_an_epoch_has_the_same_samples():
    export, order = export_of([5, 3, 8, 1]), Order(2, seed=4)
    found = [
        sorted(one for part in read_by_all(export, order, *who, epoch=3).values() for one in part)
        for who in [(1, 0), (1, 3), (2, 1), (4, 2)]
    ]
    assert found[0] == found[1]
    assert set(found[2]) == set(found[0])  # 17 samples: one is left out by 1 and by 2 ranks
    assert set(found[3]) <= set(found[0])


def test_epochs_and_seeds_have_orders_of_their_own():
    export = export_of([1] * 30)

    def names(order, epoch):
        return [shard.path for shard in shards_of_epoch(export, order, epoch)]

    written = [shard.path for shard in export.shards]
    drawn = [names(Order(1, 5, seed=s), e) for s in (0, 1) for e in (0, 1)]
    assert len({tuple(one) for one in [written, *drawn]}) == 5
    assert all(sorted(one) == sorted(written) for one in drawn)
    assert names(Order(1, 0), 3) == written
    assert names(Order(1, 5), 0) == drawn[0]


def test_a_block_is_put_in_another_order():
    one, other = (block_order(40, 50, Order(5, seed=1), epoch) for epoch in (0, 1))
    assert sorted(one) == sorted(other) == list(range(50))
    assert len({tuple(one), tuple(other), tuple(range(50))}) == 3
    assert block_order(40, 50, Order(5, 0), 0) == list(range(50))


def test_all_shards_come_first_equally_often():
    export = export_of([1] * 4)
    first = [shards_of_epoch(export, Order(1), epoch)[0].path for epoch in range(4000)]
    for shard in export.shards:  # a quarter each: three standard errors are .02
        assert abs(first.count(shard.path) / 4000 - 0.25) < 0.03


@pytest.mark.parametrize(
    ("size", "shuffle", "batches"), [(4, 0, 1), (4, 4, 1), (4, 5, 2), (4, 1000, 250), (9, 1, 1)]
)
def test_blocks_are_whole_batches(size, shuffle, batches):
    assert Order(size, shuffle).block_batches() == batches


def test_buckets_share_what_is_held_at_once():
    assert Order(4, 1000).block_batches(10) == 25
    assert Order(4, 1000).block_batches(1000) == 1


@given(COUNTS, st.integers(1, 4), st.integers(1, 3), st.integers(0, 3), st.sampled_from([0, 7]))
def test_each_bucket_has_a_line_of_its_own(counts, size, world, workers, shuffle):
    export = export_of(counts, ("16x8", "8x16", "8x8"))
    order, step = Order(size, shuffle, uneven="drop"), size * world
    whole = {bucket: export.of(bucket).samples // step for bucket in export.buckets}
    if not any(whole.values()):
        return
    assert batches_of_rank(export, order, world) == whole
    read = [one for part in read_by_all(export, order, world, workers).values() for one in part]
    assert len(set(read)) == len(read) == step * sum(whole.values())
    wrapped = Order(size, shuffle, uneven="wrap")
    read = [one for part in read_by_all(export, wrapped, world, workers).values() for one in part]
    assert len(set(read)) == export.samples


def test_buckets_come_in_a_drawn_order():
    batches = {"8x8": 30, "16x8": 10}
    line = turns(batches, Order(1, 5, seed=2), 0)
    assert [line.count(bucket) for bucket in batches] == [30, 10]
    assert 0 < line.index("16x8") < 20
    assert "8x8" in line[-20:]
    assert line != turns(batches, Order(1, 5, seed=2), 1)
    assert turns(batches, Order(1, 0), 0) == ["8x8"] * 30 + ["16x8"] * 10


def test_a_bucket_too_small_for_a_batch_is_warned_of(caplog):
    export = export_of([9, 3], ("8x8", "16x8"))
    assert batches_of_rank(export, Order(4), 1) == {"8x8": 2, "16x8": 0}
    assert "3 samples never come, of buckets that do not make a batch of 4 on each of 1 ranks:" in (
        caplog.text
    )
    assert "16x8; take a smaller batch_size" in caplog.text


def test_an_export_is_found_in_an_output_or_as_it_is(tmp_path):
    out = write_plain(tmp_path / "out", 2, 0, 3)
    found = open_export(out)
    assert [shard.samples for shard in found.shards] == [2, 3]
    assert open_export(f"{out}/shards") == found
    assert open_export(write_plain(tmp_path / "other", 2, 3)).digest != found.digest


@pytest.mark.parametrize(
    "shard",
    [{"name": "../x.tar", "samples": 1}, {"name": "x.tar"}, {"name": "x.tar", "samples": -1}, 3],
)
def test_a_manifest_that_is_none_is_refused(tmp_path, shard):
    (tmp_path / "manifest.json").write_text(json.dumps({"shards": [shard]}))
    with pytest.raises(DamagedFile, match="its shards are none"):
        open_export(str(tmp_path))


def test_what_is_no_export_is_refused(tmp_path):
    with pytest.raises(CurationError, match="there is no finished export"):
        open_export(str(tmp_path))
    with pytest.raises(CurationError, match="has no samples"):
        open_export(write_plain(tmp_path / "out", 0))


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Order(0), "batch_size"),
        (lambda: Order(1, -1), "shuffle"),
        (lambda: Order(uneven="pad"), "it is drop or wrap"),
        (lambda: Place(2, 2), "rank 2 of 2"),
        (lambda: Place(0, 1, -1), "workers must be a whole number"),
        (lambda: Order(2.5), "batch_size must be a whole number"),
        (lambda: Order(seed=None), "seed must be a whole number"),
        (lambda: Order(seed=1 << 63), "seed must be at most"),
        (lambda: Place("0", 1), "rank must be a whole number"),
    ],
)
def test_wrong_orders_are_refused(make, problem):
    with pytest.raises(ValueError, match=problem):
        make()
