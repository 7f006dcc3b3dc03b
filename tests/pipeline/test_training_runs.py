"""Training on a real export, each way: it learns, and a run that was killed ends as any other."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
import torch

from pipeline.build import Build
from pipeline.recipe import parse_recipe
from recaption import captions
from recaption.captions import Caption
from tests.conftest import SCORED, built, write_photos
from tests.pipeline.training_runs import PLANS, loader_of, mean_loss, train

pytestmark = pytest.mark.slow
HERE = "tests.pipeline.test_training_runs"
ROOT = Path(__file__).parents[2]
RECIPE = f"""\
{SCORED}  made: {{scorer: '{HERE}:Made'}}
  weights: {{scorer: '{HERE}:Weights'}}
select:
  - described: {{where: width is not null and caption is not null}}
captions: {{json: [made]}}
export: {{samples_per_shard: 4, json: [alip_raw_weight, alip_synthetic_weight]}}
"""


@dataclass(frozen=True)
class Made:
    """Short captions in up to three languages, sentences, and a region."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption",)
    writes: ClassVar[pa.Schema] = captions.WRITES

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {captions.COLUMN: [captions.rows(self._captions(text)) for text in batch["caption"]]}

    def _captions(self, text: str) -> list[Caption]:
        spoken = ["en", "es", "de"][: 1 + sum(text.encode()) % 3]
        found = [Caption(f"{text} {language}", language, kind="short") for language in spoken]
        found += [Caption(word, "en", kind="sentence") for word in text.split()]
        return [*found, Caption(text[::-1], "en", kind="region", box=(0.25, 0.25, 0.75, 0.5))]


@dataclass(frozen=True)
class Weights:
    """Weights as ALIP has them, from the length of the caption; none for some."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption",)
    writes: ClassVar[pa.Schema] = pa.schema(
        [("alip_raw_weight", pa.float32()), ("alip_synthetic_weight", pa.float32())]
    )

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        raw = [None if len(text) % 2 == 0 else len(text) / 20 for text in batch["caption"]]
        return {"alip_raw_weight": raw, "alip_synthetic_weight": [1.5 for _ in raw]}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    root = tmp_path_factory.mktemp("training")
    write_photos(root / "photos")
    recipe = parse_recipe(RECIPE, str(root / "recipe.yaml"))
    return built(Build(recipe, str(root / "out"))).out


@pytest.mark.parametrize("mode", PLANS)
def test_a_model_trains(out, tmp_path, mode):
    losses = train(out, tmp_path, mode, epochs=6)
    assert len(losses) == 6 * 6
    trained = torch.load(tmp_path / f"{mode}.pt", weights_only=True)["model"]
    assert mean_loss(out, mode, trained) < 0.95 * mean_loss(out, mode)


def test_what_a_batch_of_a_real_export_holds(out):
    seen = {mode: list(loader_of(out, mode, 0)) for mode in PLANS}
    masks = {
        mode: {tuple(mask) for batch in found for mask in batch["mask"].tolist()}
        for mode, found in seen.items()
    }
    assert masks["drawn"] == masks["regions"] == {(True,)}
    assert masks["sub_captions"] == {(True, True, True, True)}
    assert masks["languages"] == {(False, True, False), (False, True, True), (True, True, True)}
    weights = [batch["weights"] for batch in seen["alip"]]
    assert {w for own in weights for w in own["alip_synthetic_weight"].tolist()} == {1.5}
    assert 1.0 in {w for own in weights for w in own["alip_raw_weight"].tolist()}
    assert seen["regions"][0]["boxes"][0, 0].tolist() == [0.25, 0.25, 0.75, 0.5]
    texts = [t for b in seen["regions"] for (t,) in b["texts"]]
    boxes = [own[0] for b in seen["regions"] for own in b["box_texts"]]
    assert [text[::-1] for text in texts] == boxes


def killed(out, work, mode, steps):
    words = [sys.executable, "-m", "tests.pipeline.training_runs", out, str(work), mode, str(steps)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_run_that_is_killed_and_goes_on_has_the_same_losses(out, tmp_path):
    mode = "sub_captions"
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = train(out, tmp_path / "whole", mode)
    for steps in (3, 9):
        killed(out, tmp_path / "killed", mode, steps)
        assert not (tmp_path / "killed" / f"{mode}.json").exists()
    assert train(out, tmp_path / "killed", mode) == whole
    assert json.loads((tmp_path / "killed" / f"{mode}.json").read_text()) == whole
