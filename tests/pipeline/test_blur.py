"""Parts of pictures that nobody is to recognise are blurred on their way into the shards."""

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipeline.blur import blurred, is_boxes
from pipeline.errors import RecipeError
from pipeline.explain import tell
from tests.conftest import RECIPE
from tests.pictures import photo
from tests.pipeline.test_export import exported

HALF = [0.0, 0.0, 0.5, 1.0, 0.9]


def number(text: str) -> str:
    return text.split()[2] if text.startswith("picture number") else ""


@dataclass(frozen=True)
class Boxes:
    """A box on the left half of number 1, none on others, NULL and nonsense for two."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption",)
    writes: ClassVar[pa.Schema] = pa.schema(
        [("boxes", pa.list_(pa.float32())), ("names", pa.list_(pa.string()))]
    )

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        known = {"1": HALF, "2": None, "3": HALF[:4]}
        found = [known.get(number(text), []) for text in batch["caption"]]
        return {"boxes": found, "names": [[] for _ in found]}


WITH = RECIPE.replace(
    "  caption: {}\n", "  caption: {}\n  faces: {scorer: 'tests.pipeline.test_blur:Boxes'}\n"
)
PLAIN = WITH.replace("seed: 0", "seed: 0, json: [caption]")


def blurring(column: str, more: str = "") -> str:
    return PLAIN.replace("seed: 0", f"seed: 0, blur: {column}{more}")


def test_a_box_is_lost_and_the_rest_is_untouched():
    picture = photo(0, (50, 40))
    hidden = blurred(picture, [0.2, 0.2, 0.6, 0.6, 1.0], margin=0)
    changed = np.argwhere((hidden != picture).any(axis=2))
    assert changed.min(axis=0).tolist() >= [8, 10]
    assert changed.max(axis=0).tolist() <= [24, 30]
    assert len(changed) > 150
    assert np.array_equal(blurred(picture, []), picture)


def test_nothing_of_a_box_can_be_computed_back():
    one, other = photo(0, (60, 60)).copy(), photo(0, (60, 60)).copy()
    other[10:50:2, 10:50] = one[11:51:2, 10:50]  # other rows, much the same means
    other[11:51:2, 10:50] = one[10:50:2, 10:50]
    apart = np.abs(one.astype(int) - other).max()
    boxes = [0.0, 0.0, 1.0, 1.0, 1.0]
    left = np.abs(
        blurred(one, boxes)[15:45, 15:45].astype(int) - blurred(other, boxes)[15:45, 15:45]
    )
    assert left.max() < apart / 2


def test_blurring_takes_any_boxes():
    everywhere = [0.0, 0.0, 1.0, 1.0, 0.9, 0.99, 0.99, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    for height, width in ((40, 50), (1, 1), (1, 700)):
        picture = np.zeros((height, width, 3), np.uint8)
        assert blurred(picture, everywhere).shape == picture.shape
        assert blurred(picture, [-3.0, 2.0, 9.0, -1.0, 0.5]).shape == picture.shape
    assert is_boxes([])
    assert is_boxes(HALF)
    assert not is_boxes(HALF[:4])
    assert not is_boxes([*HALF[:4], float("nan")])


@pytest.mark.parametrize(
    "wrong",
    [
        [10.0, 20.0, 80.0, 90.0, 0.9],  # pixels
        [0.5, 0.1, 0.1, 0.6, 0.9],  # right before left
        [0.1, 0.6, 0.5, 0.1, 0.9],
        [*HALF, 0.2, 0.9, 0.4, 0.1, 0.9],
    ],
)
def test_boxes_that_would_hide_nothing_are_none(wrong):
    assert not is_boxes(wrong)
    assert is_boxes([-0.05, 0.2, 1.05, 1.1, 0.9])


def images(out: str) -> dict[str, bytes]:
    """The written images by the number in their captions."""
    found = {}
    for path in sorted(Path(out, "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            members = {m.name: tar.extractfile(m).read() for m in tar}
        texts = {name[:-4]: data.decode() for name, data in members.items() if name[-4:] == ".txt"}
        for name, data in members.items():
            if name.endswith((".jpg", ".webp")):
                found[number(texts[name.rpartition(".")[0]])] = data
    return found


def pixels(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


@pytest.mark.slow
@pytest.mark.parametrize("more", ["", ", image: webp, quality: 95"])
def test_an_export_blurs_and_leaves_out_what_it_knows_nothing_of(make_build, more):
    plain = make_build(PLAIN.replace("seed: 0", f"seed: 0{more}"), out="plain")
    hidden = make_build(blurring("boxes", more), out="hidden")
    exported(plain)
    manifest = exported(hidden)
    seen, read = images(plain.out), images(hidden.out)
    assert set(seen) - set(read) == {"2", "3"}
    assert all(seen[name] == read[name] for name in set(read) - {"1"})
    before, after = pixels(seen["1"]), pixels(read["1"])
    assert before.shape == after.shape
    middle = before.shape[1] // 2
    change = np.abs(before - after)
    assert change[:, : middle - 20].mean() > 3 * change[:, middle + 12 :].mean()
    assert manifest["ledger"]["not_exported"] == {"no_boxes": 2}


@pytest.mark.slow
def test_the_story_of_a_row_says_why_it_is_not_there(make_build):
    build = make_build(blurring("boxes"))
    exported(build)
    assert "no_boxes" in tell("02.jpg", build.out)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "told"),
    [
        ("face_boxes", "no column 'face_boxes' of boxes; known are boxes"),
        ("names", "column 'names' holds list"),
        ("width", "column 'width' holds int32"),
    ],
)
def test_a_column_that_holds_no_boxes_is_refused(make_build, column, told):
    with pytest.raises(RecipeError, match=told):
        exported(make_build(blurring(column)))


@pytest.mark.slow
def test_without_a_scorer_of_boxes_one_is_named(make_build):
    with pytest.raises(RecipeError, match="known are none; the scorer `faces` writes"):
        exported(make_build(RECIPE.replace("seed: 0", "seed: 0, blur: face_boxes")))
