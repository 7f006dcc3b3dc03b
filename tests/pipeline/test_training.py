"""Batches of an export: every sample as it should be, in an order that repeats from anywhere."""

import json
import random
from itertools import chain, islice
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch

from pipeline.errors import CurationError
from pipeline.training import (
    Drawn,
    Order,
    PairLoader,
    Pairs,
    Place,
    Plan,
    Regions,
    Slots,
    SubCaptions,
    here,
)
from tests import pictures
from tests.pipeline.training_exports import (
    caption,
    is_same,
    key_of,
    picture,
    sample,
    to_tensor,
    tokenize,
    write,
    write_plain,
)

TXT = Drawn({"txt": 1})
KEYS = "keys"


def loader(out, order=None, place=None, plan: Plan = TXT, **more):
    return PairLoader(out, Pairs(plan, to_tensor, **more), order or Order(3, 6), place)


def keys_of(batches):
    return [batch[KEYS] for batch in batches]


def test_a_batch_holds_pictures_texts_and_tokens(tmp_path):
    out = write_plain(tmp_path / "out", 4)
    (batch,) = loader(out, Order(4, 0), tokenize=tokenize)
    assert batch[KEYS] == [key_of(n) for n in range(4)]
    assert batch["texts"] == [[f"number {n}"] for n in range(4)]
    assert batch["languages"] == [[None]] * 4
    assert batch["mask"].tolist() == [[True]] * 4
    assert batch["images"].shape == (4, 3, 24, 32)
    assert batch["tokens"].shape == (4, 1, 8)
    assert bytes(batch["tokens"][2, 0].tolist()) == b"number 2"
    assert batch["skipped"] == 0
    assert batch["weights"] == {}
    assert "boxes" not in batch


def test_every_sample_comes_once_in_another_order_each_epoch(tmp_path):
    out = write_plain(tmp_path / "out", 5, 4, 3)
    read = loader(out)
    epochs = [list(chain(*keys_of(read))) for _ in range(3)]
    assert read.epoch == 3
    assert all(sorted(keys) == sorted(map(key_of, range(12))) for keys in epochs)
    assert len({tuple(keys) for keys in epochs}) == 3
    assert [k for b in loader(out) for k in b[KEYS]] == epochs[0]
    assert [k for b in loader(out, Order(3, 6, seed=1)) for k in b[KEYS]] != epochs[0]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 3, 5])
@pytest.mark.parametrize("uneven", ["drop", "wrap"])
def test_ranks_and_workers_share_an_epoch(tmp_path, workers, uneven):
    out = write_plain(tmp_path / "out", 9, 2, 12)  # with five workers and two ranks: few shards
    ranks = [loader(out, Order(2, 5, uneven=uneven), Place(r, 2, workers)) for r in range(2)]
    found = [keys_of(rank) for rank in ranks]
    assert len(found[0]) == len(found[1]) == len(ranks[0]) == (5 if uneven == "drop" else 6)
    keys = [key for rank in found for batch in rank for key in batch]
    assert len(set(keys)) == (20 if uneven == "drop" else 23)
    assert len(keys) == (20 if uneven == "drop" else 24)


def batches_from(out, state, place, order=None):
    read = loader(out, order, place)
    read.load_state_dict(json.loads(json.dumps(state)))
    return list(read)


@pytest.mark.parametrize("shuffle", [0, 6, 100])
def test_an_epoch_goes_on_where_it_was_stopped(tmp_path, shuffle):
    out = write_plain(tmp_path / "out", 7, 2, 9, 4)
    order, place = Order(2, shuffle), Place(0, 1)
    read = loader(out, order, place)
    read.set_epoch(2)
    states, whole = [read.state_dict()], []
    for batch in read:
        whole.append(batch)
        states.append(read.state_dict())
    assert len(whole) == 11
    for n, state in enumerate(states[:-1]):
        rest = batches_from(out, state, place, order)
        assert is_same(keys_of(rest), keys_of(whole[n:]))
        assert is_same(rest[0], whole[n])
    assert states[-1]["epoch"] == 3
    assert states[-1]["batches"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_an_epoch_goes_on_with_workers(tmp_path, workers):
    out = write_plain(tmp_path / "out", 9, 3, 5)
    place, order = Place(1, 2, workers), Order(1, 3)
    read = loader(out, order, place)
    states, whole = [read.state_dict()], []
    for batch in read:
        whole.append(batch)
        states.append(read.state_dict())
    assert len(whole) == 8
    for n in (1, 2, 5, 7):
        rest = batches_from(out, states[n], place, order)
        assert len(rest) == 8 - n
        assert all(map(is_same, rest, whole[n:]))


def test_a_loader_that_was_left_goes_on(tmp_path):
    out = write_plain(tmp_path / "out", 12)
    whole, read = keys_of(loader(out)), loader(out)
    assert keys_of(islice(read, 2)) + keys_of(read) == whole
    assert keys_of(read) != whole  # the next epoch
    read.set_epoch(0)
    assert keys_of(read) == whole


def test_a_loader_is_not_read_twice_at_once(tmp_path):
    read = loader(write_plain(tmp_path / "out", 12))
    one, other = iter(read), iter(read)
    next(one)
    next(other)
    with pytest.raises(RuntimeError, match="read twice at once"):
        next(one)
    read.set_epoch(4)
    with pytest.raises(RuntimeError, match="the loader was moved"):
        list(other)
    with pytest.raises(RuntimeError, match="the loader was moved"):
        _move_after_the_last_batch(read)
    assert read.epoch == 9


def _move_after_the_last_batch(read):
    for _ in read:
        if read.state_dict()["batches"] == 0:
            read.set_epoch(9)


@pytest.mark.parametrize(
    ("order", "place", "what"),
    [
        (Order(2, 6), Place(0, 1), "batch_size 3, and this loader has 2"),
        (Order(3, 9), Place(0, 1), "shuffle 6"),
        (Order(3, 6, 1), Place(0, 1), "seed 0"),
        (Order(3, 6, uneven="wrap"), Place(0, 1), "uneven 'drop'"),
        (Order(3, 6), Place(0, 2), "world 1"),
        (Order(3, 6), Place(0, 1, 2), "workers 1"),
    ],
)
def test_in_an_epoch_all_must_be_as_it_was(tmp_path, order, place, what):
    out = write_plain(tmp_path / "out", 12)
    read = loader(out, place=Place(0, 1))
    next(iter(read))
    other = loader(out, order, place)
    with pytest.raises(CurationError, match=what):
        other.load_state_dict(read.state_dict())
    read.set_epoch(5)
    other.load_state_dict(read.state_dict())
    assert other.epoch == 5


@pytest.mark.parametrize("state", [None, {}, {"epoch": 0, "batches": -1, "order": {}}])
def test_what_is_no_state_is_refused(tmp_path, state):
    read = loader(write_plain(tmp_path / "out", 12))
    with pytest.raises(CurationError, match="the state is none of a PairLoader"):
        read.load_state_dict(state)
    with pytest.raises(ValueError, match="epoch must be a whole number"):
        read.set_epoch("3")


def test_options_that_change_batches_or_order_are_refused(tmp_path):
    out, pairs = write_plain(tmp_path / "out", 12), Pairs(TXT, to_tensor)
    for option in ("num_workers", "shuffle", "in_order"):
        with pytest.raises(ValueError, match=f"no option '{option}'; known are pin_memory"):
            PairLoader(out, pairs, options={option: 0})


def test_another_export_is_not_gone_on_with(tmp_path):
    read = loader(write_plain(tmp_path / "one", 12))
    next(iter(read))
    with pytest.raises(CurationError, match="with export '"):
        loader(write_plain(tmp_path / "two", 6, 6)).load_state_dict(read.state_dict())


def test_texts_and_chance_in_a_sample_depend_on_its_key_and_epoch_alone(tmp_path):
    captions = [caption(f"part {n}") for n in range(9)]
    out = write(tmp_path / "out", [sample(n, captions) for n in range(4)])

    def chance(image):
        own = [torch.rand(()).item(), random.random(), np.random.rand()]
        return torch.tensor([*own, np.array(image).mean()])

    def read(order, epoch=0):
        made = PairLoader(out, Pairs(SubCaptions(3), chance), order)
        made.set_epoch(epoch)
        return {
            key: (texts, image.tolist())
            for batch in made
            for key, texts, image in zip(batch[KEYS], batch["texts"], batch["images"], strict=True)
        }

    torch.manual_seed(3)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    first = read(Order(4, 0))
    assert torch.equal(before[0], torch.get_rng_state())  # training's own chance is left alone
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())
    assert read(Order(1, 9)) == first
    other = read(Order(4, 0), epoch=1)
    assert all(other[key][0] != first[key][0] and other[key][1] != first[key][1] for key in first)
    assert len({tuple(image[:3]) for _, image in first.values()}) == 4


def test_weights_are_columns_and_one_where_there_is_none(tmp_path):
    columns = [{"w": 0.25, "text": "x"}, {"w": None, "text": "y"}, {"w": 2, "text": "z"}]
    out = write(tmp_path / "out", [sample(n, columns=c) for n, c in enumerate(columns)])
    (batch,) = loader(out, Order(3, 0), weights=("w",))
    assert torch.equal(batch["weights"]["w"], torch.tensor([0.25, 1.0, 2.0]))
    with pytest.raises(CurationError, match=r"no column 'v' \(it has w, text\);"):
        list(loader(out, Order(3, 0), weights=("v",)))
    with pytest.raises(CurationError, match="column 'text' holds 'x', and a weight is a number"):
        list(loader(out, Order(3, 0), weights=("text",)))


def region(text, *box, **more):
    return caption(text, "region", box=list(box), **more)


def test_regions_are_padded_and_small_ones_left_out(tmp_path):
    third = float(np.float32(1 / 3))
    captions = [
        region("all", 0, 0, 1, 1),
        region("64 x 64", third, 0.5, third + float(np.float32(64 / 300)), 0.5 + 64 / 200),
        region("63 x 64", 0, 0, 63 / 300, 64 / 200),
        region("inside out", 1, 1, 0, 0),
        region("nowhere", 0.5, 0, 0.5, 1),
        caption("no box", "region"),
    ]
    big = pictures.jpeg(1, (300, 200))
    out = write(
        tmp_path / "out",
        [sample(0, captions, size=(300, 200), jpg=big), sample(1, jpg=big, size=(300, 200))],
    )
    (batch,) = loader(out, Order(2, 0), regions=Regions(most=3), tokenize=tokenize)
    assert batch["box_mask"].tolist() == [[True, True, False], [False] * 3]
    assert sorted(batch["box_texts"][0]) == ["", "64 x 64", "all"]
    place = batch["box_texts"][0].index("all")
    assert batch["boxes"][0, place].tolist() == [0, 0, 1, 1]
    assert batch["boxes"].shape == (2, 3, 4)
    assert batch["box_tokens"].shape == (2, 3, 8)
    (batch,) = loader(out, Order(2, 0), regions=Regions(most=1))
    assert batch["box_mask"].tolist() == [[True], [False]]
    (batch,) = loader(out, Order(2, 0), regions=Regions(least_px=0))
    assert batch["box_mask"].sum().item() == 3
    (batch,) = loader(out, Order(2, 0), regions=Regions(of=("things",)))
    assert not batch["box_mask"].any()


def test_more_boxes_than_there_is_room_for_are_drawn_anew_in_every_epoch(tmp_path):
    captions = [region(str(n), 0, 0, 1, 1) for n in range(25)]
    out = write(tmp_path / "out", [sample(0, captions)])
    read = loader(out, Order(1), regions=Regions(least_px=0))
    drawn = [tuple(batch["box_texts"][0]) for _ in range(3) for batch in read]
    assert len(set(drawn)) == 3
    assert all(len(set(texts)) == 20 for texts in drawn)


BAD = {
    "cut": {"jpg": picture(3)[:300]},
    "no picture": {"jpg": b"<html>"},
    "no json": {"json": b"{"},
    "a list": {"json": b"[]"},
    "no captions": {"json": b'{"captions": "3", "columns": "{}", "width": 1, "height": 1}'},
    "no text": {"txt": b""},
    "no unicode": {"txt": b"\xff\xfe\xff"},
}


@pytest.mark.parametrize("members", BAD.values(), ids=BAD.keys())
def test_a_bad_sample_is_passed_over_and_counted(tmp_path, members):
    samples = [sample(n, **(members if n in (1, 2, 8) else {})) for n in range(12)]
    out = write(tmp_path / "out", samples[:5], samples[5:])
    batches = list(loader(out, Order(3, 0)))
    # Each block is a batch here, so that there is nothing to stand in but its own.
    keys = [[0, 0, 0], [3, 4, 5], [6, 7, 6], [9, 10, 11]]
    assert keys_of(batches) == [[key_of(n) for n in own] for own in keys]
    assert [batch["skipped"] for batch in batches] == [2, 0, 1, 0]
    batches = list(loader(out, Order(3, 12)))
    assert sum(batch["skipped"] for batch in batches) == 3
    found = [key for batch in batches for key in batch[KEYS]]
    assert {key_of(n) for n in range(12)} - set(found) == {key_of(n) for n in (1, 2, 8)}
    assert all(len(set(batch[KEYS])) == 3 for batch in batches)


def test_a_tar_that_ends_early_costs_its_samples(tmp_path, caplog):
    out = write_plain(tmp_path / "out", 6, 6)
    path = Path(out, "shards", "00001.tar")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    batches = list(loader(out, Order(3, 12)))
    assert len(batches) == 4
    assert 3 <= sum(batch["skipped"] for batch in batches) <= 4
    assert "00001.tar" in caplog.text
    assert "samples are missing" in caplog.text


@pytest.mark.parametrize("plan", [Drawn({"long": 1}), Slots(("long",))])
def test_where_no_sample_can_be_used_that_is_said(tmp_path, plan):
    out = write_plain(tmp_path / "out", 6)
    with pytest.raises(CurationError, match=r"none of 6 samples can be used; .* it has txt"):
        list(loader(out, plan=plan))


def test_a_shard_that_is_gone_is_an_error(tmp_path):
    out = write_plain(tmp_path / "out", 6, 6)
    Path(out, "shards", "00001.tar").unlink()
    with pytest.raises(CurationError, match=r"00001\.tar: is in the manifest, and not there"):
        list(loader(out))


@pytest.mark.slow
def test_an_error_in_a_worker_ends_the_epoch(tmp_path):
    out = write_plain(tmp_path / "out", 6, 6)
    Path(out, "shards", "00001.tar").unlink()
    with pytest.raises(CurationError, match="is in the manifest, and not there"):
        list(loader(out, place=Place(0, 1, 2)))


def test_a_fault_of_the_transform_is_no_damage(tmp_path):
    def broken(image):
        raise ValueError("a fault of the caller")

    with pytest.raises(ValueError, match="a fault of the caller"):
        list(PairLoader(write_plain(tmp_path / "out", 3), Pairs(TXT, broken), Order(3)))


def test_the_place_is_what_torchrun_says(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert here() == Place(0, 1)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert here(workers=2) == Place(3, 8, 2)
    distributed = torch.distributed
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        assert here() == Place(0, 1)
    finally:
        distributed.destroy_process_group()


def test_an_export_is_read_from_any_file_system(tmp_path):
    out = write_plain(tmp_path / "out", 4, 5)
    memory = fsspec.filesystem("memory")
    memory.put(f"{out}/", "memory://training-export/", recursive=True)
    found = list(loader("memory://training-export"))
    assert all(map(is_same, found, loader(out)))
    assert len(found) == 3


def test_pictures_can_be_decoded_smaller(tmp_path):
    members = {"jpg": pictures.jpeg(1, (300, 200)), "size": (300, 200)}
    out = write(tmp_path / "out", [sample(0, **members)])
    (batch,) = loader(out, Order(1), at_least=40)
    assert batch["images"].shape == (1, 3, 50, 75)
