"""Whether a picture was made to fool the scorer: its score under small changes of the picture.

Noise that lifts a CLIP score by gradients does not survive what no person notices; a picture's
own content does. An attacker who knows the changes can plan for them: this is cheap, not proof.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from filters.clip import EMBEDDED, ClipScore, Ready, clip_of
from filters.shared_images import once
from filters.unread import UNREAD

Pixels = npt.NDArray[Any]  # uint8; OpenCV's stubs promise no more than a number


@dataclass(frozen=True)
class ClipConsistency:
    """`clip_consistency`: the score less the median of the scores of changed copies.

    Near 0, often below, for a picture whose score is its content's; clearly above for one that
    was optimised. A threshold is the .999 quantile of it over a trusted sample of the same
    source, for each model anew. `views` are the changes, made at the size that the model sees:
    `jpeg` of quality 75, `resize` to a half and back, `crop` of the middle 0.9, `blur` by 1-2-1.
    Each costs as much as the score itself: ask only for rows that pass, by
    `only: clip_score > THRESHOLD`. A text in which nothing is read has a reason in place of
    values; `consistency_truncated` is the `clip_truncated` of `clip`. The model's parameters are
    those of `clip`, `merge` among them.
    """

    model: str = EMBEDDED
    pretrained: str | None = None
    preprocess_tag: str | None = None
    sha256: str | None = None
    precision: str = "auto"
    text: str = "caption"
    batch_size: int = 32
    merge: str | None = None
    views: tuple[str, ...] = ("jpeg", "resize", "crop", "blur")

    version: ClassVar[int] = 3  # says of which texts nothing is read
    makes_batches: ClassVar[bool] = True
    needs: ClassVar[dict[str, str]] = {"text": "text"}
    writes: ClassVar[pa.Schema] = pa.schema(
        [("clip_consistency", pa.float32()), ("consistency_truncated", pa.bool_())]
    )

    def __post_init__(self) -> None:
        if isinstance(self.views, str) or not self.views or not set(self.views) <= set(VIEWS):
            raise ValueError(f"views is a list of {', '.join(VIEWS)}; got {self.views!r}")
        object.__setattr__(self, "precision", self._clip.precision)  # `auto` is settled there

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image", self.text)

    @property
    def image_request(self) -> int:
        return self._clip.image_request

    @property
    def device(self) -> str:
        return self._clip.device

    @property
    def identity(self) -> dict[str, Any]:
        return {**self._clip.identity, "clip": ClipScore.version, "views": list(self.views)}

    @property
    def weights_digest(self) -> str:
        return self._clip.weights_digest

    def prepare(self) -> None:
        """Load the weights. Raises when they are missing, damaged or not those meant."""
        self._clip.prepare()

    def prepare_image(self, image: Pixels) -> Any:
        """What the model sees of the image and its changed copies, in place of the image."""
        return Ready(tuple(map(self._clip.prepare_image, self._looks(image))))

    def _looks(self, image: Pixels) -> tuple[Pixels, ...]:
        """The picture at the size that the model sees, and its changed copies."""
        plain = at_most(image, self._seen_side)
        return (plain, *(VIEWS[view](plain) for view in self.views))

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        count = len(batch["image"])
        if not count:
            return {name: [] for name in self.writes.names}
        distinct, which = once(batch["image"])
        views = [i.views if isinstance(i, Ready) else self._looks(i) for i in distinct]
        looks = [views[number] for number in which]
        texts = list(batch[self.text]) * (1 + len(self.views))
        images = [image for look in zip(*looks, strict=True) for image in look]
        found = self._clip({"image": images, self.text: texts})
        numbers = [np.nan if score is UNREAD else score for score in found["clip_score"]]
        table = np.array(numbers, np.float64).reshape(-1, count)
        drops = table[0] - np.median(table[1:], axis=0)
        return {
            "clip_consistency": [UNREAD if np.isnan(drop) else float(drop) for drop in drops],
            "consistency_truncated": found["clip_truncated"][:count],
        }

    @property
    def _clip(self) -> ClipScore:
        return clip_of(self)

    @property
    def _seen_side(self) -> int:
        """The short side of what the model sees."""
        request = self._clip.image_request
        return request if self.model == EMBEDDED else request // 2


def at_most(image: Pixels, side: int) -> Pixels:
    """The picture with a short side of at most so many pixels."""
    height, width = image.shape[:2]
    short = min(height, width)
    if short <= side:
        return image
    return _resized(image, round(width * side / short), round(height * side / short))


def jpeg(image: Pixels) -> Pixels:
    """What a JPEG of quality 75 keeps."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=75)
    return np.asarray(Image.open(buffer))


def halved_and_back(image: Pixels) -> Pixels:
    """What half the pixels on a side keep."""
    height, width = image.shape[:2]
    half = _resized(image, max(1, round(width / 2)), max(1, round(height / 2)))
    return _resized(half, width, height)


def cropped(image: Pixels) -> Pixels:
    """The middle nine tenths of width and height."""
    height, width = image.shape[:2]
    top, left = round(height * 0.05), round(width * 0.05)
    return image[top : height - top, left : width - left]


def blurred(image: Pixels) -> Pixels:
    """Each pixel mixed with its neighbours, 1-2-1 both ways."""
    kernel = np.array([0.25, 0.5, 0.25])
    return cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)


def _resized(image: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


VIEWS: dict[str, Callable[[Pixels], Pixels]] = {
    "jpeg": jpeg,
    "resize": halved_and_back,
    "crop": cropped,
    "blur": blurred,
}
