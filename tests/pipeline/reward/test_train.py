"""From files of preferences to weights and a card, with the embedded encoder, as a person would."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from filters.reward import RewardScore
from filters.reward_head import read_head
from pipeline.errors import CurationError, RecipeError
from pipeline.reward import train as training
from pipeline.reward.card import CARD, CARD_JSON
from pipeline.reward.commands import app
from pipeline.yaml_reader import parse_yaml
from tests import pictures

CONFIG = """\
preferences:
  - {format: rankings, path: hard.jsonl}
images: {folder: photos}
head: {kind: mlp, hidden: 4}
training: {epochs: 3, batch: 16}
split: {validation: 0.2, test: 0.3}
"""
ROOT = Path(__file__).parents[3]


def read_text(text: str) -> Any:
    return parse_yaml(text, "recipe").data


class Killed(Exception):
    pass


def write(folder: Path, config: str = CONFIG, images: int = 16) -> str:
    """Photos, a ranking for each, and a configuration."""
    (folder / "photos").mkdir(parents=True)
    rows = []
    for number in range(images):
        name = f"{number:02d}.jpg"
        (folder / "photos" / name).write_bytes(pictures.jpeg(number))
        captions = [f"picture {number} of things", f"größe {number}", "an image"]
        kinds = [None, "object", "generic"]
        rows.append({"image": name, "captions": captions, "kinds": kinds, "criterion": "accuracy"})
        rows.append({**rows[-1], "ranks": [1, 2, 2], "criterion": "wording"})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "hard.jsonl").write_text(lines, encoding="utf-8")
    (folder / "train.yaml").write_text(config, encoding="utf-8")
    return str(folder / "train.yaml")


def files(out: Path) -> dict[str, bytes]:
    names = (training.WEIGHTS, CARD, CARD_JSON)
    return {name: (out / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    card = training.train_reward(write(folder), str(folder / "out"))
    return folder, card


def test_weights_that_the_scorer_runs(trained):
    folder, card = trained
    path = str(folder / "out" / training.WEIGHTS)
    head = read_head(path)
    assert head.criteria == ("accuracy", "wording")
    assert head.encoder == "embedded"
    assert head.meta["training"] == card["training"]["digest"]
    scorer = RewardScore(path, image="image", text="caption")
    assert scorer.weights_digest.startswith(card["weights"])
    image = np.zeros((32, 48, 3), np.uint8)
    assert len(scorer({"image": [image], "caption": ["a"]})["reward"]) == 1


def test_the_card_has_figures_for_all_criteria_and_kinds(trained):
    folder, card = trained
    assert json.loads((folder / "out" / CARD_JSON).read_text()) == card
    figures = card["figures"]
    assert [one["criterion"] for one in figures["criteria"]] == ["accuracy", "wording"]
    assert [one["kind"] for one in figures["kinds"]] == ["generic", "object"]
    parts = card["data"]["parts"]
    assert sum(part["comparisons"] for part in parts.values()) == 16 * 6
    assert sum(part["groups"] for part in parts.values()) == 16
    wording = figures["criteria"][1]
    assert wording["ties"] == parts["test"]["groups"]
    for name in ("accuracy", "tau", "calibration_error", "cosine_accuracy"):
        figure = figures["overall"][name]
        assert figure["low"] <= figure["value"] <= figure["high"]


@pytest.mark.slow
def test_again_it_is_the_same_bytes_and_elsewhere_too(trained, tmp_path):
    folder, _ = trained
    before = files(folder / "out")
    training.train_reward(str(folder / "train.yaml"), str(folder / "out"))
    assert files(folder / "out") == before
    training.train_reward(write(tmp_path), str(tmp_path / "out"))
    assert files(tmp_path / "out") == before


def test_killed_in_between_it_goes_on_to_the_same_bytes(trained, tmp_path):
    folder, _ = trained

    def kill(epoch: int) -> None:
        if epoch == 2:
            raise Killed

    config, out = write(tmp_path), tmp_path / "out"
    with pytest.raises(Killed):
        training.train_reward(config, str(out), kill)
    assert not (out / training.WEIGHTS).exists()
    done: list[int] = []
    training.train_reward(config, str(out), done.append)
    assert done == [3]
    assert files(out) == files(folder / "out")


def test_an_image_that_cannot_be_read_costs_its_own_comparisons(tmp_path):
    config = write(tmp_path)
    (tmp_path / "photos" / "03.jpg").write_bytes(b"<html></html>")
    card = training.train_reward(config, str(tmp_path / "out"))
    assert sum(part["comparisons"] for part in card["data"]["parts"].values()) == 15 * 6
    (warning,) = card["warnings"]
    assert "6 comparisons are left out: 1 images can't be read (03.jpg: not_an_image" in warning
    assert "can&#x27;t be read" in (tmp_path / "out" / CARD).read_text()


def test_kinds_left_out_are_not_learnt_but_reported(tmp_path):
    config = write(tmp_path, CONFIG + "leave_out: [generic]\n")
    card = training.train_reward(config, str(tmp_path / "out"))
    assert [one["kind"] for one in card["figures"]["kinds"]] == ["generic", "object"]
    assert card["data"]["left_out"] == ["generic"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format: rankings", "format: ranking", "train.yaml:2:14: preferences.format: expected"),
        ("hard.jsonl", "none.jsonl", "train.yaml:2:30: none.jsonl: there is no such file"),
        ("hidden: 4", "hiden: 4", "train.yaml:4:19: head: unknown key 'hiden'; did you mean 'hidd"),
        ("epochs: 3", "epochs: 0", "train.yaml:5:20: training.epochs: expected at least 1"),
        ("test: 0.3", "test: 0.9", "train.yaml:6:32: split.test: expected less than 0.5"),
        (
            "images:",
            "encoder: clip\nimages:",
            "train.yaml:3:10: model 'clip' needs `pretrained`",
        ),
        ("images:", "criteria: {acuracy: 1}\nimages:", "train.yaml:3:"),
        ("images:", "criteria: {accuracy: 1}\nimages:", "give a weight to wording, too"),
        ("images:", "leave_out: [objects]\nimages:", "unknown kind 'objects'; did you mean 'obje"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_said_with_its_place(tmp_path, old, new, message):
    config = write(tmp_path, CONFIG.replace(old, new), images=2)
    with pytest.raises(RecipeError) as error:
        training.train_reward(config, str(tmp_path / "out"))
    assert message in str(error.value)
    assert not (tmp_path / "out").exists()


def test_bad_lines_are_said_before_anything_is_encoded(tmp_path):
    config = write(tmp_path, images=2)
    with open(tmp_path / "hard.jsonl", "a", encoding="utf-8") as stream:
        stream.write('{"image": "x"}\n')
    with pytest.raises(RecipeError, match=r"hard\.jsonl:5: captions: expected a list of texts"):
        training.train_reward(config, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_images_that_are_nowhere_are_named(tmp_path):
    config = write(tmp_path)
    os.remove(tmp_path / "photos" / "07.jpg")
    with pytest.raises(RecipeError, match=r"refer to are not there: '07.jpg'; say where"):
        training.train_reward(config, str(tmp_path / "out"))


def test_too_few_images_are_refused(tmp_path):
    with pytest.raises(CurationError, match="part has no comparisons"):
        training.train_reward(write(tmp_path, images=1), str(tmp_path / "out"))


def test_the_commands(trained, tmp_path):
    folder, card = trained
    arguments = ["train", str(folder / "train.yaml"), "--out", str(folder / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.exception
    value = card["figures"]["overall"]["accuracy"]["value"]
    assert f"reward: pairwise accuracy {value:.3f}" in result.output
    assert "card.html" in result.output
    use = result.output.splitlines()[-1].removeprefix("in a recipe: ")
    given = read_text(use)["reward"]
    assert RewardScore(**given).reads == ("image", "caption")
    assert CliRunner().invoke(app, ["bootstrap", "--help"]).exit_code == 0


def test_the_commands_load_nothing_heavy():
    code = (
        "import sys, pipeline.reward.commands\n"
        "print({'torch', 'numpy', 'pyarrow', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "set()", done.stderr
