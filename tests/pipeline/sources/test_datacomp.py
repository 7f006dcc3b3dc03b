import uuid

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import RecipeError
from pipeline.sources.datacomp import DataCompMetadata

TABLE = pa.table(
    {
        "uid": ["0" * 31 + "1", "0" * 31 + "2", None],
        "url": ["http://e.org/1", "http://e.org/1", "http://e.org/3"],
        "text": ["größe", None, "three"],
        "clip_l14_similarity_score": [0.3, float("nan"), None],
        "face_bboxes": [[[0.1, 0.2, 0.3, 0.4]], [], None],
    }
)


def rows(source):
    return [row for unit in source.units() for row in source.read(unit)]


def test_metadata_becomes_rows_without_images(tmp_path):
    pq.write_table(TABLE, tmp_path / "0.parquet")
    (tmp_path / "0.npz").write_bytes(b"not looked at here")
    one, two, three = rows(DataCompMetadata("s", str(tmp_path)))
    assert (one.source_key, one.uid, one.url) == ("0" * 31 + "1", "0" * 31 + "1", "http://e.org/1")
    assert (one.caption, one.metadata_only, one.failed) == ("größe", True, None)
    assert one.meta == {
        "clip_l14_similarity_score": 0.3,
        "face_bboxes": [[0.1, 0.2, 0.3, 0.4]],
    }
    assert (two.caption, two.meta["clip_l14_similarity_score"]) == (None, None)
    assert one.key("s") != two.key("s") != three.key("s")
    assert (three.source_key, three.uid) == (None, None)


def test_columns_it_needs(tmp_path):
    pq.write_table(TABLE.drop_columns(["uid"]), tmp_path / "0.parquet")
    with pytest.raises(RecipeError, match=r"no column 'uid'; its columns are 'url', 'text'"):
        DataCompMetadata("s", str(tmp_path)).units()


def test_metadata_in_an_object_store():
    root = f"memory://{uuid.uuid4().hex}"
    with fsspec.open(f"{root}/0.parquet", "wb") as stream:
        pq.write_table(TABLE, stream)
    assert len(rows(DataCompMetadata("s", root))) == 3
