"""What the frozen backbones say about every picture and every text, computed once and kept.

A picture is seen in several views, so that the heads don't lean on white paper or on size.
"""

import hashlib
import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from benchmarks.embedded.pairs import Pair
from filters import embedded

_LOG = logging.getLogger(__name__)
VIEWS = 4  # the first is the plain one; the others are for training only
_WORK_SIZE = 448  # large drawings are reduced to this before a view is made of them
_SIDED = ("left", "right", "clock", "letter", "number", "text", "word")
_CHUNK = 64

Floats = npt.NDArray[np.float32]


def picture_features(data: Path, pairs: list[Pair]) -> tuple[Floats, Floats]:
    """Features [VIEWS, n, 1280] and logits of the plain view [n, 1000], in the order of the pairs."""
    views = [_view_features(data, pairs, view) for view in range(VIEWS)]
    return np.stack([features for features, _ in views]), views[0][1]


def text_features(data: Path, texts: list[str]) -> dict[str, Floats]:
    """The sentence vector of every text."""
    unique = sorted(set(texts))
    cache = data / f"sentences-{_digest(unique)}.npy"
    if not cache.exists():
        np.save(cache, embedded.sentence_features(unique))
    return dict(zip(unique, np.load(cache), strict=True))


def _view_features(data: Path, pairs: list[Pair], view: int) -> tuple[Floats, Floats]:
    cache = data / f"features-{_digest([_encoder(), *(p.path for p in pairs)])}-{view}.npz"
    if not cache.exists():
        features, logits = _computed(data, pairs, view)
        np.savez(cache, features=features.astype(np.float16), logits=logits)
    with np.load(cache) as stored:
        return stored["features"].astype(np.float32), stored["logits"]


def _encoder() -> str:
    """Says whether kept features are still those of this encoder: its answer to one picture."""
    probe = np.random.default_rng(0).integers(0, 256, (90, 200, 3), dtype=np.uint8)
    return hashlib.sha256(embedded.image_features([probe])[0].tobytes()).hexdigest()


def _computed(data: Path, pairs: list[Pair], view: int) -> tuple[Floats, Floats]:
    parts = []
    for start in range(0, len(pairs), _CHUNK):
        images = [_view(data, pair, view) for pair in pairs[start : start + _CHUNK]]
        parts.append(embedded.image_features(images))
        if start % (16 * _CHUNK) == 0:
            _LOG.info("view %d: %d of %d pictures", view, start, len(pairs))
    return np.concatenate([f for f, _ in parts]), np.concatenate([g for _, g in parts])


def _view(data: Path, pair: Pair, view: int) -> npt.NDArray[np.uint8]:
    picture = load(data / pair.path)
    if view == 0:
        return _on_paper(picture, (255, 255, 255))
    dice = np.random.default_rng([view, int(_digest([pair.path]), 16)])
    if dice.random() < 0.5 and not any(word in pair.caption.lower() for word in _SIDED):
        picture = ImageOps.mirror(picture)
    colour = tuple(int(c) for c in dice.integers(0, 256, 3))
    return _on_paper(_shifted(picture, dice), colour)


def _shifted(picture: Image.Image, dice: np.random.Generator) -> Image.Image:
    """The picture somewhere on a larger transparent sheet, or a crop of its middle."""
    scale = dice.uniform(0.9, 1.6)
    width, height = (round(side * scale) for side in picture.size)
    left = round((width - picture.width) * dice.random())
    top = round((height - picture.height) * dice.random())
    sheet = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    sheet.paste(picture, (left, top))
    return sheet


def load(path: Path) -> Image.Image:
    """The picture as RGBA, no side much longer than the encoder can use."""
    with Image.open(path) as opened:
        if opened.mode == "I;16" or opened.mode == "I":
            opened = opened.convert("L")
        picture = opened.convert("RGBA")
    picture.thumbnail((_WORK_SIZE, _WORK_SIZE), Image.Resampling.BOX)
    return picture


def _on_paper(picture: Image.Image, colour: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    sheet = Image.new("RGBA", picture.size, (*colour, 255))
    sheet.alpha_composite(picture)
    return np.asarray(sheet.convert("RGB"))


def _digest(texts: list[str]) -> str:
    joined = "\n".join(texts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(joined).hexdigest()[:16]
