"""Trains a head: AdamW on one thread, stopped early, with a checkpoint after every epoch.

What an epoch does depends on the seed and its number alone, so that a training that was killed
and begun again ends with the same bytes.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from pipeline import storage
from pipeline.reward.config import HeadOptions, TrainingOptions
from pipeline.reward.heads import RewardHead
from pipeline.reward.losses import davidson
from pipeline.reward.table import Table

_LOG = logging.getLogger(__name__)
_EVALUATED = 4096  # comparisons scored at once
_SCALES = np.geomspace(0.5, 200, 53)
State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Progress:
    """A training after some epochs: `history` holds both losses before the first, and after each.

    The losses are of training (with dropout, while it learns) and of validation.
    """

    history: tuple[tuple[float, float], ...]
    model: State
    best: State
    moments: State

    def is_over(self, options: TrainingOptions) -> bool:
        epochs = len(self.history) - 1
        return epochs >= options.epochs or epochs - self.best_epoch > options.patience

    @property
    def best_epoch(self) -> int:
        """The number, from 1, of the epoch with the lowest loss on validation; 0: the start."""
        losses = [loss for _, loss in self.history]
        return losses.index(min(losses))


@dataclass(frozen=True)
class Run:
    """A training: its data, its options, the file of its checkpoint, and what it is named by."""

    train: Table
    validation: Table
    head: HeadOptions
    options: TrainingOptions
    ties: tuple[bool, ...]
    checkpoint: str
    digest: str


def train(run: Run, after_epoch: Callable[[int], None] | None = None) -> Progress:
    """The finished training; what the checkpoint holds is not done again."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            return _train(run, after_epoch or (lambda _: None))
    finally:
        torch.set_num_threads(threads)


def _train(run: Run, after_epoch: Callable[[int], None]) -> Progress:
    torch.manual_seed(run.options.seed)
    head = RewardHead(run.head, run.train.images.shape[1], run.ties)
    optimiser = _optimiser(head, run.options)
    progress = _read(run)
    if progress is None:
        progress = _start(head, run)
    else:
        head.load_state_dict(progress.model)
        _restore(optimiser, progress.moments)
    while not progress.is_over(run.options):
        epoch = len(progress.history)
        learnt = _epoch(head, optimiser, run, epoch)
        held_out = loss_of(head, run.validation, run.options.across)
        history = (*progress.history, (learnt, held_out))
        model = _copied(head)
        is_best = held_out < min(loss for _, loss in progress.history)
        best = model if is_best else progress.best
        progress = Progress(history, model, best, _moments(optimiser))
        _write(run, progress)
        _LOG.info("epoch %d: loss %.4f, validation %.4f", epoch, learnt, held_out)
        after_epoch(epoch)
    return progress


def _start(head: RewardHead, run: Run) -> Progress:
    if head.has_cosine:
        with torch.no_grad():
            head.cosine.copy_(torch.from_numpy(_cosine_scales(run.validation)))
    losses = [loss_of(head, part, run.options.across) for part in (run.train, run.validation)]
    return Progress(((losses[0], losses[1]),), _copied(head), _copied(head), {})


def _cosine_scales(table: Table) -> npt.NDArray[np.float32]:
    """For each criterion the multiple of the cosine that explains held-out comparisons best.

    So what is learnt has to beat the cosine, not merely its scale. Ties are passed over.
    """
    better, worse = table.cosines()
    found = np.full(len(table.criteria), _SCALES[len(_SCALES) // 2], np.float32)
    for number in range(len(table.criteria)):
        rows = (table.criterion == number) & ~table.is_tie
        if rows.any():
            margins = np.outer(_SCALES, (better - worse)[rows].astype(np.float64))
            losses = np.logaddexp(0, -margins) @ table.weight[rows]
            found[number] = _SCALES[int(losses.argmin())]
    return found


def _copied(head: RewardHead) -> State:
    return {name: tensor.clone() for name, tensor in head.state_dict().items()}


def _optimiser(head: RewardHead, options: TrainingOptions) -> torch.optim.AdamW:
    matrices = [p for p in head.parameters() if p.requires_grad and p.ndim == 2]
    others = [p for p in head.parameters() if p.requires_grad and p.ndim != 2]
    groups = [
        {"params": matrices, "weight_decay": options.decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.rate)


def _epoch(head: RewardHead, optimiser: torch.optim.AdamW, run: Run, epoch: int) -> float:
    """One pass over the comparisons; the mean of their losses."""
    torch.manual_seed(run.options.seed * 1_000_003 + epoch)
    head.train()
    order = np.random.default_rng([run.options.seed, epoch]).permutation(len(run.train))
    total = 0.0
    for start in range(0, len(order), run.options.batch):
        rows = order[start : start + run.options.batch]
        loss = _batch_loss(head, run.train, rows, run.options.across)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += float(loss.detach()) * len(rows)
    return total / len(order)


def loss_of(head: RewardHead, table: Table, across: float) -> float:
    """The loss over all comparisons of a table, without dropout."""
    head.eval()
    total = 0.0
    order = np.random.default_rng(0).permutation(len(table))
    with torch.no_grad():
        for start in range(0, len(order), _EVALUATED):
            rows = order[start : start + _EVALUATED]
            total += float(_batch_loss(head, table, rows, across)) * len(rows)
    return total / len(order)


def _batch_loss(
    head: RewardHead, table: Table, rows: np.ndarray[Any, Any], across: float
) -> torch.Tensor:
    criterion = torch.from_numpy(table.criterion[rows])
    is_tie = torch.from_numpy(table.is_tie[rows])
    weight = torch.from_numpy(table.weight[rows])
    better, worse = (_scores(head, table, side[rows]) for side in (table.better, table.worse))
    own = criterion[:, None]
    first, second = better.gather(1, own)[:, 0], worse.gather(1, own)[:, 0]
    ties = head.ties()[criterion]
    loss = (weight * davidson(first - second, is_tie, ties)).mean()
    if across == 0:
        return loss
    # The worse text of the neighbour in the batch, for its own image.
    group = torch.from_numpy(table.group[rows])
    fits = (criterion == criterion.roll(1)) & (group != group.roll(1))
    fits &= ~is_tie & ~is_tie.roll(1)
    beyond = davidson(first - second.roll(1), torch.zeros_like(is_tie), ties)
    return loss + across * (weight * fits * beyond).mean()


def _scores(head: RewardHead, table: Table, side: np.ndarray[Any, Any]) -> torch.Tensor:
    v, t = torch.from_numpy(table.images[side[:, 0]]), torch.from_numpy(table.texts[side[:, 1]])
    found: torch.Tensor = head(v, t)
    return found


def _moments(optimiser: torch.optim.AdamW) -> State:
    state = optimiser.state_dict()["state"]
    return {f"{n}.{name}": value.clone() for n, own in state.items() for name, value in own.items()}


def _restore(optimiser: torch.optim.AdamW, moments: State) -> None:
    state: dict[int, State] = {}
    for name, value in moments.items():
        number, _, kind = name.partition(".")
        state.setdefault(int(number), {})[kind] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def _write(run: Run, progress: Progress) -> None:
    parts = {"model": progress.model, "best": progress.best, "moments": progress.moments}
    tensors = {f"{p}/{n}": t.clone() for p, state in parts.items() for n, t in state.items()}
    meta = json.dumps({"digest": run.digest, "history": progress.history})
    storage.write_atomic(run.checkpoint, save(tensors, {"training": meta}))


def _read(run: Run) -> Progress | None:
    """What the checkpoint holds; None when there is none of this training, or it is damaged."""
    if not storage.exists(run.checkpoint):
        return None
    try:
        with safe_open(run.checkpoint, framework="pt") as stored:
            meta = json.loads((stored.metadata() or {}).get("training", "{}"))
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError):
        return None
    if meta.get("digest") != run.digest:
        return None
    parts: dict[str, State] = {"model": {}, "best": {}, "moments": {}}
    for name, tensor in tensors.items():
        part, _, own = name.partition("/")
        parts[part][own] = tensor
    history = tuple((learnt, held_out) for learnt, held_out in meta["history"])
    return Progress(history, **parts)
