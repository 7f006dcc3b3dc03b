"""`python -m benchmarks.recaption --data DIR --work WORK`: do new captions help a learner?

Prints Markdown tables. Learners that were trained are kept in WORK; with `--of I/N` every N-th run
is trained and nothing is printed, for several processes and before the tables.
"""

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path

from benchmarks.embedded.report import Bench
from benchmarks.proof import learner
from benchmarks.proof.sides import split
from benchmarks.recaption import arms, names
from benchmarks.recaption import longer as third
from benchmarks.recaption import recaptioning as first
from benchmarks.recaption import translating as second
from benchmarks.recaption.runs import Cell, Kept

PARTS = (first.PART, second.PART, third.PART, "names")

_BEDS = {first.PART: first.Recaptioning, second.PART: second.Translating, third.PART: third.Longer}


def main() -> None:
    """The tables of the parts that are asked for, in order."""
    chosen = _arguments()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    chosen.work.mkdir(parents=True, exist_ok=True)
    index, count = map(int, chosen.of.split("/"))
    beds: dict[str, first.Recaptioning | second.Translating | third.Longer] = {}
    if _BEDS.keys() & set(chosen.parts):
        bench = Bench(chosen.data)
        sides = split(bench.pairs, bench.features)
        for part in _BEDS.keys() & set(chosen.parts):
            beds[part] = _BEDS[part](bench, sides, chosen.data, chosen.work)
    kept = Kept(chosen.work, learner.Settings(steps=chosen.steps))
    for number, cell in enumerate(cells(chosen.seeds, chosen.fewer)):
        if cell.part in beds and number % count == index:
            beds[cell.part].run(cell, kept)
    if count > 1:
        return
    for part in PARTS:
        if part in beds:
            print(
                f"\n## {part}\n\n{beds[part].tables(kept, chosen.seeds, chosen.fewer)}", flush=True
            )
    if "names" in chosen.parts:
        print(f"\n## names\n\n{names.tables(chosen.data)}")


def cells(seeds: int, fewer: int) -> Iterator[Cell]:
    """All runs, seed after seed, the main arms first."""
    for seed in range(seeds):
        for part, main_arms, more in (
            (first.PART, arms.ARMS, arms.MORE),
            (second.PART, second.ARMS, second.MORE),
            (third.PART, third.ARMS, third.MORE),
        ):
            for arm in [*main_arms, *(more if seed < fewer else ())]:
                yield Cell(part, arm, seed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recaption", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="that of benchmarks.embedded")
    parser.add_argument("--work", type=Path, required=True, help="where finished runs are kept")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seeds", type=int, default=5, help="of the main arms")
    parser.add_argument("--fewer", type=int, default=2, help="seeds of the other arms")
    parser.add_argument("--steps", type=int, default=learner.Settings().steps)
    parser.add_argument("--of", default="0/1", help="I/N: train every N-th run only, print nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
