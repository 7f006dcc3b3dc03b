"""Small pictures of rows, inlined: nothing in a report has to be fetched from anywhere."""

import base64
from collections.abc import Iterable, Mapping

import numpy as np

from pipeline import decoding, encoding, storage
from pipeline.pool import tar_path
from pipeline.report_html import short
from pipeline.report_sample import Sample
from pipeline.shards import read_shard

DATA = "data:"
_SIDE, _QUALITY = 160, 70
_EXTENSIONS = frozenset(decoding.EXTENSIONS.values())


def pictures(root: str, sample: Sample, rows: Iterable[int]) -> dict[int, str]:
    """For each row a `data:` address of a small JPEG, or in words why there is none."""
    wanted: dict[int, dict[str, int]] = {}
    told: dict[int, str] = {}
    chosen = np.array(sorted(set(rows)), np.int64)
    fields = ("key", "extension", "failed")
    for row, shard, key, extension, failed in zip(
        chosen.tolist(),
        sample.shard[chosen].tolist(),
        *(sample.values(name, chosen) for name in fields),
        strict=True,
    ):
        if extension is None:
            told[row] = f"no image: {failed}" if failed else "no image is stored"
        else:
            wanted.setdefault(shard, {})[key.hex()] = row
    for shard, keys in wanted.items():
        told |= _of_tar(tar_path(root, sample.shards[shard].name), keys)
    return told


def _of_tar(path: str, keys: Mapping[str, int]) -> dict[int, str]:
    found = dict.fromkeys(keys.values(), "the pool no longer holds this image")
    left = set(keys)
    if not storage.exists(path):
        return found
    for stored in read_shard(path):
        if stored.key in left:
            left.remove(stored.key)
            image = [data for name, data in stored.parts.items() if name in _EXTENSIONS]
            found[keys[stored.key]] = thumbnail(image[0]) if image else "no image is stored"
        if not left:
            break
    return found


def thumbnail(data: bytes) -> str:
    """A small JPEG as a `data:` address, or why the image has no pixels."""
    try:
        pixels = encoding.resize(decoding.decode(data, at_least=_SIDE), _SIDE)
        jpeg = encoding.encode(pixels, "jpg", _QUALITY)
    except decoding.Unreadable as error:
        return short(f"cannot be decoded: {error}", 120)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
