"""How likely a picture carries a watermark or a logo, by how it looks.

With no download: a small head over early maps of the embedded encoder, trained on marks that were
drawn over pictures. Or any image classifier of transformers that knows watermarks. It refuses
classes that a model does not have.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from filters import (
    clip_weights,
    embedded,
    files,
    foreign,
    hub_weights,
    image_classes,
    marks_head,
)
from filters.hub_weights import Source, digest

EMBEDDED = "embedded"
_KINDS = ("watermark_likelihood", "logo_likelihood")
_OF_HUB = ("revision", "precision", "label", "logo_label")


@dataclass(frozen=True)
class Marks:
    """`watermark_likelihood` and `logo_likelihood`, 0 to 1, of marks that are laid over a picture.

    Learnt from marks that were drawn, and measured on pictures, fonts and icons that it had not
    seen; real marks were not measured. AUC against pictures without, signs and captions among
    them: watermarks .93 (.94 at an opacity of .15), 43 % found at one false alarm in a hundred,
    70 % at five. Logos in a corner .94 (65 %, 77 %), about the middle .87 (29 %, 46 %); those that
    are part of a design, or the picture itself, are not found. It takes signs and lettering in
    the scene for watermarks at times. Platt scaling makes it a probability where marked pictures
    are as many as others; where they are few, less than it says are marked.

    `model` may also be `local-dir:PATH`, or OWNER/NAME of a hub with its commit as `revision`: a
    classifier that `AutoModelForImageClassification` loads. `label` is its class for watermarks
    and `logo_label` that for logos, one of them at least; what has no label is not written.
    `precision: auto` is bf16 on CUDA and fp32 elsewhere.
    """

    model: str = EMBEDDED
    revision: str | None = None
    precision: str = "auto"
    label: str | None = None
    logo_label: str | None = None
    batch_size: int = 16
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("image",)

    def __post_init__(self) -> None:
        hub_weights.settle_precision(self, self.device)
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self._is_embedded:
            foreign.refuse(self, _OF_HUB, f"model {self.model!r}")
        elif not self._labels:
            raise ValueError(
                f"model {self.model!r} needs `label`, its class for watermarks, or `logo_label`"
            )
        else:
            image_classes.check(self._source, [*self._labels.values()])

    @property
    def writes(self) -> pa.Schema:
        written = _KINDS if self._is_embedded else [*self._labels]
        return pa.schema([(name, pa.float32()) for name in written])

    @property
    def image_request(self) -> int | None:
        if self._is_embedded:
            return marks_head.SIDE
        side = hub_weights.image_side(self._source, part=None)
        return None if side is None else 2 * side

    @property
    def device(self) -> str:
        return "cpu" if self._is_embedded else clip_weights.best_device()

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values; a folder counts by its content, not its place."""
        return {
            "model": self.model if self._source.folder is None else "local-dir",
            "precision": self.precision,
            "label": self.label,
            "logo_label": self.logo_label,
            "batch_size": self.batch_size,
        }

    @property
    def weights_digest(self) -> str:
        if not self._is_embedded:
            return digest(self._source)
        name = next(iter(embedded.BACKBONES))
        both = f"{files.digest(str(marks_head.HEAD))}\n{embedded.BACKBONES[name]}"
        return hashlib.sha256(both.encode()).hexdigest()

    @property
    def _is_embedded(self) -> bool:
        return self.model == EMBEDDED

    @property
    def _source(self) -> Source:
        return Source(self.model, self.revision, self.precision, "cpu")

    @property
    def _labels(self) -> dict[str, str]:
        """The class by the column that it is written to."""
        pairs = zip(_KINDS, (self.label, self.logo_label), strict=True)
        return {column: label for column, label in pairs if label is not None}

    def prepare(self) -> None:
        """Load the weights and try them. Raises when they are missing or don't work."""
        self({"image": [np.full((64, 64, 3), 127, np.uint8)]})

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        images = batch["image"]
        if self._is_embedded:
            rows = [marks_head.likelihoods(image) for image in images]
            values = np.stack(rows) if rows else np.zeros((0, len(_KINDS)), np.float32)
        else:
            loaded = image_classes.load(self._source._replace(device=self.device))
            labels = [*self._labels.values()]
            values = image_classes.likelihoods(loaded, images, labels, self.batch_size)
        return {name: values[:, n].tolist() for n, name in enumerate(self.writes.names)}
