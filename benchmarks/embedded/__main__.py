"""`python -m benchmarks.embedded --data DIR STEP...`: from the packages to the shipped heads.

Steps: fetch (packages), train (writes the heads), evaluate (prints the held-out figures); and, only
if named, validate (trains on less and scores shares on validation captions; writes nothing).
"""

import argparse
import logging
from dataclasses import replace
from pathlib import Path

from benchmarks.embedded import fetch, heads, reference, report
from filters import embedded

STEPS = ("fetch", "validate", "reference", "train", "evaluate")
USUAL = ("fetch", "train", "evaluate")


def main() -> None:
    """Runs the steps named, in their order; without names the usual ones."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embedded", description=__doc__)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}")
    parser.add_argument("--data", type=Path, required=True, help="folder of packages and features")
    parser.add_argument("--heads", type=Path, default=embedded.HEADS, help="the file to write")
    parser.add_argument(
        "--sources", nargs="+", choices=heads.Settings().sources, help="learn from these alone"
    )
    chosen = parser.parse_args()
    wrong = sorted(set(chosen.steps) - set(STEPS))
    if wrong:
        parser.error(f"no such step: {', '.join(wrong)}; there are {', '.join(STEPS)}")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for step in STEPS:
        if step in (chosen.steps or USUAL):
            _run(step, chosen)


def _run(step: str, chosen: argparse.Namespace) -> None:
    settings = heads.Settings()
    if chosen.sources:
        settings = replace(settings, sources=tuple(sorted(chosen.sources)))
    if step == "fetch":
        fetch.fetch(chosen.data)
    elif step == "train":
        report.train(chosen.data, chosen.heads, settings)
    elif step == "validate":
        print(report.validate(chosen.data, settings))
    elif step == "reference":
        print(reference.report(chosen.data, settings))
    else:
        print(report.evaluate(chosen.data, chosen.heads))


if __name__ == "__main__":
    main()
