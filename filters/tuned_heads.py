"""The embedded encoder under other heads than those it ships: the backbones stay as they are.

`pairmill filter train` writes such a file. One that is damaged, or whose arrays have other names
or shapes than the shipped heads, is refused.
"""

import functools
import hashlib
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from filters import embedded

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

_ALONE = ("image.mean", "image.deviation", "classes", "share")  # all heads have these in common


def encode_images(weights: str, images: list[Pixels]) -> Floats:
    """One unit vector [d] per picture, in order, whatever its companions."""
    heads = read(weights)
    # One row at a time: a product of matrices may round a row by its place among the others.
    features, logits = embedded.image_features(images)
    rows = [
        embedded.embed_features(features[n : n + 1], logits[n : n + 1], heads)
        for n in range(len(images))
    ]
    return np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)


def encode_texts(weights: str, texts: list[str]) -> Floats:
    """One unit vector [d] per text, in order."""
    heads = read(weights)
    rows = [embedded.embed_sentences(embedded.sentence_features([text]), heads) for text in texts]
    return np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)


def digest(weights: str) -> str:
    """SHA-256 over everything the vectors depend on: the heads file and the pinned backbones."""
    own = hashlib.sha256(_path(weights).read_bytes()).hexdigest()
    return hashlib.sha256("\n".join([own, *embedded.BACKBONES.values()]).encode()).hexdigest()


def read(weights: str) -> dict[str, Floats]:
    """The heads in a file. Raises ValueError when it holds none that this version can run."""
    path = _path(weights)
    status = path.stat()
    return _read(path, (status.st_mtime_ns, status.st_size))


def _path(weights: str) -> Path:
    path = Path(os.path.expanduser(weights))
    if not path.is_file():
        raise ValueError(
            f"weights {weights!r}: there is no such file; `pairmill filter train` makes one"
        )
    return path


@functools.lru_cache(maxsize=4)
def _read(path: Path, _stamp: tuple[int, int]) -> dict[str, Floats]:
    from safetensors import SafetensorError

    try:
        heads = embedded.read_heads(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: is no safetensors file: {error}") from error
    wrong = _what_is_wrong(heads, embedded.read_heads())
    if wrong is not None:
        raise ValueError(f"{path}: holds no heads of the embedded encoder: {wrong}")
    return heads


def _what_is_wrong(heads: dict[str, Floats], shipped: dict[str, Floats]) -> str | None:
    for name in sorted({*heads} ^ {*shipped}):
        return f"{name} is {'no part of them' if name in heads else 'missing'}"
    for name, array in sorted(heads.items()):
        wanted = shipped[name].shape
        # Heads of one shape beside each other: of any number, as many of each array.
        if name not in _ALONE:
            wanted = (len(heads["text.bias"]), *wanted[1:])
        if array.shape != wanted:
            return f"{name} has the shape {array.shape}, wanted {wanted}"
        if not np.isfinite(array).all():
            return f"{name} holds NaN or infinity"
    return None
