"""The recipes for captions, each from end to end on small data."""

import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.build import Build
from tests import pictures
from tests.conftest import built

CONFIGS = Path(__file__).parents[2] / "configs"
MakeBuild = Callable[..., Build]


def samples(build: Build) -> Iterator[dict[str, Any]]:
    """Every exported sample, its json parsed down to the captions."""
    for path in sorted((Path(build.out) / "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            members = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
        for name, data in members.items():
            key, _, member = name.partition(".")
            if member == "json":
                fields = json.loads(data)
                texts = {m: members[f"{key}.{m}"].decode() for m in _texts(members, key)}
                yield fields | {"captions": json.loads(fields["captions"]), "texts": texts}


def _texts(members: dict[str, bytes], key: str) -> list[str]:
    return [n.partition(".")[2] for n in members if n.startswith(key) and n.endswith("txt")]


def recipe(name: str) -> str:
    return (CONFIGS / f"{name}.yaml").read_text()


def test_remoteclip_makes_captions_of_boxes(make_build: MakeBuild) -> None:
    build = make_build(recipe("remoteclip"))
    folder = Path(build.recipe.resolve(""))
    for part in ("images", "labels"):
        (folder / part).mkdir()
    for number in range(6):
        (folder / "images" / f"P{number}.png").write_bytes(pictures.png(number))
        lines = ["imagesource:GoogleEarth", "gsd:0.5"]
        lines += ["1 1 9 1 9 9 1 9 small-vehicle 0"] * (3 * number)
        (folder / "labels" / f"P{number}.txt").write_text("\n".join(lines))
    built(build)
    found = list(samples(build))
    assert len(found) == 5  # one without boxes
    for sample in found:
        told = [c["text"] for c in sample["captions"] if c.get("column") == "box_captions"]
        boxes = [c["box"] for c in sample["captions"] if c.get("column") == "regions"]
        assert sample["texts"]["txt"] in told
        assert len(boxes) % 3 == 0
        words = " ".join(told).lower()
        assert "small vehicles" in words
        assert (len(boxes) > 10) == any(w in words for w in ("many", "a lot of", "great number"))


@pytest.mark.parametrize("name", ["remoteclip"])
def test_every_recipe_is_read(name: str, make_build: MakeBuild) -> None:
    assert make_build(recipe(name)).recipe.scorers
