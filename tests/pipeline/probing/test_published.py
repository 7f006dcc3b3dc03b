"""Published sets in their own layouts, tiny ones: figures, missing images, damage."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import CurationError, DamagedFile
from pipeline.probes import run
from pipeline.probes.published import (
    SUGARCREPE,
    pairs_probe,
    sugarcrepe_probe,
    svo_probe,
    winoground_probe,
)
from pipeline.probes.subject import Named
from tests.pipeline.probing import toys
from tests.pipeline.probing.toys import HERE, write

SVO_HEAD = "sentence,pos_triplet,neg_triplet,pos_url,neg_url,pos_image_id,neg_image_id"
SVO_HEAD += ",subj_neg,verb_neg,obj_neg\n"


def image(path: Path, shade: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((12, 16, 3), shade, np.uint8)
    pixels[:6, :8] = 255 - shade
    Image.fromarray(pixels).save(path)
    return path


def json_lines(path: Path, *rows: Any) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def wino(tmp_path: Path) -> Path:
    rows = []
    for n in range(3):
        names = [f"ex_{n}_img_{side}" for side in (0, 1)]
        for side, name in enumerate(names):
            image(tmp_path / "images" / f"{name}.png", 20 * n + 10 * side)
        rows.append(
            {"id": n, "image_0": names[0], "image_1": names[1], "caption_0": f"{n} a b",
             "caption_1": f"{n} b a", "collapsed_tag": "Object" if n else "Relation"}
        )  # fmt: skip
    json_lines(tmp_path / "examples.jsonl", *rows)
    return tmp_path


def of_winoground(folder: Path, limit: int | None = None):
    return winoground_probe(str(folder), str(folder / "images"), limit)


def believed(probe) -> None:
    for question in probe.questions:
        toys.Oracle.true.add(toys.fact(*question.pairs[question.right]))


def asked(folder: Path, text: str, toy: str = "Oracle") -> Any:
    path = write(folder / "probes.yaml", "drawn: []\n" + text)
    run.probe_score(Named(f"{HERE}:{toy}"), str(path), str(folder / "out"))
    return json.loads((folder / "out" / "probe.json").read_text())["probes"][0]


def test_winoground_is_asked_by_item_and_tag(wino):
    believed(of_winoground(wino))
    found = asked(wino, "winoground: {folder: .}\n")
    figures = {one["label"]: (one["right"], one["n"]) for one in found["figures"]}
    assert figures["group score"] == (3, 3)
    assert figures["Relation: text score"] == (1, 1)
    assert figures["Object: image score"] == (2, 2)
    assert len(of_winoground(wino, 2).questions) == 8
    nothing = asked(wino, "winoground: {folder: .}\n", "Constant")
    assert {one["right"] for one in nothing["figures"]} == {0}


def test_a_missing_image_is_named_and_its_items_left_out(wino):
    (wino / "images" / "ex_1_img_0.png").unlink()
    probe = of_winoground(wino)
    assert probe.missing == {"left_out": 1, "pictures": ["ex_1_img_0"]}
    assert probe.notice is not None
    assert "1 pictures are not in" in probe.notice
    assert "ex_1_img_0" in (asked(wino, "winoground: {folder: .}\n")["missing"]["pictures"])
    assert "ex_1_img_0" in (wino / "out" / "probe.html").read_text()


def test_a_set_without_any_image_or_item_is_refused(wino):
    for path in (wino / "images").iterdir():
        path.unlink()
    with pytest.raises(CurationError, match=r"nothing can be asked; 3 pictures are not in .*ex_0"):
        of_winoground(wino)
    write(wino / "examples.jsonl", "\n")
    with pytest.raises(CurationError, match="nothing can be asked: empty"):
        of_winoground(wino)


def test_an_image_that_can_t_be_read_is_no_answer(wino):
    believed(of_winoground(wino))
    write(wino / "images" / "ex_2_img_1.png", "no picture")
    found = asked(wino, "winoground: {folder: .}\n")
    group = next(one for one in found["figures"] if one["label"] == "group score")
    assert (group["right"], group["n"], group["unanswered"]) == (2, 2, 1)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "examples.jsonl: line 2: is no JSON"),
        ("[1]", "line 2: is no object"),
        ('{"image_0": "x"}', "line 2: has no text `image_1`"),
        ('{"image_0": 1}', "line 2: has no text `image_0`"),
        ("[" * 100_000, "line 2: is no JSON"),
    ],
)
def test_damage_is_named_with_its_line(wino, line, said):
    whole = (wino / "examples.jsonl").read_text().splitlines()
    write(wino / "examples.jsonl", "\n".join([whole[0], line]))
    with pytest.raises(DamagedFile) as caught:
        of_winoground(wino)
    assert said in str(caught.value)
    (wino / "examples.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(DamagedFile, match="is no UTF-8"):
        of_winoground(wino)


def test_an_image_outside_of_its_folder_is_not_there(wino, tmp_path):
    image(tmp_path / "secret.png", 3)
    row = {"image": "../secret.png", "true": "a", "false": "b"}
    file = json_lines(tmp_path / "p.jsonl", row, {**row, "image": "\0"}, {**row, "image": "."})
    with pytest.raises(CurationError, match="nothing can be asked; 3 pictures"):
        pairs_probe("mine", str(file), str(wino / "images"), None)


def test_sugarcrepe_is_asked_by_category(tmp_path):
    for n in range(2):
        image(tmp_path / "coco" / f"{n:012}.jpg", 60 * n)
    for name in SUGARCREPE[:3]:
        entries = {
            str(n): {
                "filename": f"{n:012}.jpg",
                "caption": f"true {n}",
                "negative_caption": f"no {n}",
            }
            for n in range(2)
        }
        write(tmp_path / f"{name}.json", json.dumps(entries))
    probe = sugarcrepe_probe(str(tmp_path), str(tmp_path / "coco"), None)
    assert len(probe.questions) == 6
    believed(probe)
    found = asked(tmp_path, "sugarcrepe: {folder: ., images: coco}\n")
    assert [one["label"] for one in found["figures"]] == ["all", *SUGARCREPE[:3]]
    assert [one["value"] for one in found["figures"]] == [1.0] * 4
    write(tmp_path / "add_att.json", '{"0": 3}')
    with pytest.raises(DamagedFile, match=r"add_att.json: entry 0: is no object"):
        sugarcrepe_probe(str(tmp_path), str(tmp_path / "coco"), None)
    with pytest.raises(CurationError, match="empty"):
        sugarcrepe_probe(str(tmp_path / "coco"), str(tmp_path / "coco"), None)


def test_pairs_may_have_several_false_captions_and_a_box(tmp_path):
    image(tmp_path / "images" / "a.png", 0)
    row = {"image": "a.png", "true": "t", "false": ["f", "g"], "category": "verb"}
    box = {**row, "box": [0, 0, 8, 6], "category": "noun"}
    file = json_lines(tmp_path / "aro.jsonl", row, box)
    probe = pairs_probe("aro", str(file), str(tmp_path / "images"), None)
    whole, part = (question.pairs[0][0] for question in probe.questions)
    assert whole.name != part.name
    assert np.asarray(Image.open(_stream(part.read()))).tolist() == [[[255] * 3] * 8] * 6
    believed(probe)
    found = asked(tmp_path, "pairs: {aro: {file: aro.jsonl, images: images}}\n")
    assert [(one["label"], one["chance"]) for one in found["figures"]] == [
        ("all", 0.333333),
        ("verb", 0.333333),
        ("noun", 0.333333),
    ]


def _stream(data: bytes):
    from io import BytesIO

    return BytesIO(data)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"false": []}, "`false` must be"),
        ({"false": [1]}, "`false` must be"),
        ({"false": None}, "`false` must be"),
        ({"box": [1, 2, 3]}, "`box` must be"),
        ({"box": [0, 0, True, 4]}, "`box` must be"),
        ({"box": [0, 0, 0, 4]}, "`box` is 0 by 4 pixels"),
    ],
)
def test_bad_pairs_are_named(tmp_path, more, said):
    image(tmp_path / "a.png", 0)
    file = json_lines(tmp_path / "p.jsonl", {"image": "a.png", "true": "t", "false": "f", **more})
    with pytest.raises(DamagedFile, match=rf"line 1: {said}"):
        pairs_probe("p", str(file), str(tmp_path), None)


def test_svo_chooses_between_images(tmp_path):
    for n in range(3):
        image(tmp_path / "svo" / f"{n}.jpg", 80 * n)
    rows = ["A girl sits.,g,b,u,u,0,1,True,False,False\n", '"A, b.",g,b,u,u,2,1,False,True,False\n']
    file = write(tmp_path / "svo.csv", SVO_HEAD + "".join(rows))
    probe = svo_probe(str(file), str(tmp_path / "svo"), None)
    assert [question.kind for question in probe.questions] == ["subject", "verb"]
    assert probe.questions[1].pairs[0][1] == "A, b."
    believed(probe)
    found = asked(tmp_path, "svo: {file: svo.csv, images: svo}\n")
    assert [one["value"] for one in found["figures"]] == [1.0, 1.0, 1.0]
    write(tmp_path / "svo.csv", "a,b\n1,2\n")
    with pytest.raises(DamagedFile, match="has no text `sentence`"):
        svo_probe(str(file), str(tmp_path / "svo"), None)
