"""Tuning a tiny BLIP whole: it learns, goes on after a kill, and `itm` scores with it."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from filters.matching import ImageTextMatching
from pipeline.decoding import decode
from pipeline.errors import RecipeError
from pipeline.reward import cross_training
from pipeline.reward import train as training
from pipeline.reward.card import CARD, CARD_JSON
from pipeline.reward.comparisons import Comparison
from pipeline.reward.config import CrossOptions, TrainingOptions
from pipeline.reward.cross import CrossHead, Seen, load_cross, read_pixels, read_texts
from pipeline.reward.cross_training import MODEL
from pipeline.reward.evaluate import scores_of
from pipeline.reward.table import make_table, names_of
from pipeline.reward.training import Run, train
from tests import pictures
from tests.filters.tiny_blip import CAPTIONING, ENC, save_blip
from tests.pipeline.reward import toys

CONFIG = """\
preferences:
  - {format: rankings, path: hard.jsonl}
images: {folder: photos}
cross: {model: 'local-dir:blip', max_tokens: 12}
training: {epochs: 3, batch: 8, rate: 0.001, patience: 3}
split: {validation: 0.2, test: 0.3}
"""
TEXTS = ("a red car", "a blue dog", "an old house near the road", "two dogs [SEP] and a car")


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    return save_blip(tmp_path_factory.mktemp("cross") / "blip")


@pytest.fixture
def folder(tmp_path, blip):
    return write(tmp_path, blip)


def write(folder: Path, blip: str, config: str = CONFIG, images: int = 12) -> Path:
    """Photos, a ranking for each, a model beside them, and a configuration."""
    (folder / "photos").mkdir(parents=True)
    rows = []
    for number in range(images):
        (folder / "photos" / f"{number:02d}.jpg").write_bytes(pictures.jpeg(number))
        best = TEXTS[number % 2]
        captions = [best, *(text for text in TEXTS if text != best)]
        rows.append({"image": f"{number:02d}.jpg", "captions": captions, "ranks": [1, 2, 3, 3]})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "hard.jsonl").write_text(lines, encoding="utf-8")
    (folder / "blip").symlink_to(blip.removeprefix("local-dir:"))
    (folder / "train.yaml").write_text(config, encoding="utf-8")
    return folder


def files(out: Path) -> dict[str, bytes]:
    found = {p.name: p.read_bytes() for p in sorted((out / MODEL).iterdir())}
    return found | {name: (out / name).read_bytes() for name in (CARD, CARD_JSON)}


def loaded(blip: str, **options):
    given = CrossOptions(model=blip, max_tokens=12, **options)
    return load_cross(given, "cpu", ""), given


def material(blip: str):
    """Four images, for each of which another text is the best: nothing but the pair tells."""
    model, options = loaded(blip)
    comparisons = [
        Comparison(f"{image}", TEXTS[image], f"{image}", TEXTS[other])
        for image in range(4)
        for other in range(4)
        if other != image
    ]
    names = names_of(comparisons)
    numbers = [np.arange(len(part))[:, None] for part in (names.images, names.texts)]
    table = make_table(comparisons, names, (numbers[0], numbers[1]), {"preference": 1.0})
    images = ((n, np.full((40, 40, 3), 20 + 70 * n, np.uint8)) for n in range(4))
    return model, options, names, table, images


def seen_of(model, options, names, images, path) -> Seen:
    pixels = read_pixels(model, images, len(names.images), str(path))
    return Seen(pixels, *read_texts(model, names.texts, options))


@pytest.mark.slow
def test_it_learns_by_heart_which_text_is_of_which_image(tmp_path, blip):
    model, options, names, table, images = material(blip)
    seen = seen_of(model, options, names, images, tmp_path / "pixels.npy")

    def accuracy(head) -> float:
        better, worse = scores_of(head, table)
        return float((better > worse).mean())

    run = Run(
        *(table, table, toys.LINEAR),
        TrainingOptions(epochs=15, patience=15, batch=12, rate=0.004),
        *((False,), str(tmp_path / "checkpoint"), ""),
        make=lambda: CrossHead(model, seen, (False,), options),
    )
    before = accuracy(run.make())
    head = run.make()
    head.load_state_dict(train(run).best)
    assert before < 0.8
    assert accuracy(head) > 0.9
    assert accuracy(run.make()) == before  # the model that was read is left alone


def test_scores_are_those_of_itm_before_anything_is_learnt(tmp_path, blip):
    model, options, names, table, _ = material(blip)
    shown = [decode(pictures.jpeg(n)) for n in range(4)]
    seen = seen_of(model, options, names, enumerate(shown), tmp_path / "pixels.npy")
    head = CrossHead(model, seen, (False, True), options).eval()
    with torch.no_grad():
        odds = head(*table.inputs(table.better))
    scorer = ImageTextMatching(model=blip, max_tokens=12)
    batch = {
        "image": [shown[image] for image, _ in table.better],
        "caption": [names.texts[text].replace("[SEP]", "[ SEP]") for _, text in table.better],
    }
    expected = scorer(batch)["itm_score"]
    assert odds.shape == (12, 2)
    np.testing.assert_allclose(odds[:, 0].sigmoid(), expected, atol=2e-3)
    assert torch.equal(odds[:, 0], odds[:, 1])


def test_a_control_token_is_text_and_what_is_too_long_is_counted(blip):
    model, options = loaded(blip)
    ids, mask, cut = read_texts(model, ["a [SEP] car", "a " * 30, ""], options)
    assert ids.shape == mask.shape == (3, 12)
    sep = model.processor.tokenizer.sep_token_id
    assert (ids[0] == sep).sum() == 1
    assert cut == 1
    first, *_ = read_texts(model, ["a"], options.model_copy(update={"first_token": ENC}))
    assert first[0, 0] == ENC


@pytest.mark.slow
def test_from_files_to_a_folder_that_itm_loads(folder):
    card = training.train_reward(str(folder / "train.yaml"), str(folder / "out"))
    assert card["kind"] == "cross"
    assert card["encoder"]["name"] == "local-dir"
    overall = card["figures"]["overall"]
    assert overall["before_accuracy"]["low"] <= overall["before_accuracy"]["value"]
    assert overall["ties"] == card["data"]["parts"]["test"]["groups"]
    scorer = ImageTextMatching(model=f"local-dir:{folder / 'out' / MODEL}", max_tokens=12)
    original = ImageTextMatching(model=f"local-dir:{folder / 'blip'}", max_tokens=12)
    batch = {"image": [decode(pictures.jpeg(0))], "caption": [TEXTS[0]]}
    assert scorer(batch)["itm_score"] != original(batch)["itm_score"]
    page = (folder / "out" / CARD).read_text()
    assert "Tuned cross-encoder" in page
    assert "before it was tuned" in page
    assert not (folder / "out" / "work" / "pixels.npy").exists()
    assert str(folder) not in (folder / "out" / MODEL / "config.json").read_text()


@pytest.mark.slow
def test_killed_in_between_it_goes_on_to_the_same_bytes(folder, tmp_path, blip):
    whole = tmp_path / "whole"
    training.train_reward(str(folder / "train.yaml"), str(folder / "out"))

    def kill(epoch: int) -> None:
        if epoch == 2:
            raise Killed

    config = str(write(whole, blip) / "train.yaml")
    with pytest.raises(Killed):
        training.train_reward(config, str(whole / "out"), kill)
    assert not (whole / "out" / MODEL).exists()
    done = []
    training.train_reward(config, str(whole / "out"), done.append)
    assert done == [3]
    assert files(whole / "out") == files(folder / "out")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("local-dir:blip", "local-dir:none", "train.yaml:4:16: cross: "),
        ("local-dir:blip", "embedded", "model 'embedded' is no cross-encoder"),
        ("local-dir:blip", "somebody/blip", "needs `revision`, the commit of 40"),
        ("max_tokens: 12", "max_tokens: 2", "cross.max_tokens: expected at least 3"),
        ("max_tokens: 12", "max_tokens: 41", "max_tokens: 41, the model has positions for 40"),
        ("split:", "head: {kind: linear}\nsplit:", "6:1: head: is of heads; `cross:` tunes"),
        ("split:", "teacher: {scores: x}\nsplit:", "teacher: is of heads; `cross:` tunes"),
        ("folder: photos", "folder: photos, column: v", "images.column: `cross:` sees pixels"),
    ],
)
def test_what_is_wrong_is_said_before_an_image_is_read(folder, old, new, message):
    (folder / "train.yaml").write_text(CONFIG.replace(old, new))
    with pytest.raises(RecipeError) as error:
        training.train_reward(str(folder / "train.yaml"), str(folder / "out"))
    assert message in str(error.value)
    assert not (folder / "out").exists()


def test_a_model_without_the_head_is_refused(folder, tmp_path):
    captioner = save_blip(tmp_path / "captioner", CAPTIONING)
    (folder / "train.yaml").write_text(CONFIG.replace("local-dir:blip", captioner))
    with pytest.raises(RecipeError, match=r"have no 'itm_head\.'"):
        training.train_reward(str(folder / "train.yaml"), str(folder / "out"))


def test_a_large_model_without_a_gpu_is_warned_of(folder, monkeypatch, caplog):
    monkeypatch.setattr("pipeline.reward.cross._MUCH", 1000)
    monkeypatch.setattr(cross_training, "_material", lambda *_: (_ for _ in ()).throw(Killed))
    with caplog.at_level(logging.WARNING), pytest.raises(Killed):
        training.train_reward(str(folder / "train.yaml"), str(folder / "out"))
    assert "are tuned without a GPU" in caplog.text


def test_bf16_scores_are_near_and_its_weights_stay_whole(tmp_path, blip):
    model, options, names, table, images = material(blip)
    seen = seen_of(model, options, names, images, tmp_path / "pixels.npy")
    half, _ = loaded(blip, precision="bf16")
    heads = [CrossHead(m, seen, (False,), options).eval() for m in (model, half)]
    with torch.no_grad():
        whole, rounded = (head(*table.inputs(table.better)) for head in heads)
    assert not torch.equal(whole, rounded)
    torch.testing.assert_close(whole, rounded, atol=0.1, rtol=0.1)
    assert {p.dtype for p in heads[1].parameters()} == {torch.float32}
