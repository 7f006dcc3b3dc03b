"""Batches of an export into buckets: one size in each, the same on every rank, from anywhere on."""

import json

import pytest

from pipeline.build import Build
from pipeline.recipe import parse_recipe
from pipeline.training import Drawn, Order, PairLoader, Pairs, Place
from tests import pictures
from tests.conftest import built, write_pair
from tests.pipeline.training_exports import is_same, to_tensor

RECIPE = """\
sources:
  photos: {folder: photos/}
score:
  image: {}
select:
  - readable: {where: width is not null}
captions: {txt: caption}
export: {buckets: {sides: [64], step: 16, max_ratio: 2}, image: jpg, samples_per_shard: 3}
"""
SIZES = {"64x64": (70, 70), "80x48": (96, 56), "48x80": (56, 96)}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Eleven square pictures, seven wide ones and two tall ones."""
    root = tmp_path_factory.mktemp("buckets")
    for (name, size), count in zip(SIZES.items(), (11, 7, 2), strict=True):
        for n in range(count):
            write_pair(root / "photos", f"{name}_{n:02d}", pictures.jpeg(n, size), f"{name} {n}")
    return built(Build(parse_recipe(RECIPE, str(root / "recipe.yaml")), str(root / "out"))).out


def loader(out, order=None, place=None):
    return PairLoader(out, Pairs(Drawn({"txt": 1}), to_tensor), order or Order(2, 6), place)


def test_the_images_of_a_batch_are_of_one_size(out, caplog):
    read = loader(out)
    batches = list(read)
    assert len(batches) == len(read) == 5 + 3 + 1
    assert {batch["bucket"] for batch in batches} == set(SIZES)
    for batch in batches:
        width, height = map(int, batch["bucket"].split("x"))
        assert batch["images"].shape == (2, 3, height, width)
        assert all(text[0].startswith(batch["bucket"]) for text in batch["texts"])
    names = [batch["bucket"] for batch in batches]
    assert names != sorted(names, key=names.index)  # they are mixed
    keys = [key for batch in batches for key in batch["keys"]]
    assert len(set(keys)) == len(keys) == 18
    assert not caplog.text


def test_an_epoch_goes_on_in_the_middle_of_buckets(out):
    read = loader(out)
    read.set_epoch(1)
    states, whole = [read.state_dict()], []
    for batch in read:
        whole.append(batch)
        states.append(json.loads(json.dumps(read.state_dict())))
    for n, state in enumerate(states[:-1]):
        again = loader(out)
        again.load_state_dict(state)
        rest = list(again)
        assert len(rest) == len(whole[n:])
        assert all(is_same(one, other) for one, other in zip(rest, whole[n:], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_all_ranks_read_the_same_bucket_at_a_time(out, workers):
    order = Order(1, 4, seed=3)
    ranks = [list(loader(out, order, Place(rank, 2, workers))) for rank in range(2)]
    first, second = ([batch["bucket"] for batch in rank] for rank in ranks)
    assert first == second
    keys = [key for rank in ranks for batch in rank for key in batch["keys"]]
    assert len(set(keys)) == len(keys) == 10 + 6 + 2


def test_a_bucket_without_a_batch_is_left_out_and_named(out, caplog):
    read = loader(out, Order(3, 6))
    assert {batch["bucket"] for batch in read} == {"64x64", "80x48"}
    assert "2 samples never come, of buckets" in caplog.text
    assert "48x80" in caplog.text
    wrapped = list(loader(out, Order(3, 6, uneven="wrap")))
    assert len({key for batch in wrapped for key in batch["keys"]}) == 20
