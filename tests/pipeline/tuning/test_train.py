"""From trusted pairs to a scorer and a card, with the embedded encoder, as a person would."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from filters.clip import ClipScore
from pipeline.errors import CurationError, RecipeError
from pipeline.tuning import train as tuning
from pipeline.tuning.commands import app
from pipeline.tuning.config import Anchors
from pipeline.tuning.gate import Judged, told, verdict_of
from pipeline.tuning.retrieval import Hits
from pipeline.tuning.rows import Pairs
from tests.pipeline.tuning import colours

pytestmark = pytest.mark.slow

CONFIG = """\
trusted: {pool: build, where: "source_key like 't%'"}
anchors:
  - {pool: build, where: "source_key like 'a%'"}
training: {epochs: 3, batch: 16, rate: 0.001}
split: {validation: 0.2, test: 0.2}
"""


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def pools(tmp_path_factory):
    """A pool with right captions, and one with wrong colours among the trusted."""
    folder = tmp_path_factory.mktemp("pools")
    return {wrong: colours.write_pool(folder / str(wrong), wrong=wrong) for wrong in (False, True)}


def write(folder, pool, config=CONFIG):
    folder.mkdir(exist_ok=True)
    path = folder / "tune.yaml"
    path.write_text(config.replace("pool: build", f'pool: "{pool}"'))
    return str(path)


def files(out):
    return {name: (out / name).read_bytes() for name in (tuning.HEADS, tuning.CARD_JSON)}


@pytest.fixture(scope="module")
def tuned(pools, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    card = tuning.tune_filter(write(folder, pools[False]), str(folder / "out"))
    return folder, card


@pytest.mark.slow
def test_it_learns_and_the_scorer_runs_what_was_written(tuned):
    folder, card = tuned
    assert json.loads((folder / "out" / tuning.CARD_JSON).read_text()) == card
    (anchors,) = card["anchors"]
    assert anchors["is_kept"]
    assert anchors["after"] > anchors["before"]
    assert card["training"]["history"][-1][1] < card["training"]["history"][0][1]
    path = str(folder / "out" / tuning.HEADS)
    scorer = ClipScore(weights=path, embeddings=True)
    assert path in card["use"]
    red = np.broadcast_to(np.array(colours.COLOURS["red"], np.uint8), (64, 64, 3))
    texts = [f"the colour {name}" for name in colours.COLOURS]
    scores = scorer({"image": [red] * 6, "caption": texts})["clip_score"]
    assert np.argmax(scores) == 0
    assert scorer.weights_digest != ClipScore().weights_digest


def test_no_image_is_on_two_sides_and_anchors_are_on_none(tuned):
    _, card = tuned
    parts = card["data"]["parts"]
    assert sum(part["images"] for part in parts.values()) == 36
    assert card["data"]["left_out"] == 0


@pytest.mark.slow
def test_trusted_pairs_of_an_anchors_image_are_not_learnt_from(pools, tmp_path):
    config = CONFIG.replace("\"source_key like 't%'\"", '"key is not null"')
    card = tuning.tune_filter(write(tmp_path, pools[False], config), str(tmp_path / "out"))
    assert card["data"]["left_out"] == 24
    assert card["data"]["trusted"] == 60
    assert sum(part["pairs"] for part in card["data"]["parts"].values()) == 36


@pytest.mark.slow
def test_killed_in_between_it_goes_on_to_the_same_bytes(tuned, pools, tmp_path):
    folder, _ = tuned

    def kill(epoch):
        if epoch == 2:
            raise Killed

    config, out = write(tmp_path, pools[False]), tmp_path / "out"
    with pytest.raises(Killed):
        tuning.tune_filter(config, str(out), after_epoch=kill)
    assert not (out / tuning.HEADS).exists()
    done = []
    tuning.tune_filter(config, str(out), after_epoch=done.append)
    assert done == [3]
    assert (out / tuning.HEADS).read_bytes() == (folder / "out" / tuning.HEADS).read_bytes()


@pytest.mark.slow
def test_what_forgets_too_much_is_not_written(pools, tmp_path):
    config, out = write(tmp_path, pools[True]), tmp_path / "out"
    out.mkdir()
    (out / tuning.HEADS).write_bytes(b"of an earlier tuning")
    with pytest.raises(CurationError, match=r"forgotten too much.*of it left \(limit 0\.9\)"):
        tuning.tune_filter(config, str(out))
    assert not (out / tuning.HEADS).exists()
    card = json.loads((out / tuning.CARD_JSON).read_text())
    assert not card["usable"]
    assert card["anchors"][0]["left"] < 0.9
    assert "Not to be used" in (out / tuning.CARD).read_text()
    card = tuning.tune_filter(config, str(out), force=True)
    assert card["forced"]
    assert (out / tuning.HEADS).exists()
    assert "written by force" in (out / tuning.CARD).read_text()


@pytest.mark.slow
def test_a_step_back_forgets_less_and_costs_no_training(pools, tmp_path):
    left = []
    for blend in ("1.0", "0.05"):
        text = CONFIG.replace("epochs", f"blend: {blend}, epochs")
        done = []
        tuning.tune_filter(
            write(tmp_path, pools[True], text), str(tmp_path / "out"), force=True,
            after_epoch=done.append,
        )  # fmt: skip
        left.append(json.loads((tmp_path / "out/card.json").read_text())["anchors"][0]["left"])
    assert done == []
    assert left[0] < left[1]


@pytest.mark.slow
def test_other_heads_are_where_it_begins(tuned, pools, tmp_path):
    folder, card = tuned
    heads = str(folder / "out" / tuning.HEADS)
    text = f'encoder: {{weights: "{heads}"}}\n{CONFIG}'
    again = tuning.tune_filter(write(tmp_path, pools[False], text), str(tmp_path / "out"))
    assert again["anchors"][0]["before"] == pytest.approx(card["anchors"][0]["after"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("like 't%'", "liek 't%'", "tune.yaml:1:"),
        ("source_key like 'a%'", "source_keys = 'a'", "tune.yaml:3:"),
        ("epochs: 3", "epoch: 3", "training: unknown key 'epoch'; did you mean 'epochs'"),
        ("training:", "encoder: {model: RN5}\ntraining:", "tune.yaml:4:1: model 'RN5' needs"),
        ("training:", "encoder: {weights: none}\ntraining:", "there is no such file"),
        ("training:", "retain: 2\ntraining:", "retain: expected at most 1"),
        ("pool: build, where", "keys: none.txt, pool: build, where", "none.txt: there is no such"),
        ("pool: build, where", "text: width, pool: build, where", "no column 'width'"),
        ("pool: build, where", "text: caption_words, pool: build, where", "not texts"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_said_with_its_place(
    pools, tmp_path, old, new, message
):
    path = write(tmp_path, pools[False], CONFIG.replace(old, new, 1))
    with pytest.raises(RecipeError) as error:
        tuning.tune_filter(path, str(tmp_path / "out"))
    assert message in str(error.value)
    assert str(error.value).startswith(path)
    assert not (tmp_path / "out").exists()


def test_too_few_images_and_no_rows_are_refused(pools, tmp_path):
    few = CONFIG.replace("like 't%'", "like 't0_red%'")
    with pytest.raises(CurationError, match="fewer than two images: of 1 trusted pairs"):
        tuning.tune_filter(write(tmp_path, pools[False], few), str(tmp_path / "out"))
    none = CONFIG.replace("like 't%'", "= 'x'")
    with pytest.raises(CurationError, match="none of 60 rows has an image and was chosen"):
        tuning.tune_filter(write(tmp_path, pools[False], none), str(tmp_path / "out"))
    with pytest.raises(CurationError, match="neither a pool nor a build"):
        tuning.tune_filter(write(tmp_path, tmp_path / "nowhere"), str(tmp_path / "out"))


@pytest.mark.slow
def test_zero_shot_anchors(pools, tmp_path):
    text = CONFIG.replace("- {pool", "- {measure: zero_shot, templates: '{}', pool")
    card = tuning.tune_filter(write(tmp_path, pools[False], text), str(tmp_path / "out"))
    assert [one["figure"] for one in card["anchors"][0]["figures"]] == ["accuracy"]
    assert card["anchors"][0]["after"] == 1.0


def test_the_command(tuned):
    folder, card = tuned
    arguments = ["train", str(folder / "tune.yaml"), "--out", str(folder / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.exception
    assert f"{card['anchors'][0]['left']:.3f} of it left (limit 0.9)" in result.output
    assert "heads.safetensors" in result.output


def test_anchors_of_which_nothing_was_right_are_told_in_words():
    nothing = Hits(("recall",), np.zeros((2, 1)), np.arange(2))
    judged = Judged(Anchors(name="classes", pool="p"), Pairs(None, ()), 0.9)
    verdict = verdict_of(judged, nothing, nothing)
    assert told(verdict) == (
        "classes: retrieval 0.000 before, 0.000 after, nothing that could be kept"
    )
    assert "nothing that could be kept; a lower" in tuning._refusal({"anchors": [verdict]}, "x")
