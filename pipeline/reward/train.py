"""`pairmill reward train`: from files of preferences to weights, and a card beside them.

Everything that can be wrong with the configuration and the files is said before an image is
encoded. The weights are written when they are final; a training that was killed goes on.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.keys import digest
from pipeline.reward import tokenwise
from pipeline.reward.card import keep_card
from pipeline.reward.checkpoints import Progress
from pipeline.reward.comparisons import SPLITS, Comparison, digest_of, groups_of, split_of
from pipeline.reward.config import RewardConfig, load_config
from pipeline.reward.cross_training import train_cross
from pipeline.reward.distilling import (
    Lessons,
    Teaching,
    agreement,
    lessons_of,
    mix_of,
    teaching_of,
)
from pipeline.reward.encoders import Encoder, encode_texts, encoder_of
from pipeline.reward.evaluate import figures_of, scores_of
from pipeline.reward.heads import Head, arrays_of, head_bytes
from pipeline.reward.judging import Judge, judge_of
from pipeline.reward.material import (
    Material,
    learning_parts,
    parts_of,
    read_preferences,
    readable_of,
    shares_of,
    ties_of,
)
from pipeline.reward.side import text_layers
from pipeline.reward.table import make_table, names_of
from pipeline.reward.teacher import Answers, answers_of
from pipeline.reward.training import Run, head_for, train
from pipeline.reward.vectors import image_layers_of, image_vectors

_LOG = logging.getLogger(__name__)
VERSION = 1  # raise it when the same preferences would give another head
WEIGHTS, ANSWERS = "reward.safetensors", "judge.jsonl"


def train_reward(
    path: str, out: str, after_epoch: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Train what a configuration says, write weights and card to `out`, and return the card."""
    config = load_config(path)
    if config.cross is not None:
        return train_cross(config, out, after_epoch)
    encoder = encoder_of(config, config.encoder)
    if config.head.kind == "tokenwise":
        tokenwise.check(config, encoder)
    source = judge_of(config) or answers_of(config)
    comparisons = read_preferences(config)
    shares = shares_of(config, comparisons)
    with storage.lock(out):
        material = _material(config, comparisons, (shares, source), encoder, out)
        run = _run(config, material, out)
        progress = train(run, after_epoch)
        head = _best(run, progress)
        data = _weights(config, encoder, material, head, progress)
        storage.write_atomic(storage.join(out, WEIGHTS), data)
        card = _card(config, encoder, material, (head, progress, data))
        keep_card(card, out)
        if isinstance(source, Judge) and material.lessons is not None:
            lines = material.lessons.answers.lines()
            storage.write_atomic(storage.join(out, ANSWERS), lines)
    return card


def _material(
    config: RewardConfig,
    comparisons: list[Comparison],
    given: tuple[dict[str, float], Judge | Answers | None],
    encoder: Encoder,
    out: str,
) -> Material:
    shares, source = given
    names = names_of(comparisons, source.scores if isinstance(source, Answers) else ())
    work = storage.join(out, "work", "vectors")
    images, unreadable = image_vectors(config, encoder, names, work)
    layers = None
    if config.head.kind == "side":
        layers = (
            image_layers_of(config, encoder, names, work),
            text_layers(encoder, names.texts, work),
        )
    texts = encode_texts(encoder, names.texts, work)
    kept, warnings = readable_of(comparisons, unreadable, len(names.images))
    split = config.split
    side = split_of(groups_of(kept), split.validation, split.test, split.seed)
    table = replace(make_table(kept, names, (images, texts), shares), layers=layers)
    if config.head.kind == "tokenwise":
        numbers = tokenwise.numbers_of(config, encoder, (table, names, side), work)
        table = replace(table, numbers=numbers)
    lessons = None
    if source is not None:
        readable = source.without(unreadable) if isinstance(source, Answers) else source
        lessons = lessons_of(config, readable, (table, names), kept, storage.join(out, "work"))
    return Material(
        table=table,
        side=side,
        shares=shares,
        digest=_digest(config, kept, encoder, lessons),
        warnings=(*warnings, *(lessons.warnings if lessons else ())),
        lessons=lessons,
    )


def _digest(
    config: RewardConfig,
    comparisons: list[Comparison],
    encoder: Encoder,
    lessons: Lessons | None,
) -> str:
    """Names a training: preferences, answers, options, encoder and our version, but no paths."""
    others = {"preferences", "images", "encoder", "teacher", "cross"}
    plain = config.model_dump(mode="json", exclude=others)
    if config.teacher is not None:
        plain["teacher"] = config.teacher.model_dump(mode="json", exclude={"scores", "judge"})
    text = json.dumps([VERSION, plain, encoder.fingerprint], sort_keys=True)
    parts = [text, digest_of(comparisons), *([lessons.answers.digest] if lessons else [])]
    return digest(*(part.encode() for part in parts)).hex()


def _run(config: RewardConfig, material: Material, out: str) -> Run:
    learnt, held_out = learning_parts(config, material)
    return Run(
        train=learnt,
        validation=held_out,
        head=config.head,
        options=config.training,
        ties=ties_of(material.table),
        checkpoint=storage.join(out, "work", "checkpoint.safetensors"),
        digest=material.digest,
        teaching=_teaching(config, material),
    )


def _teaching(config: RewardConfig, material: Material) -> Teaching | None:
    if config.teacher is None or material.lessons is None:
        return None
    return teaching_of(config.teacher, material.lessons, material.shares)


def _best(run: Run, progress: Progress) -> Head:
    head = head_for(run)
    head.load_state_dict(progress.best)
    return head


def _weights(
    config: RewardConfig,
    encoder: Encoder,
    material: Material,
    head: Head,
    progress: Progress,
) -> bytes:
    """The file of the head; the mean of its scores over what it has learnt from becomes 0."""
    better, worse = scores_of(head, material.part(0, config.leave_out))
    shift = np.concatenate([better, worse]).mean(axis=0)
    numbers = material.table.numbers
    meta = {
        "blocks": [] if numbers else list(config.head.blocks),
        **({"parts": list(numbers.parts)} if numbers else {}),
        "criteria": material.shares,
        "dimension": encoder.dimension,
        "encoder": encoder.name,
        "encoder_digest": encoder.digest,
        "training": material.digest,
        "best_epoch": progress.best_epoch,
    }
    if numbers:
        return head_bytes(tokenwise.arrays_of(progress.best, numbers.others, shift), meta)
    return head_bytes(arrays_of(progress.best, config.head.blocks, shift), meta)


def _card(
    config: RewardConfig,
    encoder: Encoder,
    material: Material,
    trained: tuple[Head, Progress, bytes],
) -> dict[str, Any]:
    head, progress, data = trained
    teacher = {} if config.teacher is None else {"teacher": _learnt(config, material, head)}
    return {
        "format": 1,
        "weights": hashlib.sha256(data).hexdigest(),
        "encoder": {"name": encoder.name, "digest": encoder.digest},
        "configuration": config.source_text,
        "data": {"parts": parts_of(material), "left_out": list(config.leave_out)},
        "training": {
            "digest": material.digest,
            "best_epoch": progress.best_epoch,
            "history": [list(losses) for losses in progress.history],
        },
        "figures": figures_of(head, material.part(2), material.shares),
        **teacher,
        "warnings": list(material.warnings),
    }


def _learnt(config: RewardConfig, material: Material, head: Head) -> dict[str, Any]:
    """Who the judge was, and how well the head orders hard negatives of images it has not seen."""
    assert config.teacher is not None
    assert material.lessons is not None
    answers, sets = material.lessons.answers, material.lessons.sets
    mix = mix_of(config.teacher, material.shares)
    return {
        "judge": answers.judge,
        "prompt": answers.prompt,
        "answers": len(answers.scores),
        "digest": answers.digest,
        "anchors": {name: len(part) for name, part in zip(SPLITS, sets, strict=True)},
        "tau": agreement(head, material.table, sets[2], mix),
    }
