"""Babel-ImageNet's protocol and CLIP_benchmark's layout, on a few small classes."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import CurationError, DamagedFile
from pipeline.probes import run
from pipeline.probes.classes import BabelFiles, babel_probe, classification_probe
from pipeline.probes.subject import Named
from pipeline.shards import Sample
from tests import tars
from tests.pipeline.probing import toys
from tests.pipeline.probing.test_published import image
from tests.pipeline.probing.toys import HERE, write

LABELS = {"EN": [[0, 1, 2, 7], ["zero", "one", "two", "seven"]], "DE": [[2, 0], ["zwei", "null"]]}


@pytest.fixture
def babel(tmp_path: Path) -> Path:
    for label in range(3):
        for n in range(4):
            image(tmp_path / "images" / str(label) / f"{n}.png", 40 * label + n)
    write(tmp_path / "labels.json", json.dumps(LABELS))
    return tmp_path


def files(folder: Path, **more: Any) -> BabelFiles:
    return BabelFiles(str(folder / "labels.json"), str(folder / "images"), **more)


def believe(probe) -> None:
    for grid in probe.grids:
        for picture, place in zip(grid.pictures, grid.right, strict=True):
            toys.Oracle.true |= {toys.fact(picture, text) for text in grid.options[place]}


def asked(folder: Path, text: str, toy: str = "Oracle") -> Any:
    path = write(folder / "probes.yaml", "drawn: []\n" + text)
    run.probe_score(Named(f"{HERE}:{toy}"), str(path), str(folder / "out"))
    return json.loads((folder / "out" / "probe.json").read_text())["probes"][0]


def test_every_language_is_asked_about_its_own_classes_and_images(babel):
    probe = babel_probe(files(babel), None)
    english, german = probe.grids
    assert english.options == (("zero",), ("one",), ("two",))
    assert german.options == (("null",), ("zwei",))
    assert (len(english.pictures), len(german.pictures)) == (12, 8)
    assert {p.name.partition("/")[0] for p in german.pictures} == {"0", "2"}
    assert [german.options[place][0] for place in german.right] == ["null"] * 4 + ["zwei"] * 4
    assert (english.common, german.common) == ((0, 2), (0, 1))
    assert probe.missing == {"classes": [7], "prompts": ["DE", "EN"]}


def test_the_figures_have_their_own_chances_and_common_ones(babel):
    believe(babel_probe(files(babel), None))
    text = "babel_imagenet: {labels: labels.json, images: images, images_per_class: 3}\n"
    found = asked(babel, text)
    assert [(one["label"], one["n"], one["chance"], one["value"]) for one in found["figures"]] == [
        ("EN, 3 classes", 9, 0.333333, 1.0),
        ("DE, 2 classes", 6, 0.5, 1.0),
        ("EN, the 2 classes of all", 6, 0.5, 1.0),
        ("DE, the 2 classes of all", 6, 0.5, 1.0),
    ]
    assert {one["right"] for one in asked(babel, text, "Constant")["figures"]} == {0}


def test_prompts_are_averaged(babel):
    write(babel / "prompts.json", json.dumps({"DE": ["ein {}", "das {} da"]}))
    probe = babel_probe(files(babel, prompts=str(babel / "prompts.json")), None)
    assert probe.grids[1].options == (("ein null", "das null da"), ("ein zwei", "das zwei da"))
    assert probe.grids[0].options[0] == ("zero",)
    assert probe.missing is not None
    assert probe.missing["prompts"] == ["EN"]
    believe(probe)
    text = "babel_imagenet: {labels: labels.json, images: images, prompts: prompts.json}\n"
    assert [one["value"] for one in asked(babel, text)["figures"]] == [1.0] * 4
    write(babel / "prompts.json", '{"DE": ["ein"]}')
    with pytest.raises(DamagedFile, match=r"DE: is no list of texts with \{\}"):
        babel_probe(files(babel, prompts=str(babel / "prompts.json")), None)


def test_folders_called_by_id_need_their_order(babel):
    for n, name in enumerate(("n01", "n02", "n03")):
        (babel / "images" / str(n)).rename(babel / "images" / name)
    with pytest.raises(CurationError, match=r"has 3 folders.*say their order with `classes:`"):
        babel_probe(files(babel), None)
    order = write(babel / "order.txt", "n03 tench\nn01 goldfish\nn02\n")
    probe = babel_probe(files(babel, classes=str(order)), None)
    first = zip(probe.grids[0].pictures, probe.grids[0].right, strict=True)
    assert {picture.name[:3] for picture, place in first if place == 0} == {"n03"}


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([], "is no object of languages"),
        ({}, "is no object of languages"),
        ({"EN": [[0]]}, "EN: is no pair of lists"),
        ({"EN": [[0], []]}, "EN: indices and labels don't match"),
        ({"EN": [["0"], ["zero"]]}, "EN: indices and labels don't match"),
    ],
)
def test_damaged_labels_are_named(babel, labels, said):
    write(babel / "labels.json", json.dumps(labels))
    with pytest.raises(DamagedFile, match=said):
        babel_probe(files(babel), None)


def test_unknown_languages_and_foreign_images_are_refused(babel):
    with pytest.raises(CurationError, match="has no language 'FR'; known are DE, EN"):
        babel_probe(files(babel, languages=("FR",)), None)
    write(babel / "labels.json", '{"EN": [[500], ["other"]]}')
    with pytest.raises(CurationError, match="holds no image of a class"):
        babel_probe(files(babel), None)


@pytest.fixture
def webdataset(tmp_path: Path) -> Path:
    samples = []
    for n in range(4):
        data = image(tmp_path / "made" / f"{n}.png", 50 * n).read_bytes()
        samples.append(Sample(f"s{n}", {"png": data, "cls": str(n % 2).encode()}))
    (tmp_path / "test").mkdir()
    tars.write_shard(tmp_path / "test" / "0.tar", samples)
    write(tmp_path / "classnames.txt", "cat\ndog\n")
    write(tmp_path / "zeroshot_classification_templates.txt", "a {c}\nthe {c}\n")
    return tmp_path


def test_a_set_of_clip_benchmark_is_asked(webdataset):
    probe = classification_probe("pets", str(webdataset), "test", None)
    assert probe.grids[0].options == (("a cat", "the cat"), ("a dog", "the dog"))
    assert probe.grids[0].right == (0, 1, 0, 1)
    believe(probe)
    found = asked(webdataset, "classification: {pets: {folder: .}}\n")
    assert [(one["label"], one["value"], one["n"]) for one in found["figures"]] == [
        ("pets", 1.0, 4)
    ]
    assert len(classification_probe("pets", str(webdataset), "test", 3).grids[0].pictures) == 3


def test_a_damaged_set_of_clip_benchmark_is_named(webdataset):
    with pytest.raises(CurationError, match="holds no tar"):
        classification_probe("pets", str(webdataset), "train", None)
    write(webdataset / "zeroshot_classification_templates.txt", "a\n")
    with pytest.raises(DamagedFile, match=r"'a' has no \{c\}"):
        classification_probe("pets", str(webdataset), "test", None)
    (webdataset / "zeroshot_classification_templates.txt").unlink()
    write(webdataset / "classnames.txt", "cat\n")
    with pytest.raises(DamagedFile, match="s1: `cls` is '1', not a number below 1"):
        classification_probe("pets", str(webdataset), "test", None)
    data = (webdataset / "test" / "0.tar").read_bytes()
    (webdataset / "test" / "0.tar").write_bytes(data[:700])
    with pytest.raises(DamagedFile, match=r"0\.tar"):
        classification_probe("pets", str(webdataset), "test", None)
