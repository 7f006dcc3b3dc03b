"""Damage that is still JSON: named with its place, by every verb that reads."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.errors import DamagedFile
from pipeline.shapes import require
from tests.commands import done, pairmill
from tests.conftest import RECIPE, write_pair
from tests.pictures import jpeg


@pytest.mark.parametrize(
    ("value", "shape", "place"),
    [
        ([], {"a": int}, "it is list"),
        ({}, {"a": int}, "a is missing"),
        ({"a": "1"}, {"a": int}, "a is str"),
        ({"a": [{"b": 1}, {"b": None}]}, {"a": [{"b": int}]}, "a[1].b is NoneType"),
        ({"a": {"x": 1, "y": []}}, {"a": {str: int}}, "a.y is list"),
        ([1, None, "x"], [(int, type(None))], "[2] is str"),
    ],
)
def test_the_place_of_a_misfit_is_named(value, shape, place):
    with pytest.raises(DamagedFile) as error:
        require("out/x.json", value, shape)
    assert str(error.value).endswith(f"run again: {place}")


def test_what_fits_passes():
    value = {"a": [{"b": 1, "more": []}], "c": {"x": 2.5}}
    require("out/x.json", value, {"a": [{"b": int}], "c": {str: (int, float)}})
    require("out/x.json", {"a": [], "c": {}}, {"a": [{"b": int}], "c": {str: int}})


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    for number in range(3):
        write_pair(folder / "photos", f"{number}", jpeg(number), f"picture number {number}")
    (folder / "recipe.yaml").write_text(RECIPE)
    done("build", folder / "recipe.yaml", "--out", folder / "out")
    return folder / "out"


@pytest.fixture
def out(original, tmp_path):
    return Path(shutil.copytree(original, tmp_path / "out"))


DAMAGED = [
    ("build.json", ["root"], None),
    ("build.json", ["recipe"], 5),
    ("build.json", ["scorers", "caption"], {}),
    ("build.json", ["scorers", "caption", "columns"], "x"),
    ("pool/index.json", ["shards"], []),
    ("pool/index.json", ["shards", 0, "rows"], "5"),
    ("pool/index.json", ["shards", 0, "digest"], None),
    ("verdicts/index.json", ["shards"], None),
    ("verdicts/index.json", ["rows"], []),
    ("verdicts/index.json", ["files"], [5]),
    ("verdicts/index.json", ["summary"], {}),
    ("verdicts/index.json", ["summary", "steps", 0, "condition"], None),
    ("verdicts/index.json", ["summary", "steps", 0, "kind"], "x"),
    ("verdicts/index.json", ["summary", "dropped"], None),
    ("shards/manifest.json", ["shards", 0, "name"], None),
    ("shards/manifest.json", ["ledger", "copies"], "x"),
    ("shards/manifest.json", ["versions"], []),
]


@pytest.mark.parametrize(("name", "place", "value"), DAMAGED)
def test_a_wrong_type_ends_in_a_message_that_names_the_file(out, name, place, value):
    changed = json.loads((out / name).read_text())
    inner = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    (out / name).write_text(json.dumps(changed))
    for verb in (["report"], ["explain", "0.jpg"]):
        code, text = pairmill(*verb, "--out", out)
        assert code == 1
        assert f"{out}/{name}: is damaged" in text
