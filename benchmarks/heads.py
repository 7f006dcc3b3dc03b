"""Prints pairs per second of the scorers that need stored embeddings alone, beside a bare loop.

    OMP_NUM_THREADS=1 python -m benchmarks.heads [--width 768] [--pairs 8192]
    OMP_NUM_THREADS=1 python -m benchmarks.heads --vectors FILE.npz [--wrong 0.3]

The bare loop is what anybody would write for the same formula: single precision in numpy, all
pairs in one array already. Ours gets rows one by one, as the harness hands them over. CPU time,
one core, the median of rounds that take turns.

With `--vectors`, a file with `image` and `text` [n, d] of pairs that belong together, it gives a
share of them another's caption and prints how well each score finds these.
"""

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa

from benchmarks.measure import machine, table
from filters.agreement import Agreement
from filters.alip import AlipWeights
from filters.mix import Mix
from filters.neg_clip import NegClip
from filters.noise import Noise
from filters.norm_sim import NormSim
from filters.reassignment import Reassignment
from filters.reward import RewardScore
from filters.teacher import TeacherMass
from pipeline.reward.heads import head_bytes

BATCH = 1024
Batch = dict[str, list[Any]]
Case = tuple[str, Any, Any, Callable[[], Any]]  # name, scorer, fitted, bare loop


def directions(count: int, width: int, seed: int) -> Any:
    rows = np.random.default_rng(seed).normal(size=(count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def rows_of(columns: dict[str, Any]) -> pa.Table:
    """A table as a scorer of the pool gets it."""
    count = len(next(iter(columns.values())))
    keys = [hashlib.blake2b(b"%d" % n, digest_size=16).digest() for n in range(count)]
    arrays = {name: pa.array(list(values)) for name, values in columns.items()}
    return pa.table({"key": pa.array(keys, pa.binary(16)), **arrays}).sort_by("key")


def log_sums(cosines: Any, temperature: float) -> Any:
    cosines = cosines / temperature
    top = cosines.max(axis=1, keepdims=True)
    return top[:, 0] + np.log(np.exp(cosines - top).sum(axis=1))


def cases(columns: dict[str, Any], folder: Path) -> list[Case]:
    """Every cheap scorer with what it learnt, and the same formula over single-precision arrays."""
    rows = rows_of(columns)
    seen, read, made = (columns[n].astype(np.float32) for n in ("clip_image", "clip_text", "made"))
    scores = {name: columns[name] for name in ("a", "b", "c")}
    np.save(folder / "targets.npy", seen[:4096])
    gram = seen[:4096].T @ seen[:4096]
    found: list[Case] = []

    def add(name: str, scorer: Any, bare: Callable[[Any], Any]) -> None:
        some = rows.slice(0, getattr(scorer, "fit_rows", 0))
        fitted = scorer.fit(some) if hasattr(scorer, "fit") else None
        found.append((name, scorer, fitted, lambda: bare(fitted)))

    def negatives(scorer: Any, count: int) -> Callable[[Any], Any]:
        def bare(fitted: Any) -> Any:
            others = [fitted[name][:count].astype(np.float32) for name in ("image", "text")]
            return [
                log_sums(own[at : at + 256] @ other.T, 0.01)
                for at in range(0, len(seen), 256)
                for own, other in ((seen, others[1]), (read, others[0]))
            ]

        return bare

    def head(fitted: Any) -> Any:
        weights = fitted["heads"][0]
        ends = [part @ map_.T for part, map_ in zip((seen, read), weights, strict=True)]
        ends = [end / np.linalg.norm(end, axis=1, keepdims=True) for end in ends]
        others = [fitted[name][0].astype(np.float32) for name in ("text", "image")]
        own = (ends[0] * ends[1]).sum(axis=1) / 0.1
        return [
            np.logaddexp(own, log_sums(end @ other.T, 0.1)) - own
            for end, other in zip(ends, others, strict=True)
        ]

    def three(_: Any) -> Any:
        pairs = ((read, made), (seen, read), (seen, made))
        return [np.exp((one * other).sum(axis=1)) for one, other in pairs]

    def ranks(_: Any) -> Any:
        return [np.searchsorted(np.sort(values), values) for values in scores.values()]

    def weighted(_: Any) -> Any:
        return sum((values - values.mean()) / values.std() for values in scores.values())

    def reward(units: int) -> tuple[RewardScore, Callable[[Any], Any]]:
        """A scorer of a head of random weights, and the plain product of the same shape."""
        dice, inputs = np.random.default_rng(units), 4 * seen.shape[1]
        arrays = {
            "hidden": dice.normal(size=(units, inputs)).astype(np.float32) / inputs**0.5,
            "hidden_bias": np.zeros(units, np.float32),
            "out": dice.normal(size=(1, units)).astype(np.float32),
            "bias": np.zeros(1, np.float32),
            "cosine": np.full(1, 10, np.float32),
        }
        meta = {
            "blocks": ["image", "text", "product", "difference"],
            "criteria": {"overall": 1.0},
            "dimension": seen.shape[1],
            "encoder": "another",
            "encoder_digest": "",
        }
        path = folder / f"reward-{units}.safetensors"
        path.write_bytes(head_bytes(arrays, meta))

        def bare(_: Any) -> Any:
            found = []
            for at in range(0, len(seen), 1024):
                v, t = seen[at : at + 1024], read[at : at + 1024]
                blocks = np.concatenate([v, t, v * t, np.abs(v - t)], axis=1)
                found.append(np.maximum(blocks @ arrays["hidden"].T, 0) @ arrays["out"].T)
            return found

        return RewardScore(str(path)), bare

    add("reward, 64 units", *reward(64))
    add("reward, 512 units", *reward(512))
    add("noise, 64 units", Noise(), head)
    add("noise, 512 units", Noise(units=512, epochs=1), head)
    target = str(folder / "targets.npy")
    add(
        "norm_sim, norm 2",
        NormSim(target, "train"),
        lambda _: np.sqrt(((seen @ gram) * seen).sum(1)),
    )
    add(
        "norm_sim, 4,096 targets, infinity",
        NormSim(target, "train", norm="infinity"),
        lambda _: [(seen[a : a + 256] @ seen[:4096].T).max(1) for a in range(0, len(seen), 256)],
    )
    add("alip", AlipWeights(synthetic="made"), three)
    add("agreement of 3", Agreement(("a", "b", "c")), ranks)
    add("mix of 3", Mix(weights={"a": 1.0, "b": 1.0, "c": 1.0}), weighted)
    for batches, batch in ((1, 256), (4, 1024)):
        scorer = NegClip(batches=batches, batch=batch)
        add(f"neg_clip, {batches} x {batch}", scorer, negatives(scorer, batches * batch))
    add("teacher_mass, encoder, 1,024", TeacherMass("encoder"), negatives(None, 1024))
    add("teacher_mass, averaged, 1,024", TeacherMass(), head)
    return found


def cpu_of(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def speed(width: int, pairs: int, rounds: int) -> None:
    """Print a line per scorer: pairs per second of ours and of the bare loop, and the ratio."""
    dice = np.random.default_rng(9)
    columns: dict[str, Any] = {
        "clip_image": directions(pairs, width, 0),
        "clip_text": directions(pairs, width, 1),
        "made": directions(pairs, width, 2),
        **{name: dice.normal(size=pairs) for name in ("a", "b", "c")},
    }
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for name, scorer, fitted, bare in cases(columns, Path(folder)):
            batch = {n: list(columns[n]) for n in scorer.reads}
            parts = [
                {n: values[at : at + BATCH] for n, values in batch.items()}
                for at in range(0, pairs, BATCH)
            ]
            more = () if fitted is None else (fitted,)

            def ours(parts: Any = parts, scorer: Any = scorer, more: Any = more) -> None:
                for part in parts:
                    scorer(part, *more)

            ours(), bare()
            costs = [(cpu_of(ours), cpu_of(bare)) for _ in range(rounds)]
            mine, theirs = (statistics.median(cost[side] for cost in costs) for side in (0, 1))
            rates = (pairs / mine, pairs / theirs)
            lines.append([name, *(f"{rate:,.0f}" for rate in rates), f"{theirs / mine:.2f}"])
    print(table(["scorer", "pairs/s", "bare loop", "ratio"], lines))


def reassignment(width: int, rows: int) -> None:
    """Print what it costs to compare all captions of a pool with all images."""
    columns = {"clip_image": directions(rows, width, 0), "clip_text": directions(rows, width, 1)}
    pool = rows_of({**columns, "caption": [str(n) for n in range(rows)]})
    cost = cpu_of(lambda: Reassignment().reduce(pool))
    print(f"\nreassignment of {rows:,} rows: {cost:.1f} s of CPU time")


def auc(scores: Any, good: Any) -> float:
    """The chance that a good pair scores higher than a bad one; ties count half."""
    values, places = np.unique(scores, return_inverse=True)
    below = np.bincount(places[~good], minlength=len(values))
    lower = np.cumsum(below) - below / 2
    return float(lower[places[good]].mean() / (~good).sum())


def calibration_error(odds: Any, wrong: Any) -> float:
    """Expected calibration error over ten bins of equal width."""
    bins = (odds * 10).astype(int).clip(max=9)
    return float(sum(abs((odds - wrong)[bins == place].sum()) for place in range(10)) / len(odds))


def quality(path: str, share: float, seed: int) -> None:
    """Print how well each score tells pairs with another's caption from those with their own."""
    with np.load(path) as file:
        seen, own = file["image"].astype(np.float16), file["text"].astype(np.float16)
    dice = np.random.default_rng(seed)
    places = np.flatnonzero(dice.random(len(seen)) < share)
    read = own.copy()
    read[places] = own[dice.permutation(places)]
    wrong = (read != own).any(axis=1)
    rows = rows_of({"clip_image": seen, "clip_text": read})
    batch = {"clip_image": list(seen), "clip_text": list(read)}
    cosines = (seen.astype(np.float32) * read).sum(axis=1)
    lines = [["cosine", f"{auc(cosines, ~wrong):.3f}", "", ""]]
    for name, scorer, column in (
        ("neg_clip", NegClip(), "neg_clip_score"),
        ("teacher_mass, encoder", TeacherMass("encoder"), "teacher_mass"),
        ("teacher_mass, averaged", TeacherMass(), "teacher_mass"),
        ("noise, counted", Noise(near=0), "noise_probability"),
        ("noise, anchored", Noise(mixture="anchored"), "noise_probability"),
        ("noise, free mixture", Noise(mixture="free"), "noise_probability"),
    ):
        values = np.array(scorer(batch, scorer.fit(rows))[column], float)
        line = [name, f"{auc(-values if 'noise' in name else values, ~wrong):.3f}", "", ""]
        if "noise" in name:
            line[2:] = [f"{calibration_error(values, wrong):.3f}", f"{values.mean():.3f}"]
        lines.append(line)
    print(f"\n{len(seen):,} pairs, {wrong.mean():.3f} of them with another's caption\n")
    print(table(["score", "AUC", "calibration error", "mean probability"], lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--pairs", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--vectors", help="an npz file: print quality instead")
    parser.add_argument("--wrong", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(machine())
    if options.vectors:
        quality(options.vectors, options.wrong, options.seed)
    else:
        speed(options.width, options.pairs, options.rounds)
        reassignment(options.width, options.pairs)


if __name__ == "__main__":
    main()
