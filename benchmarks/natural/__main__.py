"""`python -m benchmarks.natural STEP --data DIR ...`: pairs of packages, labelled blind.

Steps: fetch (packages, and the draw), sheets (for labellers), table (scores against the labels).
"""

import argparse
import logging
from pathlib import Path

from benchmarks.natural import drawing, packages, pages, sheets

SEED = 0
_LOG = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.natural", description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)
    fetch = steps.add_parser("fetch", help="download, unpack and draw")
    fetch.add_argument("--embedded", type=Path, required=True, help="DIR of benchmarks.embedded")
    shown = steps.add_parser("sheets", help="write contact sheets and an empty form")
    shown.add_argument("--out", type=Path, required=True, help="folder for labellers")
    table = steps.add_parser("table", help="agreement, and each score against what both say")
    table.add_argument("--labels", type=Path, nargs=2, required=True, metavar="CSV")
    table.add_argument("--reward", metavar="FILE", help="weights of a reward to measure as well")
    for step in (fetch, shown, table):
        step.add_argument("--data", type=Path, required=True, help="folder of packages and draws")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if chosen.step == "fetch":
        _fetch(chosen.data, chosen.embedded)
    elif chosen.step == "sheets":
        pairs = drawing.read_pairs(chosen.data / "sample.csv")
        count = sheets.write_sheets(chosen.out, chosen.data / "deb", pairs)
        print(f"{chosen.out}: {count} sheets of {len(pairs)} pairs")
    else:
        from benchmarks.natural import table as tables  # loads every scorer

        print(tables.table(chosen.data, tuple(chosen.labels), chosen.reward))


def _fetch(data: Path, embedded_data: Path) -> None:
    packages.fetch(data)
    learnt = drawing.Learnt.read(embedded_data)
    found = pages.collect(data / "deb")
    pool = drawing.make_pool(found, learnt.texts, SEED, drawing.Sizes().pool)
    drawing.write_pairs(data / "pool.csv", pool)
    features, _ = drawing.pool_features(data, pool)
    chosen = drawing.make_sample(pool, drawing.unit(features), learnt.features)
    sample = drawing.in_sheet_order((pool[place] for place in chosen), SEED)
    drawing.write_pairs(data / "sample.csv", sample)
    _LOG.info("%d pairs found, %d in the pool, %d drawn", len(found), len(pool), len(chosen))


if __name__ == "__main__":
    main()
