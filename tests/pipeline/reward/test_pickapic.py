"""Pick-a-Pic: two images for one prompt, ties, rows without a label, and broken files."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import RecipeError
from pipeline.reward import train as training
from pipeline.reward.formats import Layout
from pipeline.reward.pickapic import read_images, read_pickapic
from tests import pictures

ONE, TWO = pictures.jpeg(1), pictures.jpeg(2)


def row(**changes):
    given = {"caption": "a cat", "jpg_0": ONE, "jpg_1": TWO, "label_0": 1.0, "label_1": 0.0}
    return {**given, **changes}


def write(path, *rows) -> str:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return str(path)


def test_labels_say_which_is_better(tmp_path):
    rows = row(), row(label_0=0.0, label_1=1.0), row(label_0=0.5, label_1=0.5)
    found = read_pickapic(write(tmp_path / "a.parquet", *rows), Layout())
    names = dict(read_images(str(tmp_path / "a.parquet")))
    assert [names[one.image] for one in found] == [ONE, TWO, ONE]
    assert [names[one.other_image] for one in found] == [TWO, ONE, TWO]
    assert [one.is_tie for one in found] == [False, False, True]
    assert {(one.text, one.other_text) for one in found} == {("a cat", "a cat")}


def test_rows_without_a_label_or_with_one_image_twice_are_left_out(tmp_path):
    rows = row(has_label=False), row(has_label=True), row(jpg_1=ONE, has_label=True)
    assert len(read_pickapic(write(tmp_path / "a.parquet", *rows), Layout())) == 1


def test_a_pattern_names_many_files(tmp_path):
    for name in "ab":
        write(tmp_path / f"{name}.parquet", row())
    assert len(read_pickapic(str(tmp_path / "*.parquet"), Layout(criterion="looks"))) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_1": 1.0}, "labels must be two numbers that make 1, found 1.0 and 1.0"),
        ({"label_0": 1.5, "label_1": -0.5}, "labels must be"),
        ({"jpg_0": None}, "jpg_0: expected the bytes of an image"),
        ({"caption": ""}, "caption: expected a text that is not empty"),
    ],
)
def test_a_bad_row_is_named(tmp_path, changes, message):
    path = write(tmp_path / "a.parquet", row(), row(**changes))
    with pytest.raises(RecipeError) as error:
        read_pickapic(path, Layout())
    assert str(error.value).startswith(f"{path}: row 2: {message}")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "noise.parquet").write_bytes(b"noise")
    with pytest.raises(RecipeError, match="can't be read"):
        read_pickapic(str(tmp_path / "noise.parquet"), Layout())
    path = write(tmp_path / "x.parquet", {"caption": "a", "label_0": 1, "label_1": 0})
    with pytest.raises(RecipeError, match="there is no column jpg_0, jpg_1"):
        read_pickapic(path, Layout())
    with pytest.raises(RecipeError, match="there is no such file"):
        read_pickapic(str(tmp_path / "*.none"), Layout())


def test_it_is_trained_on_end_to_end(tmp_path):
    rows = [
        row(caption=f"prompt {n}", jpg_0=pictures.jpeg(2 * n), jpg_1=pictures.jpeg(2 * n + 1))
        for n in range(12)
    ]
    write(tmp_path / "a.parquet", *rows)
    (tmp_path / "train.yaml").write_text(
        "preferences:\n  - {format: pickapic, path: a.parquet}\n"
        "head: {kind: linear}\ntraining: {epochs: 2}\nsplit: {validation: 0.3, test: 0.3}\n"
    )
    card = training.train_reward(str(tmp_path / "train.yaml"), str(tmp_path / "out"))
    assert sum(part["comparisons"] for part in card["data"]["parts"].values()) == 12
