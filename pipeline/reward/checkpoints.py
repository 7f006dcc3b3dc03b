"""How far a training is, kept in one safetensors file after every epoch.

A file of another training, or a damaged one, is as good as none.
"""

import json
from dataclasses import dataclass

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from pipeline import storage

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

    def is_over(self, epochs: int, patience: int) -> bool:
        done = len(self.history) - 1
        return done >= epochs or done - self.best_epoch > patience

    @property
    def best_epoch(self) -> int:
        """The number, from 1, of the epoch with the lowest loss on validation; 0: the start."""
        losses = [loss for _, loss in self.history]
        return losses.index(min(losses))


def moments_of(optimiser: torch.optim.Optimizer) -> State:
    """What an optimiser remembers, by the number of the parameter and its name."""
    state = optimiser.state_dict()["state"]
    return {
        f"{n}.{name}": value.detach().to("cpu", copy=True)
        for n, own in state.items()
        for name, value in own.items()
    }


def restore(optimiser: torch.optim.Optimizer, moments: State) -> None:
    """Give an optimiser what `moments_of` took from one."""
    state: dict[int, State] = {}
    for name, value in moments.items():
        number, _, kind = name.partition(".")
        state.setdefault(int(number), {})[kind] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def write_checkpoint(path: str, digest: str, progress: Progress) -> None:
    """Keep a training that `digest` names."""
    parts = {"model": progress.model, "best": progress.best, "moments": progress.moments}
    tensors = {f"{p}/{n}": t.clone() for p, state in parts.items() for n, t in state.items()}
    meta = json.dumps({"digest": digest, "history": progress.history})
    storage.write_atomic(path, save(tensors, {"training": meta}))


def read_checkpoint(path: str, digest: str) -> Progress | None:
    """What was kept; None when there is none of this training, or it is damaged."""
    if not storage.exists(path):
        return None
    try:
        with safe_open(path, framework="pt") as stored:
            meta = json.loads((stored.metadata() or {}).get("training", "{}"))
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError):
        return None
    if meta.get("digest") != digest:
        return None
    parts: dict[str, State] = {"model": {}, "best": {}, "moments": {}}
    for name, tensor in tensors.items():
        part, _, own = name.partition("/")
        parts[part][own] = tensor
    history = tuple((learnt, held_out) for learnt, held_out in meta["history"])
    return Progress(history, **parts)
