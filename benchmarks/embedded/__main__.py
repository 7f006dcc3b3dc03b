"""`python -m benchmarks.embedded --data DIR STEP...`: from the packages to the shipped heads.

Steps: fetch (packages), train (writes the heads), evaluate (prints the held-out figures).
"""

import argparse
import logging
from pathlib import Path

from benchmarks.embedded import fetch, report
from filters import embedded

STEPS = ("fetch", "train", "evaluate")


def main() -> None:
    """Runs the steps named, in their order; without names all of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embedded", description=__doc__)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}")
    parser.add_argument("--data", type=Path, required=True, help="folder of packages and features")
    parser.add_argument("--heads", type=Path, default=embedded.HEADS, help="the file to write")
    chosen = parser.parse_args()
    wrong = sorted(set(chosen.steps) - set(STEPS))
    if wrong:
        parser.error(f"no such step: {', '.join(wrong)}; there are {', '.join(STEPS)}")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for step in STEPS:
        if step in (chosen.steps or STEPS):
            _run(step, chosen.data, chosen.heads)


def _run(step: str, data: Path, heads: Path) -> None:
    if step == "fetch":
        fetch.fetch(data)
    elif step == "train":
        report.train(data, heads)
    else:
        print(report.evaluate(data, heads))


if __name__ == "__main__":
    main()
