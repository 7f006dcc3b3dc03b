"""How a tokenwise head learns from comparisons of drawings, and the file of what it learnt."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.reward.captions import EXCHANGED, LEARNT_FRAMES
from pipeline.reward import tokenwise
from pipeline.reward.config import HeadOptions, TrainingOptions
from pipeline.reward.evaluate import scores_of
from pipeline.reward.heads import Head, head_bytes
from pipeline.reward.table import Table
from pipeline.reward.tokenwise import PairNumbers
from pipeline.reward.training import Run, head_for, train

OPTIONS = HeadOptions(kind="tokenwise", dropout=0.0)
TRAINING = TrainingOptions(epochs=60, patience=8, rate=0.003, decay=0.1, across=1.0)


def taught(learnt: Table, held_out: Table, kinds: Sequence[str]) -> Head:
    """The head that learnt from these kinds of worse captions, of every variant."""
    learnt, held_out = (_only(part, kinds) for part in (learnt, held_out))
    with TemporaryDirectory() as folder:
        run = Run(learnt, held_out, OPTIONS, TRAINING, (False,), f"{folder}/checkpoint", "")
        head = head_for(run)
        head.load_state_dict(train(run).best)
    return head


def _only(table: Table, kinds: Sequence[str]) -> Table:
    names = [name.partition(" ")[2].removeprefix("more ") for name in table.kinds]
    return table.rows(np.array([names[n] in kinds for n in table.kind]))


def arrays_of(head: Head, learnt: Table, numbers: PairNumbers) -> dict[str, npt.NDArray[Any]]:
    """The arrays of the file of a head that learnt from exchanged captions.

    `numbers` are of the encoder that the head is to run on. 0 is the mean score in training.
    """
    shift = np.concatenate(scores_of(head, _only(learnt, EXCHANGED))).mean(axis=0)
    return tokenwise.arrays_of(head.state_dict(), numbers.others, shift)


def file_of(
    arrays: Mapping[str, npt.NDArray[Any]], numbers: PairNumbers, encoder_digest: str
) -> bytes:
    """The file of a head for the embedded encoder."""
    meta = {
        "blocks": [],
        "parts": list(numbers.parts),
        "criteria": {"preference": 1.0},
        "dimension": sum(numbers.parts),
        "encoder": "embedded",
        "encoder_digest": encoder_digest,
        "training": described(),
    }
    return head_bytes(arrays, meta)


def described() -> str:
    """A digest of how heads learn here."""
    told = json.dumps([OPTIONS.model_dump(), TRAINING.model_dump(), LEARNT_FRAMES])
    return hashlib.sha256(told.encode()).hexdigest()[:32]
