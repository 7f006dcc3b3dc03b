"""What a selection does to the share of generated images is said wherever its figures are."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pipeline import report
from pipeline.amplification import Amplification, amplification
from tests import commands
from tests.conftest import write_pair
from tests.pictures import jpeg, photo, saved

RECIPE = """\
sources: {photos: {folder: photos/}}
score:
  image: {}
  provenance: {}
select:
  - readable: {where: width is not null}
  - STEP
export: {samples_per_shard: 10}
"""
SETTINGS = "a castle\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512"


def generated(seed: int) -> bytes:
    info = PngInfo()
    info.add_text("parameters", SETTINGS)
    return saved(Image.fromarray(photo(seed, (64, 64))), "PNG", pnginfo=info)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four generated squares among twelve readable images, one broken file."""
    folder = tmp_path_factory.mktemp("mixed")
    for i in range(8):
        write_pair(folder / "photos", f"real{i}", jpeg(i, (96, 64)), f"real {i}")
    for i in range(4):
        name = folder / "photos" / f"made{i}"
        name.with_suffix(".png").write_bytes(generated(i + 20))
        name.with_suffix(".txt").write_text(f"made {i}")
    write_pair(folder / "photos", "broken", b"<html>", "broken")
    return folder


def build(folder: Path, step: str, out: Path) -> str:
    recipe = folder / f"{out.name}.yaml"
    recipe.write_text(RECIPE.replace("STEP", step))
    return commands.done("build", recipe, "--out", out)


@pytest.mark.slow
def test_a_step_that_prefers_generated_images(photos, tmp_path):
    told = build(photos, "square: {top: aspect_ratio, count: 6, lowest: true}", tmp_path / "out")
    sentence = (
        "known to be generated: 4 of 12 images (33.3%), 4 of 6 kept (66.7%):"
        " their share was multiplied by 2.00"
    )
    assert sentence in told
    assert sentence in (tmp_path / "out/report.html").read_text()
    assert sentence in (tmp_path / "out/shards/README.md").read_text()
    manifest = json.loads((tmp_path / "out/shards/manifest.json").read_bytes())
    assert manifest["generated"] == {"generated": 4, "rows": 12, "generated_kept": 4, "kept": 6}


@pytest.mark.slow
def test_a_step_that_drops_them(photos, tmp_path):
    told = build(photos, "real: {where: is_generated is null}", tmp_path / "out")
    assert "4 of 12 images (33.3%), 0 of 8 kept (0.0%): their share was multiplied by 0.00" in told


@pytest.mark.slow
def test_a_step_that_drops_all(photos, tmp_path):
    told = build(photos, "none: {where: width > 5000}", tmp_path / "out")
    assert "0 of 0 kept (0.0%): their share was multiplied by 0.00" in told


def test_by_hand():
    found = Amplification(10, 100, 30, 60)
    assert (found.before, found.after, found.factor) == (0.1, 0.5, 5.0)


def test_equal_kept_rates_do_not_amplify():
    dice = np.random.default_rng(0)
    is_made, is_kept = dice.random(20_000) < 0.2, dice.random(20_000) < 0.3
    both = int((is_made & is_kept).sum())
    found = Amplification(int(is_made.sum()), 20_000, both, int(is_kept.sum()))
    assert found.factor == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    "breakdowns",
    [
        [],
        [{"column": "language", "values": [{"value": "true", "rows": 3, "kept": 1}]}],
        [{"column": "is_generated", "values": [{"value": None, "rows": 3, "kept": 1}]}],
    ],
)
def test_without_evidence_nothing_is_said(breakdowns):
    assert amplification({"rows": 3, "failed": {}, "kept": 1, "breakdowns": breakdowns}) is None


@pytest.mark.slow
def test_a_recipe_without_the_scorer_says_nothing(original):
    text = report.make_page(str(original / "out"))
    assert "known to be generated" not in text
