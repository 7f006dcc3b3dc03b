"""Files of reward heads, written by hand."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from filters import embedded


def meta(**changes: Any) -> dict[str, Any]:
    return {
        "format": 1,
        "blocks": ["image", "text", "product", "difference"],
        "criteria": {"preference": 1.0},
        "dimension": 2,
        "encoder": "toy",
        "encoder_digest": "d" * 64,
        **changes,
    }


def linear(**changes: Any) -> dict[str, np.ndarray]:
    """Over two numbers: 1 v0 + 2 t1 + 3 v0 t0 + 4 |v1 - t1| + 0.5 + 10 v.t"""
    arrays = {
        "out": np.array([[1, 0, 0, 2, 3, 0, 0, 4]], np.float32),
        "bias": np.array([0.5], np.float32),
        "cosine": np.array([10], np.float32),
    }
    return {name: array for name, array in (arrays | changes).items() if array is not None}


def write(path: Path, arrays: dict[str, np.ndarray] | None = None, **changes: Any) -> str:
    text = {"reward": json.dumps(meta(**changes))}
    save_file(linear() if arrays is None else arrays, path, text)
    return str(path)


def write_embedded(
    path: Path,
    criteria: dict[str, float] | None = None,
    more: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> str:
    """A head that is ten times the cosine of the embedded encoder, for every criterion."""
    criteria = criteria or {"preference": 1.0}
    size, count = embedded.dimension(), len(criteria)
    arrays = {
        "out": np.zeros((count, size), np.float32),
        "bias": np.zeros(count, np.float32),
        "cosine": np.full(count, 10, np.float32),
        **more,
    }
    return write(
        path,
        arrays,
        blocks=["product"],
        criteria=criteria,
        dimension=size,
        encoder="embedded",
        encoder_digest=embedded.weights_digest(),
    )
