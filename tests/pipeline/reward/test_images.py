"""Where images are found: in pools and folders, never outside, and each once."""

import os

import pytest

from pipeline.errors import CurationError, RecipeError
from pipeline.reward.images import ImagePlaces, find_images, pool_at
from tests import pictures


def test_samples_of_a_pool_and_of_a_build_by_key(make_build):
    build = make_build()
    made = build.ingest()
    from pipeline.pool import read_base

    rows = [row for shard in made.shards for row in read_base(made.root, shard).to_pylist()]
    keys = [row["key"].hex() for row in rows if row["extension"] is not None]
    found = list(find_images(keys, ImagePlaces(build.out, None), 64))
    assert sorted(one.reference for one in found) == sorted(keys)
    assert pool_at(build.out).digest == made.digest


def test_a_folder_is_not_left(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.jpg").write_bytes(pictures.jpeg(1))
    (folder / "a.jpg").write_bytes(pictures.jpeg(2))
    os.symlink(tmp_path / "secret.jpg", folder / "link.jpg")
    places = ImagePlaces(None, str(folder))
    assert [one.reference for one in find_images(["a.jpg"], places, 64)] == ["a.jpg"]
    for name in ("../secret.jpg", str(tmp_path / "secret.jpg"), "link.jpg", "a\0.jpg", "."):
        with pytest.raises(RecipeError, match="are not there"):
            list(find_images([name], places, 64))


def test_of_many_missing_images_some_are_named(tmp_path):
    names = [f"{n}.jpg" for n in range(9)]
    with pytest.raises(RecipeError, match=r"'0.jpg', .*'4.jpg' and 4 more; say where"):
        list(find_images(names, ImagePlaces(None, str(tmp_path)), 64))


def test_what_can_not_be_read_says_why(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"<html>")
    (found,) = find_images(["a.jpg"], ImagePlaces(None, str(tmp_path)), 64)
    assert isinstance(found.pixels, str)
    assert "not_an_image" in found.pixels


def test_a_place_without_a_pool_is_refused(tmp_path):
    with pytest.raises(CurationError, match="neither a pool nor a build"):
        pool_at(str(tmp_path))
