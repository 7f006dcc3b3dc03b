"""What tests share: folders of pairs built in code, and builds over them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests share the machine with each other

import pytest

from pipeline.build import Build
from pipeline.recipe import parse_recipe
from tests import pictures

RECIPE = """\
sources:
  photos: {folder: photos/}
score:
  image: {}
  caption: {}
select:
  - readable:  {where: width is not null}
  - described: {where: caption_words between 2 and 64}
export: {samples_per_shard: 4, seed: 0}
ingest: {rows_per_shard: 5}
"""
MakeBuild = Callable[..., Build]


def write_pair(folder: Path, name: str, image: bytes, caption: str | None) -> None:
    """An image, and its caption beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.jpg").write_bytes(image)
    if caption is not None:
        (folder / f"{name}.txt").write_text(caption, encoding="utf-8")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve good pairs, and one of each kind that must survive: broken, foreign, mute, doubled."""
    folder = tmp_path / "photos"
    for i in range(12):
        write_pair(folder, f"{i:02d}", pictures.jpeg(i), f"picture number {i} größe")
    whole = pictures.jpeg(20)
    write_pair(folder, "20_cut", whole[: len(whole) * 3 // 4], "cut in the middle")
    write_pair(folder, "21_html", b"<html></html>", "a page named jpg")
    write_pair(folder, "22_mute", pictures.jpeg(22), None)
    write_pair(folder, "23_same_pair", pictures.jpeg(1), "picture number 1 größe")
    write_pair(folder, "24_same_image", pictures.jpeg(2), "the picture of two, again")
    return folder


@pytest.fixture
def make_build(tmp_path: Path, photos: Path) -> MakeBuild:
    """Builds a recipe (by default RECIPE) in a folder under tmp_path, on the local engine."""

    def make(recipe: str = RECIPE, out: str = "out", **options: object) -> Build:
        parsed = parse_recipe(recipe, str(tmp_path / "recipe.yaml"))
        return Build(parsed, str(tmp_path / out), **options)  # type: ignore[arg-type]

    return make


def tree(folder: Path | str, *patterns: str) -> dict[str, bytes]:
    """The bytes of every file below a folder that matches, by relative name."""
    root = Path(folder)
    found = [path for pattern in patterns or ("**/*",) for path in root.glob(pattern)]
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(found) if p.is_file()}


PROMISED = ("pool/*", "columns/**/*", "verdicts/*", "shards/*")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Without the Debian program it needs a test is skipped; in CI, which installs it, it fails."""
    for mark in item.iter_markers("system"):
        for program in mark.args:
            if shutil.which(program) is None:
                message = f"needs the program {program}"
                if os.environ.get("CI"):
                    pytest.fail(message, pytrace=False)
                pytest.skip(message)
