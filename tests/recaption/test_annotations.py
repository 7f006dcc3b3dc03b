"""Files of boxes: five formats, what each counts from, and what is damaged."""

import json

import numpy as np
import pytest
from PIL import Image

from recaption import annotations
from recaption.annotations import Annotated, Thing

VOC = """<annotation><filename>a.jpg</filename><size><width>100</width><height>50</height></size>
<object><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>10</xmax><ymax>20</ymax></bndbox>
{text}</object></annotation>"""


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(folder)


def test_coco_boxes_are_corner_and_size(tmp_path):
    data = {
        "categories": [{"id": 7, "name": "dog"}],
        "images": [
            {"id": 1, "file_name": "sub/a.jpg", "width": 100, "height": 50},
            {"id": 2, "file_name": "b.jpg"},
        ],
        "annotations": [
            {"image_id": 1, "category_id": 7, "bbox": [10, 20, 30, 5], "caption": "a wet dog"},
            {"image_id": 1, "category_id": 7, "bbox": [0, 0, 9, 9], "iscrowd": 1},
            {"image_id": 99, "category_id": 7, "bbox": [0, 0, 9, 9]},
        ],
    }
    (tmp_path / "c.json").write_text(json.dumps(data))
    found = annotations.read(str(tmp_path / "c.json"), "coco")
    assert found == {
        "sub/a": Annotated((Thing("dog", (10, 20, 40, 25), "a wet dog"),), (100, 50)),
        "b": Annotated((), None),
    }


def test_voc_counts_from_one_and_includes_the_last_pixel(tmp_path):
    write(tmp_path, "deep/a.xml", VOC.format(text="<description> a dog </description>"))
    found = annotations.read(str(tmp_path), "voc")
    assert found == {"deep/a": Annotated((Thing("dog", (0, 0, 10, 20), "a dog"),), (100, 50))}


def test_yolo_has_centres_or_polygons_and_a_list_of_classes(tmp_path):
    write(tmp_path, "classes.txt", "cat\ndog\n")
    write(tmp_path, "a.txt", "1 0.5 0.5 0.2 0.4\n0 0.1 0.1 0.3 0.1 0.2 0.6\n1 .5 .5 .2 .2 .93\n")
    things = annotations.read(str(tmp_path), "yolo")["a"].things
    assert [thing.category for thing in things] == ["dog", "cat", "dog"]
    np.testing.assert_allclose(things[0].box, (0.4, 0.3, 0.6, 0.7))
    np.testing.assert_allclose(things[1].box, (0.1, 0.1, 0.3, 0.6))
    np.testing.assert_allclose(things[2].box, (0.4, 0.4, 0.6, 0.6))


def test_dota_has_corners_that_may_be_turned(tmp_path):
    text = "imagesource:GoogleEarth\ngsd:0.15\n10 20 40 25 35 60 5 55 small-vehicle 0\n"
    write(tmp_path, "P0001.txt", text)
    found = annotations.read(str(tmp_path), "dota")
    assert found == {"P0001": Annotated((Thing("small-vehicle", (5, 20, 40, 60)),), None)}


def test_masks_become_boxes_by_class_and_part(tmp_path):
    mask = np.zeros((40, 60), np.uint8)
    mask[2:12, 3:13] = 1
    mask[5:8, 5:8] = 0  # a hole makes no box
    mask[20:30, 40:50] = 1
    mask[35:38, 0:20] = 2
    mask[0:3, 55:60] = 255  # ignored
    mask[39, 59] = 2  # too small
    Image.fromarray(mask).save(tmp_path / "a.png")
    write(tmp_path, "classes.txt", "nothing\nhouse\nroad\n")
    found = annotations.read(str(tmp_path), "masks")["a"]
    assert found.size == (60, 40)
    assert found.things == (
        Thing("house", (3, 2, 13, 12)),
        Thing("house", (40, 20, 50, 30)),
        Thing("road", (0, 35, 20, 38)),
    )


@pytest.mark.parametrize(
    ("kind", "name", "text", "problem"),
    [
        ("yolo", "a.txt", "1 0.5 0.5\n", "a.txt:1: 2 numbers are neither a box nor a polygon"),
        ("yolo", "a.txt", "9 0.5 0.5 1 1\n", "a.txt:1: class 9, and 1 classes are named"),
        ("yolo", "a.txt", "x 0.5 0.5 1 1\n", "a.txt:1: "),
        ("dota", "a.txt", "1 2 3 car\n", "a.txt:1: is no line of DOTA"),
        ("voc", "a.xml", "<annotation>", "a.xml: is no annotation of Pascal VOC"),
        ("voc", "a.xml", "<a><object><name>x</name></object></a>", "an object without name or box"),
        ("coco", "a.json", "{}", "a.json: is no COCO file of boxes: KeyError 'categories'"),
        ("coco", "a.json", "[", "is no COCO file of boxes"),
        ("voc", "a.txt", "", "there is no .xml file"),
        ("pascal", "a.xml", "", "known are coco, voc, yolo, dota, masks"),
    ],
)
def test_damage_is_named(tmp_path, kind, name, text, problem):
    write(tmp_path, name, text)
    if kind == "yolo":
        write(tmp_path, "classes.txt", "cat\n")
    path = tmp_path / name if kind == "coco" else tmp_path
    write(tmp_path, name.replace("a", "b", 1), text)  # where all are damaged, none is read
    with pytest.raises(ValueError, match=r".") as error:
        annotations.read(str(path), kind)
    assert problem in str(error.value)


def test_numbers_without_names_are_refused(tmp_path):
    write(tmp_path, "a.txt", "0 0.5 0.5 1 1\n")
    with pytest.raises(ValueError, match="the format needs them"):
        annotations.read(str(tmp_path), "yolo")
    with pytest.raises(ValueError, match="there is no such file or folder"):
        annotations.read(str(tmp_path / "gone"), "voc")


def coco_file(tmp_path, **more):
    data = {
        "categories": [{"id": 7, "name": "dog"}],
        "images": [{"id": n, "file_name": f"{n}.jpg"} for n in range(3)],
        "annotations": [{"image_id": n, "category_id": 7, "bbox": [0, 0, 9, 9]} for n in range(3)],
    }
    (tmp_path / "c.json").write_text(json.dumps({**data, **more}))
    return str(tmp_path / "c.json")


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ({"bbox": [1, 2, 3]}, "not enough values"),
        ({"bbox": None}, "an annotation is damaged"),
        ({"bbox": ["a", 2, 3, 4]}, "could not convert"),
        ({"bbox": [float("nan"), 0, 3, 4]}, "is no box"),
        ({"bbox": [0, 0, float("inf"), 4]}, "is no box"),
        ({"bbox": [0, 0, 10**400, 4]}, "too large"),
        ({"category_id": 8}, "lacks 8"),
        ({"category_id": [8]}, "unhashable"),
    ],
)
def test_a_damaged_annotation_is_its_pictures_alone(tmp_path, damage, problem):
    boxes = [{"image_id": n, "category_id": 7, "bbox": [0, 0, 9, 9]} for n in (0, 1, 1, 2)]
    boxes[1] |= damage
    found = annotations.read(coco_file(tmp_path, annotations=boxes), "coco")
    assert isinstance(found["1"], ValueError)
    assert problem in str(found["1"])
    assert "c.json: image 1" in str(found["1"])
    assert found["0"] == found["2"] == Annotated((Thing("dog", (0, 0, 9, 9)),))


def test_pictures_that_share_a_name_or_an_id_have_no_boxes(tmp_path):
    images = [{"id": n, "file_name": name} for n, name in enumerate(["a.jpg", "a.jpg", "b.jpg"])]
    found = annotations.read(coco_file(tmp_path, images=images), "coco")
    assert "several images are called 'a'" in str(found["a"])
    assert isinstance(found["b"], Annotated)
    images = [{"id": n, "file_name": name} for n, name in [(0, "a"), (0, "b"), (1, "c")]]
    found = annotations.read(coco_file(tmp_path, images=images), "coco")
    assert "several images have the id 0" in str(found["a"])
    assert found["b"] is found["a"]
    assert isinstance(found["c"], Annotated)


def test_deep_json_is_damage_and_a_huge_size_is_none(tmp_path):
    (tmp_path / "c.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"c\.json: is no COCO file of boxes: RecursionError"):
        annotations.read(str(tmp_path / "c.json"), "coco")
    images = [{"id": 0, "file_name": "a.jpg", "width": 10**400, "height": 5}]
    assert annotations.read(coco_file(tmp_path, images=images), "coco")["a"].size is None


@pytest.mark.parametrize(
    ("kind", "name", "good", "bad", "problem"),
    [
        ("yolo", "{}.txt", "0 0.5 0.5 1 1\n", "0 0.5 0.5\n", "b.txt:1: 2 numbers"),
        ("yolo", "{}.txt", "0 0.5 0.5 1 1\n", "0 nan 0.5 1 1\n", "b.txt: a box of 'cat'"),
        ("yolo", "{}.txt", "0 0.5 0.5 1 1\n", "inf 0 0.5 1 1\n", "b.txt:1: "),
        (
            "dota",
            "{}.txt",
            "1 2 3 4 5 6 7 8 car 0\n",
            "1 2 inf 4 5 6 7 8 car 0\n",
            "a box of 'car'",
        ),
        ("voc", "{}.xml", VOC, "<annotation>", "b.xml: is no annotation"),
        ("voc", "{}.xml", VOC, VOC.replace("<xmax>10", "<xmax>nan"), "b.xml: a box of 'dog'"),
        ("voc", "{}.xml", VOC, VOC.replace("<width>100", "<width>inf"), "b.xml: "),
        ("voc", "{}.xml", VOC, "<?xml version='1.0' encoding='none'?><a/>", "b.xml: "),
    ],
)
def test_a_damaged_file_is_its_pictures_alone(tmp_path, kind, name, good, bad, problem):
    for one, text in (("a", good), ("b", bad), ("c", good)):
        write(tmp_path, name.format(one), text)
    write(tmp_path, "classes.txt", "cat\n")
    found = annotations.read(str(tmp_path), kind)
    assert isinstance(found["b"], ValueError)
    assert problem in str(found["b"])
    assert isinstance(found["a"], Annotated)
    assert found["a"] == found["c"]


def test_a_damaged_mask_is_its_pictures_alone(tmp_path):
    Image.new("L", (30, 30), 1).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    write(tmp_path, "classes.txt", "nothing\nhouse\n")
    found = annotations.read(str(tmp_path), "masks")
    assert "b.png: can't be read as a mask" in str(found["b"])
    assert isinstance(found["a"], Annotated)


def test_of_a_single_file_damage_is_its_pictures(tmp_path):
    write(tmp_path, "a.txt", "1 2 3 car\n")
    assert "is no line of DOTA" in str(annotations.read(str(tmp_path), "dota")["a"])
