"""Heads over the encoder's vectors, each kind left out once; none of them was worth shipping."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from benchmarks.reward.material import MADE, Material, make_material
from pipeline.reward.config import HeadOptions, TrainingOptions
from pipeline.reward.evaluate import scores_of
from pipeline.reward.heads import RewardHead
from pipeline.reward.table import Table
from pipeline.reward.training import Run, train

REPLICATES = 1000
Array = npt.NDArray[np.float64]

ARMS = {
    "linear": HeadOptions(kind="linear", dropout=0.2),
    "mlp": HeadOptions(kind="mlp", hidden=64, dropout=0.3),
    "product": HeadOptions(kind="linear", blocks=("product",), dropout=0.2),
    "text only": HeadOptions(kind="mlp", hidden=64, blocks=("text",), cosine=False, dropout=0.3),
}
TRAINING = TrainingOptions(epochs=10, patience=2, rate=0.00002, decay=0.1)


@dataclass(frozen=True)
class Result:
    """Figures of one kind: of the head and of the cosine, and their difference with interval."""

    kind: str
    count: int
    accuracy: tuple[float, float]
    auc: tuple[float, float]
    gain: tuple[float, float, float]
    auc_gain: tuple[float, float, float]


def fit(material: Material, options: HeadOptions, left_out: str | None) -> RewardHead:
    """The head that learnt from all kinds but one."""
    learnt, held_out = (
        _without(table, left_out) for table in (material.train, material.validation)
    )
    with TemporaryDirectory() as folder:
        run = Run(learnt, held_out, options, TRAINING, (False,), f"{folder}/checkpoint", "")
        progress = train(run)
    head = RewardHead(options, material.train.images.shape[1], (False,))
    head.load_state_dict(progress.best)
    return head


def _without(table: Table, kind: str | None) -> Table:
    return table.rows(np.array([kind is None or table.kinds[n] != kind for n in table.kind]))


def measure(head: RewardHead, table: Table, kind: str) -> Result:
    """One kind of a table; intervals by drawing images again."""
    own = table.rows(np.array([table.kinds[n] == kind for n in table.kind]))
    sides = [side[:, 0].astype(np.float64) for side in scores_of(head, own)]
    plain = [side.astype(np.float64) for side in own.cosines()]
    dice = np.random.default_rng(0)
    draws = [dice.integers(0, len(own), len(own)) for _ in range(REPLICATES)]
    accuracy = (_accuracy(*sides), _accuracy(*plain))
    auc = (_auc(*sides), _auc(*plain))
    gains = [_accuracy(*_at(sides, d)) - _accuracy(*_at(plain, d)) for d in draws]
    auc_gains = [_auc(*_at(sides, d)) - _auc(*_at(plain, d)) for d in draws]
    return Result(
        kind, len(own), accuracy, auc,
        (accuracy[0] - accuracy[1], *_interval(gains)),
        (auc[0] - auc[1], *_interval(auc_gains)),
    )  # fmt: skip


def _at(sides: list[Array], rows: npt.NDArray[np.int64]) -> list[Array]:
    return [side[rows] for side in sides]


def _accuracy(better: Array, worse: Array) -> float:
    return float(((better > worse) + 0.5 * (better == worse)).mean())


def _auc(better: Array, worse: Array) -> float:
    """How often a right caption scores above a damaged one of any image."""
    ordered = np.sort(worse)
    below = np.searchsorted(ordered, better, "left") + np.searchsorted(ordered, better, "right")
    return float(below.mean() / 2 / len(worse))


def _interval(values: list[float]) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def table_of(arm: str, results: list[Result]) -> str:
    lines = [
        f"\n{arm}, the kind of each row not learnt from",
        f"{'kind':<11}{'n':>6}  {'acc':>6}{'cos':>7}{'gain':>8}{'AUC':>26}{'cos':>7}{'gain':>8}",
    ]
    for one in results:
        low, high = (f"{value:+.3f}" for value in one.gain[1:])
        least, most = (f"{value:+.3f}" for value in one.auc_gain[1:])
        lines.append(
            f"{one.kind:<11}{one.count:>6}  {one.accuracy[0]:>6.3f}{one.accuracy[1]:>7.3f}"
            f"{one.gain[0]:>+8.3f}  {f'({low} {high})':<18}"
            f"{one.auc[0]:>6.3f}{one.auc[1]:>7.3f}{one.auc_gain[0]:>+8.3f}  ({least} {most})"
        )
    for name, pick in (("accuracy", "accuracy"), ("AUC", "auc")):
        means = np.mean([getattr(one, pick) for one in results], axis=0)
        lines.append(f"mean over kinds, {name}: {means[0]:.3f}, cosine {means[1]:.3f}")
    return "\n".join(lines)


def report(data: Path, arms: Sequence[str], reserve: float, is_dev: bool) -> Iterator[str]:
    """A table for every arm."""
    material = make_material(data, reserve)
    table = material.validation if is_dev else material.test
    counts = {name: len(getattr(material, name)) for name in ("train", "validation", "test")}
    yield f"comparisons: {counts}"
    for arm in arms:
        results = [measure(fit(material, ARMS[arm], kind), table, kind) for kind in MADE]
        yield table_of(arm, results)
