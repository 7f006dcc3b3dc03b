"""`pairmill reward train`: from files of preferences to weights, and a card beside them.

Everything that can be wrong with the configuration and the files is said before an image is
encoded. The weights are written when they are final; a training that was killed goes on.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.errors import CurationError, RecipeError
from pipeline.keys import digest
from pipeline.recipe_errors import unknown_word
from pipeline.reward.card import card_page
from pipeline.reward.comparisons import SPLITS, Comparison, digest_of, groups_of, split_of
from pipeline.reward.config import Preferences, RewardConfig, load_config
from pipeline.reward.encoders import Encoder, choose_encoder, encode_images, encode_texts
from pipeline.reward.evaluate import figures_of, scores_of
from pipeline.reward.formats import (
    Layout,
    read_imagereward,
    read_pairs,
    read_rankings,
    read_ratings,
)
from pipeline.reward.heads import RewardHead, arrays_of, head_bytes
from pipeline.reward.images import ImagePlaces, find_images
from pipeline.reward.pickapic import read_pickapic
from pipeline.reward.table import Floats, Names, Table, make_table, names_of
from pipeline.reward.training import Progress, Run, train

_LOG = logging.getLogger(__name__)
VERSION = 1  # raise it when the same preferences would give another head
WEIGHTS, CARD, CARD_JSON = "reward.safetensors", "card.html", "card.json"
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

    def part(self, number: int, leave_out: Sequence[str] = ()) -> Table:
        """The comparisons of a part, without those of some kinds."""
        out = [n for n, kind in enumerate(self.table.kinds) if kind in leave_out]
        return self.table.rows((self.side == number) & ~np.isin(self.table.kind, out))


def train_reward(
    path: str, out: str, after_epoch: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Train what a configuration says, write weights and card to `out`, and return the card."""
    config = load_config(path)
    encoder = _encoder(config)
    comparisons = read_preferences(config)
    shares = _shares(config, comparisons)
    with storage.lock(out):
        material = _material(config, comparisons, shares, encoder, out)
        run = _run(config, material, out)
        progress = train(run, after_epoch)
        head = _best(run, progress)
        data = _weights(config, encoder, material, head, progress)
        storage.write_atomic(storage.join(out, WEIGHTS), data)
        card = _card(config, encoder, material, (head, progress, data))
        storage.write_json(storage.join(out, CARD_JSON), card)
        storage.write_atomic(storage.join(out, CARD), card_page(card).encode())
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


def _encoder(config: RewardConfig) -> Encoder:
    try:
        return choose_encoder(config.encoder)
    except RecipeError as error:
        raise config.error(error.message, "encoder") from None


def _shares(config: RewardConfig, comparisons: Sequence[Comparison]) -> dict[str, float]:
    """The weight of every criterion. Raises RecipeError for one that is not said or not there."""
    present = sorted({one.criterion for one in comparisons})
    kinds = sorted({one.kind for one in comparisons if one.kind is not None})
    for number, kind in enumerate(config.leave_out):
        if kind not in kinds:
            message = f"leave_out: {unknown_word('kind', kind, kinds)}"
            raise config.error(message, "leave_out", number)
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


def _material(
    config: RewardConfig,
    comparisons: list[Comparison],
    shares: dict[str, float],
    encoder: Encoder,
    out: str,
) -> Material:
    names = names_of(comparisons)
    work = storage.join(out, "work", "vectors")
    images, unreadable = _image_vectors(config, encoder, names, work)
    texts = encode_texts(encoder, names.texts, work)
    lost = [c for c in comparisons if unreadable.keys() & {c.image, c.other_image}]
    kept = [c for c in comparisons if not unreadable.keys() & {c.image, c.other_image}]
    if not kept:
        raise CurationError(f"none of {len(names.images)} images can be read")
    split = config.split
    side = split_of(groups_of(kept), split.validation, split.test, split.seed)
    shown = "; ".join(f"{name}: {why}" for name, why in [*unreadable.items()][:3])
    lost_text = f"{len(lost)} comparisons are left out: {len(unreadable)} images can't be read"
    return Material(
        table=make_table(kept, names, (images, texts), shares),
        side=side,
        shares=shares,
        digest=_digest(config, kept, encoder),
        warnings=(f"{lost_text} ({shown})",) if unreadable else (),
    )


def _image_vectors(
    config: RewardConfig, encoder: Encoder, names: Names, work: str
) -> tuple[Floats, dict[str, str]]:
    """Vectors in the order of the names, zeros for what can't be read, and why not."""
    place = config.images
    pool, folder = (None if p is None else config.resolve(p) for p in (place.pool, place.folder))
    pickapic = tuple(
        config.resolve(entry.path) for entry in config.preferences if entry.format == "pickapic"
    )
    order: list[str] = []
    unreadable: dict[str, str] = {}

    def readable() -> Iterator[tuple[Any, bytes]]:
        places = ImagePlaces(pool, folder, pickapic)
        for image in find_images(names.images, places, encoder.short_side):
            if isinstance(image.pixels, str):
                unreadable[image.reference] = image.pixels
            else:
                order.append(image.reference)
                yield image.pixels, image.name

    found = encode_images(encoder, readable(), work)
    vectors = np.zeros((len(names.images), encoder.dimension), np.float32)
    place_of = {name: number for number, name in enumerate(names.images)}
    vectors[[place_of[name] for name in order]] = found
    return vectors, unreadable


def _digest(config: RewardConfig, comparisons: list[Comparison], encoder: Encoder) -> str:
    """Names a training: preferences, options, encoder and our own version, but no paths."""
    plain = config.model_dump(mode="json", exclude={"preferences", "images"})
    text = json.dumps([VERSION, plain, encoder.digest], sort_keys=True)
    return digest(text.encode(), digest_of(comparisons).encode()).hex()


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
    )


def _best(run: Run, progress: Progress) -> RewardHead:
    head = RewardHead(run.head, run.train.images.shape[1], run.ties)
    head.load_state_dict(progress.best)
    return head


def _weights(
    config: RewardConfig,
    encoder: Encoder,
    material: Material,
    head: RewardHead,
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
    trained: tuple[RewardHead, Progress, bytes],
) -> dict[str, Any]:
    head, progress, data = trained
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
        "warnings": list(material.warnings),
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
