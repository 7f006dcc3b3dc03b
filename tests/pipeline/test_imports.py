import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import pool
from pipeline.errors import DamagedFile, RecipeError
from pipeline.imports import ImportedColumns, make_imports
from pipeline.recipe import parse_recipe

UIDS = [f"{i:032x}" for i in range(6)]


def write(folder, table, name="0.parquet"):
    folder.mkdir(exist_ok=True)
    path = folder / name
    pq.write_table(pa.table(table), path)
    return str(path)


def datacomp(folder):
    """Two shards in DataComp's layout, of three rows each, with embeddings in an npz."""
    for shard in range(2):
        uids = UIDS[3 * shard : 3 * shard + 3]
        scores = pa.array([0.1 + shard, float("nan"), None], pa.float64())
        table = {"uid": uids, "text": ["größe"] * 3, "score": scores}
        write(folder, table, f"{shard}.parquet")
        vectors = np.arange(6, dtype=np.float16).reshape(3, 2) + 10 * shard
        np.savez(folder / f"{shard}.npz", l14_img=vectors, names=np.array(uids))
    return str(folder)


def base(**columns):
    return pa.table(columns)


def test_columns_and_embeddings_are_joined_by_uid(tmp_path):
    taken = (("published", "score"), ("vector", "l14_img"), ("again", "score"))
    columns = ImportedColumns("dc", datacomp(tmp_path / "dc"), "source_key", taken)
    columns.check()
    assert columns.reads == ("source_key",)
    assert columns.writes == pa.schema(
        [
            ("published", pa.float64()),
            ("vector", pa.list_(pa.float16())),
            ("again", pa.float64()),
        ]
    )
    rows = base(key=[b"%016d" % i for i in range(5)], source_key=[UIDS[3], None, "?", *UIDS[:2]])
    found = columns.reduce(rows)
    assert found.schema == columns.writes
    assert found["published"].to_pylist() == [1.1, None, None, 0.1, None]
    assert found["again"].to_pylist() == found["published"].to_pylist()
    vectors = [None if v is None else [float(x) for x in v] for v in found["vector"].to_pylist()]
    assert vectors == [[10, 11], None, None, [0, 1], [2, 3]]


def test_without_take_every_column_of_the_table_comes(tmp_path):
    columns = ImportedColumns("dc", datacomp(tmp_path / "dc"), "source_key")
    columns.check()
    assert columns.writes.names == ["text", "score"]
    assert columns.reduce(base(source_key=[UIDS[5]])).to_pylist() == [
        {"text": "größe", "score": None}
    ]


def test_null_joins_nothing(tmp_path):
    path = write(tmp_path, {"url": [None, "u"], "score": [1.0, 2.0]})
    columns = ImportedColumns("x", path, "url")
    assert columns.reduce(base(url=[None, "u"]))["score"].to_pylist() == [None, 2.0]


def test_of_equal_rows_the_first_counts_and_a_row_may_be_asked_for_twice(tmp_path):
    write(tmp_path, {"url": ["u", "u"], "score": [1, 2]})
    write(tmp_path, {"url": ["u", "v"], "score": [3, 4]}, "1.parquet")
    columns = ImportedColumns("x", str(tmp_path), "url")
    assert columns.reduce(base(url=["v", "u", "u"]))["score"].to_pylist() == [4, 1, 1]


def test_nothing_found_and_no_rows(tmp_path):
    columns = ImportedColumns("x", write(tmp_path, {"url": ["u"], "score": [1]}), "url")
    assert columns.reduce(base(url=["?", None]))["score"].to_pylist() == [None, None]
    assert len(columns.reduce(base(url=pa.array([], pa.string())))) == 0


@pytest.mark.parametrize("as_text", [True, False])
def test_hashes_and_keys_may_be_hex_or_bytes(tmp_path, as_text):
    sha, key = hashlib.sha256(b"x").digest(), bytes(range(16))
    stored = [value.hex().upper() if as_text else value for value in (sha, key)]
    path = write(tmp_path, {"sha256": [stored[0]], "key": [stored[1]], "score": [1]})
    rows = base(image_sha256=pa.array([sha], pa.binary(32)), key=pa.array([key], pa.binary(16)))
    for on in ("sha256", "key"):
        columns = ImportedColumns("x", path, on, (("score", "score"),))
        assert columns.reduce(rows)["score"].to_pylist() == [1]


def test_other_names_and_numbers_for_the_column_joined_on(tmp_path):
    path = write(tmp_path, {"id": [7, 8], "score": [1, 2]})
    columns = ImportedColumns("x", path, "source_key")
    assert columns.reduce(base(source_key=["8", "9"]))["score"].to_pylist() == [2, None]


def test_columns_of_other_files_take_the_type_of_the_first(tmp_path):
    write(tmp_path, {"url": ["u"], "score": pa.array([1.5], pa.float64())})
    write(tmp_path, {"url": ["v"], "score": pa.array([2], pa.int32())}, "1.parquet")
    found = ImportedColumns("x", str(tmp_path), "url").reduce(base(url=["v", "u"]))
    assert found["score"].to_pylist() == [2.0, 1.5]


def test_infinity_and_nan_are_no_values(tmp_path):
    path = write(tmp_path, {"url": ["a", "b", "c"], "score": [float("inf"), float("nan"), 1.0]})
    found = ImportedColumns("x", path, "url").reduce(base(url=["a", "b", "c"]))
    assert found["score"].to_pylist() == [None, None, 1.0]


def test_captions_of_the_pools_own_type_come_through(tmp_path):
    captions = pa.array([[{"text": "größe", "model": "m"}]], pa.list_(pool.CAPTION))
    path = write(tmp_path, {"url": ["a"], "recap": captions})
    columns = ImportedColumns("x", path, "url")
    assert columns.writes.field("recap").type == pa.list_(pool.CAPTION)
    (found,) = columns.reduce(base(url=["a"]))["recap"].to_pylist()
    assert found[0]["text"] == "größe"


def test_what_is_missing_is_an_error_that_lists_what_is_there(tmp_path):
    folder = datacomp(tmp_path / "dc")
    for columns, message in {
        ImportedColumns("x", str(tmp_path / "no.parquet"), "url"): r"there is no \.parquet at",
        ImportedColumns("x", folder, "url"): "needs a column url or URL; its columns are uid, text",
        ImportedColumns("x", folder, "source_key", (("a", "b"),)): (
            "no column 'b'; its columns are 'l14_img', 'score', 'text', 'uid'"
        ),
        ImportedColumns("x", folder, "source_key", (("a", "names"),)): "no column 'names'",
    }.items():
        with pytest.raises(RecipeError, match=message):
            columns.check()
    write(tmp_path / "dc", {"uid": ["x"], "score": [1]}, "2.parquet")
    with pytest.raises(RecipeError, match=r"2\.parquet has no column 'text'"):
        ImportedColumns("x", folder, "source_key").check()
    with pytest.raises(RecipeError, match=r"2\.parquet with its npz has no column 'l14_img'"):
        ImportedColumns("x", folder, "source_key", (("v", "l14_img"),)).check()


def test_errors_point_into_the_recipe(tmp_path):
    datacomp(tmp_path / "dc")
    text = "sources: {s: {folder: x}}\ncolumns:\n  dc: {import: dc/, on: %s}\n"
    recipe = parse_recipe(text % "source_key", str(tmp_path / "recipe.yaml"))
    assert make_imports(recipe)["dc"].writes.names == ["text", "score"]
    recipe = parse_recipe(text % "url", str(tmp_path / "recipe.yaml"))
    with pytest.raises(RecipeError, match=r"recipe\.yaml:3:.*needs a column url"):
        make_imports(recipe)


def test_damaged_tables_and_embeddings_are_errors(tmp_path):
    folder = datacomp(tmp_path / "dc")
    taken = (("v", "l14_img"),)
    np.savez(tmp_path / "dc" / "1.npz", l14_img=np.zeros((2, 2), np.float16))
    columns = ImportedColumns("x", folder, "source_key", taken)
    with pytest.raises(DamagedFile, match=r"1\.npz: 'l14_img' has 2 rows, the table 3"):
        columns.reduce(base(source_key=[UIDS[3]]))
    (tmp_path / "dc" / "1.npz").write_bytes(b"no zip")
    with pytest.raises(RecipeError, match=r"1\.npz: can't be read as npz"):
        ImportedColumns("x", folder, "source_key", taken).check()


def test_pickled_arrays_are_never_loaded(tmp_path):
    path = write(tmp_path, {"uid": UIDS[:1]})
    np.savez(tmp_path / "0.npz", evil=np.array([[object()]], dtype=object))
    with pytest.raises(RecipeError, match="no column 'evil'"):
        ImportedColumns("x", path, "source_key", (("evil", "evil"),)).check()


def test_the_identity_is_that_of_the_content(tmp_path):
    taken = (("v", "l14_img"),)
    one, two = (datacomp(tmp_path / name) for name in ("one", "two"))

    def identity(folder, take=taken, on="source_key"):
        return str(ImportedColumns("x", folder, on, take).identity)

    assert identity(one) == identity(two)
    plain = identity(two, None)
    assert plain == identity(one, None) != identity(one)
    np.savez(tmp_path / "two" / "1.npz", l14_img=np.ones((3, 2), np.float16))
    assert identity(one) != identity(two)
    assert identity(two, None) == plain, "the npz is not taken from"
    write(tmp_path / "two", {"uid": UIDS[3:], "text": ["x"] * 3, "score": [1.0] * 3}, "1.parquet")
    assert identity(two, None) != plain
