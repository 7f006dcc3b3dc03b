"""The vectors of the images that preferences refer to: computed, or those that a build has stored.

Stored ones are believed only after some of them were computed again.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.errors import CurationError
from pipeline.pool import read_base
from pipeline.record import FILE, BuildRecord, open_record
from pipeline.reward.config import RewardConfig
from pipeline.reward.encoders import Encoder, encode_images
from pipeline.reward.images import ImagePlaces, find_images
from pipeline.reward.side import Layers, image_layers
from pipeline.reward.table import Floats, Names

_CHECKED = 8  # stored vectors that are computed again
_ALIKE = 0.999  # their least cosine: half precision and another precision of the model differ less
Vectors = tuple[Floats, dict[str, str]]


def image_vectors(config: RewardConfig, encoder: Encoder, names: Names, folder: str) -> Vectors:
    """Vectors in the order of the names, zeros for what can't be read, and why not."""
    if config.images.column is not None:
        return _stored(config, encoder, names.images)
    return _computed(config, encoder, names.images, folder)


def _computed(config: RewardConfig, encoder: Encoder, names: Sequence[str], folder: str) -> Vectors:
    order: list[str] = []
    unreadable: dict[str, str] = {}

    def readable() -> Iterator[tuple[Any, bytes]]:
        for image in find_images(names, places_of(config), encoder.short_side):
            if isinstance(image.pixels, str):
                unreadable[image.reference] = image.pixels
            else:
                order.append(image.reference)
                yield image.pixels, image.name

    found = encode_images(encoder, readable(), folder)
    vectors = np.zeros((len(names), encoder.dimension), np.float32)
    place_of = {name: number for number, name in enumerate(names)}
    vectors[[place_of[name] for name in order]] = found
    return vectors, unreadable


def image_layers_of(config: RewardConfig, encoder: Encoder, names: Names, folder: str) -> Layers:
    """The layers of the images, in the order of the names; zeros for what can't be read."""
    order: list[str] = []

    def readable() -> Iterator[tuple[Any, bytes]]:
        for image in find_images(names.images, places_of(config), encoder.short_side):
            if not isinstance(image.pixels, str):
                order.append(image.reference)
                yield image.pixels, image.name

    found = image_layers(encoder, readable(), folder)
    place_of = {name: number for number, name in enumerate(names.images)}
    places = [place_of[name] for name in order]
    tokens = np.zeros((len(names.images), *found.tokens.shape[1:]), np.float16)
    mask = np.ones((len(names.images), found.mask.shape[1]), bool)
    tokens[places], mask[places] = found.tokens, found.mask
    return Layers(tokens, mask)


def places_of(config: RewardConfig) -> ImagePlaces:
    """Where the images of a configuration are."""
    place = config.images
    pool, folder = (None if p is None else config.resolve(p) for p in (place.pool, place.folder))
    pickapic = tuple(
        config.resolve(entry.path) for entry in config.preferences if entry.format == "pickapic"
    )
    return ImagePlaces(pool, folder, pickapic)


def _stored(config: RewardConfig, encoder: Encoder, names: Sequence[str]) -> Vectors:
    """Those of a build's column. Raises RecipeError when it has none, or another encoder's."""
    column = str(config.images.column)
    record = _record(config, column)
    vectors = np.zeros((len(names), encoder.dimension), np.float32)
    place_of = {name: number for number, name in enumerate(names)}
    missing = dict.fromkeys(names)
    for shard in record.pool.shards:
        keys = [key.hex() for key in read_base(record.pool.root, shard, ["key"])["key"].to_pylist()]
        if not missing.keys() & set(keys):
            continue
        stored = record.columns[column].read(shard, [column])[column]
        if not pa.types.is_list(stored.type):
            message = f"images.column: {column!r} holds {stored.type}, not vectors"
            raise config.error(message, "images", "column")
        values = stored.to_pylist()
        for key, value in zip(keys, values, strict=True):
            if value is not None and missing.pop(key, ...) is None:
                if len(value) != encoder.dimension:
                    raise _other(config, f"of {len(value)} numbers, not {encoder.dimension}")
                vectors[place_of[key]] = value
    _check(config, encoder, names, (vectors, missing))
    return vectors, dict.fromkeys(missing, f"no value in {column}")


def _record(config: RewardConfig, column: str) -> BuildRecord:
    root = None if config.images.pool is None else config.resolve(config.images.pool)
    if root is None or not storage.exists(storage.join(root, FILE)):
        message = "images.column: `pool` must be the output directory of a build"
        raise config.error(message, "images", "column")
    record = open_record(root)
    if column not in record.columns:
        known = ", ".join(sorted(record.columns))
        message = f"images.column: the build has no column {column!r}; it has {known}"
        raise config.error(message, "images", "column")
    return record


def _check(
    config: RewardConfig,
    encoder: Encoder,
    names: Sequence[str],
    found: tuple[Floats, dict[str, None]],
) -> None:
    """Compute some of the vectors again. Raises RecipeError when they are of another encoder."""
    vectors, missing = found
    there = [n for n, name in enumerate(names) if name not in missing][:_CHECKED]
    if not there:
        raise CurationError(f"{config.images.column}: none of {len(names)} images has a vector")
    chosen = {names[n]: n for n in there}
    for image in find_images([*chosen], places_of(config), encoder.short_side):
        if not isinstance(image.pixels, str):
            own = encoder.images([image.pixels])[0]
            cosine = float(own @ vectors[chosen[image.reference]])
            if cosine < _ALIKE:
                raise _other(config, f"of another encoder: a cosine of {cosine:.3f} to its own")


def _other(config: RewardConfig, what: str) -> Exception:
    return config.error(
        f"images.column: {config.images.column!r} holds vectors {what}; name the encoder that"
        " wrote it under `encoder:`",
        *("images", "column"),
    )
