"""The recipe under the protocol of an earlier experiment, so that both sets of figures compare.

Each source is split by its own concepts: 15 % of those of emoji and stamps and 10 % of those of
clip art are held out. Clip art is captioned with names of files in which rare authors and serial
numbers stay. A test keeps the pictures whose caption, in lower case, is that of no picture that is
learnt from, in any source. Nothing is shipped from these weights: `splits` holds out more.
"""

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import numpy.typing as npt

from benchmarks.embedded import clipart, heads
from benchmarks.embedded.evaluate import Retrieval
from benchmarks.embedded.pairs import Pair, concept
from benchmarks.embedded.report import FILED, Bench, with_share

_LOG = logging.getLogger(__name__)
Floats = npt.NDArray[np.float32]

SEEDS = (0, 1, 2)
_HELD_OUT = {"emoji": 0.15, "stamps": 0.15, "clipart": 0.10}
_POOLS = {"emoji without flags": 256, "stamps": 82, "clip art": 490}
_FEWEST_LETTERS = 3


@dataclass(frozen=True)
class Split:
    """What is learnt from and, by the name of the set, the rows that are tested."""

    lessons: list[heads.Lesson]
    tests: dict[str, list[int]]


def report(data: Path, settings: heads.Settings, seeds: Iterable[int] = SEEDS) -> str:
    """A Markdown table: each seed of the split (a training of its own), then mean and spread.

    Pools have the sizes of the experiment's tests and stand where a test of ours is larger.
    """
    bench = Bench(data)
    lines = [
        "| set | split | weights | pictures | captions | R@1 | R@5 | AUC |",
        "|" + "---|" * 8,
    ]
    found: dict[tuple[str, str], list[Retrieval]] = {}
    for seed in seeds:
        rows = split(data, bench.pairs, seed)
        arrays = trained(bench, rows, settings)
        for name, kind, figures in _measured(bench, rows, arrays, settings.share):
            if name in rows.tests:
                found.setdefault((name, kind), []).append(figures)
            lines.append(_line(name, str(seed), kind, figures))
            _LOG.info("%s", lines[-1])
    return "\n".join([*lines, *(_mean(*key, figures) for key, figures in found.items())])


def split(data: Path, pairs: list[Pair], seed: int) -> Split:
    """Seed 0 is the split of the experiment itself."""
    named = [(row, p, _caption(p)) for row, p in enumerate(pairs) if p.source in _HELD_OUT]
    usable = [n for n in named if sum(c in _LATIN for c in n[2].lower()) >= _FEWEST_LETTERS]
    held = {row for row, p, _ in usable if _draw(_concept(data, p), seed) < _HELD_OUT[p.source]}
    learnt = {caption.lower() for row, _, caption in usable if row not in held}
    tested = [n for n in usable if n[0] in held and n[2].lower() not in learnt]
    names = {caption.lower() for _, _, caption in tested}
    return Split(
        _lessons([n for n in usable if n[0] not in held], names),
        {
            "emoji without flags": [
                row for row, p, _ in tested if p.source == "emoji" and p.group != "Flags"
            ],
            "stamps": [row for row, p, _ in tested if p.source == "stamps"],
            "clip art": [row for row, p, _ in tested if p.source == "clipart"],
        },
    )


_LATIN = frozenset("abcdefghijklmnopqrstuvwxyz")


def _caption(pair: Pair) -> str:
    return pair.filed if pair.source == "clipart" else pair.caption


def _concept(data: Path, pair: Pair) -> str:
    """What the experiment kept on one side: a person in all tones and roles, a name in a folder."""
    path = PurePath(pair.path)
    if pair.source == "emoji":
        code = path.stem.upper()
        return "emoji:" + (code.split("-")[0] if pair.group == "People & Body" else code)
    if pair.source == "stamps":
        words = (data / path).with_suffix(".txt").read_text("utf-8", "replace")
        return "st:" + words.splitlines()[0].strip()
    return f"oca:{path.relative_to(clipart.PICTURES).parent}:{pair.filed}"


def _draw(name: str, seed: int) -> float:
    salted = f"{seed}:{name}" if seed else name
    return int(hashlib.md5(salted.encode()).hexdigest()[:8], 16) / 2**32


def _lessons(chosen: list[tuple[int, Pair, str]], tested: set[str]) -> list[heads.Lesson]:
    """Lessons in which no keyword and no translation spells a caption that is tested."""
    concepts = [concept(caption) for _, _, caption in chosen]
    numbers = {name: n for n, name in enumerate(sorted(set(concepts)))}
    return [
        heads.Lesson(
            row,
            numbers[name],
            caption,
            tuple(t for t in p.translations.values() if t.lower() not in tested),
            tuple(k for k in p.keywords if k.lower() not in tested),
        )
        for (row, p, caption), name in zip(chosen, concepts, strict=True)
    ]


def trained(bench: Bench, rows: Split, settings: heads.Settings) -> dict[str, Floats]:
    """Heads that learnt from the lessons, and from no name of a class that is tested."""
    tested = {_caption(bench.pairs[row]).lower() for own in rows.tests.values() for row in own}
    names = [[n for n in own if n.lower() not in tested] for own in bench.names]
    return bench.taught(rows.lessons, names, settings)


def _measured(
    bench: Bench, rows: Split, arrays: dict[str, Floats], share: float
) -> Iterable[tuple[str, str, Retrieval]]:
    variants = {"recipe": share, "heads alone": 1.0}
    for name, own in rows.tests.items():
        language = FILED if name == "clip art" else "en"
        for kind, weight in variants.items():
            held, size = with_share(arrays, weight), _POOLS[name]
            figures = bench.figures(held, own, language)
            yield name, kind, figures
            if figures.captions > size:
                pool = bench.figures(held, own, language, size)
                yield f"{name}, pools of {size}", kind, pool


def _line(name: str, seed: str, kind: str, found: Retrieval) -> str:
    figures = f"{found.at_1:.3f} | {found.at_5:.3f} | {found.auc:.3f}"
    return f"| {name} | {seed} | {kind} | {found.images} | {found.captions} | {figures} |"


def _mean(name: str, kind: str, found: list[Retrieval]) -> str:
    """The mean over the splits and the standard deviation between them."""
    images, captions = (
        f"{min(counts)}-{max(counts)}" if min(counts) < max(counts) else str(counts[0])
        for counts in ([f.images for f in found], [f.captions for f in found])
    )
    columns = ([f.at_1 for f in found], [f.at_5 for f in found], [f.auc for f in found])
    figures = " | ".join(
        f"{np.mean(c):.3f} ± {np.std(c, ddof=1) if len(c) > 1 else 0:.3f}" for c in columns
    )
    return f"| {name} | mean of {len(found)} | {kind} | {images} | {captions} | {figures} |"
