import datetime
import uuid

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import RecipeError
from pipeline.sources.parquet import ParquetImages

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def rows(source):
    return [row for unit in source.units() for row in source.read(unit)]


def texts(row):
    return [(c["origin"], c["text"]) for c in row.captions]


def test_the_layout_of_hugging_face(tmp_path):
    images = [
        {"bytes": b"1", "path": "a.jpg"},
        {"bytes": None, "path": "b.jpg"},
        None,
        {"bytes": b"", "path": None},
    ]
    table = pa.table(
        {
            "image": pa.array(images, STRUCT),
            "sentences": [["x", "größe", None], [], None, ["y"]],
            "alt": ["z", None, "w", ""],
            "when": [datetime.date(2024, 1, 2)] * 4,
        }
    )
    pq.write_table(table, tmp_path / "0.parquet")
    one, two, three, four = rows(
        ParquetImages("s", str(tmp_path / "*.parquet"), captions=("sentences", "alt"))
    )
    assert (one.source_key, one.image) == ("a.jpg", b"1")
    assert texts(one) == [("sentences", "x"), ("sentences", "größe"), ("alt", "z")]
    assert one.meta == {"when": "2024-01-02"}
    assert (two.failed, two.source_key) == ("no_image", "b.jpg")
    assert two.detail == "column 'image' holds no bytes, only b.jpg"
    assert (three.failed, three.source_key, texts(three)) == (
        "no_image",
        "0.parquet:2",
        [("alt", "w")],
    )
    assert (four.failed, four.image, texts(four)) == (None, b"", [("sentences", "y"), ("alt", "")])


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_bytes_in_a_column_with_keys_and_urls(tmp_path, kind):
    table = pa.table(
        {
            "jpg": pa.array([b"1", b"2"], kind),
            "text": pa.array([b"caf\xe9", None], pa.binary()),
            "id": [1, 2],
            "link": ["http://e.org/1", ""],
        }
    )
    pq.write_table(table, tmp_path / "0.parquet")
    source = ParquetImages("s", str(tmp_path), "jpg", ("text",), url="link", key="id")
    one, two = rows(source)
    assert (one.source_key, one.image, one.url) == ("1", b"1", "http://e.org/1")
    assert one.captions[0]["flags"] == ["not_utf8"]
    assert (two.source_key, two.url, two.captions, two.meta) == ("2", None, [], {})


def test_positions_go_on_in_the_next_part_of_a_file(tmp_path):
    table = pa.table({"image": [b"x"] * 120_000})
    pq.write_table(table, tmp_path / "0.parquet", row_group_size=30_000)
    source = ParquetImages("s", str(tmp_path), captions=())
    first, second = source.units()
    assert next(source.read(second)).source_key == "0.parquet:60000"
    assert first.stop == 60_000


def test_columns_of_the_wrong_kind_or_missing_are_errors(tmp_path):
    table = pa.table({"image": ["path/a.jpg"], "caption": [{"raw": "x"}], "text": ["t"]})
    pq.write_table(table, tmp_path / "0.parquet")
    path = str(tmp_path)
    with pytest.raises(RecipeError, match=r"column 'image' of .* holds string, not bytes"):
        ParquetImages("s", path, captions=()).units()
    pq.write_table(table.set_column(0, "image", [[b"1"]]), tmp_path / "0.parquet")
    with pytest.raises(RecipeError, match=r"column 'caption' of .* holds struct.*, not texts"):
        ParquetImages("s", path).units()
    with pytest.raises(
        RecipeError, match=r"no column 'img'; its columns are 'image', 'caption', 'text'"
    ):
        ParquetImages("s", path, image="img").units()
    (tmp_path / "0.csv").write_text("image\n")
    with pytest.raises(RecipeError, match=r"0\.csv is no Parquet file"):
        ParquetImages("s", str(tmp_path / "0.csv"), captions=()).units()


def test_parquet_in_an_object_store():
    root = f"memory://{uuid.uuid4().hex}"
    with fsspec.open(f"{root}/0.parquet", "wb") as stream:
        pq.write_table(pa.table({"image": [b"1"], "caption": ["t"]}), stream)
    (row,) = rows(ParquetImages("s", f"{root}/*.parquet"))
    assert (row.image, row.caption) == (b"1", "t")
