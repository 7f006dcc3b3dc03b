"""`python -m benchmarks.proof --data DIR --work DIR`: scores against planted faults, then learners.

The first tables say how well each score finds the faults, for each share of them; the last what a
small model reaches that learnt from what the score keeps, for the first share. Finished runs of
learners are kept in the work folder.
"""

import argparse
import json
import logging
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.embedded.report import Bench
from benchmarks.proof import figures, learner, roc
from benchmarks.proof.faults import CLEAN, SEEN, SHARES
from benchmarks.proof.pictures import small
from benchmarks.proof.scores import (
    CONTROLS,
    JUDGES,
    NOISE,
    SCORES,
    TEXT_ONLY,
    Pool,
    learn,
    scores,
)
from benchmarks.proof.sides import Sides, split

ALL = "all"
BY_CHANCE = ("random", "shuffled")  # of permuted scores; they must be alike
ARMS = (ALL, "random", "shuffled", *SCORES, "oracle")
ROC = (*SCORES, TEXT_ONLY)
_LOG = logging.getLogger(__name__)
Array = np.ndarray[Any, Any]


def main() -> None:
    """All tables, as Markdown on standard output."""
    chosen = _arguments()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    chosen.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(chosen.data)
    sides = split(bench.pairs, bench.features)
    filters = learn(bench, chosen.data, chosen.work, sides)
    index, count = map(int, chosen.of.split("/"))
    shares, chosen.share = chosen.share, chosen.share[0]
    pool = filters.pool(sides, "pool", chosen.share, 0)
    found = scores(filters, sides, pool, 0)
    if count == 1:
        print(f"{ {side: len(rows) for side, rows in sides.rows.items()} } pairs")
        print(score_tables(chosen.share, pool, found, chosen.keep[0]), flush=True)
        for share in shares[1:]:
            other = filters.pool(sides, "pool", share, 0)
            told = scores(filters, sides, other, 0)
            print(score_tables(share, other, told, 1 - share), flush=True)
    if chosen.roc:
        chosen.roc.write_text(roc.svg(found, pool.captions.is_clean, ROC))
    if chosen.seeds:
        _Runs(chosen, bench, sides, pool, found).all(index, count)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proof", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="that of benchmarks.embedded")
    parser.add_argument("--work", type=Path, required=True, help="where finished runs are kept")
    parser.add_argument(
        "--share", type=float, nargs="+", default=[0.3, 0.1, 0.6], help="of captions with a fault"
    )
    parser.add_argument("--keep", type=float, nargs="+", default=[0.7], help="rates")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", type=int, default=5, help="0: no learners")
    parser.add_argument("--steps", type=int, default=learner.Settings().steps)
    parser.add_argument("--of", default="0/1", help="I/N: train every N-th run only, print nothing")
    parser.add_argument("--roc", type=Path, help="an SVG file to draw, of the first share")
    chosen = parser.parse_args()
    missing = {"random", "oracle"} - set(chosen.arms)
    if chosen.seeds and missing and chosen.of == "0/1":
        parser.error(f"the table compares all arms with {' and '.join(sorted(missing))}")
    return chosen


def score_tables(share: float, pool: Pool, found: dict[str, Array], rate: float) -> str:
    """How well each score tells faults, and whether probabilities hold, as Markdown."""
    clean = pool.captions.is_clean
    is_seen = np.isin(pool.captions.kinds, (CLEAN, *SEEN))
    lines = [
        f"\n{share:.0%} of captions with a fault\n",
        f"| score | AUC | above the cosine | where the picture tells | clean of the {rate:.0%} kept"
        f" | {' | '.join(SHARES)} |",
        "|" + "---|" * (5 + len(SHARES)),
    ]
    for name in (*SCORES, *JUDGES, *CONTROLS):
        total, exact, each = figures.score_row(found[name], pool.captions, rate)
        told = " | ".join(f"{value:.3f}" for value in each)
        gains = " | ".join(
            figures.auc_gain(found[name][rows], found["cosine"][rows], clean[rows]).signed
            for rows in (np.full(len(clean), True), is_seen)
        )
        lines.append(f"| {name} | {total} | {gains} | {exact} | {told} |")
    lines += ["", roc.table(found, clean, ROC)]
    for name in NOISE:
        error, bins = figures.calibration(found[name], ~clean)
        lines.append(
            f"\nnoise_probability, {name}: mean {found[name].mean():.3f}, expected calibration"
            f" error {error:.3f}; tenths of the rows:"
        )
        lines.append(" ".join(f"{p:.2f}→{f:.2f}" for _, p, f in bins))
    return "\n".join(lines)


class _Runs:
    """The learners of all arms, rates and seeds; a class because they share pictures."""

    def __init__(
        self, chosen: Any, bench: Bench, sides: Sides, pool: Pool, found: dict[str, Array]
    ) -> None:
        self._chosen, self._pool, self._found = chosen, pool, found
        self._settings = learner.Settings(steps=chosen.steps)
        self._test = sides.rows["test"]
        self._concepts = sides.concept[self._test]
        self._texts = [bench.pairs[row].caption for row in self._test]
        self._pictures = [
            np.stack([small(chosen.data / bench.pairs[row].path) for row in rows])
            for rows in (pool.rows, self._test)
        ]

    def all(self, index: int, count: int) -> None:
        chosen = self._chosen
        wanted = [
            (arm, rate, seed)
            for seed, rate, arm in product(range(chosen.seeds), chosen.keep, chosen.arms)
            if arm != ALL or rate == chosen.keep[0]
        ]
        for number, run in enumerate(wanted):
            if number % count == index:
                self._result(*run)
        if count == 1 and chosen.seeds:
            for rate in chosen.keep:
                print("\n" + self._table(rate), flush=True)

    def _result(self, arm: str, rate: float, seed: int) -> learner.Found:
        chosen = self._chosen
        rate = 1.0 if arm == ALL else rate
        name = f"{chosen.share}-{rate}-{arm}-{seed}-{chosen.steps}.npz".replace(" ", "_")
        path = chosen.work / name
        if not path.exists():
            keep = self._kept(arm, rate, seed)
            texts = [t for t, k in zip(self._pool.captions.texts, keep, strict=True) if k]
            model = learner.train(self._pictures[0][keep], texts, self._settings, seed)
            found = learner.test(model, self._pictures[1], self._texts, self._concepts)
            partial = path.with_suffix(".tmp.npz")
            np.savez(partial, **asdict(found))
            partial.replace(path)
            _LOG.warning("%s: AUC %.4f, R@5 %.4f", name, found.auc.mean(), found.at_5.mean())
        with np.load(path) as stored:
            return learner.Found(stored["at_5"], stored["auc"])

    def _kept(self, arm: str, rate: float, seed: int) -> Array:
        """Which rows an arm keeps; arms by chance draw anew for every seed."""
        if arm == ALL:
            return np.ones(len(self._pool.rows), bool)
        scores = self._found["cosine" if arm in BY_CHANCE else arm]
        if arm in BY_CHANCE:
            scores = np.random.default_rng([BY_CHANCE.index(arm), seed]).permutation(scores)
        return figures.kept(scores, rate)

    def _table(self, rate: float) -> str:
        chosen = self._chosen
        runs = {
            arm: [self._result(arm, rate, seed) for seed in range(chosen.seeds)]
            for arm in chosen.arms
        }
        sides = {
            name: {arm: np.stack([getattr(one, name) for one in own]) for arm, own in runs.items()}
            for name in ("auc", "at_5")
        }
        lines = [
            f"| keep {rate:.0%} | clean kept | AUC | above random | of the oracle's gap | R@5 |"
            " above random |",
            "|---|---|---|---|---|---|---|",
        ]
        means = {arm: float(own.mean()) for arm, own in sides["auc"].items()}
        gap = means["oracle"] - means["random"]
        for arm in chosen.arms:
            gains = [figures.paired(s[arm], s["random"], self._concepts) for s in sides.values()]
            closed = f"{(means[arm] - means['random']) / gap:.0%}" if gap else ""
            lines.append(
                f"| {arm} | {self._clean(arm, rate)} | {means[arm]:.4f} | {gains[0].signed} |"
                f" {closed} | {sides['at_5'][arm].mean():.4f} | {gains[1].signed} |"
            )
        told = {arm: means[arm] for arm in chosen.arms}
        (chosen.work / f"means-{chosen.share}-{rate}.json").write_text(json.dumps(told))
        return "\n".join(lines)

    def _clean(self, arm: str, rate: float) -> str:
        """The share of clean rows among those that an arm keeps."""
        clean = self._pool.captions.is_clean
        seeds = range(self._chosen.seeds)
        return f"{np.mean([clean[self._kept(arm, rate, seed)].mean() for seed in seeds]):.1%}"


if __name__ == "__main__":
    main()
