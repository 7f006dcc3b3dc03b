"""What the frozen backbones say about every picture and every text, computed once and kept."""

import hashlib
import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.embedded.pairs import Pair
from filters import embedded

_LOG = logging.getLogger(__name__)
_WORK_SIZE = 448  # larger drawings are reduced to this first
_CHUNK = 64

Floats = npt.NDArray[np.float32]


def picture_features(data: Path, pairs: list[Pair]) -> tuple[Floats, Floats]:
    """Features [n, 1280] and ImageNet logits [n, 1000], in the order of the pairs."""
    cache = data / f"features-{_digest([_encoder(), *(p.path for p in pairs)])}.npz"
    if not cache.exists():
        features, logits = _computed(data, pairs)
        np.savez(cache, features=features, logits=logits)
    with np.load(cache) as stored:
        return stored["features"], stored["logits"]


def text_features(data: Path, texts: list[str]) -> dict[str, Floats]:
    """The sentence vector of every text."""
    unique = sorted(set(texts))
    cache = data / f"sentences-{_digest(unique)}.npy"
    if not cache.exists():
        np.save(cache, embedded.sentence_features(unique))
    return dict(zip(unique, np.load(cache), strict=True))


def _encoder() -> str:
    """Says whether kept features are still those of this encoder: its answer to one picture."""
    probe = np.random.default_rng(0).integers(0, 256, (90, 200, 3), dtype=np.uint8)
    return hashlib.sha256(embedded.image_features([probe])[0].tobytes()).hexdigest()


def _computed(data: Path, pairs: list[Pair]) -> tuple[Floats, Floats]:
    parts = []
    for start in range(0, len(pairs), _CHUNK):
        images = [load(data / pair.path) for pair in pairs[start : start + _CHUNK]]
        parts.append(embedded.image_features(images))
        if start % (16 * _CHUNK) == 0:
            _LOG.info("%d of %d pictures", start, len(pairs))
    return np.concatenate([f for f, _ in parts]), np.concatenate([g for _, g in parts])


def load(path: Path) -> npt.NDArray[np.uint8]:
    """The picture on white, no side much longer than the encoder can use."""
    with Image.open(path) as opened:
        picture = opened.convert("RGBA")
    picture.thumbnail((_WORK_SIZE, _WORK_SIZE), Image.Resampling.BOX)
    sheet = Image.new("RGBA", picture.size, "white")
    sheet.alpha_composite(picture)
    return np.asarray(sheet.convert("RGB"))


def _digest(texts: list[str]) -> str:
    joined = "\n".join(texts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(joined).hexdigest()[:16]
