"""Boxes follow the picture through every way to resize it."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.aspect import resized
from pipeline.encoding import MODES, resize
from tests.conftest import built

WIDE, TALL = (240, 120), (100, 300)
BOXES = [(0.4, 0.3, 0.6, 0.8), (0.0, 0.0, 0.5, 0.5), (0.3, 0.45, 1.0, 1.0)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [WIDE, TALL, (60, 60), (61, 37)])
@pytest.mark.parametrize("box", BOXES)
def test_a_box_is_where_its_pixels_went(mode, size, box):
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    left, right = (round(box[n] * width) for n in (0, 2))
    top, bottom = (round(box[n] * height) for n in (1, 3))
    pixels[top:bottom, left:right, 0] = 255
    drawn = resize(pixels, 64, mode)
    red = (drawn[..., 0] > 127) & (drawn[..., 1] < 127)  # a border is white
    rows, columns = np.nonzero(red)
    exact = (left / width, top / height, right / width, bottom / height)
    found = resized(*size, 64, mode).box(exact)
    if not red.any():
        assert found is None
        return
    high, wide = drawn.shape[:2]
    assert resized(*size, 64, mode).size == (wide, high)
    seen = columns.min() / wide, rows.min() / high
    seen += (columns.max() + 1) / wide, (rows.max() + 1) / high
    np.testing.assert_allclose(found, seen, atol=1.5 / min(high, wide))


def test_a_box_that_is_cut_off_is_gone():
    cropped = resized(*WIDE, 64, "crop")
    assert cropped.box((0.0, 0.4, 0.1, 0.6)) is None
    assert cropped.box((0.0, 0.4, 0.5, 0.6))[0] == 0


@pytest.mark.slow
def test_boxes_in_the_json_are_those_of_the_written_picture(make_build):
    recipe = "sources:\n  photos: {folder: photos/}\nscore:\n"
    recipe += "  image: {}\n  regions: {scorer: 'recaption.regions:RegionCaptions', format: coco,"
    recipe += " annotations: boxes.json}\nselect:\n  - readable: {where: width is not null}\n"
    recipe += "captions: {json: [regions]}\nexport: {max_side: 16, resize: crop}\n"
    build = make_build(recipe)
    boxes = [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1000, 1000]}]
    data = {"categories": [{"id": 1, "name": "all"}], "annotations": boxes}
    data["images"] = [{"id": 1, "file_name": "03.jpg", "width": 1000, "height": 1000}]
    (Path(build.recipe.resolve("")) / "boxes.json").write_text(json.dumps(data))
    built(build)
    found = []
    for path in (Path(build.out) / "shards").glob("*.tar"):
        with tarfile.open(path) as tar:
            members = [tar.extractfile(m).read() for m in tar if m.name.endswith(".json")]
        told = [c for m in members for c in json.loads(json.loads(m)["captions"])]
        found += [caption for caption in told if caption.get("column") == "regions"]
    assert [caption["box"] for caption in found] == [[0.0, 0.0, 1.0, 1.0]]
