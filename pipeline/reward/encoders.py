"""The frozen encoders whose vectors a head looks at, and their vectors kept on disk.

Vectors are kept in chunks beside the head, so that a training that was killed does not encode
again.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import storage
from pipeline.catalog import encoder_module
from pipeline.errors import DamagedFile
from pipeline.keys import digest

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

_CHUNK = 128


@dataclass(frozen=True)
class Encoder:
    """A dual encoder by its name; unit vectors come as a recipe would store them, rounded."""

    name: str

    @property
    def digest(self) -> str:
        """Names everything that its vectors depend on."""
        return str(self._module.weights_digest())

    @property
    def dimension(self) -> int:
        return int(self._module.dimension())

    @property
    def short_side(self) -> int:
        """Pixels of the short side that are enough."""
        return int(self._module.IMAGE_SIZE)

    def images(self, images: Sequence[Pixels]) -> Floats:
        return _stored(self._module.encode_images(list(images)))

    def texts(self, texts: Sequence[str]) -> Floats:
        return _stored(self._module.encode_texts(list(texts)))

    @property
    def _module(self) -> Any:
        return encoder_module(self.name)


def choose_encoder(name: str) -> Encoder:
    """The encoder of this name. Raises RecipeError when there is none."""
    encoder_module(name)
    return Encoder(name)


def _stored(vectors: npt.NDArray[Any]) -> Floats:
    """Vectors as columns have them: in half precision."""
    return vectors.astype(np.float16).astype(np.float32)


def encode_texts(encoder: Encoder, texts: Sequence[str], folder: str) -> Floats:
    """A vector for every text, in order; what `folder` has already is not encoded again."""
    items = ((text, text.encode("utf-8", "surrogatepass")) for text in texts)
    return _encoded(items, f"texts {encoder.digest}", folder, encoder.texts, encoder.dimension)


def encode_images(encoder: Encoder, images: Iterable[tuple[Pixels, bytes]], folder: str) -> Floats:
    """A vector for every image, in order: its pixels, and the digest of its bytes."""
    return _encoded(images, f"images {encoder.digest}", folder, encoder.images, encoder.dimension)


def _encoded(
    items: Iterable[tuple[Any, bytes]],
    what: str,
    folder: str,
    encode: Callable[[Sequence[Any]], Floats],
    dimension: int,
) -> Floats:
    parts = [np.zeros((0, dimension), np.float32)]
    for chunk in _chunks(items):
        name = digest(what.encode(), *(data for _, data in chunk)).hex()
        path = storage.join(folder, f"{name}.vectors")
        if storage.exists(path):
            part = np.frombuffer(_checked(path), np.float16).reshape(-1, dimension)
        else:
            part = encode([item for item, _ in chunk]).astype(np.float16)
            raw = part.tobytes()
            storage.write_atomic(path, hashlib.sha256(raw).digest() + raw)
        parts.append(part.astype(np.float32))
    return np.concatenate(parts)


def _checked(path: str) -> bytes:
    raw = storage.read_bytes(path)
    if hashlib.sha256(raw[32:]).digest() != raw[:32]:
        raise DamagedFile(f"{path}: is damaged, remove it and run again")
    return raw[32:]


def _chunks(items: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(items)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
