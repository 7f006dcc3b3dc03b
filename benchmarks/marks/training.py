"""Trains the head on rows, and calibrates what it says on others. The same rows, the same head."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.marks.material import Row
from filters import logistic, marks_head
from filters.threads import one_thread

EPOCHS = 8
_BATCH = 16
_RATE, _DECAY = 2e-3, 0.02
_OF_CELLS = 1.0  # weight of the cells' loss beside the pictures'
_MARKED_CELL = 3.0  # weight of a cell with a mark: they are few
_SMOOTHED = 0.02  # labels are .02 and .98: some marks can't be seen
Weights = dict[str, torch.Tensor]


def trained(rows: Sequence[Row], epochs: int = EPOCHS, seed: int = 0) -> Weights:
    """The weights after `epochs` rounds over the rows, calibrated by nothing yet."""
    with one_thread():
        weights = _begun(rows, seed)
        fixed = {name for name in weights if name.endswith((".mean", ".deviation"))}
        learnt = [w.requires_grad_() for n, w in weights.items() if n not in fixed]
        optimizer = torch.optim.AdamW(learnt, _RATE, weight_decay=_DECAY)
        batches = [list(_batches(rows, seed + epoch)) for epoch in range(epochs)]
        count = sum(map(len, batches))
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, count, pct_start=0.15)
        for places in (batch for epoch in batches for batch in epoch):
            loss = _loss(weights, [rows[place] for place in places])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(learnt, 1.0)
            optimizer.step()
            schedule.step()
    found = {name: value.detach() for name, value in weights.items()}
    return {**found, "calibration": torch.tensor([[1.0, 0.0]] * 2)}


def answers(weights: Weights, rows: Sequence[Row]) -> npt.NDArray[np.float64]:
    """Logits [n, 2] of the rows, without calibration."""
    with torch.inference_mode(), one_thread():
        found = [marks_head.logits(weights, *_maps([row]))[0][0] for row in rows]
    return torch.stack(found).double().numpy()


def calibrated(weights: Weights, rows: Sequence[Row]) -> Weights:
    """The weights with slopes and intercepts (Platt scaling) that suit these rows best."""
    said, labels = answers(weights, rows), np.array([row.is_marked for row in rows])
    fits = [logistic.fit(said[:, [kind]], labels[:, kind], 1e-3) for kind in range(2)]
    lines = np.stack([fit.coefficients[::-1] for fit in fits])
    return {**weights, "calibration": torch.from_numpy(lines).float()}


def likelihoods(weights: Weights, said: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What calibration makes of logits."""
    slope, shift = weights["calibration"].double().numpy().T
    return logistic.probability(said * slope + shift)


def ship(weights: Weights, path: Path) -> str:
    """Write a head in half precision; tells its size and digest."""
    from safetensors.torch import save

    exact = ("calibration",)
    halves = {n: w.float() if n in exact else w.half() for n, w in sorted(weights.items())}
    content = save({name: value.contiguous() for name, value in halves.items()})
    path.write_bytes(content)
    return f"{path}: {len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()}"


def _begun(rows: Sequence[Row], seed: int) -> Weights:
    """Random weights, and the mean and deviation of each channel over every fourth row."""
    dice = torch.Generator().manual_seed(seed)
    weights: Weights = {}
    for name, shape in marks_head.SHAPES.items():
        if name.endswith(".weight"):
            width = int(np.prod(shape[1:]))
            weights[name] = torch.randn(shape, generator=dice) * (2 / width) ** 0.5
        elif name.endswith(".bias"):
            weights[name] = torch.zeros(shape)
    weights["map.bias"] -= 3  # few cells carry a mark
    for name in ("far", "farther", "out", "map"):  # begin as if they were not there
        weights[f"{name}.weight"] *= 0.3
    for name in ("strokes", "parts"):
        each = [getattr(row, name).astype(np.float64) for row in rows[::4]]
        mean = np.mean([m.mean(axis=(1, 2)) for m in each], axis=0)
        square = np.mean([(m**2).mean(axis=(1, 2)) for m in each], axis=0)
        deviation = np.sqrt(square - mean**2) + 1e-3
        weights[f"{name}.mean"] = torch.from_numpy(mean).float()
        weights[f"{name}.deviation"] = torch.from_numpy(deviation).float()
    return weights


def _batches(rows: Sequence[Row], seed: int) -> Iterator[list[int]]:
    """Places of rows of one size, in batches in any order."""
    dice = np.random.default_rng(seed)
    by_size: dict[tuple[int, ...], list[int]] = {}
    for place in dice.permutation(len(rows)):
        by_size.setdefault(rows[place].parts.shape, []).append(int(place))
    batches = [
        places[start : start + _BATCH]
        for _, places in sorted(by_size.items())
        for start in range(0, len(places), _BATCH)
    ]
    for place in dice.permutation(len(batches)):
        yield batches[place]


def _maps(rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    strokes, parts = (np.stack([getattr(r, name) for r in rows]) for name in ("strokes", "parts"))
    return torch.from_numpy(strokes).float(), torch.from_numpy(parts).float()


def _loss(weights: Weights, rows: Sequence[Row]) -> torch.Tensor:
    found, cells = marks_head.logits(weights, *_maps(rows))
    labels = torch.from_numpy(np.stack([row.is_marked for row in rows])).float()
    smooth = labels * (1 - 2 * _SMOOTHED) + _SMOOTHED
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    where = torch.from_numpy(np.stack([row.cells for row in rows])).float()
    of_cells = entropy(cells, where, weight=1 + (_MARKED_CELL - 1) * where)
    return entropy(found, smooth) + _OF_CELLS * of_cells
