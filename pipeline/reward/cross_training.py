"""Tuning a cross-encoder whole on preferences: the same files, losses, splits and card as a head.

Of a training that was killed the pixels are read again, and its epochs are not.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch

from pipeline import storage
from pipeline.catalog import scorer_class
from pipeline.keys import digest
from pipeline.reward.card import keep_card
from pipeline.reward.comparisons import Comparison, digest_of, groups_of, split_of
from pipeline.reward.config import CrossOptions, RewardConfig, TrainingOptions
from pipeline.reward.cross import (
    WEIGHTS,
    CrossHead,
    CrossModel,
    Seen,
    load_cross,
    read_pixels,
    read_texts,
    save_cross,
)
from pipeline.reward.encoders import FOLDER
from pipeline.reward.evaluate import figures_of, scores_of
from pipeline.reward.images import find_images
from pipeline.reward.material import (
    Material,
    learning_parts,
    parts_of,
    read_preferences,
    readable_of,
    shares_of,
    ties_of,
)
from pipeline.reward.table import Names, make_table, names_of
from pipeline.reward.training import Run, head_for, train
from pipeline.reward.vectors import places_of

_LOG = logging.getLogger(__name__)
VERSION = 1  # raise it when the same preferences would give other weights
MODEL = "model"
_DEFAULTS = {"epochs": 5, "patience": 1, "batch": 16, "rate": 1e-5}
"""Of `training:`, in place of those for heads."""
_HEADS_ONLY = ("encoder", "head", "teacher")


def train_cross(
    config: RewardConfig, out: str, after_epoch: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Tune what a configuration names under `cross:`, write it to `out`/model; its card.

    Raises RecipeError for what is wrong with the configuration, before an image is read.
    """
    options, scorer = _options(config)
    comparisons = read_preferences(config)
    shares = shares_of(config, comparisons)
    try:
        model = load_cross(options, scorer.device, scorer.weights_digest)
    except ValueError as error:
        raise config.error(f"cross: {error}", "cross", "model") from None
    if model.is_much:
        _LOG.warning("%.0f million weights are tuned without a GPU", model.weights / 1e6)
    with storage.lock(out):
        pixels = storage.local(storage.join(out, "work", "pixels.npy"))
        try:
            material, seen = _material(config, (comparisons, shares), (model, scorer), pixels)
            card = _train(config, out, (material, model, seen), after_epoch)
            keep_card(card, out)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(pixels)
    return card


def _options(config: RewardConfig) -> tuple[CrossOptions, Any]:
    """The options with whole paths, and the scorer that will run what comes of them."""
    assert config.cross is not None
    for name in _HEADS_ONLY:
        if name in config.model_fields_set:
            raise config.error(f"{name}: is of heads; `cross:` tunes a whole model", name)
    if config.images.column is not None:
        raise config.error("images.column: `cross:` sees pixels", "images", "column")
    options = config.cross
    if options.model.startswith(FOLDER):
        folder = FOLDER + config.resolve(options.model.removeprefix(FOLDER))
        options = options.model_copy(update={"model": folder})
    try:
        scorer = scorer_class("itm")(
            model=options.model,
            revision=options.revision,
            max_tokens=options.max_tokens,
            first_token=options.first_token,
        )
        if options.model == "embedded":
            raise ValueError("model 'embedded' is no cross-encoder")
        scorer.weights_digest  # noqa: B018 - raises ValueError when they are not there
    except ValueError as error:
        raise config.error(f"cross: {error}", "cross", "model") from None
    return options, scorer


def _training(config: RewardConfig) -> TrainingOptions:
    given = config.training
    own = {name: v for name, v in _DEFAULTS.items() if name not in given.model_fields_set}
    return given.model_copy(update=own)


def _material(
    config: RewardConfig,
    given: tuple[list[Comparison], dict[str, float]],
    read: tuple[CrossModel, Any],
    pixels: str,
) -> tuple[Material, Seen]:
    """The comparisons, and what the model sees; instead of vectors there are numbers."""
    comparisons, shares = given
    model, scorer = read
    assert config.cross is not None
    names = names_of(comparisons)
    unreadable: dict[str, str] = {}
    images = _readable(config, names, scorer.image_request, unreadable)
    shown = read_pixels(model, images, len(names.images), pixels)
    ids, mask, cut = read_texts(model, names.texts, config.cross)
    kept, warnings = readable_of(comparisons, unreadable, len(names.images))
    if cut:
        said = f"{cut} of {len(names.texts)} texts are longer than {config.cross.max_tokens} tokens"
        warnings = (*warnings, f"{said}; the rest of them is not read")
    split = config.split
    numbers = [np.arange(len(part))[:, None] for part in (names.images, names.texts)]
    material = Material(
        table=make_table(kept, names, (numbers[0], numbers[1]), shares),
        side=split_of(groups_of(kept), split.validation, split.test, split.seed),
        shares=shares,
        digest=_digest(config, kept, (model, scorer)),
        warnings=warnings,
    )
    return material, Seen(shown, ids, mask, cut)


def _readable(
    config: RewardConfig, names: Names, at_least: int | None, unreadable: dict[str, str]
) -> Iterator[tuple[int, Any]]:
    number_of = {name: number for number, name in enumerate(names.images)}
    for image in find_images(names.images, places_of(config), at_least):
        if isinstance(image.pixels, str):
            unreadable[image.reference] = image.pixels
        else:
            yield number_of[image.reference], image.pixels


def _digest(
    config: RewardConfig, comparisons: Sequence[Comparison], read: tuple[CrossModel, Any]
) -> str:
    """Names a training: preferences, options, weights and our own version, but no paths."""
    assert config.cross is not None
    model, scorer = read
    others = {"preferences", "images", "encoder", "head", "teacher", "cross", "training"}
    plain = config.model_dump(mode="json", exclude=others)
    plain["training"] = _training(config).model_dump(mode="json")
    plain["cross"] = config.cross.model_dump(mode="json", exclude={"model", "precision"})
    named = [VERSION, plain, model.precision, scorer.weights_digest]
    text = json.dumps(named, sort_keys=True)
    return digest(text.encode(), digest_of(comparisons).encode()).hex()


def _train(
    config: RewardConfig,
    out: str,
    made: tuple[Material, CrossModel, Seen],
    after_epoch: Callable[[int], None] | None,
) -> dict[str, Any]:
    material, model, seen = made
    cross = config.cross
    assert cross is not None
    ties = ties_of(material.table)
    learnt, held_out = learning_parts(config, material)
    run = Run(
        train=learnt,
        validation=held_out,
        head=config.head,
        options=_training(config),
        ties=ties,
        checkpoint=storage.join(out, "work", "checkpoint.safetensors"),
        digest=material.digest,
        make=lambda: CrossHead(model, seen, ties, cross),
    )
    test = material.part(2)
    with _repeatable(model.device):
        before = scores_of(head_for(run), test)
        progress = train(run, after_epoch)
        head = head_for(run)
        head.load_state_dict(progress.best)
        figures = figures_of(head, test, material.shares, (before[0][:, 0], before[1][:, 0]))
    folder = storage.local(storage.join(out, MODEL))
    save_cross(model, progress.best, folder)
    with open(os.path.join(folder, WEIGHTS), "rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "format": 1,
        "kind": "cross",
        "weights": sha256,
        "encoder": {
            "name": FOLDER.rstrip(":") if cross.model.startswith(FOLDER) else cross.model,
            "digest": model.digest,
        },
        "configuration": config.source_text,
        "data": {"parts": parts_of(material), "left_out": list(config.leave_out)},
        "training": {
            "digest": material.digest,
            "best_epoch": progress.best_epoch,
            "history": [list(losses) for losses in progress.history],
        },
        "figures": figures,
        "warnings": list(material.warnings),
    }


@contextmanager
def _repeatable(device: str) -> Iterator[None]:
    """On CUDA, kernels that sum in one order where there are such."""
    if device == "cpu":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    was = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was, warn_only=warned)
