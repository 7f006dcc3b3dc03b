"""`python -m benchmarks.marks --data DIR [fetch] [--ship FILE]`: draws marks, trains, measures.

Prints AUC and recall on held-out pictures under held-out fonts, words and icons, and what the head
says of a folder of pictures (`--pictures`). With `--ship` the head is written.
"""

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.marks import figures, training
from benchmarks.marks.bases import Pixels
from benchmarks.marks.fetch import fetch
from benchmarks.marks.material import Maker
from filters import embedded, marks_head
from filters.threads import one_thread


def report(weights: training.Weights, maker: Maker) -> Iterator[str]:
    """Tables in Markdown, and how well the calibration holds."""
    rows = maker.rows("test")
    likely = training.likelihoods(weights, training.answers(weights, rows))
    labels = np.array([row.is_marked for row in rows])
    plans = [row.plan for row in rows]
    yield from figures.tables(plans, likely, labels)
    yield "\n| likelihood | watermark: n | marked | logo: n | marked |\n|---|---|---|---|---|"
    for low in np.arange(0, 1, 0.2):
        cells = []
        for kind in range(2):
            here = (likely[:, kind] >= low) & (likely[:, kind] < low + 0.2)
            share = f"{labels[here, kind].mean():.2f}" if here.any() else ""
            cells.append(f"{here.sum()} | {share}")
        yield f"| {low:.1f} to {low + 0.2:.1f} | {' | '.join(cells)} |"


def look(weights: training.Weights, folder: Path) -> Iterator[str]:
    """What the head says of the pictures in a folder: shares above bounds, and the highest.

    Files that can't be read, which the quickstart has on purpose, are left out.
    """
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".png", ".webp"))
    told = {path.name: _told(weights, image) for path in paths for image in _opened(path)}
    said, names = np.array([*told.values()]), [*told]
    for kind, name in enumerate(figures.KINDS):
        likely = said[:, kind]
        above = ", ".join(f"{(likely > b).mean():.3f} above {b}" for b in (0.5, 0.7, 0.8, 0.9))
        yield f"{name}: {len(names)} pictures, mean {likely.mean():.3f}, {above}"
        order = np.argsort(-likely, kind="stable")[:12]
        yield "  " + ", ".join(f"{names[n]} {likely[n]:.2f}" for n in order)


def _opened(path: Path) -> Iterator[Pixels]:
    try:
        with Image.open(path) as picture:
            yield np.asarray(picture.convert("RGB"))
    except OSError:
        return


def _told(weights: training.Weights, image: Pixels) -> figures.Array:
    with one_thread():
        maps = embedded.early_maps(marks_head.fit(image))
        logits = marks_head.logits(weights, *(part.float().clone() for part in maps))[0]
    (told,) = training.likelihoods(weights, logits.detach().double().numpy())
    return np.asarray(told)


def main() -> None:
    """Measure, and write the head if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.marks", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("fetch",))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ship", type=Path, metavar="FILE", help="where to write the head")
    parser.add_argument("--head", type=Path, help="measure this head; train none")
    parser.add_argument("--pictures", type=Path, nargs="*", default=[], help="folders to look at")
    parser.add_argument("--epochs", type=int, default=training.EPOCHS)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.what == "fetch":
        fetch(options.data)
        return
    maker = Maker(options.data)
    if options.head:
        weights = marks_head.read_head(options.head)
    else:
        weights = training.trained(maker.rows("train"), options.epochs)
        weights = training.calibrated(weights, maker.rows("validation"))
    if options.ship:
        print(training.ship(weights, options.ship))
        weights = marks_head.read_head(options.ship)
    for line in report(weights, maker):
        print(line)
    for folder in options.pictures:
        print(f"\n{folder.name}")
        for line in look(weights, folder):
            print(line)


if __name__ == "__main__":
    main()
