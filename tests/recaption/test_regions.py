"""Boxes as captions: found by name, as shares of the picture as it is displayed."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.pool import read_base
from recaption import captions
from recaption.box_captions import BoxCaptions
from recaption.expressions import Expressions
from recaption.regions import RegionCaptions, _upright
from tests.conftest import built

BOX = (2 / 12, 1 / 8, 7 / 12, 3 / 8)


def header(width, height, orientation=1):
    return SimpleNamespace(width=width, height=height, orientation=orientation)


def coco(path, pictures):
    data = {"categories": [{"id": 1, "name": "small-vehicle"}], "images": [], "annotations": []}
    for number, (name, size, boxes) in enumerate(pictures):
        width, height = size or (None, None)
        data["images"].append({"id": number, "file_name": name, "width": width, "height": height})
        data["annotations"] += [{"image_id": number, "category_id": 1, "bbox": b} for b in boxes]
    path.write_text(json.dumps(data))
    return str(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_with_the_picture_as_pillow_turns_it(orientation):
    pixels = np.zeros((8, 12), np.uint8)
    pixels[1:3, 2:7] = 255
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x112] = orientation
    stream = io.BytesIO()
    image.save(stream, "png", exif=exif)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(stream)))
    rows, columns = np.nonzero(shown)
    height, width = shown.shape
    box = columns.min() / width, rows.min() / height
    box += (columns.max() + 1) / width, (rows.max() + 1) / height
    np.testing.assert_allclose(_upright(BOX, orientation), box)


def test_a_size_that_is_the_displayed_one_says_that_boxes_are_displayed(tmp_path):
    path = coco(tmp_path / "c.json", [("a.jpg", (50, 100), [[5, 20, 10, 30]])])
    scorer = RegionCaptions(path, "coco")
    found = scorer({"source_key": ["a.jpg"], "header": [header(50, 100, 6)]})["captions"][0]
    np.testing.assert_allclose(found[0]["box"], (0.1, 0.2, 0.3, 0.5))
    turned = scorer({"source_key": ["a.jpg"], "header": [header(50, 100, 1)]})["captions"][0]
    np.testing.assert_allclose(turned[0]["box"], (0.1, 0.2, 0.3, 0.5))


def test_pixels_without_a_size_are_those_of_the_picture(tmp_path):
    path = coco(tmp_path / "c.json", [("a.jpg", None, [[5, 20, 10, 300]])])
    found = RegionCaptions(path, "coco")({"source_key": ["a.jpg"], "header": [header(50, 100)]})
    caption = found["captions"][0][0]
    np.testing.assert_allclose(caption["box"], (0.1, 0.2, 0.3, 1.0))  # cut off below
    assert (caption["text"], caption["kind"], caption["origin"]) == (
        "small vehicle",
        "region",
        "labelled",
    )


def test_names_are_paths_then_file_names_where_those_are_unique(tmp_path):
    pictures = [
        (name, (10, 10), [[0, 0, 5, 5]] * n)
        for n, name in enumerate(["a/x.jpg", "b/x.jpg", "b/y.jpg"])
    ]
    scorer = RegionCaptions(coco(tmp_path / "c.json", pictures), "coco")
    names = ["a/x.jpg", "b/x.webp", "x.jpg", "deep/y.png", "z.jpg"]
    found = scorer({"source_key": names, "header": [header(10, 10)] * 5})["captions"]
    assert [None if f is None else len(f) for f in found] == [0, 1, None, 2, None]


def test_least_area_leaves_out_small_boxes_and_empty_ones(tmp_path):
    boxes = [[0, 0, 1, 1], [0, 0, 5, 5], [20, 20, 5, 5]]
    path = coco(tmp_path / "c.json", [("a.jpg", (10, 10), boxes)])
    batch = {"source_key": ["a.jpg"], "header": [header(10, 10)]}
    assert len(RegionCaptions(path, "coco")(batch)["captions"][0]) == 2
    assert len(RegionCaptions(path, "coco", least_area=0.02)(batch)["captions"][0]) == 1


@pytest.mark.parametrize(
    ("format", "problem"),
    [
        ("coco", "is a folder, and COCO has one file"),
        ("voc", "there is no .xml file"),
        ("yolo", "the format needs them"),
        ("masks", "there is no .png file"),
    ],
)
def test_annotations_of_another_format_are_refused_before_a_row_is_read(tmp_path, format, problem):
    (tmp_path / "a.txt").write_text("0 0.5 0.5 1 1\n")
    with pytest.raises(ValueError, match=problem):
        RegionCaptions(str(tmp_path), format)


def test_other_boxes_are_another_identity(tmp_path):
    first = RegionCaptions(coco(tmp_path / "a.json", [("a.jpg", (9, 9), [[0, 0, 5, 5]])]), "coco")
    second = RegionCaptions(coco(tmp_path / "b.json", [("a.jpg", (9, 9), [[0, 0, 5, 6]])]), "coco")
    assert first.weights_digest != second.weights_digest
    for wrong in ({"format": "pascal"}, {"least_area": 1.0}, {"annotations": "/gone"}):
        with pytest.raises(ValueError, match=r"known are|least_area|no such file"):
            RegionCaptions(**{"annotations": first.annotations, "format": "coco", **wrong})


def test_a_build_reads_boxes_beside_the_recipe(make_build):
    recipe = "sources:\n  photos: {folder: photos/}\nscore:\n"
    recipe += "  regions: {annotations: boxes.json, format: coco}\n"
    recipe = recipe.replace(
        "{annotations", "{scorer: 'recaption.regions:RegionCaptions', annotations"
    )
    recipe += "  several: {scorer: 'recaption.box_captions:BoxCaptions'}\n"
    build = make_build(recipe)
    folder = build.recipe.resolve("")
    coco(Path(folder) / "boxes.json", [("03.jpg", None, [[0, 0, 9, 9]])])
    built(build, "score")
    pool = build.open_pool()
    resolved, _ = build.resolve(pool)
    told = {i.name: i.columns for i in resolved.instances}
    base = read_base(build.root, pool.shards[0], ["source_key"])["source_key"].to_pylist()
    several = told["several"].read(pool.shards[0])["several"].to_pylist()
    assert [name for name, own in zip(base, several, strict=True) if own] == ["03.jpg"]


def test_words_about_a_box_are_no_category(tmp_path):
    path = coco(tmp_path / "c.json", [("a.jpg", (10, 10), [[0, 0, 5, 5], [0, 0, 4, 4]])])
    data = json.loads(Path(path).read_text())
    data["categories"][0]["name"] = "small-\u202evehicle\x00\ud800"
    data["annotations"][0]["caption"] = "a red\u0007 van"
    Path(path).write_text(json.dumps(data))
    batch = {"source_key": ["a.jpg"], "header": [header(10, 10)]}
    found = RegionCaptions(path, "coco")(batch)["captions"][0]
    told = [(caption["kind"], caption["text"]) for caption in found]
    assert told == [
        ("region", "small vehicle"),
        ("expression", "a red van"),
        ("region", "small vehicle"),
    ]
    assert found[0]["box"] == found[1]["box"]
    several = BoxCaptions()({"regions": [found], "key": [b"0" * 16]})["captions"][0]
    assert any("two small vehicles" in caption["text"].lower() for caption in several)
    assert not any("van" in caption["text"] for caption in several)
    single = Expressions(colours=False)({"regions": [found[:2]]})["captions"][0]
    assert [caption["text"] for caption in single] == ["the small vehicle"]


def test_captions_of_another_kind_count_where_there_is_no_region():
    rows = captions.rows(
        [captions.Caption("car", kind="short", box=(0, 0, 1, 1)), captions.Caption("a car")]
    )
    assert captions.boxed(rows) == [("car", [0, 0, 1, 1])]


def test_damage_is_the_reason_of_its_own_row(make_build):
    recipe = "sources:\n  photos: {folder: photos/}\nscore:\n"
    recipe += "  regions: {scorer: 'recaption.regions:RegionCaptions', annotations: boxes.json, "
    build = make_build(recipe + "format: coco}\n")
    path = Path(build.recipe.resolve("")) / "boxes.json"
    coco(path, [(f"0{n}.jpg", None, [[0, 0, 9, 9]]) for n in range(4)])
    path.write_text(path.read_text().replace("[0, 0, 9, 9]", "[0, 0, 9]", 1))
    built(build, "score")
    pool = build.open_pool()
    resolved, _ = build.resolve(pool)
    column = next(i.columns for i in resolved.instances if i.name == "regions")
    base = read_base(build.root, pool.shards[0], ["source_key"])["source_key"].to_pylist()
    table = column.read(pool.shards[0])
    found = dict(zip(base, table["regions"].to_pylist(), strict=True))
    assert found["00.jpg"] is None
    assert [len(found[f"0{n}.jpg"]) for n in (1, 2, 3)] == [1, 1, 1]
    assert any(
        "an annotation is damaged" in str(v) for row in table.to_pylist() for v in row.values()
    )
