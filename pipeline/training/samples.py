"""A sample as tensors: its picture, the texts of a plan, weights, boxes; and batches of them.

What a sample gives depends on its bytes, the seed and the epoch alone, random augmentation
included. Boxes are shares of the picture as it is written: they survive any resize, and no crop.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from pipeline import decoding
from pipeline.errors import CurationError
from pipeline.keys import draw, draw_bits
from pipeline.training.parameters import check_names, check_whole
from pipeline.training.plans import Dice, Plan, Text, shuffled, texts_of
from pipeline.training.reading import Members

_KINDS = (*dict.fromkeys(decoding.EXTENSIONS.values()),)
_ROUNDED_PX = 0.5  # what boxes of 32 bits lose of an area


class Unusable(Exception):
    """This sample gives no picture or no text; the message says why."""


@dataclass(frozen=True)
class Regions:
    """Boxes with their captions: at most `most`, of at least `least_px` pixels in the picture.

    The limits of FarSLIP's reader (arXiv:2511.14901): 20 boxes in an order drawn anew in every
    epoch, none below 64 x 64 pixels. `of` limits them to captions of some names.
    """

    most: int = 20
    least_px: int = 64 * 64
    of: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_whole(1, most=self.most)
        check_whole(0, least_px=self.least_px)
        if self.of is not None:
            check_names("of", self.of)


@dataclass(frozen=True)
class Pairs:
    """What a batch holds.

    `image` makes a tensor of a Pillow picture (RGB, upright), the same shape for all; `at_least`
    is the short side that it needs, and may make decoding cheaper. `tokenize` makes a tensor of a
    list of texts. `weights` are columns of the json; one that is NULL counts 1.
    """

    texts: Plan
    image: Callable[[Image.Image], torch.Tensor]
    tokenize: Callable[[list[str]], torch.Tensor] | None = None
    weights: tuple[str, ...] = ()
    regions: Regions | None = None
    at_least: int | None = None

    def __post_init__(self) -> None:
        if self.weights:
            check_names("weights", self.weights)
        if self.at_least is not None:
            check_whole(1, at_least=self.at_least)


class BoxText(NamedTuple):
    """The caption of a region, its box, and the names it can be called by."""

    text: str
    box: tuple[float, float, float, float]
    names: frozenset[str]


class Told(NamedTuple):
    """What the members beside the picture say: its area in pixels, columns, texts, regions."""

    area: int
    columns: dict[str, Any]
    texts: list[Text]
    boxes: list[BoxText]


@dataclass(frozen=True)
class Sample:
    """One sample of a batch; None is a text that is missing."""

    key: str
    image: torch.Tensor
    texts: list[Text | None]
    weights: list[float]
    boxes: list[BoxText]


def batch_of(
    candidates: Sequence[Members | None], size: int, pairs: Pairs, seed: int, epoch: int
) -> dict[str, Any]:
    """The first `size` of these samples; others stand in for those that are unusable.

    Of the candidates after the first `size` come the substitutes, and where these don't reach the
    good ones come again. Raises CurationError when none of all candidates can be used.
    """
    good: list[Sample] = []
    skipped, why = 0, ""
    for place, members in enumerate(candidates):
        if len(good) == size:
            break
        try:
            good.append(sample_of(members, pairs, seed, epoch))
        except Unusable as error:
            skipped += place < size
            why = why or str(error)
    if not good:
        raise CurationError(f"none of {len(candidates)} samples can be used; the first: {why}")
    return _collated([*islice(cycle(good), size)], pairs) | {"skipped": skipped}


def sample_of(members: Members | None, pairs: Pairs, seed: int, epoch: int) -> Sample:
    """A sample as this epoch has it. Raises Unusable; CurationError for a wrong column."""
    if members is None:
        raise Unusable("it is missing in its shard")
    name = members["__key__"]
    key = name.encode("utf-8", "surrogateescape")

    def dice(purpose: str) -> float:
        return draw(key, seed, f"training-{purpose}-{epoch}")

    told = _read(members)
    texts = pairs.texts.choose(told.texts, dice)
    if not any(texts):
        names = ", ".join(sorted({n for text in told.texts for n in text.names})) or "nothing"
        raise Unusable(f"{name}: has no text for {pairs.texts}; it has {names}")
    pixels = _decoded(name, members, pairs.at_least)
    with _seeded(draw_bits(key, seed, f"training-image-{epoch}")):
        image = pairs.image(Image.fromarray(pixels))
    return Sample(
        key=name,
        image=image,
        texts=texts,
        weights=[_weight(told.columns, column) for column in pairs.weights],
        boxes=[] if pairs.regions is None else _boxes(told, pairs.regions, dice),
    )


def _read(members: Members) -> Told:
    try:
        fields = json.loads(members["json"])
        captions = json.loads(fields["captions"])
        return Told(
            area=int(fields["width"]) * int(fields["height"]),
            columns=dict(json.loads(fields["columns"])),
            texts=texts_of(members, captions),
            boxes=[box for caption in captions if (box := _box(caption)) is not None],
        )
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise Unusable(f"{members['__key__']}: json or text is damaged: {error!r}") from error


def _box(caption: Mapping[str, Any]) -> BoxText | None:
    """The caption of a region with its names and its box; None for any other caption."""
    if not caption.get("box") or not caption.get("text"):
        return None
    left, top, right, bottom = map(float, caption["box"])
    names = {str(caption.get("kind")), str(caption.get("column", "captions"))}
    return BoxText(str(caption["text"]), (left, top, right, bottom), frozenset(names))


def _decoded(name: str, members: Members, at_least: int | None) -> decoding.Pixels:
    kind = next((kind for kind in _KINDS if kind in members), None)
    if kind is None:
        raise Unusable(f"{name}: there is no picture")
    try:
        return decoding.decode(members[kind], at_least)
    except decoding.Unreadable as error:
        raise Unusable(f"{name}: {error}") from error


def _weight(columns: Mapping[str, Any], name: str) -> float:
    if name not in columns:
        known = ", ".join(columns) or "none"
        raise CurationError(
            f"the export carries no column {name!r} (it has {known});"
            f" `export: {{json: [{name}]}}` in the recipe writes it"
        )
    value = 1.0 if columns[name] is None else columns[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CurationError(f"column {name!r} holds {value!r}, and a weight is a number")
    return float(value)


def _boxes(told: Told, regions: Regions, dice: Dice) -> list[BoxText]:
    """Those that are large enough, in the order drawn."""
    found = []
    for one in told.boxes:
        left, top, right, bottom = one.box
        area_px = max(right - left, 0.0) * max(bottom - top, 0.0) * told.area
        is_wanted = regions.of is None or not one.names.isdisjoint(regions.of)
        if is_wanted and area_px > 0 and area_px >= regions.least_px - _ROUNDED_PX:
            found.append(one)
    return shuffled(found, dice)[: regions.most]


@contextmanager
def _seeded(bits: int) -> Iterator[None]:
    """Chance in PyTorch, `random` and NumPy from these bits; before and after it goes its way."""
    held = torch.get_rng_state(), random.getstate(), np.random.get_state()
    torch.default_generator.manual_seed(bits >> 1)
    random.seed(bits)
    np.random.seed(bits & 0xFFFFFFFF)
    try:
        yield
    finally:
        torch.set_rng_state(held[0])
        random.setstate(held[1])
        np.random.set_state(held[2])


def _collated(samples: list[Sample], pairs: Pairs) -> dict[str, Any]:
    texts = [[text.text if text else "" for text in sample.texts] for sample in samples]
    batch: dict[str, Any] = {
        "keys": [sample.key for sample in samples],
        "images": torch.stack([sample.image for sample in samples]),
        "texts": texts,
        "languages": [[t.language if t else None for t in sample.texts] for sample in samples],
        "mask": torch.tensor([[text is not None for text in s.texts] for s in samples]),
        "weights": {
            name: torch.tensor([sample.weights[place] for sample in samples])
            for place, name in enumerate(pairs.weights)
        },
    }
    if pairs.tokenize is not None:
        batch["tokens"] = _tokens(texts, pairs.tokenize)
    if pairs.regions is not None:
        batch |= _collated_boxes([sample.boxes for sample in samples], pairs)
    return batch


def _collated_boxes(found: list[list[BoxText]], pairs: Pairs) -> dict[str, Any]:
    most = pairs.regions.most if pairs.regions else 0
    boxes, mask = torch.zeros(len(found), most, 4), torch.zeros(len(found), most, dtype=torch.bool)
    texts = [[""] * most for _ in found]
    for row, own in enumerate(found):
        for place, one in enumerate(own):
            boxes[row, place] = torch.tensor(one.box)
            mask[row, place] = True
            texts[row][place] = one.text
    batch = {"boxes": boxes, "box_mask": mask, "box_texts": texts}
    if pairs.tokenize is not None:
        batch["box_tokens"] = _tokens(texts, pairs.tokenize)
    return batch


def _tokens(texts: list[list[str]], tokenize: Callable[[list[str]], torch.Tensor]) -> torch.Tensor:
    """[n, K, length]: all texts of a batch in one call."""
    tokens = tokenize([text for own in texts for text in own])
    return tokens.view(len(texts), -1, *tokens.shape[1:])
