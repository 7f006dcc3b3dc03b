import time

import numpy as np
import pyarrow as pa
import pytest

from pipeline import npz
from pipeline.errors import DamagedFile, RecipeError

ARRAYS = {"key": np.array([b"a", b"b"], "S32"), "v": np.eye(2, 3, dtype=np.float16)}


def test_bytes_depend_on_the_arrays_alone(tmp_path, monkeypatch):
    once = npz.npz_bytes(ARRAYS)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    assert npz.npz_bytes(ARRAYS) == once
    path = tmp_path / "a.npz"
    path.write_bytes(once)
    with np.load(path, allow_pickle=False) as loaded:
        assert list(loaded) == ["key", "v"]
        assert loaded["v"].dtype == np.float16
        assert loaded["v"].tolist() == [[1, 0, 0], [0, 1, 0]]
    assert npz.headers(str(path))["key"] == ((2,), np.dtype("S32"))
    assert npz.text_names(str(path)) == ["key"]
    assert npz.vector_types(str(path)) == {"v": pa.list_(pa.float16())}


def test_no_rows_and_no_numbers(tmp_path):
    """An array without numbers has no vectors."""
    path = tmp_path / "a.npz"
    path.write_bytes(npz.npz_bytes({"v": np.zeros((0, 4), "<f4"), "w": np.zeros((2, 0), "<f2")}))
    assert npz.read_vectors(str(path), "v", 0).to_pylist() == []
    assert npz.read_vectors(str(path), "w", 2).to_pylist() == [None, None]


def test_masked_rows_and_those_with_nan_are_null(tmp_path):
    path = str(tmp_path / "a.npz")
    values = np.array([[1, 2], [3, np.nan], [0, 0], [np.inf, 1]], np.float32)
    np.savez(path, v=values, v_missing=np.array([False, False, True, False]))
    assert npz.read_vectors(path, "v", 4).to_pylist() == [[1, 2], None, None, None]
    with pytest.raises(DamagedFile, match="'v' has 4 rows, the table 3"):
        npz.read_vectors(path, "v", 3)


def test_objects_and_what_is_no_npz_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, evil=np.array([[object()]], dtype=object))
    with pytest.raises(DamagedFile, match="can't be read"):
        list(npz.read_arrays(str(path), "evil"))
    with pytest.raises(ValueError, match="Object arrays"):
        npz.npz_bytes({"evil": np.array([object()])})
    path.write_bytes(b"no zip")
    with pytest.raises(RecipeError, match="can't be read as npz"):
        npz.headers(str(path))
