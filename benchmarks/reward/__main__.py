"""`python -m benchmarks.reward --data DIR [--ship FILE]`: each kind left out once, then the head.

Prints accuracy within an image and AUC across images on held-out drawings, for kinds that were
not learnt from. With `--ship` the head that learnt from all kinds is written.
"""

import argparse
import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from benchmarks.reward.material import MADE, Material, make_material
from filters import embedded
from pipeline.reward.config import HeadOptions, TrainingOptions
from pipeline.reward.evaluate import scores_of
from pipeline.reward.heads import RewardHead, arrays_of, head_bytes
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
    parts = [_without(table, left_out) for table in (material.train, material.validation)]
    with TemporaryDirectory() as folder:
        run = Run(*parts, options, TRAINING, (False,), f"{folder}/checkpoint", "")
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


def ship(material: Material, options: HeadOptions, path: Path) -> None:
    """Write the head that learnt from every kind, in half precision."""
    head = fit(material, options, None)
    shift = np.concatenate(scores_of(head, material.train)).mean(axis=0)
    arrays = arrays_of(head.state_dict(), options.blocks, shift)
    described = json.dumps([options.model_dump(), TRAINING.model_dump(), MADE])
    meta = {
        "blocks": list(options.blocks),
        "criteria": {"preference": 1.0},
        "dimension": embedded.dimension(),
        "encoder": "embedded",
        "encoder_digest": embedded.weights_digest(),
        "training": hashlib.sha256(described.encode()).hexdigest()[:32],
    }
    halves = {name: array.astype(np.float16) for name, array in arrays.items()}
    path.write_bytes(head_bytes(halves, meta))


def main() -> None:
    """Measure the arms asked for; write the head of the first if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reward", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=["product", "text only"])
    parser.add_argument("--dev", action="store_true", help="measure on validation, not on test")
    parser.add_argument(
        "--reserve", type=float, default=0.0, help="share of concepts kept from the encoder"
    )
    parser.add_argument("--ship", type=Path, metavar="FILE", help="where to write the head")
    chosen = parser.parse_args()
    if chosen.ship and chosen.reserve:
        parser.error("--ship is for the shipped encoder, which has no reserve")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    material = make_material(chosen.data, chosen.reserve)
    table = material.validation if chosen.dev else material.test
    counts = {name: len(getattr(material, name)) for name in ("train", "validation", "test")}
    print(f"comparisons: {counts}")
    for arm in chosen.arms:
        results = [measure(fit(material, ARMS[arm], kind), table, kind) for kind in MADE]
        print(table_of(arm, results), flush=True)
    if chosen.ship:
        ship(material, ARMS[chosen.arms[0]], chosen.ship)


if __name__ == "__main__":
    main()
