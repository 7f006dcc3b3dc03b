"""Rankings from a pool: which rows, which neighbours, and the same bytes every time."""

import json

import numpy as np
import pytest

from pipeline.errors import CurationError, RecipeError
from pipeline.reward import bootstrap as making
from pipeline.reward.bootstrap import BootstrapOptions, Captioned, nearest_captions, rankings
from pipeline.reward.formats import Layout, read_rankings
from tests import pictures
from tests.conftest import write_pair

RECIPE = """\
sources:
  photos: {folder: photos/}
score:
  caption: {}
select:
  - long: {where: caption_words > 3}
"""
CAPTIONS = ["a red dog on a table", "two birds over a house", "a blue car", "an old clock in a box"]


@pytest.fixture
def photos(tmp_path):
    for number, caption in enumerate(CAPTIONS):
        write_pair(tmp_path / "photos", f"{number}", pictures.jpeg(number), caption)
    write_pair(tmp_path / "photos", "8_html", b"<html></html>", "no picture at all here")
    write_pair(tmp_path / "photos", "9_mute", pictures.jpeg(9), None)
    return tmp_path / "photos"


def rows(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_pool_gives_rankings_of_every_pair(tmp_path, photos, make_build):
    build = make_build(RECIPE)
    build.ingest()
    counts = making.bootstrap(str(tmp_path / "hard.jsonl"), build.out, BootstrapOptions())
    found = rows(tmp_path / "hard.jsonl")
    assert {row["captions"][0] for row in found} == set(CAPTIONS)
    assert counts["generic"] == counts["neighbour"] == 4
    assert sum(counts.values()) == sum(len(row["captions"]) - 1 for row in found)
    assert {row["criterion"] for row in found} == set(making.CRITERIA)
    for row in found:
        assert row["ranks"] == [1] + [2] * (len(row["captions"]) - 1)
    made = read_rankings(str(tmp_path / "hard.jsonl"), Layout())
    assert len(made) == sum(counts.values())


def test_it_is_the_same_bytes_again_and_others_for_another_seed(tmp_path, photos, make_build):
    build = make_build(RECIPE)
    build.ingest()
    written = []
    for number, seed in enumerate((0, 0, 1)):
        path = tmp_path / f"{number}.jsonl"
        making.bootstrap(str(path), build.out, BootstrapOptions(seed=seed))
        written.append(path.read_bytes())
    assert written[0] == written[1] != written[2]


def test_of_a_build_the_kept_rows_are_taken(tmp_path, photos, make_build):
    from pipeline.record import write_record

    build = make_build(RECIPE)
    build.ingest()
    resolved = build.score()
    build.select()
    write_record(build, resolved)
    making.bootstrap(str(tmp_path / "h.jsonl"), build.out, BootstrapOptions(("generic",)))
    found = {row["captions"][0] for row in rows(tmp_path / "h.jsonl")}
    assert found == set(CAPTIONS) - {"a blue car"}


def test_kinds_and_rows_can_be_fewer(tmp_path, photos, make_build):
    build = make_build(RECIPE)
    build.ingest()
    options = BootstrapOptions(("shuffled", "generic"), rows=2)
    counts = making.bootstrap(str(tmp_path / "h.jsonl"), build.out, options)
    assert counts == {"shuffled": 2, "generic": 2}
    assert len({row["image"] for row in rows(tmp_path / "h.jsonl")}) == 2


def test_what_is_wrong_is_said(tmp_path):
    with pytest.raises(RecipeError, match="unknown kind 'objekt'; did you mean 'object'"):
        making.bootstrap(str(tmp_path / "h"), str(tmp_path), BootstrapOptions(("objekt",)))
    with pytest.raises(CurationError, match="neither a pool nor a build"):
        making.bootstrap(str(tmp_path / "h"), str(tmp_path), BootstrapOptions())
    with pytest.raises(RecipeError, match="is a folder, and the rankings are a file"):
        making.bootstrap(str(tmp_path), str(tmp_path), BootstrapOptions())


def test_neighbours_by_hand():
    names = ["red dog", "blue dog", "green car", "old house"]
    given = [Captioned(bytes([n]) * 16, name) for n, name in enumerate(names)]
    vectors = np.array([[1, 0], [1, 0.1], [0.9, 0.4], [0, 1]], np.float32)
    found = nearest_captions(given, vectors, seed=0)
    assert found[0] in ("green car", "old house")  # the other dog may be true
    assert found[2] in ("red dog", "blue dog", "old house")


def test_of_many_neighbours_one_of_the_nearest_is_drawn():
    dice = np.random.default_rng(0)
    vectors = dice.standard_normal((600, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    given = [Captioned(n.to_bytes(16, "big"), f"thing{n}") for n in range(600)]
    found = nearest_captions(given, vectors, seed=0)
    for row, caption in enumerate(found):
        order = np.argsort(-(vectors @ vectors[row]), kind="stable")
        nearest = [n for n in order.tolist() if n != row][:10]
        assert caption in {given[n].caption for n in nearest}


def test_a_row_without_a_vector_has_no_neighbour_and_is_none():
    given = [Captioned(bytes([n]) * 16, f"thing{n}") for n in range(3)]
    vectors = np.array([[1, 0], [0, 0], [0.6, 0.8]], np.float32)
    assert nearest_captions(given, vectors, seed=0) == ["thing2", None, "thing0"]


def test_a_caption_with_no_faults_to_plant_makes_no_row():
    row = Captioned(b"k" * 16, "größe")
    assert list(rankings(row, None, ("object", "number", "truncated"), 0)) == []
