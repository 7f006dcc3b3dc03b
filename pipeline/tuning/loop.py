"""Tunes whatever can say its loss: AdamW, a rate that rises and falls, stopped early.

What an epoch does depends on the seed and its number alone, and a checkpoint follows every epoch,
so that a tuning that was killed and begun again ends with the same bytes.
"""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from pipeline.errors import CurationError
from pipeline.reward.checkpoints import (
    Progress,
    State,
    moments_of,
    read_checkpoint,
    restore,
    write_checkpoint,
)
from pipeline.tuning.config import TuningOptions

_LOG = logging.getLogger(__name__)
_MOST_SCALE = 100.0  # CLIP's bound of the inverse temperature (Radford et al. 2021)


class Learner(Protocol):
    """What is tuned: a network, the batches of an epoch, and what the network says of one.

    `encode` gives unit vectors of images and texts [n, d] and the inverse temperature; a batch's
    `images` and `texts` [n] number what is the same.
    """

    steps: int

    @property
    def network(self) -> nn.Module: ...

    def batches(self, epoch: int) -> Iterator["Batch"]: ...

    def held_out(self) -> Iterator["Batch"]: ...

    def encode(self, batch: "Batch") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]: ...


@dataclass(frozen=True)
class Batch:
    """Pairs: what the network sees of them, and the numbers of image and text."""

    inputs: tuple[Any, ...]
    images: torch.Tensor
    texts: torch.Tensor

    def __len__(self) -> int:
        return len(self.images)


def contrastive(
    images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor, same: torch.Tensor
) -> torch.Tensor:
    """CLIP's symmetric loss (Radford et al. 2021, arXiv:2103.00020); `same` [n, n] says which
    pairs share their image or their text: they share the target, and are no negatives."""
    target = same / same.sum(1, keepdim=True)
    logits = scale.clamp(max=_MOST_SCALE) * images @ texts.T
    forward = -(target * logits.log_softmax(1)).sum(1).mean()
    backward = -(target * logits.T.log_softmax(1)).sum(1).mean()
    return (forward + backward) / 2


def same_pairs(batch: Batch) -> torch.Tensor:
    """[n, n] with 1 where two pairs share their image or their text."""
    images, texts = batch.images, batch.texts
    found = (images[:, None] == images) | (texts[:, None] == texts)
    return found.float()


@dataclass(frozen=True)
class Plan:
    """The options of a tuning, its checkpoint, what names it, and where the network is."""

    options: TuningOptions
    checkpoint: str
    digest: str
    device: str = "cpu"


def tune(
    learner: Learner, plan: Plan, after_epoch: Callable[[int], None] | None = None
) -> Progress:
    """The finished tuning; what the checkpoint holds is not done again."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng():
            return _tune(learner, plan, after_epoch or (lambda _: None))
    finally:
        torch.set_num_threads(threads)


def _tune(learner: Learner, plan: Plan, after_epoch: Callable[[int], None]) -> Progress:
    options = plan.options
    optimiser = _optimiser(learner.network, options)
    progress = read_checkpoint(plan.checkpoint, plan.digest)
    if progress is None:
        loss = loss_of(learner, plan)
        start = state_of(learner.network)
        progress = Progress(((loss, loss),), start, start, {})
    else:
        learner.network.load_state_dict(progress.model)
        restore(optimiser, progress.moments)
    while not progress.is_over(options.epochs, options.patience):
        epoch = len(progress.history)
        learnt = _epoch(learner, optimiser, plan, epoch)
        held_out = loss_of(learner, plan)
        if not (math.isfinite(learnt) and math.isfinite(held_out)):
            raise CurationError(f"epoch {epoch}: the loss is no number; give a lower `rate`")
        is_best = held_out < min(loss for _, loss in progress.history)
        model = state_of(learner.network)
        best = model if is_best else progress.best
        history = (*progress.history, (learnt, held_out))
        progress = Progress(history, model, best, moments_of(optimiser))
        write_checkpoint(plan.checkpoint, plan.digest, progress)
        _LOG.info("epoch %d: loss %.4f, validation %.4f", epoch, learnt, held_out)
        after_epoch(epoch)
    return progress


def state_of(network: nn.Module) -> State:
    """A copy of the network's state, on the CPU."""
    return {n: t.detach().to("cpu", copy=True) for n, t in network.state_dict().items()}


def blended(before: State, after: State, share: float) -> State:
    """So far on the way between two states (WiSE-FT, Wortsman et al. 2022, arXiv:2109.01903)."""
    return {
        name: torch.lerp(before[name], value, share) if value.is_floating_point() else value
        for name, value in after.items()
    }


def _optimiser(network: nn.Module, options: TuningOptions) -> torch.optim.AdamW:
    learnt = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learnt if p.ndim >= 2], "weight_decay": options.decay},
        {"params": [p for p in learnt if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98), eps=1e-6)


def rate_at(step: int, steps: int, options: TuningOptions) -> float:
    """The learning rate of a step of `steps`, both from 0."""
    warmup = options.warmup * steps
    if step < warmup:
        return options.rate * (step + 1) / (warmup + 1)
    return options.rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _epoch(learner: Learner, optimiser: torch.optim.AdamW, plan: Plan, epoch: int) -> float:
    """One pass over the pairs; the mean of the losses."""
    options = plan.options
    torch.manual_seed(options.seed * 1_000_003 + epoch)
    learner.network.train()
    total, count, step = 0.0, 0, (epoch - 1) * learner.steps
    for batch in learner.batches(epoch):
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, learner.steps * options.epochs, options)
        loss = contrastive(*learner.encode(batch), same_pairs(batch).to(plan.device))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(learner.network.parameters(), 1.0)
        optimiser.step()
        total, count, step = total + float(loss.detach()) * len(batch), count + len(batch), step + 1
    return total / count if count else math.nan


def loss_of(learner: Learner, plan: Plan) -> float:
    """The loss over the held-out pairs, batch by batch, without dropout."""
    learner.network.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in learner.held_out():
            loss = contrastive(*learner.encode(batch), same_pairs(batch).to(plan.device))
            total, count = total + float(loss) * len(batch), count + len(batch)
    return total / count if count else math.nan
