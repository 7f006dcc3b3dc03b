"""`pairmill reward train`: from files of preferences to weights, and a card beside them.

Everything that can be wrong with the configuration and the files is said before an image is
encoded. The weights are written when they are final; a training that was killed goes on.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.errors import CurationError
from pipeline.keys import digest
from pipeline.recipe_errors import unknown_word
from pipeline.reward.card import card_page
from pipeline.reward.checkpoints import Progress
from pipeline.reward.comparisons import SPLITS, Comparison, digest_of, groups_of, split_of
from pipeline.reward.config import Preferences, RewardConfig, load_config
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
from pipeline.reward.formats import (
    Layout,
    read_imagereward,
    read_pairs,
    read_rankings,
    read_ratings,
)
from pipeline.reward.heads import Head, arrays_of, head_bytes
from pipeline.reward.judging import Judge, judge_of
from pipeline.reward.pickapic import read_pickapic
from pipeline.reward.side import text_layers
from pipeline.reward.table import Table, make_table, names_of
from pipeline.reward.teacher import Answers, answers_of
from pipeline.reward.training import Run, head_for, train
from pipeline.reward.vectors import image_layers_of, image_vectors

_LOG = logging.getLogger(__name__)
VERSION = 1  # raise it when the same preferences would give another head
WEIGHTS, CARD, CARD_JSON = "reward.safetensors", "card.html", "card.json"
ANSWERS = "judge.jsonl"
_READERS: dict[str, Callable[[str, Layout], list[Comparison]]] = {
    "rankings": read_rankings,
    "pairs": read_pairs,
    "ratings": read_ratings,
    "imagereward": read_imagereward,
    "pickapic": read_pickapic,
}


@dataclass(frozen=True)
class Material:
    """What a training is made of: the table, which part each comparison is in, and warnings."""

    table: Table
    side: np.ndarray[Any, Any]
    shares: dict[str, float]
    digest: str
    warnings: tuple[str, ...]
    lessons: Lessons | None = None

    def part(self, number: int, leave_out: Sequence[str] = ()) -> Table:
        """The comparisons of a part, without those of some kinds."""
        out = [n for n, kind in enumerate(self.table.kinds) if kind in leave_out]
        return self.table.rows((self.side == number) & ~np.isin(self.table.kind, out))


def train_reward(
    path: str, out: str, after_epoch: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Train what a configuration says, write weights and card to `out`, and return the card."""
    config = load_config(path)
    encoder = encoder_of(config, config.encoder)
    source = judge_of(config) or answers_of(config)
    comparisons = read_preferences(config)
    shares = _shares(config, comparisons)
    with storage.lock(out):
        material = _material(config, comparisons, (shares, source), encoder, out)
        run = _run(config, material, out)
        progress = train(run, after_epoch)
        head = _best(run, progress)
        data = _weights(config, encoder, material, head, progress)
        storage.write_atomic(storage.join(out, WEIGHTS), data)
        card = _card(config, encoder, material, (head, progress, data))
        storage.write_json(storage.join(out, CARD_JSON), card)
        storage.write_atomic(storage.join(out, CARD), card_page(card).encode())
        if isinstance(source, Judge) and material.lessons is not None:
            lines = material.lessons.answers.lines()
            storage.write_atomic(storage.join(out, ANSWERS), lines)
    return card


def read_preferences(config: RewardConfig) -> list[Comparison]:
    """The comparisons of all files. Raises RecipeError when a file is wrong or has none."""
    found: list[Comparison] = []
    for number, entry in enumerate(config.preferences):
        own = _read(config, number, entry)
        if not own:
            message = f"{entry.path}: holds nothing to compare"
            raise config.error(message, "preferences", number, "path")
        found += own
    return found


def _read(config: RewardConfig, number: int, entry: Preferences) -> list[Comparison]:
    path = config.resolve(entry.path)
    try:
        return _READERS[entry.format](path, Layout(entry.criterion, entry.margin))
    except FileNotFoundError:
        message = f"{entry.path}: there is no such file"
        raise config.error(message, "preferences", number, "path") from None


def _shares(config: RewardConfig, comparisons: Sequence[Comparison]) -> dict[str, float]:
    """The weight of every criterion. Raises RecipeError for one that is not said or not there."""
    present = sorted({one.criterion for one in comparisons})
    kinds = sorted({one.kind for one in comparisons if one.kind is not None})
    for number, kind in enumerate(config.leave_out):
        if kind not in kinds:
            message = f"leave_out: {unknown_word('kind', kind, kinds)}"
            raise config.error(message, "leave_out", number)
    _check_judged(config, present)
    if not config.criteria:
        return dict.fromkeys(present, 1.0)
    for name in config.criteria:
        if name not in present:
            message = f"criteria: no preference is about {name!r}; there are {', '.join(present)}"
            raise config.error(message, "criteria", name)
    unsaid = [name for name in present if name not in config.criteria]
    if unsaid:
        message = f"criteria: give a weight to {', '.join(unsaid)}, too"
        raise config.error(message, "criteria")
    return dict(config.criteria)


def _check_judged(config: RewardConfig, present: Sequence[str]) -> None:
    judged = None if config.teacher is None else config.teacher.criterion
    if judged is not None and judged not in present:
        message = f"teacher.criterion: {unknown_word('criterion', judged, present)}"
        raise config.error(message, "teacher", "criterion")


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
    lost = [c for c in comparisons if unreadable.keys() & {c.image, c.other_image}]
    kept = [c for c in comparisons if not unreadable.keys() & {c.image, c.other_image}]
    if not kept:
        raise CurationError(f"none of {len(names.images)} images can be read")
    split = config.split
    side = split_of(groups_of(kept), split.validation, split.test, split.seed)
    shown = "; ".join(f"{name}: {why}" for name, why in [*unreadable.items()][:3])
    table = replace(make_table(kept, names, (images, texts), shares), layers=layers)
    lessons = None
    if source is not None:
        readable = source.without(unreadable) if isinstance(source, Answers) else source
        lessons = lessons_of(config, readable, (table, names), kept, storage.join(out, "work"))
    lost_text = f"{len(lost)} comparisons are left out: {len(unreadable)} images can't be read"
    warnings = (f"{lost_text} ({shown})",) if unreadable else ()
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
    others = {"preferences", "images", "encoder", "teacher"}
    plain = config.model_dump(mode="json", exclude=others)
    if config.teacher is not None:
        plain["teacher"] = config.teacher.model_dump(mode="json", exclude={"scores", "judge"})
    text = json.dumps([VERSION, plain, encoder.fingerprint], sort_keys=True)
    parts = [text, digest_of(comparisons), *([lessons.answers.digest] if lessons else [])]
    return digest(*(part.encode() for part in parts)).hex()


def _run(config: RewardConfig, material: Material, out: str) -> Run:
    table = material.table
    ties = [bool(table.is_tie[table.criterion == n].any()) for n in range(len(table.criteria))]
    learnt, held_out = (material.part(number, config.leave_out) for number in (0, 1))
    for name, part in zip(SPLITS, (learnt, held_out), strict=False):
        if not len(part):
            raise CurationError(f"the {name} part has no comparisons but of kinds left out")
    return Run(
        train=learnt,
        validation=held_out,
        head=config.head,
        options=config.training,
        ties=tuple(ties),
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
    meta = {
        "blocks": list(config.head.blocks),
        "criteria": material.shares,
        "dimension": encoder.dimension,
        "encoder": encoder.name,
        "encoder_digest": encoder.digest,
        "training": material.digest,
        "best_epoch": progress.best_epoch,
    }
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
        "data": {"parts": _parts(material), "left_out": list(config.leave_out)},
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


def _parts(material: Material) -> dict[str, dict[str, int]]:
    counted = Counter(material.side.tolist())
    groups = material.table.group
    return {
        name: {
            "comparisons": counted[number],
            "groups": len(np.unique(groups[material.side == number])),
        }
        for number, name in enumerate(SPLITS)
    }
