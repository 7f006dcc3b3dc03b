"""Small trainings: vectors drawn by chance, and a truth that a head can find."""

from pathlib import Path

import numpy as np

from pipeline.reward.comparisons import Comparison
from pipeline.reward.config import HeadOptions, TrainingOptions
from pipeline.reward.table import Table, make_table, names_of
from pipeline.reward.training import Run

SIZE = 8
LINEAR = HeadOptions(kind="linear", dropout=0.0)
MLP = HeadOptions(kind="mlp", hidden=8, dropout=0.1)
OPTIONS = TrainingOptions(epochs=4, patience=4, batch=32, rate=0.02)


def table(images: int, seed: int = 0, criteria: tuple[str, ...] = ("preference",)) -> Table:
    """Of two texts of an image the one with the larger first number is better; `sum` asks more."""
    dice = np.random.default_rng(seed)
    texts = _unit(dice.standard_normal((3 * images, SIZE)).astype(np.float32))
    comparisons = []
    for image in range(images):
        for first, second in ((0, 1), (0, 2), (1, 2)):
            a, b = 3 * image + first, 3 * image + second
            for criterion in criteria:
                worth = texts[:, 0] if criterion != "sum" else texts[:, :4].sum(axis=1)
                better, worse = (a, b) if worth[a] > worth[b] else (b, a)
                comparisons.append(
                    Comparison(
                        *(f"{image:04d}", f"{better:04d}", f"{image:04d}", f"{worse:04d}"),
                        criterion=criterion,
                        kind=("object", "number", None)[first + second - 1],
                    )
                )
    names = names_of(comparisons)
    seen = _unit(dice.standard_normal((images, SIZE)).astype(np.float32))
    read = texts[[int(name) for name in names.texts]]
    return make_table(comparisons, names, (seen, read), dict.fromkeys(criteria, 1.0))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def run(folder: Path, head: HeadOptions = MLP, options: TrainingOptions = OPTIONS) -> Run:
    return Run(
        *(table(60, 0), table(30, 1)),
        *(head, options, (False,), str(folder / "checkpoint.safetensors"), "digest"),
    )
