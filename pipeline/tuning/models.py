"""Models of open_clip that are tuned whole: read anew, learnt from the images of a pool, saved.

The images of an epoch are read as they are stored, shard by shard in an order of its own; only so
many are held at once. A saved folder is one that the scorer `clip` loads as `local-dir:`.
"""

import importlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from pipeline.catalog import scorer_class
from pipeline.decoding import decode
from pipeline.pool import Pool
from pipeline.reward.config import EncoderOptions
from pipeline.reward.encoders import FOLDER
from pipeline.reward.images import read_samples
from pipeline.tuning.config import TuningOptions
from pipeline.tuning.loop import Batch
from pipeline.tuning.rows import Pair
from pipeline.unreadable import Unreadable

CONFIG = "open_clip_config.json"
_WEIGHTS = "open_clip_model.safetensors"
_HELD = 4096  # samples in memory among which batches are mixed
_RIBBON = 20  # times as long as wide, as in `clip`: of more the middle alone is seen
_TOKENIZER = (".json", ".txt", ".model")
_AS_FILE = ("mean", "std", "interpolation", "resize_mode")


@dataclass(frozen=True)
class Trainable:
    """A model in full precision, and what its folder has to say."""

    network: nn.Module
    transform: Any
    tokenize: Any
    side: int
    crops: bool  # of a picture the middle square is seen, not all
    config: Mapping[str, Any]


def load_trainable(options: EncoderOptions, device: str) -> Trainable:
    """The model anew, as it was before anything was folded for scoring.

    `options` must be those of a `clip` that could load it: what is wrong with them is said there.
    """
    import open_clip

    settings: dict[str, Any] = {}
    if options.preprocess_tag is not None:
        known = open_clip.get_pretrained_cfg(options.model, options.preprocess_tag)
        settings = {f"image_{name}": known[name] for name in _AS_FILE if name in known}
    network, transform = open_clip.create_model_from_pretrained(
        options.model,
        pretrained=options.pretrained,
        precision="fp32",
        device=device,
        **settings,
    )
    tokenize = _clip().clip_weights.tokenizer(options.model)
    shown = dict(network.visual.preprocess_cfg)
    size = shown.get("size", 224)
    side = int(max(size)) if isinstance(size, list | tuple) else int(size)
    config = {"model_cfg": _architecture(options.model), "preprocess_cfg": shown}
    crops = shown["resize_mode"] == "shortest"
    return Trainable(network, transform, tokenize, side, crops, config)


def _clip() -> Any:
    """The module of the scorer `clip`: what is learnt is read as it will be scored."""
    return importlib.import_module(scorer_class("clip").__module__)


def _architecture(model: str) -> dict[str, Any]:
    if not model.startswith(FOLDER):
        import open_clip

        known: dict[str, Any] = open_clip.get_model_config(model)
        return known
    with open(os.path.join(model.removeprefix(FOLDER), CONFIG), encoding="utf-8") as stream:
        found: dict[str, Any] = json.load(stream)["model_cfg"]
    return found


def save_model(trainable: Trainable, state: Mapping[str, torch.Tensor], model: str, to: str) -> str:
    """Write the folder of a tuned model, whole or not at all; returns what a recipe calls it."""
    partial = f"{to}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    if model.startswith(FOLDER):
        source = model.removeprefix(FOLDER)
        for name in sorted(os.listdir(source)):
            if name.endswith(_TOKENIZER) and name != CONFIG:
                shutil.copyfile(os.path.join(source, name), os.path.join(partial, name))
    elif hasattr(trainable.tokenize, "tokenizer"):
        trainable.tokenize.tokenizer.save_pretrained(partial)
    tensors = {name: state[name].contiguous().clone() for name in sorted(state)}
    save_file(tensors, os.path.join(partial, _WEIGHTS))
    with open(os.path.join(partial, CONFIG), "w", encoding="utf-8") as stream:
        json.dump(trainable.config, stream, indent=1, sort_keys=True)
    shutil.rmtree(to, ignore_errors=True)
    os.rename(partial, to)
    return f"{FOLDER}{to}"


class ModelLearner:
    """Learns a whole model; a class because it holds the network that changes."""

    def __init__(
        self,
        trainable: Trainable,
        made: Pool,
        parts: Sequence[Sequence[Pair]],
        options: TuningOptions,
        device: str,
    ) -> None:
        self._model, self._made, self._options, self._device = trainable, made, options, device
        self.network = trainable.network
        rows = [row for part in parts for row in part]
        self._images = _numbered([row.image.hex() for row in rows])
        self._texts = _numbered([row.text for row in rows])
        self._parts = [{row.key: row for row in part} for part in parts]
        self.steps = max(1, len(self._parts[0]) // options.batch)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The pairs, mixed by epoch; what fills no batch in the end is left out."""
        dice = np.random.default_rng([self._options.seed, epoch])
        shards = [self._made.shards[n] for n in dice.permutation(len(self._made.shards))]
        made = replace(self._made, shards=tuple(shards))
        return self._batches(made, self._parts[0], dice, whole=True)

    def held_out(self) -> Iterator[Batch]:
        """The validation pairs, in one order."""
        dice = np.random.default_rng(0)
        return self._batches(self._made, self._parts[1], dice, whole=False)

    def encode(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        pixels, tokens = (tensor.to(self._device) for tensor in batch.inputs)
        network: Any = self.network
        with _lower_precision(self._device):
            # CoCa normalises unless told otherwise, CLIP does not.
            seen = network.encode_image(pixels, normalize=False)
            read = network.encode_text(tokens, normalize=False)
        unit = nn.functional.normalize
        return unit(seen.float(), dim=1), unit(read.float(), dim=1), network.logit_scale.exp()

    def _batches(
        self, made: Pool, rows: Mapping[str, Pair], dice: np.random.Generator, *, whole: bool
    ) -> Iterator[Batch]:
        size, given = min(self._options.batch, len(rows)), 0
        held: list[tuple[str, bytes]] = []
        for sample in read_samples(made, frozenset(rows)):
            held.append(sample)
            if len(held) >= max(_HELD, 2 * size):
                held = [held[n] for n in dice.permutation(len(held))]
                while len(held) >= size + _HELD // 2:
                    part, held = held[:size], held[size:]
                    yield from self._batch(part, rows)
                    given += 1
        held = [held[n] for n in dice.permutation(len(held))]
        for start in range(0, len(held), size):
            part = held[start : start + size]
            if len(part) == size or not whole or not given:
                yield from self._batch(part, rows)
                given += 1

    def _batch(
        self, part: Sequence[tuple[str, bytes]], rows: Mapping[str, Pair]
    ) -> Iterator[Batch]:
        """The batch of what can be read of a part; nothing when that is one image or none."""
        pixels, pairs = [], []
        for key, data in part:
            try:
                pixels.append(prepared(self._model, decode(data, 2 * self._model.side)))
            except Unreadable:
                continue
            pairs.append(rows[key])
        if len(pairs) < 2:
            return
        inputs = torch.stack(pixels), tokens_of(self._model, pairs)
        images = torch.tensor([self._images[pair.image.hex()] for pair in pairs])
        yield Batch(inputs, images, torch.tensor([self._texts[pair.text] for pair in pairs]))


def prepared(model: Trainable, image: Any) -> torch.Tensor:
    """What the model sees of a picture, as the scorer `clip` shows it."""
    height, width = image.shape[:2]
    most = _RIBBON * min(height, width)
    if model.crops and max(height, width) > most:
        top, left = max(0, height - most) // 2, max(0, width - most) // 2
        image = image[top : top + most, left : left + most]
    found: torch.Tensor = model.transform(Image.fromarray(image))
    return found


def tokens_of(model: Trainable, pairs: Sequence[Pair]) -> torch.Tensor:
    """What the model reads of texts [n, context], as the scorer `clip` has it read them."""
    clip = _clip()
    found: torch.Tensor = clip.tokenized(model, clip.beginnings([pair.text for pair in pairs]))
    return found


def _numbered(names: Sequence[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(dict.fromkeys(names))}


def _lower_precision(device: str) -> AbstractContextManager[Any]:
    """bfloat16 on CUDA, where it is faster; the weights stay in full precision."""
    if device == "cpu":
        return nullcontext()
    return torch.autocast(device_type="cuda", dtype=torch.bfloat16)
