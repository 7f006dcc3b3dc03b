"""The images that preferences refer to: samples of a pool, files of a folder, or Pick-a-Pic's.

A reference that is nowhere is refused before anything is trained; an image that can't be read
costs its own comparisons.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline import storage
from pipeline.decoding import decode
from pipeline.errors import CurationError, RecipeError
from pipeline.pool import Pool, open_pool, read_base, tar_path
from pipeline.record import FILE, open_record
from pipeline.reward.pickapic import read_images
from pipeline.shards import read_shard
from pipeline.unreadable import Unreadable

Pixels = npt.NDArray[np.uint8]
_SHOWN = 5


@dataclass(frozen=True)
class ImagePlaces:
    """Where to look: a pool, a folder, patterns of Pick-a-Pic files."""

    pool: str | None
    folder: str | None
    pickapic: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundImage:
    """An image and the digest of its bytes; `pixels` is the reason why it can't be read, if so."""

    reference: str
    name: bytes
    pixels: Pixels | str


def pool_at(path: str) -> Pool:
    """The pool in a folder, or that of the build there. Raises CurationError."""
    if storage.exists(storage.join(path, FILE)):
        return open_record(path).pool
    made = open_pool(path)
    if made is None:
        raise CurationError(f"{path}: there is neither a pool nor a build here")
    return made


def find_images(
    references: Sequence[str], places: ImagePlaces, at_least: int | None
) -> Iterator[FoundImage]:
    """The images in the order in which they are stored, each once.

    Raises RecipeError with the references that are nowhere.
    """
    missing = dict.fromkeys(references)
    for reference, data in _stored(missing, places):
        if reference in missing:
            del missing[reference]
            name = hashlib.sha256(data).digest()
            try:
                yield FoundImage(reference, name, decode(data, at_least))
            except Unreadable as error:
                yield FoundImage(reference, name, str(error))
    if missing:
        shown = ", ".join(map(repr, [*missing][:_SHOWN]))
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise RecipeError(
            f"images that the preferences refer to are not there: {shown}{more}; say where they"
            " are under `images:`, as `pool:` or `folder:`"
        )


def _stored(wanted: Mapping[str, None], places: ImagePlaces) -> Iterator[tuple[str, bytes]]:
    for pattern in places.pickapic:
        yield from read_images(pattern)
    if places.pool is not None:
        yield from read_samples(pool_at(places.pool), frozenset(wanted))
    if places.folder is not None:
        yield from _in_folder([*wanted], places.folder)


def read_samples(made: Pool, wanted: frozenset[str]) -> Iterator[tuple[str, bytes]]:
    """(key, image bytes) of the samples of a pool with these keys, in its order."""
    for shard in made.shards:
        base = read_base(made.root, shard, ["key", "extension"])
        keys, extensions = (base[name].to_pylist() for name in ("key", "extension"))
        asked = {
            key.hex(): extension
            for key, extension in zip(keys, extensions, strict=True)
            if extension is not None and key.hex() in wanted
        }
        samples = read_shard(tar_path(made.root, shard.name)) if asked else ()
        for sample in samples:
            if asked.get(sample.key) in sample.parts:
                yield sample.key, sample.parts[asked[sample.key]]


def _in_folder(wanted: Sequence[str], folder: str) -> Iterator[tuple[str, bytes]]:
    """Files below the folder; a reference that leads out of it is as good as not there."""
    root = os.path.realpath(folder)
    for reference in wanted:
        if "\0" in reference:
            continue
        path = os.path.realpath(os.path.join(root, reference))
        if os.path.commonpath([root, path]) == root and os.path.isfile(path):
            yield reference, storage.read_bytes(path)
