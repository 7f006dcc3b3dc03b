"""Columns that a scorer does without: a row where one is NULL is scored all the same."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from pipeline.errors import RecipeError
from pipeline.pool import read_base
from tests.conftest import SCORED, built

HERE = "tests.pipeline.test_may_lack"


@dataclass(frozen=True)
class Hinted:
    """The width of the picture and its caption, if it has one."""

    lacks: tuple[str, ...] = ("caption",)
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("image", "caption")
    writes: ClassVar[pa.Schema] = pa.schema([("said", pa.string())])

    @property
    def may_lack(self) -> tuple[str, ...]:
        return self.lacks

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = zip(batch["image"], batch["caption"], strict=True)
        return {"said": [f"{image.shape[1]} {text}" for image, text in rows]}


def said(make_build, lacks):
    recipe = f"{SCORED}  hinted: {{scorer: '{HERE}:Hinted', lacks: {lacks}}}\n"
    build = built(make_build(recipe), "score")
    pool = build.open_pool()
    resolved, _ = build.resolve(pool)
    columns = next(i.columns for i in resolved.instances if i.name == "hinted")
    names = read_base(build.root, pool.shards[0], ["source_key"])["source_key"].to_pylist()
    return dict(zip(names, columns.read(pool.shards[0])["said"].to_pylist(), strict=True))


def test_a_row_without_is_scored_and_one_without_a_picture_is_not(make_build):
    found = said(make_build, "[caption]")
    assert found["22_mute.jpg"] == "96 None"
    assert found["00.jpg"].startswith("96 picture number 0")
    assert found["21_html.jpg"] is None


def test_else_it_is_not_seen(make_build):
    assert said(make_build, "[]")["22_mute.jpg"] is None


def test_what_it_does_without_must_be_read(make_build):
    with pytest.raises(RecipeError, match="`may_lack` must name columns that it reads"):
        said(make_build, "[width]")
