"""Buckets of sizes: which there are, which a picture gets, and shards of one size each."""

import json
import math
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline import cuts
from pipeline.aspect import Buckets, fit, group_of, grouped, starts
from pipeline.cuts import cut
from pipeline.encoding import cover
from pipeline.errors import RecipeError
from pipeline.runs import Rendered, Run, write_run
from tests.conftest import built, write_pair

XL = Buckets((1024,), 64, 2.0)


def test_sizes_are_multiples_of_the_step_and_no_larger_than_the_square():
    for sides in [(512,), (1024,), (256, 512)]:
        buckets = Buckets(sides, 64, 2.0)
        for width, height in buckets.sizes:
            assert width % 64 == height % 64 == 0
            assert width * height <= max(sides) ** 2
            assert max(width, height) / min(width, height) <= 2
            assert (height, width) in buckets.sizes
    assert (1024, 1024) in XL.sizes
    assert (1216, 832) in XL.sizes
    assert len(set(XL.sizes)) == len(XL.sizes)


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_a_picture_gets_the_size_nearest_to_its_shape_if_it_fills_it(width, height):
    number = XL.choose(width, height)
    nearest = min(abs(math.log(w * height / (h * width))) for w, h in XL.sizes)
    best = [
        (w, h)
        for w, h in XL.sizes
        if math.isclose(abs(math.log(w * height / (h * width))), nearest, abs_tol=1e-12)
    ]
    if number is None:
        assert not all(w <= width and h <= height for w, h in best)
    else:
        size = XL.sizes[number]
        assert size in best
        assert size[0] <= width
        assert size[1] <= height


def test_the_largest_side_that_a_picture_fills_or_the_smallest_enlarged():
    sides = Buckets((256, 512), 64, 2.0)
    assert sides.label(sides.choose(600, 600)) == "512x512"
    assert sides.label(sides.choose(500, 500)) == "256x256"
    assert sides.choose(200, 200) is None
    larger = Buckets((256, 512), 64, 2.0, enlarge=True)
    assert larger.label(larger.choose(20, 20)) == "256x256"
    widest = max(Buckets((256,), 64, 2.0).sizes, key=lambda size: size[0] / size[1])
    assert larger.sizes[larger.choose(4000, 10)] == widest


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 64), st.integers(1, 64))
@settings(deadline=None)
def test_a_size_is_covered_by_the_middle_of_the_picture(width, height, wide, high):
    fitted = fit(width, height, (wide, high))
    assert fitted.scaled[0] >= wide
    assert fitted.scaled[1] >= high
    assert fitted.scaled[0] == wide or fitted.scaled[1] == high
    assert abs(fitted.scaled[0] - wide - 2 * fitted.left) <= 1
    assert fitted.box((0.0, 0.0, 1.0, 1.0)) == [0.0, 0.0, 1.0, 1.0]
    assert cover(np.zeros((height, width, 3), np.uint8), fitted).shape == (high, wide, 3)


def test_shards_begin_anew_with_every_group():
    assert list(starts([0, 5, 0, 2], 2)) == [(0, 1), (1, 1), (3, 1), (5, 3)]
    assert list(starts([10], 4)) == [(0, 0), (3, 0), (6, 0)]
    assert group_of(grouped((1 << 64) - 1, 37)) == 37
    assert grouped(1 << 63, 3) < grouped((1 << 63) + (1 << 40), 3)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2**64 - 1)), max_size=30), max_size=4
    ),
    st.integers(1, 8),
    st.integers(1, 20),
)
def test_no_shard_has_two_groups(tmp_path_factory, samples, per_shard, range_samples):
    folder, runs = tmp_path_factory.mktemp("groups"), []
    places = [[grouped(place, group) for group, place in own] for own in samples]
    for number, own in enumerate(places):
        runs.append(Run(str(folder / str(number))))
        write_run(runs[-1], [Rendered(((p, p.to_bytes(16)),), b"") for p in own])
    every = sorted(place for own in places for place in own)
    sizes = [sum(group_of(place) == group for place in every) for group in range(6)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuts, "RANGE_SAMPLES", range_samples)
        buckets = cut(runs, [len(own) for own in places], per_shard, sizes)
    expected = [every[rank] for rank, _ in starts(sizes, per_shard)]
    edges = [edge for bucket in buckets for edge in (None, *bucket.edges)]
    assert len(edges) == len(expected)
    assert all(edge in (None, place) for edge, place in zip(edges, expected, strict=True))
    assert sum(int((b.rows[:, 1] - b.rows[:, 0]).sum()) for b in buckets) == len(every)


RECIPE = """\
sources:
  photos: {folder: shapes/}
captions: {txt: caption}
ingest: {rows_per_shard: 5}
export: {buckets: {sides: [64], step: 16}, image: jpg, samples_per_shard: 3}
"""


def shapes(folder):
    dice = np.random.default_rng(0)
    for number in range(24):
        width, height = [(200, 100), (100, 200), (150, 150), (90, 30)][number % 4]
        pixels = dice.integers(0, 255, (height, width, 3), np.uint8)
        stream = BytesIO()
        Image.fromarray(pixels).save(stream, "jpeg")
        write_pair(folder, f"{number:02d}", stream.getvalue(), f"shape {number}")


def test_every_shard_has_pictures_of_one_size(make_build):
    build = make_build(RECIPE)
    shapes(Path(build.recipe.resolve("shapes")))
    built(build)
    manifest = json.loads((Path(build.out) / "shards" / "manifest.json").read_text())
    assert manifest["ledger"]["not_exported"] == {"too_small": 6}
    labels = [shard["bucket"] for shard in manifest["shards"]]
    assert len(labels) == 6
    assert len(set(labels)) == 3
    written = 0
    for shard in manifest["shards"]:
        with tarfile.open(Path(build.out) / "shards" / shard["name"]) as tar:
            for entry in tar:
                data = tar.extractfile(entry).read()
                if entry.name.endswith(".jpg"):
                    written += 1
                    assert "{}x{}".format(*Image.open(BytesIO(data)).size) == shard["bucket"]
                if entry.name.endswith(".json"):
                    fields = json.loads(data)
                    assert f"{fields['width']}x{fields['height']}" == shard["bucket"]
                    assert {"original_width", "original_height", "crop_left"} < set(fields)
        assert shard["samples"] <= 3
    assert written == 18


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("{sides: [1024], step: 8}", "sizes (limit 64); make 'step' larger"),
        ("{sides: [16], step: 64}", "make 'step' smaller"),
        ("{sides: []}", "at least one entry"),
        ("{step: 8}", "the key 'sides' is missing"),
    ],
)
def test_wrong_buckets_are_refused(make_build, section, problem):
    recipe = RECIPE.replace("{sides: [64], step: 16}", section)
    with pytest.raises(RecipeError) as error:
        export(make_build, recipe)
    assert problem in str(error.value)


def export(make_build, recipe):
    build = make_build(recipe)
    shapes(Path(build.recipe.resolve("shapes")))
    built(build)
