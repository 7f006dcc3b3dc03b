"""Trains a head: AdamW on one thread, stopped early, with a checkpoint after every epoch.

What an epoch does depends on the seed and its number alone, so that a training that was killed
and begun again ends with the same bytes.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.reward.checkpoints import (
    Progress,
    State,
    moments_of,
    read_checkpoint,
    restore,
    write_checkpoint,
)
from pipeline.reward.config import HeadOptions, TrainingOptions
from pipeline.reward.distilling import Teaching
from pipeline.reward.heads import Head, RewardHead
from pipeline.reward.losses import davidson
from pipeline.reward.table import Table
from pipeline.reward.tokenwise import TokenwiseHead, codes_of

_LOG = logging.getLogger(__name__)
_SCALES = np.geomspace(0.5, 200, 53)


@dataclass(frozen=True)
class Run:
    """A training: its data, its options, the file of its checkpoint, and what it is named by.

    `make` gives another model than the head that the options describe.
    """

    train: Table
    validation: Table
    head: HeadOptions
    options: TrainingOptions
    ties: tuple[bool, ...]
    checkpoint: str
    digest: str
    teaching: Teaching | None = None
    make: Callable[[], Head] | None = None


def head_for(run: Run) -> Head:
    """The head of a training, before it learns."""
    if run.make is not None:
        return run.make()
    table = run.train
    if table.numbers is not None:
        codes = codes_of(table)
        _, numbers = table.numbers.rows(codes // len(table.texts), codes % len(table.texts))
        return TokenwiseHead(run.head, numbers.numpy(), run.ties)
    shapes = None if table.layers is None else tuple(part.shape for part in table.layers)
    return RewardHead(run.head, table.images.shape[1], run.ties, shapes)


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
    head = head_for(run)
    optimiser = _optimiser(head, run.options)
    progress = read_checkpoint(run.checkpoint, run.digest)
    if progress is None:
        progress = _start(head, run)
    else:
        head.load_state_dict(progress.model)
        restore(optimiser, progress.moments)
    while not progress.is_over(run.options.epochs, run.options.patience):
        epoch = len(progress.history)
        learnt = _epoch(head, optimiser, run, epoch)
        held_out = _loss_of_part(head, run, is_held_out=True)
        history = (*progress.history, (learnt, held_out))
        model = _copied(head)
        is_best = held_out < min(loss for _, loss in progress.history)
        best = model if is_best else progress.best
        progress = Progress(history, model, best, moments_of(optimiser))
        write_checkpoint(run.checkpoint, run.digest, progress)
        _LOG.info("epoch %d: loss %.4f, validation %.4f", epoch, learnt, held_out)
        after_epoch(epoch)
    return progress


def _start(head: Head, run: Run) -> Progress:
    if isinstance(head, RewardHead | TokenwiseHead) and head.has_cosine:
        with torch.no_grad():
            head.cosine.copy_(torch.from_numpy(_cosine_scales(run.validation)))
    losses = (_loss_of_part(head, run, is_held_out=is_held_out) for is_held_out in (False, True))
    return Progress(((next(losses), next(losses)),), _copied(head), _copied(head), {})


def _loss_of_part(head: Head, run: Run, *, is_held_out: bool) -> float:
    """The whole loss over what is held out, or learnt from, without dropout."""
    table = run.validation if is_held_out else run.train
    loss = loss_of(head, table, run.options.across)
    if run.teaching is None:
        return loss
    sets = run.teaching.validation if is_held_out else run.teaching.train
    return loss + run.teaching.held_out_loss(head, table, sets)


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


def _copied(head: Head) -> State:
    return {n: tensor.detach().to("cpu", copy=True) for n, tensor in head.state_dict().items()}


def _optimiser(head: Head, options: TrainingOptions) -> torch.optim.AdamW:
    matrices = [p for p in head.parameters() if p.requires_grad and p.ndim >= 2]
    others = [p for p in head.parameters() if p.requires_grad and p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": options.decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.rate)


def _epoch(head: Head, optimiser: torch.optim.AdamW, run: Run, epoch: int) -> float:
    """One pass over the comparisons, and beside them anchors; the mean of their losses."""
    torch.manual_seed(run.options.seed * 1_000_003 + epoch)
    head.train()
    order = np.random.default_rng([run.options.seed, epoch]).permutation(len(run.train))
    starts = range(0, len(order), run.options.batch)
    teaching = run.teaching
    lessons = teaching.lessons(run.options.seed, epoch, len(starts)) if teaching else []
    dice = np.random.default_rng([run.options.seed, epoch, 2])
    total = 0.0
    for step, start in enumerate(starts):
        rows = order[start : start + run.options.batch]
        loss = _batch_loss(head, run.train, rows, run.options.across)
        if teaching is not None:
            own = teaching.train.rows(lessons[step])
            loss = loss + teaching.loss(head, run.train, own, dice)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += float(loss.detach()) * len(rows)
    return total / len(order)


def loss_of(head: Head, table: Table, across: float) -> float:
    """The loss over all comparisons of a table, without dropout."""
    head.eval()
    total = 0.0
    order = np.random.default_rng(0).permutation(len(table))
    with torch.no_grad():
        for start in range(0, len(order), head.at_once):
            rows = order[start : start + head.at_once]
            total += float(_batch_loss(head, table, rows, across)) * len(rows)
    return total / len(order)


def _batch_loss(
    head: Head, table: Table, rows: np.ndarray[Any, Any], across: float
) -> torch.Tensor:
    criterion = torch.from_numpy(table.criterion[rows])
    is_tie = torch.from_numpy(table.is_tie[rows])
    weight = torch.from_numpy(table.weight[rows])
    better, worse = _scores(head, table, rows)
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


def _scores(head: Head, table: Table, rows: np.ndarray[Any, Any]) -> tuple[torch.Tensor, ...]:
    """Scores of the better and of the worse sides; a head may see the sides together."""
    sides = [table.better[rows], table.worse[rows]]
    if head.is_joint:
        scores: torch.Tensor = head(*table.inputs(np.concatenate(sides)))
        return scores[: len(rows)], scores[len(rows) :]
    return tuple(head(*table.inputs(side)) for side in sides)
