"""`pairmill filter train`: from trusted pairs to a scorer, and a card beside it.

What can be wrong with the configuration is said before an image is encoded. Weights with which
the encoder has forgotten too much of its anchors are not written.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.catalog import encoder_module
from pipeline.errors import CurationError, RecipeError
from pipeline.keys import digest, draw
from pipeline.reward.checkpoints import Progress
from pipeline.reward.config import EncoderOptions
from pipeline.reward.encoders import FOLDER, Encoder, choose_encoder, encoder_of, located
from pipeline.tuning import heads, models
from pipeline.tuning.card import card_page
from pipeline.tuning.config import PairOptions, TuningConfig, load_config
from pipeline.tuning.gate import Judged, fewest_draws, hits_of, learnt_of, told, verdict_of
from pipeline.tuning.loop import Learner, Plan, blended, tune
from pipeline.tuning.retrieval import Hits
from pipeline.tuning.rows import Pair, Pairs, choose_pairs, read_keys
from pipeline.tuning.samples import backbone_features, distinct

VERSION = 1  # raise it when the same pairs would give other weights
_LOG = logging.getLogger(__name__)
_LARGE = 20_000_000  # parameters with which a CPU has its trouble
HEADS, MODEL, CARD, CARD_JSON = "heads.safetensors", "model", "card.html", "card.json"
SPLITS = ("train", "validation", "test")
Json = dict[str, Any]


@dataclass(frozen=True)
class Material:
    """The trusted pairs by part, the anchors, and how many pairs were left out as anchors."""

    pool: Pairs
    parts: tuple[tuple[Pair, ...], ...]
    anchors: tuple[Judged, ...]
    left_out: int


@dataclass(frozen=True)
class Tuning:
    """A tuning under way: its configuration, encoder, material and folders."""

    config: TuningConfig
    options: EncoderOptions
    encoder: Encoder
    material: Material
    out: str

    @property
    def vectors(self) -> str:
        return storage.join(self.out, "work", "vectors")

    @property
    def digest(self) -> str:
        """Names it: pairs, options, encoder and our own version, but no paths."""
        training = self.config.training.model_dump(mode="json", exclude={"blend"})
        shown = [VERSION, training, self.encoder.fingerprint]
        lines = [
            f"{number} {row.key} {row.text}".encode("utf-8", "surrogatepass")
            for number, part in enumerate(self.material.parts[:2])
            for row in part
        ]
        return digest(json.dumps(shown, sort_keys=True).encode(), *lines).hex()


def tune_filter(
    path: str, out: str, *, force: bool = False, after_epoch: Callable[[int], None] | None = None
) -> Json:
    """Tune what a configuration says, write weights and card to `out`, and return the card.

    Raises CurationError after the card is written when the encoder has forgotten too much; with
    `force` the weights are written all the same, and the card says so.
    """
    config = load_config(path)
    encoder = encoder_of(config, config.encoder)
    if not storage.is_local(out):
        raise RecipeError(f"{out}: tuning needs a local folder")
    material = _material(config)
    options = located(config, config.encoder)
    with storage.lock(out):
        tuning = Tuning(config, options, encoder, material, os.path.abspath(storage.local(out)))
        before = _measured(tuning, encoder)
        for judged, hits in zip(material.anchors, before[0], strict=True):
            if hits.mean() == 0:
                name = judged.options.name
                raise CurationError(
                    f"{name}: the encoder finds none of {len(judged.pairs)} pairs before it is"
                    " tuned, so what it forgets can't be told; give anchors that it knows"
                )
        progress, tuned = _tuned(tuning, after_epoch)
        after = _measured(tuning, choose_encoder(tuned))
        card = _card(tuning, progress, (before, after), force)
        _publish(tuning, tuned, card)
    if not card["usable"]:
        raise CurationError(_refusal(card, storage.join(out, CARD)))
    return card


def _material(config: TuningConfig) -> Material:
    trusted = _chosen(config, config.trusted, "trusted")
    anchors = []
    for number, entry in enumerate(config.anchors):
        pairs = fewest_draws(_chosen(config, entry, "anchors", number), entry.rows)
        anchors.append(Judged(entry, pairs, entry.retain or config.retain))
    held = {row.image for judged in anchors for row in judged.pairs.rows}
    rows = [row for row in trusted.rows if row.image not in held]
    split = config.split
    shares = np.array([draw(row.image, split.seed, "tuning-split") for row in rows])
    side = np.where(shares < split.test, 2, np.where(shares < split.test + split.validation, 1, 0))
    parts = tuple(
        tuple(row for row, own in zip(rows, side, strict=True) if own == number)
        for number in range(3)
    )
    for name, part in zip(SPLITS, parts, strict=True):
        if len({row.image for row in part}) < 2:
            raise CurationError(
                f"the {name} part has fewer than two images: of {len(trusted):,} trusted pairs"
                f" {len(rows):,} are of images that are no anchors; give more, or other shares"
                " under `split:`"
            )
    return Material(trusted, parts, tuple(anchors), len(trusted) - len(rows))


def _chosen(config: TuningConfig, options: PairOptions, *path: str | int) -> Pairs:
    keys = None
    try:
        if options.keys is not None:
            keys = read_keys(config.resolve(options.keys))
        return choose_pairs(config.resolve(options.pool), options, keys)
    except FileNotFoundError:
        raise config.error(f"{options.keys}: there is no such file", *path, "keys") from None
    except RecipeError as error:
        key = "where" if options.where is not None else "text"
        raise config.error(error.message, *path, key) from None


def _measured(tuning: Tuning, encoder: Encoder) -> tuple[list[Hits], Hits, Json]:
    """What an encoder finds: among the anchors, and among held-out trusted pairs."""
    material = tuning.material
    anchors = [hits_of(encoder, judged, tuning.vectors) for judged in material.anchors]
    test = Pairs(material.pool.pool, material.parts[2])
    return anchors, *learnt_of(encoder, test, tuning.vectors)


def _tuned(
    tuning: Tuning, after_epoch: Callable[[int], None] | None
) -> tuple[Progress, EncoderOptions]:
    """The finished tuning, and the encoder that it gives, whose weights lie in the work folder."""
    options, training = tuning.options, tuning.config.training
    checkpoint = storage.join(tuning.out, "work", "checkpoint.safetensors")
    place = storage.join(tuning.out, "work", f"tuned-{tuning.digest[:16]}-{training.blend:g}")
    if options.model == "embedded":
        module = encoder_module("embedded")
        start = _heads_of(module, options)
        parts = [_features(module, tuning, part) for part in tuning.material.parts[:2]]
        learner: Learner = heads.HeadLearner(module, start, parts, training)
        plan = Plan(training, checkpoint, tuning.digest)
    else:
        device = str(tuning.encoder.scorer.device)
        trainable = models.load_trainable(options, device)
        _warn_of_size(trainable, device)
        rows = tuning.material.parts[:2]
        learner = models.ModelLearner(trainable, tuning.material.pool.pool, rows, training, device)
        plan = Plan(training, checkpoint, tuning.digest, device)
    before = {n: t.detach().to("cpu", copy=True) for n, t in learner.network.state_dict().items()}
    progress = tune(learner, plan, after_epoch)
    state = blended(before, progress.best, training.blend)
    if isinstance(learner, heads.HeadLearner):
        data = heads.heads_bytes(heads.arrays_of(learner.network, state))
        storage.write_atomic(place, data)
        return progress, options.model_copy(update={"weights": place})
    name = models.save_model(trainable, state, options.model, place)
    changes = {"model": name, "pretrained": None, "preprocess_tag": None, "sha256": None}
    return progress, options.model_copy(update=changes)


def _warn_of_size(trainable: models.Trainable, device: str) -> None:
    numbers = sum(p.numel() for p in trainable.network.parameters())
    if device == "cpu" and numbers > _LARGE:
        millions = numbers // 1_000_000
        _LOG.warning("tuning %d million parameters on the CPU: this needs a GPU", millions)


def _heads_of(module: Any, options: EncoderOptions) -> dict[str, np.ndarray[Any, Any]]:
    from pathlib import Path

    found: dict[str, np.ndarray[Any, Any]] = (
        module.read_heads(Path(options.weights)) if options.weights else module.read_heads()
    )
    return found


def _features(module: Any, tuning: Tuning, rows: Sequence[Pair]) -> heads.Features:
    pairs = Pairs(tuning.material.pool.pool, tuple(rows))
    seen, read = backbone_features(module, pairs, tuning.vectors)
    found = distinct([row for row in rows if row.image in seen])
    if len(found.images) < 2:
        raise CurationError(f"{pairs.pool.root}: fewer than two of the trusted images can be read")
    both = np.stack([seen[name] for name in found.images])[found.own[:, 0]]
    sentences = np.stack([read[text] for text in found.texts])[found.own[:, 1]]
    width = both.shape[1] - 1000  # logits of the 1,000 classes stand behind the features
    return heads.Features(
        np.ascontiguousarray(both[:, :width]),
        np.ascontiguousarray(both[:, width:]),
        sentences,
        found.own[:, 0],
        found.own[:, 1],
    )


def _card(
    tuning: Tuning,
    progress: Progress,
    measured: Sequence[tuple[list[Hits], Hits, Json]],
    force: bool,
) -> Json:
    before, after = measured
    verdicts = [
        verdict_of(judged, one, other)
        for judged, one, other in zip(tuning.material.anchors, before[0], after[0], strict=True)
    ]
    is_kept = all(verdict["is_kept"] for verdict in verdicts)
    parts = tuning.material.parts
    return {
        "format": 1,
        "usable": is_kept or force,
        "forced": force and not is_kept,
        "encoder": {"name": tuning.encoder.name, "digest": tuning.encoder.digest},
        "configuration": tuning.config.source_text,
        "data": {
            "trusted": len(tuning.material.pool),
            "left_out": tuning.material.left_out,
            "parts": {
                name: {"pairs": len(part), "images": len({row.image for row in part})}
                for name, part in zip(SPLITS, parts, strict=True)
            },
        },
        "training": {
            "digest": tuning.digest,
            "best_epoch": progress.best_epoch,
            "history": [list(losses) for losses in progress.history],
            "blend": tuning.config.training.blend,
        },
        "learnt": {
            "figures": [
                {"figure": name, "before": value, "after": after[1].means()[name]}
                for name, value in before[1].means().items()
            ],
            "before": before[2],
            "after": after[2],
        },
        "anchors": verdicts,
    }


def _publish(tuning: Tuning, tuned: EncoderOptions, card: Json) -> None:
    """Put the weights in their place, or, when they may not be used, none; then the card."""
    for name in (HEADS, MODEL, CARD, CARD_JSON):
        storage.remove(storage.join(tuning.out, name))
    if tuned.weights is not None:
        target, source = storage.join(tuning.out, HEADS), tuned.weights
        card["use"] = f"clip: {{model: embedded, weights: {_quoted(target)}}}"
    else:
        target = storage.join(tuning.out, MODEL)
        source = tuned.model.removeprefix(FOLDER)
        card["use"] = f"clip: {{model: {_quoted(f'{FOLDER}{target}')}}}"
    card["weights"] = _sha256(source)
    if card["usable"]:
        os.rename(source, target)
    else:
        card["use"] = None
    storage.write_json(storage.join(tuning.out, CARD_JSON), card)
    storage.write_atomic(storage.join(tuning.out, CARD), card_page(card).encode())


def _quoted(path: str) -> str:
    return json.dumps(path, ensure_ascii=False)


def _sha256(path: str) -> str:
    """Of the file, or of the weights in the folder of a model."""
    if os.path.isdir(path):
        path = os.path.join(path, "open_clip_model.safetensors")
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _refusal(card: Json, page: str) -> str:
    lost = [told(one) for one in card["anchors"] if not one["is_kept"]]
    return (
        "the encoder has forgotten too much, so its weights are not written: "
        + "; ".join(lost)
        + f"; a lower `rate` or `blend` forgets less, and --force writes them all the same ({page})"
    )
