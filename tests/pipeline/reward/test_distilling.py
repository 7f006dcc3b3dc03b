"""Learning the order of hard negatives from a judge: it is learnt, reported and resumed."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import CurationError, RecipeError
from pipeline.reward import train as training
from pipeline.reward.card import CARD, CARD_JSON
from pipeline.reward.config import TeacherOptions
from pipeline.reward.distilling import Lessons, agreement, mix_of, teaching_of, within
from pipeline.reward.heads import RewardHead, arrays_of, head_bytes
from pipeline.reward.table import Names
from pipeline.reward.teacher import IMAGE, Answers, HardSets, Negatives, hard_sets
from pipeline.reward.training import Progress, train
from tests.pipeline.reward import judges, toys
from tests.pipeline.reward.test_train import CONFIG, write

ONE = np.ones(1, np.float32)
OPTIONS = TeacherOptions(scores="x", hard=6, easy=4, weight=2.0)
JUDGED = CONFIG + (
    "teacher: {judge: {scorer: 'tests.pipeline.reward.judges:Lengths'}, hard: 4, easy: 3}\n"
)


class Killed(Exception):
    pass


def lessons(table, parts, transform=lambda score: score) -> Lessons:
    """A judge that likes texts by their third and fourth number, which no preference is about."""
    dice = np.random.default_rng(3)
    names = Names(
        tuple(f"{n:04d}" for n in range(len(table.images))),
        tuple(f"t{n:04d}" for n in range(len(table.texts))),
    )
    scores = {}
    for image, name in enumerate(names.images):
        for text in dice.choice(len(table.texts), 8, replace=False).tolist():
            worth = float(table.texts[text, 2] - table.texts[text, 3] + table.images[image, 0] / 9)
            scores[name, names.texts[text]] = transform(worth)
    answers = Answers("toy", "", scores)
    side = dict(zip(names.images, parts, strict=True))
    return Lessons(answers, hard_sets(answers, table, names, side, OPTIONS), ())


def run(folder: Path, **changes):
    """A training of which two thirds of the images are learnt from, and a third is held out."""
    table = toys.table(60, 0)
    parts = [number % 3 for number in range(60)]
    made = lessons(table, parts)
    own = toys.run(folder, toys.LINEAR)
    own = dataclasses.replace(own, train=table, validation=table)
    teaching = teaching_of(OPTIONS, made, {"preference": 1.0})
    return dataclasses.replace(own, teaching=teaching, **changes), made


def bytes_of(progress: Progress) -> bytes:
    blocks = toys.LINEAR.blocks
    return head_bytes(arrays_of(progress.best, blocks, np.zeros(1, np.float32)), {})


@pytest.mark.slow
def test_it_learns_an_order_that_no_preference_tells(tmp_path):
    own, made = run(tmp_path)
    options = own.options.model_copy(update={"epochs": 12, "rate": 0.05})
    own = dataclasses.replace(own, options=options)
    taught = dataclasses.replace(own.teaching, weight=5.0, easy=0)
    head = RewardHead(toys.LINEAR, toys.SIZE, (False,))
    figures = {}
    for name, teaching in (("alone", None), ("taught", taught)):
        given = dataclasses.replace(own, teaching=teaching, checkpoint=str(tmp_path / name))
        head.load_state_dict(train(given).best)
        (of_images, of_texts) = agreement(head, own.train, made.sets[2], ONE)
        figures[name] = of_images["after"]["value"]
    assert of_images["anchor"] == "image"
    assert of_images["anchors"] == 20
    assert of_texts["anchors"] > 5
    assert abs(of_images["before"]["value"]) < 0.3
    assert figures["taught"] > 0.6
    assert figures["alone"] < 0.3


def test_killed_and_begun_again_it_ends_with_the_same_bytes(tmp_path):
    own, _ = run(tmp_path)
    own = dataclasses.replace(own, options=own.options.model_copy(update={"epochs": 3}))
    whole = train(own)
    again = dataclasses.replace(own, checkpoint=str(tmp_path / "again"))

    def kill(epoch: int) -> None:
        if epoch == 1:
            raise Killed

    with pytest.raises(Killed):
        train(again, kill)
    assert bytes_of(train(again)) == bytes_of(whole)
    assert (tmp_path / "again").read_bytes() == Path(own.checkpoint).read_bytes()


def test_a_monotone_transform_of_the_judge_gives_the_same_head(tmp_path):
    own, made = run(tmp_path)
    other = lessons(own.train, [number % 3 for number in range(60)], lambda s: np.exp(5 * s) - 7)
    assert other.answers.scores != made.answers.scores
    for one, same in zip(made.sets, other.sets, strict=True):
        assert np.array_equal(one.pairs, same.pairs)
        assert np.array_equal(one.ranks, same.ranks)


def test_every_anchor_has_one_step_and_very_many_wait(tmp_path):
    own, _ = run(tmp_path)
    given = own.teaching.lessons(0, 1, 7)
    assert len(given) == 7
    assert sorted(np.concatenate(given).tolist()) == list(range(len(own.teaching.train)))
    many = dataclasses.replace(
        own.teaching, train=own.teaching.train.rows(np.zeros(5000, np.int64))
    )
    assert [len(one) for one in many.lessons(0, 1, 2)] == [128, 128]
    assert not np.array_equal(many.lessons(0, 1, 2)[0], many.lessons(0, 2, 2)[0])


def test_pairs_within_a_hard_set_by_hand():
    nobody = Negatives(*(np.zeros(0, np.int64) for _ in range(3)), 1)
    valid = np.array([[True, True, True], [True, True, False]])
    ranks = np.array([[0, 1, 1], [1, 0, 0]])
    sets = HardSets(np.zeros((2, 3, 2), np.int64), ranks, valid, np.full(2, IMAGE), nobody)
    found = within(sets, np.array([[1.0, 2.0, 3.0], [5.0, 6.0, 9.0]]))
    told = zip(found.better, found.worse, found.is_tie, found.group, strict=True)
    assert [*told] == [(2, 1, False, 0), (3, 1, False, 0), (2, 3, True, 0), (5, 6, False, 1)]


def test_one_criterion_can_be_what_is_judged():
    shares = {"accuracy": 3.0, "wording": 1.0}
    assert mix_of(OPTIONS, shares).tolist() == [0.75, 0.25]
    only = OPTIONS.model_copy(update={"criterion": "wording"})
    assert mix_of(only, shares).tolist() == [0, 1]


def test_no_anchors_are_no_loss(tmp_path):
    own, _ = run(tmp_path)
    nobody = own.teaching.train.rows(np.zeros(0, np.int64))
    head = RewardHead(toys.LINEAR, toys.SIZE, (False,))
    assert float(own.teaching.loss(head, own.train, nobody, np.random.default_rng(0))) == 0
    assert own.teaching.held_out_loss(head, own.train, nobody) == 0
    assert [row["after"] for row in agreement(head, own.train, nobody, ONE)] == [None, None]
    assert torch.is_grad_enabled()


@pytest.fixture
def judged():
    for one in (judges.ASKED, judges.PREPARED, judges.STOP):
        one.clear()


@pytest.mark.slow
def test_a_judge_is_asked_and_reported_and_its_file_gives_the_same(tmp_path, judged):
    config = write(tmp_path, JUDGED)
    card = training.train_reward(config, str(tmp_path / "out"))
    teacher = card["teacher"]
    assert teacher["judge"] == "tests.pipeline.reward.judges:Lengths.length_score"
    assert teacher["answers"] == len(judges.ASKED) == 16 * 4
    assert sum(teacher["anchors"].values()) >= 16
    of_images = teacher["tau"][0]
    assert of_images["before"]["low"] <= of_images["before"]["value"] <= of_images["before"]["high"]
    page = (tmp_path / "out" / CARD).read_text()
    assert "tests.pipeline.reward.judges:Lengths.length_score" in page
    file = tmp_path / "out" / training.ANSWERS
    assert {row["prompt"] for row in map(json.loads, file.read_text().splitlines())} == {
        teacher["prompt"]
    }
    text = CONFIG + "teacher: {scores: out/judge.jsonl, hard: 4, easy: 3}\n"
    Path(config).write_text(text)
    training.train_reward(config, str(tmp_path / "other"))
    names = [tmp_path / name / training.WEIGHTS for name in ("out", "other")]
    assert names[0].read_bytes() == names[1].read_bytes()
    assert len(judges.ASKED) == 16 * 4


@pytest.mark.slow
def test_a_run_killed_while_it_asks_goes_on_to_the_same_bytes(tmp_path, judged):
    config = write(tmp_path, JUDGED)
    judges.STOP.append(30)
    with pytest.raises(CurationError, match="nobody answers"):
        training.train_reward(config, str(tmp_path / "out"))
    judges.STOP.clear()
    training.train_reward(config, str(tmp_path / "out"))
    assert len(judges.ASKED) == 16 * 4
    training.train_reward(config, str(tmp_path / "whole"))
    for name in (training.WEIGHTS, CARD_JSON, training.ANSWERS):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ("{scores: none.jsonl}", "train.yaml:7:19: none.jsonl: there is no such file"),
        ("{scores: hard.jsonl, criterion: acuracy}", "hard.jsonl:1: score: expected a number"),
        ("{scores: a.jsonl, criterion: acuracy}", "criterion 'acuracy'; did you mean 'accuracy'"),
        ("{scores: a.jsonl}", "1 answers give no image or text of the train part"),
        ("{scores: b.jsonl}", "refer to are not there: 'nowhere.jpg'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, teacher, message):
    config = write(tmp_path, CONFIG + f"teacher: {teacher}\n")
    for name, image in (("a", "01.jpg"), ("b", "nowhere.jpg")):
        row = {"image": image, "text": "an image", "score": 1}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row))
    with pytest.raises((RecipeError, CurationError)) as error:
        training.train_reward(config, str(tmp_path / "out"))
    assert message in str(error.value)
