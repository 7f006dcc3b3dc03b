"""Image bytes and vectors of chosen pairs: each image once, in the order of the pool."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.decoding import decode
from pipeline.errors import CurationError
from pipeline.keys import digest
from pipeline.pool import Pool
from pipeline.reward.encoders import Encoder, encode_images, encode_texts, kept_in_chunks
from pipeline.reward.images import read_samples
from pipeline.tuning.rows import Pair, Pairs
from pipeline.unreadable import Unreadable

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Distinct:
    """Pairs [k, 2] by the number of their image and their text, each of which is there once."""

    images: tuple[bytes, ...]
    texts: tuple[str, ...]
    own: Places


def distinct(rows: Sequence[Pair]) -> Distinct:
    """Images and texts of pairs, in the order in which they come; equal pairs are one."""
    images = {image: n for n, image in enumerate(dict.fromkeys(row.image for row in rows))}
    texts = {text: n for n, text in enumerate(dict.fromkeys(row.text for row in rows))}
    own = dict.fromkeys((images[row.image], texts[row.text]) for row in rows)
    return Distinct((*images,), (*texts,), np.array([*own], np.int64).reshape(-1, 2))


def read_images(made: Pool, rows: Sequence[Pair], at_least: int) -> Iterator[tuple[bytes, Pixels]]:
    """(digest, pixels) of the distinct images of pairs, in pool order; unreadable ones are not."""
    first = {row.image: row.key for row in reversed(rows)}
    images = {key: image for image, key in first.items()}
    for key, data in read_samples(made, frozenset(images)):
        try:
            yield images[key], decode(data, at_least)
        except Unreadable:
            continue


def readable(pairs: Pairs, seen: Sequence[bytes]) -> tuple[Pair, ...]:
    """The pairs whose image was read. Raises CurationError when that is none."""
    there = frozenset(seen)
    found = tuple(row for row in pairs.rows if row.image in there)
    if not found:
        raise CurationError(f"{pairs.pool.root}: none of {len(pairs)} chosen images can be read")
    return found


def vectors_of(
    encoder: Encoder, pairs: Pairs, folder: str
) -> tuple[dict[bytes, Floats], dict[str, Floats]]:
    """The encoder's vectors by image and by text, kept in `folder`; images that can be read."""
    order: list[bytes] = []

    def images() -> Iterator[tuple[Pixels, bytes]]:
        for image, pixels in read_images(pairs.pool, pairs.rows, encoder.short_side):
            order.append(image)
            yield pixels, image

    seen = encode_images(encoder, images(), folder)
    texts = [*dict.fromkeys(row.text for row in pairs.rows)]
    read = encode_texts(encoder, texts, folder)
    return dict(zip(order, seen, strict=True)), dict(zip(texts, read, strict=True))


def backbone_features(
    module: Any, pairs: Pairs, folder: str
) -> tuple[dict[bytes, Floats], dict[str, Floats]]:
    """What the embedded encoder's backbones say: features beside logits by image, sentences."""
    order: list[bytes] = []

    def images() -> Iterator[tuple[Pixels, bytes]]:
        for image, pixels in read_images(pairs.pool, pairs.rows, module.IMAGE_SIZE):
            order.append(image)
            yield pixels, image

    def look(pictures: Sequence[Any]) -> Floats:
        return np.concatenate(module.image_features(list(pictures)), axis=1)

    names = digest(*(value.encode() for value in module.BACKBONES.values())).hex()
    seen = kept_in_chunks(images(), f"features {names}", folder, look)
    texts = [*dict.fromkeys(row.text for row in pairs.rows)]
    items = ((text, text.encode("utf-8", "surrogatepass")) for text in texts)
    read = kept_in_chunks(items, f"sentences {names}", folder, module.sentence_features)
    return dict(zip(order, seen, strict=True)), dict(zip(texts, read, strict=True))
