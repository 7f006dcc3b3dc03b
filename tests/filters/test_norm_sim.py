"""NormSim equals norms of cosines written out, and no evaluation split gets in."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from filters import targets, vectors
from filters.norm_sim import NormSim
from tests.filters.embedded_rows import Halves, directions


@pytest.fixture
def file(tmp_path: Path) -> str:
    np.savez(tmp_path / "imagenet_train.npz", vectors=directions(50, 100, seed=1))
    return str(tmp_path / "imagenet_train.npz")


def scored(scorer: NormSim, images: Halves) -> list[Any]:
    scorer.prepare()
    return scorer({"clip_image": list(images)})["norm_sim"]


@pytest.mark.parametrize("norm", [2, "infinity"])
def test_equals_the_reference(file: str, norm: Any) -> None:
    images = directions(600, 100)
    cosines = images.astype(float) @ directions(50, 100, seed=1).astype(float).T
    order = 2 if norm == 2 else np.inf
    expected = [
        np.linalg.norm(row, 2) if order == 2 else row.max()  # the paper's norm of a maximum
        for row in cosines
    ]
    assert scored(NormSim(file, "train", norm=norm), images) == pytest.approx(expected, rel=2e-3)


def test_by_hand(tmp_path: Path) -> None:
    """Targets (1, 0), (0, 1) and (0, 1); an image at (.6, .8): squares .36, .64, .64."""
    np.save(tmp_path / "t.npy", np.array([[1, 0], [0, 1], [0, 2]], np.float32))
    image = np.array([[0.6, 0.8]], np.float16)
    found = [scored(NormSim(str(tmp_path / "t.npy"), "train", norm=n), image)[0] for n in (2,)]
    assert found == pytest.approx([1.64**0.5], rel=1e-3)
    assert scored(NormSim(str(tmp_path / "t.npy"), "train", norm="infinity"), image) == (
        pytest.approx([0.8], rel=1e-3)
    )


@pytest.mark.parametrize("norm", [2, "infinity"])
@pytest.mark.parametrize("size", [1, 5, 256, 259])
def test_companions_make_no_difference(file: str, norm: Any, size: int) -> None:
    images = directions(600, 100)
    scorer = NormSim(file, "train", norm=norm)
    assert scored(scorer, images[-size:]) == scored(scorer, images)[-size:]


def test_every_format_gives_the_same(file: str, tmp_path: Path) -> None:
    rows = directions(50, 100, seed=1)
    kind = pa.list_(pa.float16())
    table = pa.table({"url": ["x"] * 50, "v": pa.array(list(rows), kind), "split": ["train"] * 50})
    pq.write_table(table, tmp_path / "t.parquet")
    save_file({"v": rows.astype(np.float32)}, tmp_path / "t.safetensors", {"split": "train"})
    np.save(tmp_path / "t.npy", rows)
    images = directions(9, 100)
    expected = scored(NormSim(file, "train"), images)
    for name in ("t.parquet", "t.safetensors", "t.npy"):
        assert scored(NormSim(str(tmp_path / name), "train"), images) == expected


def test_identity_is_the_content(file: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.npz"
    copy.write_bytes(Path(file).read_bytes())
    one, other = NormSim(file, "train"), NormSim(str(copy), "train")
    assert (one.identity, one.weights_digest) == (other.identity, other.weights_digest)
    np.savez(copy, vectors=directions(50, 100, seed=2))
    assert NormSim(str(copy), "train").weights_digest != one.weights_digest
    assert scored(other, directions(2, 100)) != scored(one, directions(2, 100))


@pytest.mark.parametrize("split", ["", "val", "test", "Train "])
def test_the_split_must_be_stated(file: str, split: str) -> None:
    with pytest.raises(ValueError, match="split must be stated, and be train"):
        NormSim(file, split)


@pytest.mark.parametrize(
    "name", ["imagenet_val.npy", "test.npy", "coco-TEST-2017.npy", "a.validation.npy", "dev.npy"]
)
def test_names_of_evaluation_splits(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / name, directions(2))
    with pytest.raises(ValueError, match="names an evaluation split"):
        NormSim(str(tmp_path / name), "train")


@pytest.mark.parametrize("name", ["testament.npy", "valley_train.npy", "latest.npy"])
def test_names_that_only_look_so(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / name, directions(2))
    NormSim(str(tmp_path / name), "train")


def test_files_that_say_it_themselves(tmp_path: Path) -> None:
    rows = directions(2)
    np.savez(tmp_path / "a.npz", v=rows, split=np.array(["train", "test"]))
    save_file({"v": rows}, tmp_path / "a.safetensors", {"split": "validation"})
    table = pa.table({"v": list(rows)})
    pq.write_table(table.append_column("split", [["train", "val"]]), tmp_path / "a.parquet")
    pq.write_table(table.replace_schema_metadata({"split": "test"}), tmp_path / "b.parquet")
    for name in ("a.npz", "a.safetensors", "a.parquet", "b.parquet"):
        with pytest.raises(ValueError, match="say of themselves that they are of split"):
            NormSim(str(tmp_path / name), "train")
    np.savez(tmp_path / "c.npz", train=rows, test=rows)
    with pytest.raises(ValueError, match="'test' names an evaluation split"):
        NormSim(str(tmp_path / "c.npz"), "train", "test")
    assert len(scored(NormSim(str(tmp_path / "c.npz"), "train", "train"), rows)) == 2


def test_what_it_refuses(tmp_path: Path, file: str) -> None:
    with pytest.raises(ValueError, match="no such file; give its whole path"):
        NormSim("targets.npz", "train")
    with pytest.raises(ValueError, match="norm 3: known are 2, infinity"):
        NormSim(file, "train", norm=3)
    for name, content in (("a.npz", b"PK"), ("a.safetensors", b"x"), ("a.parquet", b"PAR1")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="can't be read"):
            NormSim(str(tmp_path / name), "train")
    (tmp_path / "a.txt").write_text("1 2")
    with pytest.raises(ValueError, match="must be one of"):
        NormSim(str(tmp_path / "a.txt"), "train")
    np.savez(tmp_path / "two.npz", a=directions(2), b=directions(2))
    with pytest.raises(ValueError, match="name its `column`: of vectors it holds a, b"):
        NormSim(str(tmp_path / "two.npz"), "train").prepare()
    np.save(tmp_path / "flat.npy", np.ones(5))
    with pytest.raises(ValueError, match=r"expected vectors \[n, d\]"):
        NormSim(str(tmp_path / "flat.npy"), "train").prepare()
    np.save(tmp_path / "pickled.npy", np.array([{}, {}], object))
    with pytest.raises(ValueError, match="can't be read"):
        NormSim(str(tmp_path / "pickled.npy"), "train").prepare()
    with pytest.raises(ValueError, match="vectors of 16 numbers, targets of 100"):
        scored(NormSim(file, "train"), directions(2))


def test_the_folded_matrix_is_exact(file: str) -> None:
    folded, count = targets.gram(targets.Targets(file))
    rows = vectors.unit(directions(50, 100, seed=1))
    assert count == 50
    assert np.allclose((folded + folded.T) / 2, rows.T @ rows / 50, atol=2**-27)
    assert np.array_equal(folded, np.triu(folded))
    assert np.array_equal(folded * 2**27, np.rint(folded * 2**27))
