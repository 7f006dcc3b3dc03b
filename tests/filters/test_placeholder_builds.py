"""A recipe that drops placeholders: by what they show, by their addresses, and by where else."""

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image, ImageDraw

from pipeline import gathering
from pipeline.build import Build
from pipeline.conditions import evaluate
from pipeline.pool import BASE, read_stored, write_base, write_index
from pipeline.recipe import parse_recipe
from pipeline.shards import Sample
from tests.outputs import exported, ledger
from tests.pictures import jpeg
from tests.tars import write_shard

RECIPE = """\
sources: {crawl: {webdataset: tars/}}
ingest: {rows_per_shard: 4}
score:
  page: {scorer: "filters.meta:MetaFields", texts: [page_url]}
  placeholder: {scorer: "filters.placeholder:Placeholder"}
  removed: {scorer: "filters.removed:Removed"}
  repeats: {scorer: "filters.repeats:Repeats", page: page_url}
  led_to: {scorer: "filters.repeats:Repeats", of: final_url}
select:
  - shown: {where: not is_blank and not is_tiny}
  - there: {where: "removed_pattern is null and coalesce(final_url_sources, 1) < 3"}
  - rare:  {where: "coalesce(image_domains, 1) < 5"}
export: {}
"""
GONE = "https://i.imgur.com/removed.png"


def drawn(text: str) -> bytes:
    """What many sites show in place of a picture."""
    picture = Image.new("RGB", (200, 150), (204, 204, 204))
    ImageDraw.Draw(picture).text((40, 70), text, fill=(90, 90, 90))
    return saved(picture, "JPEG")


def saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def samples() -> dict[str, tuple[bytes, str, str]]:
    """Image, its extension, its URL: by name."""
    pixel = saved(Image.new("P", (1, 1)), "GIF", transparency=0)
    clear = saved(Image.new("RGBA", (80, 60), (0, 0, 0, 0)), "PNG")
    found = {
        "pixel": (pixel, "gif", "http://a.org/p.gif"),
        "clear": (clear, "png", "http://a.org/c.png"),
        "named": (drawn("no photo"), "jpg", "http://a.org/no-photo.jpg"),
    }
    for n in range(3):
        found[f"led{n}"] = (drawn("gone"), "jpg", f"http://i.example.org/{n}.jpg")
    for n in range(5):
        found[f"box{n}"] = (drawn("later"), "jpg", f"http://site{n}.com/{n}.jpg")
    for n in range(4):
        found[f"good{n}"] = (jpeg(n), "jpg", f"http://good.org/{n}.jpg")
    for n in range(4):
        found[f"same{n}"] = (jpeg(9), "jpg", f"http://good{n}.org/{n}.jpg")
    return found


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """The build over a pool as fetching leaves it: three rows were led to one address."""
    folder = tmp_path / "tars"
    folder.mkdir()
    rows = []
    for name, (image, extension, url) in samples().items():
        fields = {"url": url, "page_url": f"http://pages.org/{name[-1]}"}
        parts = {extension: image, "txt": name.encode(), "json": json.dumps(fields).encode()}
        rows.append(Sample(name, parts))
    write_shard(folder / "0.tar", rows)
    made = Build(parse_recipe(RECIPE, str(tmp_path / "recipe.yaml")), str(tmp_path / "out"))
    made.ingest()
    lead_away(made)
    return made


def lead_away(build: Build) -> None:
    pool = build.open_pool()
    shards = []
    for shard in pool.shards:
        table = read_stored(build.root, shard)
        urls = table["url"].to_pylist()
        final = [GONE if "//i.example.org" in url else url for url in urls]
        chains = [[end] if end != url else None for url, end in zip(urls, final, strict=True)]
        for name, values in {"final_url": final, "redirects": chains}.items():
            place = BASE.get_field_index(name)
            table = table.set_column(
                place, BASE.field(name), pa.array(values, BASE.field(name).type)
            )
        shards.append(write_base(build.root, shard.name, table, shard.size_bytes, "plan"))
    write_index(replace(pool, shards=tuple(shards)))


def columns(build: Build, *names: str) -> dict[str, tuple[Any, ...]]:
    """The values of some columns by source key."""
    pool = build.open_pool()
    writers = build.resolve(pool)[0].writers
    found: dict[str, tuple[Any, ...]] = {}
    for shard in pool.shards:
        keys = read_stored(build.root, shard, ["source_key"])["source_key"].to_pylist()
        values = (writers[name].read(shard, [name])[name].to_pylist() for name in names)
        found |= dict(zip(keys, zip(*values, strict=True), strict=True))
    return found


def test_a_recipe_drops_placeholders_and_keeps_pictures(build: Build) -> None:
    build.score()
    build.select()
    build.export()
    assert sorted(exported(Path(build.out))) == sorted(
        [f"{name}{n}" for name in ("good", "same") for n in range(4)]
    )
    found = ledger(Path(build.out))
    assert found["dropped"] == {"shown": 2, "there": 4, "rare": 5}
    assert (found["rows_in"], found["kept"], found["failed"]) == (19, 8, {})


def test_a_condition_may_pass_what_is_not_known() -> None:
    """Rows of a table without images have no pixels, and those of a folder no domains."""
    text = (
        "removed_pattern IS NULL AND NOT coalesce(is_blank, false)"
        " AND coalesce(image_domains, 1) < 5"
    )
    rows = pa.table(
        {
            "removed_pattern": [None, "imgur", None, None, None],
            "is_blank": [None, False, True, False, False],
            "image_domains": pa.array([None, 1, 1, 5, 4], pa.int32()),
        }
    )
    assert evaluate(text, rows) == [True, False, False, False, True]


def test_their_columns(build: Build) -> None:
    build.score()
    found = columns(build, "is_tiny", "is_blank", "removed_pattern", "removed_in")
    assert found["pixel"] == (True, True, None, None)
    assert found["clear"] == (False, True, None, None)
    assert found["named"] == (False, False, "no image", "url")
    assert found["led1"] == (False, False, "imgur", "final_url")
    assert found["good1"] == found["box1"] == (False, False, None, None)
    counts = columns(build, "image_urls", "image_domains", "image_pages", "final_url_sources")
    assert counts["led1"] == (3, 1, 3, 3)
    assert counts["box1"] == (5, 5, 5, 1)
    assert counts["same1"] == (4, 4, 4, 1)
    assert counts["good1"] == (1, 1, 1, 1)


@pytest.mark.slow
def test_buckets_count_the_same(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("image_urls", "image_domains", "image_pages", "final_url_sources")
    build.score()
    whole = columns(build, *names)
    other = Build(build.recipe, f"{build.out}-2")
    other.ingest()
    lead_away(other)
    monkeypatch.setattr(gathering, "SMALL_ROWS", 0)
    monkeypatch.setattr(gathering, "ROWS_AT_ONCE", 5)
    other.score()
    assert (Path(other.out) / "ledger" / "score-repeats-reduce").is_dir()
    assert columns(other, *names) == whole
