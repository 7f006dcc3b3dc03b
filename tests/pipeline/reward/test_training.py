"""Training: it learns, stops, is the same again, and goes on where it was killed."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.reward.evaluate import figures_of
from pipeline.reward.heads import RewardHead, arrays_of, head_bytes
from pipeline.reward.training import Progress, train
from tests.pipeline.reward import toys


class Killed(Exception):
    pass


def bytes_of(progress: Progress) -> bytes:
    blocks = toys.MLP.blocks
    return head_bytes(arrays_of(progress.best, blocks, np.zeros(1, np.float32)), {})


def test_it_finds_what_makes_a_text_better(tmp_path):
    options = toys.OPTIONS.model_copy(update={"epochs": 30})
    head = RewardHead(toys.LINEAR, toys.SIZE, (False,))
    before = figures_of(head, toys.table(50, 2), {"preference": 1.0})
    progress = train(toys.run(tmp_path, toys.LINEAR, options))
    head.load_state_dict(progress.best)
    figures = figures_of(head, toys.table(50, 2), {"preference": 1.0})
    assert before["overall"]["accuracy"] == before["overall"]["cosine_accuracy"]
    assert figures["overall"]["accuracy"]["value"] > 0.9
    assert figures["overall"]["tau"]["value"] > 0.8
    assert progress.history[-1][0] < progress.history[0][0]
    assert {one["kind"] for one in figures["kinds"]} == {"object", "number"}


def test_it_begins_as_the_cosine():
    table = toys.table(20)
    head = RewardHead(toys.MLP, toys.SIZE, (False,)).eval()
    v, t = torch.from_numpy(table.images), torch.from_numpy(table.texts[: len(table.images)])
    torch.testing.assert_close(head(v, t)[:, 0], 10 * (v * t).sum(1))


def test_before_it_learns_the_cosine_has_the_scale_that_fits_best(tmp_path):
    options = toys.OPTIONS.model_copy(update={"rate": 1e-9, "epochs": 1})
    run = toys.run(tmp_path, toys.LINEAR, options)
    scale = float(train(run).best["cosine"][0])
    better, worse = run.validation.cosines()

    def loss(factor: float) -> float:
        return float(np.log1p(np.exp(-factor * scale * (better - worse))).mean())

    assert loss(1.0) <= min(loss(0.8), loss(1.25)) + 1e-9 or scale == pytest.approx(0.5)


def test_it_stops_when_validation_gets_no_better(tmp_path):
    options = toys.OPTIONS.model_copy(update={"epochs": 50, "patience": 2, "rate": 0.5})
    progress = train(toys.run(tmp_path, options=options))
    assert len(progress.history) - 1 < 50
    assert len(progress.history) - 1 - progress.best_epoch == 3
    losses = [loss for _, loss in progress.history]
    assert losses[progress.best_epoch] == min(losses)


def test_it_is_the_same_again_and_another_for_another_seed(tmp_path):
    found = [
        bytes_of(
            train(toys.run(tmp_path / str(n), options=toys.OPTIONS.model_copy(update={"seed": s})))
        )
        for n, s in enumerate((0, 0, 1))
    ]
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("epochs", [1, 3])
def test_killed_and_begun_again_it_ends_with_the_same_bytes(tmp_path, epochs):
    whole = train(toys.run(tmp_path / "whole"))

    def kill(epoch: int) -> None:
        if epoch == epochs:
            raise Killed

    with pytest.raises(Killed):
        train(toys.run(tmp_path / "killed"), kill)
    done = []
    again = train(toys.run(tmp_path / "killed"), done.append)
    assert done == list(range(epochs + 1, 5))
    assert again.history == whole.history
    assert bytes_of(again) == bytes_of(whole)
    checkpoints = [Path(toys.run(tmp_path / name).checkpoint) for name in ("whole", "killed")]
    assert checkpoints[0].read_bytes() == checkpoints[1].read_bytes()


def test_a_finished_training_is_not_done_again(tmp_path):
    train(toys.run(tmp_path))
    done = []
    train(toys.run(tmp_path), done.append)
    assert done == []


@pytest.mark.parametrize("damage", ["digest", "cut", "noise"])
def test_a_checkpoint_of_another_training_or_a_damaged_one_is_not_used(tmp_path, damage):
    run = toys.run(tmp_path)
    expected = bytes_of(train(run))
    if damage == "digest":
        run = dataclasses.replace(run, digest="another")
    else:
        whole = Path(run.checkpoint).read_bytes()
        Path(run.checkpoint).write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"x" * 99)
    done = []
    assert bytes_of(train(run, done.append)) == expected
    assert done == [1, 2, 3, 4]


def test_the_order_of_torchs_own_draws_is_left_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(toys.run(tmp_path))
    assert torch.equal(torch.rand(3), expected)


def test_across_images_a_worse_text_is_compared_with_others_better(tmp_path):
    """An offset of the image changes no comparison within it: only across can it be learnt."""
    options = toys.OPTIONS.model_copy(update={"across": 1.0, "epochs": 10})
    table = toys.table(60)
    drawn = {}
    for name, own in (
        ("within", toys.OPTIONS.model_copy(update={"epochs": 10})),
        ("across", options),
    ):
        progress = train(toys.run(tmp_path / name, toys.LINEAR, own))
        drawn[name] = np.abs(progress.best["out.weight"].numpy()[0, : toys.SIZE]).max()
    assert len(table) == 180
    assert drawn["within"] == 0
    assert drawn["across"] > 0
