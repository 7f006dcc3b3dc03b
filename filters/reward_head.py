"""Reward heads: small networks over the vectors of an image and a text, read and run.

A head is one safetensors file. It says which encoder its vectors come from, and it is refused when
it is damaged, of another format or of another length of vectors.
"""

import functools
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from filters import reward_side, reward_tokens

Floats = npt.NDArray[np.float32]

SHIPPED = "shipped"
_SHIPPED_FILE = Path(__file__).with_name("reward_embedded.safetensors")
_SHIPPED_DIGEST = "63188d471740526ffe58468462843234984103c4814f3d5ed9c8d2b389d6c268"
BLOCKS = ("image", "text", "product", "difference")
"""What a head may look at: v, t, v * t and |v - t|."""
_META = "reward"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")  # a column is called after it
_FORMAT = 1
# One shape for every product, so that a value never depends on its companions.
_ROWS = 256
_TILE = 16


@dataclass(frozen=True)
class Head:
    """A head as stored: `weights` holds the arrays by name, `meta` what the training said.

    Scores are `out @ relu(hidden @ x + hidden_bias) + bias + cosine * (v . t)`, or, without hidden
    units, `out @ x + ...`, for x the concatenation of `blocks`. One score for each criterion. With
    side networks v and t are what `reward_side.beside` makes of the encoder's. With `parts` x is
    what `reward_tokens` says of the pair.
    """

    blocks: tuple[str, ...]
    criteria: tuple[str, ...]
    shares: tuple[float, ...]
    dimension: int
    encoder: str
    encoder_digest: str
    meta: Mapping[str, Any]
    weights: Mapping[str, Floats]
    parts: tuple[int, ...] = ()

    @property
    def is_tokenwise(self) -> bool:
        """Whether it looks at words and patches, and not at vectors alone."""
        return bool(self.parts)

    @property
    def others(self) -> reward_tokens.Others:
        """What a pair is compared with, of a tokenwise head."""
        return reward_tokens.Others(self.weights["others.texts"], self.weights["others.words"])

    @property
    def has_side(self) -> bool:
        """Whether it looks at the encoder's own layers, and not at its vectors alone."""
        return bool(reward_side.arrays_of(self.weights))

    @property
    def looks_inside(self) -> bool:
        """Whether it looks at more of the encoder than its vectors."""
        return self.is_tokenwise or self.has_side

    def scores(self, images: Floats, texts: Floats, found: Floats | None = None) -> Floats:
        """Scores [n, criteria] of unit vectors [n, d]; log odds: only differences mean something.

        A tokenwise head needs `found` [n, 4] beside them, as `reward_tokens.tokens_of` gives it.
        Raises ValueError when the vectors are of another length.
        """
        for vectors in (images, texts):
            if len(vectors) and vectors.shape[1] != self.dimension:
                raise ValueError(
                    f"vectors of {vectors.shape[1]} numbers, but the reward's weights were trained"
                    f" on {self.dimension} (encoder {self.encoder!r})"
                )
        count = len(images)
        scores = np.empty((count, len(self.criteria)), np.float32)
        for start in range(0, count, _ROWS):
            rows = slice(start, min(start + _ROWS, count))
            size = rows.stop - rows.start
            own = None if found is None else _padded(found[rows])
            scores[rows] = self._block(_padded(images[rows]), _padded(texts[rows]), own)[:size]
        return scores

    def rewards(self, scores: Floats) -> Floats:
        """The reward [n]: the mean of the criteria's scores by their weights."""
        shares = np.array(self.shares, np.float32)
        rewards: Floats = (scores * (shares / shares.sum())).sum(axis=1, dtype=np.float32)
        return rewards

    def _block(self, v: Floats, t: Floats, tokens: Floats | None) -> Floats:
        product = v * t
        seen = self._seen(v, t, product, tokens)
        if "hidden" in self.weights:
            seen = np.maximum(self._hidden(seen) + self.weights["hidden_bias"], 0)
        cosines = product.sum(axis=1, keepdims=True)
        total = np.stack([(seen * row).sum(axis=1) for row in self.weights["out"]], axis=1)
        found: Floats = total + self.weights["bias"] + cosines * self.weights["cosine"]
        return found

    def _seen(self, v: Floats, t: Floats, product: Floats, tokens: Floats | None) -> Floats:
        """What the first layer looks at."""
        if self.is_tokenwise:
            if tokens is None:
                raise ValueError("a tokenwise head needs what words and patches find")
            own = reward_tokens.of_vectors(v, t, self.others.texts, self.parts)
            return np.concatenate([own, tokens], axis=1)
        known = {"image": v, "text": t, "product": product}
        if "difference" in self.blocks:
            known["difference"] = np.abs(v - t)
        return np.concatenate([known[name] for name in self.blocks], axis=1)

    def _hidden(self, seen: Floats) -> Floats:
        """The product with the first layer."""
        # OpenBLAS, which numpy has, rounds a row by its place among the others (0.3.31, AVX-512).
        import torch

        product = torch.from_numpy(seen) @ torch.from_numpy(self.weights["hidden"]).T
        found: Floats = product.numpy()
        return found


def _padded(rows: Floats) -> Floats:
    if len(rows) == _ROWS:
        return rows
    full = np.zeros((_ROWS, rows.shape[1]), np.float32)
    full[: len(rows)] = rows
    return full


def head_path(weights: str) -> Path:
    """The file that `weights` names. Raises ValueError when there is none."""
    path = _SHIPPED_FILE if weights == SHIPPED else Path(os.path.expanduser(weights))
    if not path.is_file():
        what = "no head comes with this version" if weights == SHIPPED else "there is no such file"
        raise ValueError(f"weights {weights!r}: {what}; `pairmill reward train` makes one")
    return path


def head_digest(weights: str) -> str:
    """SHA-256 of the file."""
    return hashlib.sha256(head_path(weights).read_bytes()).hexdigest()


def read_head(weights: str) -> Head:
    """The head in a file. Raises ValueError when it is none that this version can run."""
    path = head_path(weights)
    stat = path.stat()
    return _read(str(path), (stat.st_mtime_ns, stat.st_size))


@functools.lru_cache(maxsize=8)
def _read(path: str, _stamp: tuple[int, int]) -> Head:
    from safetensors import SafetensorError, safe_open

    if path == str(_SHIPPED_FILE):
        found = head_digest(SHIPPED)
        if found != _SHIPPED_DIGEST:
            raise ValueError(f"{path}: sha256 is {found}, pinned is {_SHIPPED_DIGEST}")
    try:
        with safe_open(path, framework="numpy") as stored:
            text = (stored.metadata() or {}).get(_META)
            arrays = {name: stored.get_tensor(name) for name in sorted(stored.keys())}
    except SafetensorError as error:
        raise ValueError(f"{path}: is no safetensors file: {error}") from error
    return _checked(path, text, arrays)


def _checked(path: str, text: str | None, arrays: Mapping[str, npt.NDArray[Any]]) -> Head:
    """The head of what a file holds, every array of the shape that the others call for."""
    if text is None:
        raise ValueError(f"{path}: holds no reward head: it has no `{_META}` metadata")
    try:
        meta = json.loads(text)
        if meta["format"] != _FORMAT:
            raise ValueError(f"format {meta['format']!r}, known is {_FORMAT}")
        head = Head(
            blocks=tuple(meta["blocks"]),
            criteria=tuple(str(name) for name in meta["criteria"]),
            shares=tuple(float(share) for share in meta["criteria"].values()),
            dimension=int(meta["dimension"]),
            encoder=str(meta["encoder"]),
            encoder_digest=str(meta["encoder_digest"]),
            meta=meta,
            weights={name: array.astype(np.float32) for name, array in arrays.items()},
            parts=tuple(int(size) for size in meta.get("parts", ())),
        )
        problem = _problem(head)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: holds no reward head: {error}") from error
    if problem is not None:
        raise ValueError(f"{path}: holds no reward head that works: {problem}")
    return _widened(head)


def _widened(head: Head) -> Head:
    """The same head with units that do nothing, up to a whole number of tiles of a product."""
    weights = dict(head.weights)
    if "hidden" in weights:
        more = -len(weights["hidden"]) % _TILE
        weights["hidden"] = np.pad(weights["hidden"], ((0, more), (0, 0)))
        weights["hidden_bias"] = np.pad(weights["hidden_bias"], (0, more))
        weights["out"] = np.pad(weights["out"], ((0, 0), (0, more)))
    return replace(head, weights=weights)


def _problem(head: Head) -> str | None:
    """What of a head does not fit together, if anything."""
    unknown = set(head.blocks) - set(BLOCKS)
    if unknown or bool(head.blocks) == head.is_tokenwise:
        return f"blocks {', '.join(map(repr, head.blocks))}, known are {', '.join(BLOCKS)}"
    inputs, outputs = _inputs(head), len(head.criteria)
    if not all(_NAME.fullmatch(name) for name in head.criteria):
        return "criteria are names of lower-case letters, digits and `_`"
    if not outputs or not all(0 < share < np.inf for share in head.shares):
        return "the weights of its criteria must be numbers above 0"
    shapes: dict[str, tuple[int, ...]] = {"bias": (outputs,), "cosine": (outputs,)}
    if "hidden" in head.weights:
        units = len(head.weights["hidden"])
        shapes |= {"hidden": (units, inputs), "hidden_bias": (units,), "out": (outputs, units)}
    else:
        shapes["out"] = (outputs, inputs)
    beside = reward_side.arrays_of(head.weights)
    others = {n: a for n, a in head.weights.items() if head.is_tokenwise and n[:7] == "others."}
    if set(head.weights) - set(beside) - set(others) != set(shapes):
        return f"arrays {', '.join(sorted(head.weights))}, wanted {', '.join(sorted(shapes))}"
    if beside and (problem := reward_side.problem(beside, head.dimension)):
        return problem
    if head.is_tokenwise and (problem := reward_tokens.problem(others, head.parts, head.dimension)):
        return problem
    for name, shape in shapes.items():
        if head.weights[name].shape != shape:
            return f"{name} has the shape {head.weights[name].shape}, wanted {shape}"
        if not np.isfinite(head.weights[name]).all():
            return f"{name} holds NaN or infinity"
    return None


def _inputs(head: Head) -> int:
    """How many numbers the first layer looks at."""
    if head.is_tokenwise:
        return len(head.parts) + reward_tokens.OF_VECTORS + reward_tokens.OF_TOKENS
    return head.dimension * len(head.blocks)
