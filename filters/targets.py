"""Named sets of target embeddings in files: read once, known by their content.

Parquet, npz, npy and safetensors. Refuses a set that its file, or the name of it, calls an
evaluation split: selecting by what a model will be tested on makes the test worthless.
"""

import os
import re
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from filters import vectors
from filters.vectors import Doubles, Halves

FORMATS = (".parquet", ".npz", ".npy", ".safetensors")
TRAIN = ("train", "training")
_EVALUATION = frozenset(
    ("dev", "eval", "evaluation", "test", "testing", "val", "valid", "validation")
)
_SAID = "split"  # the column, array or entry of metadata by which a file says its split
_AT_ONCE = 1024
_STEP = 2.0**-27  # with the 2^-24 of unit vectors, products are exact in a double


class Targets(NamedTuple):
    """The file of a set and the column or array in it; "" for the only one of vectors."""

    path: str
    column: str = ""


def check(targets: Targets) -> None:
    """Raise ValueError for all that can be wrong with a set but its numbers."""
    path = targets.path
    if not os.path.isabs(path) or not os.path.isfile(path):
        raise ValueError(f"targets {path!r}: there is no such file; give its whole path")
    if not path.endswith(FORMATS):
        raise ValueError(f"targets {path!r}: must be one of {', '.join(FORMATS)}")
    _refuse_evaluation(path, os.path.basename(path))
    _refuse_evaluation(path, targets.column)
    for said in _splits(path):
        if said.lower() not in TRAIN:
            raise ValueError(f"targets {path!r} say of themselves that they are of split {said!r}")


def _refuse_evaluation(path: str, name: str) -> None:
    words = re.split(r"[^a-z]+", name.lower())
    found = sorted(_EVALUATION.intersection(words))
    if found:
        raise ValueError(
            f"targets {path!r}: {name!r} names an evaluation split ({found[0]}); take the train"
            " split, or selecting by it will flatter what is measured on it"
        )


def _splits(path: str) -> list[str]:
    """What a file says about its split, if it does."""
    try:
        if path.endswith(".parquet"):
            return _splits_of_parquet(path)
        if path.endswith(".npz"):
            with np.load(path, allow_pickle=False) as arrays:
                return np.unique(arrays[_SAID]).astype(str).tolist() if _SAID in arrays else []
        if path.endswith(".safetensors"):
            from safetensors import safe_open

            with safe_open(path, "numpy") as file:
                metadata = file.metadata() or {}
            return [metadata[_SAID]] if _SAID in metadata else []
    except Exception as error:
        raise ValueError(f"targets {path!r} can't be read: {error}") from error
    return []


def _splits_of_parquet(path: str) -> list[str]:
    schema = pq.read_schema(path)
    metadata = schema.metadata or {}
    found = [metadata[_SAID.encode()].decode()] if _SAID.encode() in metadata else []
    if _SAID in schema.names:
        found += [str(value) for value in pq.read_table(path, columns=[_SAID])[_SAID].unique()]
    return found


def read(targets: Targets) -> Halves:
    """The vectors [n, d], as half floats. Raises ValueError when there are none."""
    status = os.stat(targets.path)
    return _read(targets, status.st_size, status.st_mtime_ns)


def gram(targets: Targets) -> tuple[Doubles, int]:
    """`V.T @ V / n` of the unit vectors, as multiples of 2^-27, and their number n.

    Folded onto its upper triangle: twice the numbers above the diagonal, none below.
    """
    status = os.stat(targets.path)
    return _gram(targets, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _read(targets: Targets, _size: int, _modified_ns: int) -> Halves:
    path = targets.path
    try:
        found = _parquet(targets) if path.endswith(".parquet") else _array(targets)
    except Exception as error:
        raise ValueError(f"targets {path!r} can't be read: {error}") from error
    if found.ndim != 2 or not found.size or found.dtype.kind != "f":
        what = f"{found.dtype} of shape {found.shape}"
        raise ValueError(f"targets {path!r}: expected vectors [n, d] of floats, found {what}")
    halves: Halves = found.astype(np.float16)
    halves.flags.writeable = False
    return halves


@lru_cache(maxsize=4)
def _gram(targets: Targets, size: int, modified_ns: int) -> tuple[Doubles, int]:
    rows = _read(targets, size, modified_ns)
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), _AT_ONCE):
        some = vectors.unit(rows[start : start + _AT_ONCE])
        total += some.T @ some
    vectors.on_grid(np.divide(total, len(rows) * _STEP, out=total), _STEP)
    folded = np.triu(total) + np.triu(total, 1)
    folded.flags.writeable = False
    return folded, len(rows)


def _parquet(targets: Targets) -> npt.NDArray[Any]:
    schema = pq.read_schema(targets.path)
    lists = [f.name for f in schema if _is_vectors(f.type)]
    name = targets.column or _only(lists)
    return vectors.column(pq.read_table(targets.path, columns=[name]), name)


def _is_vectors(kind: pa.DataType) -> bool:
    is_list = any(test(kind) for test in (pa.types.is_list, pa.types.is_large_list))
    return is_list and pa.types.is_floating(kind.value_type)


def _array(targets: Targets) -> npt.NDArray[Any]:
    path = targets.path
    if path.endswith(".npy"):
        return np.asarray(np.load(path, allow_pickle=False))
    if path.endswith(".npz"):
        with np.load(path, allow_pickle=False) as arrays:
            name = targets.column or _only([key for key in arrays if key != _SAID])
            return np.asarray(arrays[name])
    from safetensors.numpy import load_file

    tensors = load_file(path)
    return np.asarray(tensors[targets.column or _only(sorted(tensors))])


def _only(names: list[str]) -> str:
    if len(names) != 1:
        listed = ", ".join(names) or "none"
        raise ValueError(f"name its `column`: of vectors it holds {listed}")
    return names[0]
