"""Links in folders that may come from strangers: nothing outside of the folder is opened."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.sources.folder import Folder
from pipeline.sources.img2dataset import Img2datasetOutput
from tests.conftest import write_pair
from tests.pictures import jpeg


@pytest.fixture
def world(tmp_path):
    """A folder `photos` with one good pair, and beside it one of secrets."""
    write_pair(tmp_path / "photos", "good", jpeg(1), "a good one")
    write_pair(tmp_path / "secrets", "secret", jpeg(2), "a secret")
    return tmp_path


def rows(source):
    return {row.source_key: row for unit in source.units() for row in source.read(unit)}


def photos(world, captions=None):
    return rows(Folder("photos", str(world / "photos"), captions and str(captions)))


def test_a_link_to_an_image_or_a_caption_outside_is_a_reason(world):
    (world / "photos" / "a.jpg").symlink_to(world / "secrets" / "secret.jpg")
    write_pair(world / "photos", "b", jpeg(3), None)
    (world / "photos" / "b.txt").symlink_to("../secrets/secret.txt")
    found = photos(world)
    assert {name: row.failed for name, row in found.items()} == {
        "good.jpg": None,
        "a.jpg": "link_outside",
        "b.jpg": "link_outside",
    }
    for row in (found["a.jpg"], found["b.jpg"]):
        assert (row.image, row.captions, row.retriable) == (None, [], False)
    assert "b.txt is a link that leads out of the folder" in str(found["b.jpg"].detail)


def test_a_link_to_a_folder_outside_is_one_row(world):
    (world / "photos" / "more").symlink_to(world / "secrets")
    found = photos(world)
    assert found["more"].failed == "link_outside"
    assert set(found) == {"good.jpg", "more"}


def test_links_within_the_folder_are_read_and_cycles_end(world):
    folder = world / "photos"
    (folder / "again.jpg").symlink_to("good.jpg")
    (folder / "again.txt").symlink_to(folder / "good.txt")
    (folder / "cycle").symlink_to(".")
    (folder / "deep").mkdir()
    (folder / "deep" / "up").symlink_to("../..", target_is_directory=True)
    (folder / "loop.jpg").symlink_to("loop.jpg")
    found = photos(world)
    assert found["again.jpg"].image == found["good.jpg"].image
    assert found["again.jpg"].caption == "a good one"
    assert found["loop.jpg"].failed == "unreadable_file"
    assert found["deep/up"].failed == "link_outside"
    assert set(found) == {"good.jpg", "again.jpg", "loop.jpg", "deep/up"}


def test_the_folder_itself_may_be_a_link(world):
    (world / "link").symlink_to("photos")
    found = rows(Folder("photos", str(world / "link")))
    assert [row.failed for row in found.values()] == [None]


def test_a_caption_table_opens_nothing_outside(world):
    (world / "photos" / "a.jpg").symlink_to(world / "secrets" / "secret.jpg")
    table = world / "captions.csv"
    secret = os.path.abspath(world / "secrets" / "secret.jpg")
    table.write_text(f"file,caption\na.jpg,x\n../secrets/secret.jpg,y\n{secret},z\n")
    found = photos(world, table)
    assert found["a.jpg"].failed == "link_outside"
    assert found["../secrets/secret.jpg"].failed == "missing_file"
    assert found[secret].failed == "missing_file"


@pytest.mark.parametrize("link", ["file", "folder"])
def test_img2dataset_folders_open_nothing_outside(world, link):
    root = world / "fetched"
    root.mkdir()
    fields = {"key": ["secret"], "url": ["http://a/b.jpg"], "status": ["success"]}
    pq.write_table(pa.table(fields), root / "00000.parquet")
    if link == "folder":
        (root / "00000").symlink_to(world / "secrets")
    else:
        (root / "00000").mkdir()
        (root / "00000" / "secret.jpg").symlink_to(world / "secrets" / "secret.jpg")
    (row,) = rows(Img2datasetOutput("fetched", str(root))).values()
    assert row.failed == ("link_outside" if link == "file" else "missing_sample")
    assert "link that leads out" in str(row.detail)
    assert row.image is None
