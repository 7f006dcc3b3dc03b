"""The configurations in configs/models: what they say is run, and what their comments offer."""

import json
import re
from pathlib import Path

import pytest

from filters.clip import ClipScore
from filters.reward import RewardScore
from pipeline.probes.config import load_probes
from pipeline.reward import config as rewards
from pipeline.reward.bootstrap import CRITERIA, KINDS
from pipeline.tuning import config as tunings
from pipeline.tuning.train import HEADS
from tests.commands import done
from tests.conftest import MakeBuild, write_pair
from tests.pictures import jpeg
from tests.pipeline.tuning import colours

FOLDER = Path(__file__).parents[2] / "configs" / "models"
LOADERS = {
    "reward": rewards.load_config,
    "filter": tunings.load_config,
    "probes": load_probes,
}
THINGS = ("dog", "cat", "horse", "house", "car", "boat", "bird", "tree", "apple", "cup")
COLOURS = ("red", "blue", "green", "white")


def exchanged(text: str, old: str, new: str) -> str:
    """The text with something else in place of what must be there."""
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize("name", LOADERS)
def test_it_is_read_as_it_is_and_with_all_that_its_comments_offer(name: str, tmp_path: Path):
    text = (FOLDER / f"{name}.yaml").read_text()
    LOADERS[name](str(FOLDER / f"{name}.yaml"))
    offered = re.sub(r"(?m)^( *)#   (?=- \{|\w+: \{)", r"\1", text)
    assert offered != text
    (tmp_path / "all.yaml").write_text(offered)
    LOADERS[name](str(tmp_path / "all.yaml"))


def test_it_weighs_the_criteria_that_bootstrap_has() -> None:
    config = rewards.load_config(str(FOLDER / "reward.yaml"))
    assert set(config.criteria) == set(CRITERIA)
    assert set(config.leave_out) < set(KINDS)


@pytest.mark.slow
def test_a_reward_is_learnt_from_a_build_as_the_comment_says(
    make_build: MakeBuild, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    for number in range(40):
        colour, thing = COLOURS[number % 4], THINGS[number % 10]
        caption = f"two {colour} {thing}s on the left of a {THINGS[(number + 3) % 10]}"
        write_pair(folder, f"{number:02d}", jpeg(number), caption)
    recipe = f"sources: {{photos: {{folder: {folder}}}}}\nscore: {{image: {{}}}}\n"
    build = make_build(recipe, "build")
    for verb in ("ingest", "score", "select", "export"):
        getattr(build, verb)()
    text = exchanged((FOLDER / "reward.yaml").read_text(), "../../build", str(build.out))
    (tmp_path / "reward.yaml").write_text(exchanged(text, "epochs: 40", "epochs: 2"))
    done("reward", "bootstrap", tmp_path / "preferences.jsonl", "--pool", build.out)
    told = done("reward", "train", tmp_path / "reward.yaml", "--out", tmp_path / "head")
    assert "in a recipe: " in told
    card = json.loads((tmp_path / "head" / "card.json").read_text())
    weights = {one["criterion"]: one["weight"] for one in card["figures"]["criteria"]}
    assert weights == {"accuracy": 2, "completeness": 1, "wording": 1}
    scorer = RewardScore(weights=str(tmp_path / "head" / "reward.safetensors"), image="image")
    assert {f"reward_{name}" for name in weights} < set(scorer.writes.names)


@pytest.mark.slow
def test_an_encoder_is_tuned_as_the_comment_says(tmp_path: Path) -> None:
    pool = colours.write_pool(tmp_path / "colours")
    text = exchanged((FOLDER / "filter.yaml").read_text(), "../../build", str(pool))
    text = exchanged(text, "source_key < '0400'", "source_key like 't%'")
    text = exchanged(text, "source_key >= '0400'", "source_key like 'a%'")
    text = exchanged(text, "epochs: 20, batch: 64", "epochs: 2, batch: 16")
    text = exchanged(text, "validation: 0.1", "validation: 0.2")
    (tmp_path / "filter.yaml").write_text(text)
    done("filter", "train", tmp_path / "filter.yaml", "--out", tmp_path / "tuned")
    tuned = ClipScore(weights=str(tmp_path / "tuned" / HEADS))
    assert tuned.weights_digest != ClipScore().weights_digest
