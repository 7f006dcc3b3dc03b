"""What token merging costs in agreement, and what it gains, measured before it is used.

The same rows of a pool, drawn by key, are scored with and without it. Figures are of these rows,
this model and this machine; no column is written, and nothing is decided.
"""

import math
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import storage
from pipeline.build import Build
from pipeline.catalog import scorer_class
from pipeline.contract import described
from pipeline.decoding import decode
from pipeline.errors import CurationError, RecipeError
from pipeline.instances import Instance, parameters
from pipeline.keys import draw_bits
from pipeline.pool import Pool, Shard, read_base
from pipeline.recipe import load_recipe
from pipeline.reward.images import read_samples
from pipeline.unreadable import Unreadable

Doubles = npt.NDArray[np.float64]

FILE = "merging.json"
FEWEST = 100  # rows of which agreement can be spoken at all
ENOUGH = 2000  # rows from which on it is worth a threshold
_SCORER = "clip"
_SALT = "merging"
_DRAWN_FROM = 4  # times the rows wanted: whole tars are read, so not all shards of a large pool
_FEWEST_SHARDS = 32  # to draw from, however many rows they hold
_PIXELS = 32_000_000  # in memory at once


@dataclass(frozen=True)
class Wanted:
    """Which plans to compare, on how many rows, and the share of them that a selection keeps."""

    merges: tuple[str, ...]
    rows: int = ENOUGH
    fraction: float = 0.3


@dataclass(frozen=True)
class AgreementFigures:
    """How far scores agree with those without merging.

    `spearman` is NULL where one side is constant. `overlap` is the Jaccard index of the rows that
    each side keeps. `shift` is the mean of the differences, `largest` the largest without sign.
    """

    spearman: float | None
    overlap: float
    shift: float
    largest: float


@dataclass(frozen=True)
class Compared:
    """A plan beside scoring without it: agreement, and images per second of both."""

    scorer: str
    parameters: dict[str, Any]
    device: str
    merge: str
    rows: int
    images_per_s: float
    unmerged_per_s: float
    agreement: AgreementFigures

    @property
    def speed(self) -> float:
        """How many times as fast it is."""
        return self.images_per_s / self.unmerged_per_s

    @property
    def figures(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {**asdict(self), "speed": self.speed}


# What two lists of scores say


def agreement_of(before: Doubles, after: Doubles, fraction: float) -> AgreementFigures:
    """How far scores agree, of the same rows, which are in the order of their keys."""
    first, second = (kept(scores, fraction) for scores in (before, after))
    either = np.count_nonzero(first | second)
    return AgreementFigures(
        spearman=spearman(before, after),
        overlap=float(np.count_nonzero(first & second) / either),
        shift=float(np.mean(after - before)),
        largest=float(np.max(np.abs(after - before))),
    )


def spearman(first: Doubles, second: Doubles) -> float | None:
    """Spearman's rank correlation, equal values sharing their mean rank; None for a constant."""
    ranks = [_ranks(values) for values in (first, second)]
    apart = [rank - rank.mean() for rank in ranks]
    norm = math.sqrt(float(np.dot(apart[0], apart[0]) * np.dot(apart[1], apart[1])))
    return float(np.clip(np.dot(apart[0], apart[1]) / norm, -1, 1)) if norm else None


def _ranks(values: Doubles) -> Doubles:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: Doubles = ends - (counts - 1) / 2
    return means[inverse]


def kept(scores: Doubles, fraction: float) -> npt.NDArray[np.bool_]:
    """The rows that `top` with this fraction keeps: ceil(fraction * n), ties to the first."""
    count = math.ceil(Fraction(repr(fraction)) * len(scores))
    chosen = np.zeros(len(scores), np.bool_)
    chosen[np.argsort(-scores, kind="stable")[:count]] = True
    return chosen


# What a pool says


def compare(recipe_path: str, out: str, wanted: Wanted) -> list[Compared]:
    """Compare every plan for each `clip` of a recipe on rows of its pool; writes FILE, too.

    Without plans it is those of the recipe. Raises RecipeError for what can't be merged, and
    CurationError when there is no pool, or too few of its rows have a score.
    """
    build = Build(load_recipe(recipe_path), out)
    resolved, _ = build.resolve()
    chosen = [i for i in resolved.instances if type(i.scorer) is scorer_class(_SCORER)]
    if not chosen:
        raise RecipeError(f"{build.recipe.path}: has no scorer `{_SCORER}`")
    ways = _all_ways(build.recipe.path, chosen, wanted.merges)
    made = build.open_pool()
    near = replace(made, shards=_drawn_shards(made, wanted.rows))
    found: list[Compared] = []
    for name, scorers in ways.items():
        found += _compared(name, scorers, near, wanted, build.recipe.ingest.max_pixels)
    figures = [compared.figures for compared in found]
    storage.write_json(
        storage.join(out, FILE), {"format": 1, "fraction": wanted.fraction, "merges": figures}
    )
    return found


def _all_ways(
    path: str, instances: Sequence[Instance], merges: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """For each scorer that can merge what `_ways` says; RecipeError when none can."""
    ways: dict[str, dict[str, Any]] = {}
    refused: list[RecipeError] = []
    for instance in instances:
        try:
            ways[instance.name] = _ways(instance, merges)
        except RecipeError as error:
            refused.append(error)
    ways = {name: scorers for name, scorers in ways.items() if len(scorers) > 1}
    if not ways and refused:
        raise refused[0]
    if not ways:
        raise RecipeError(f"{path}: says no `merge:`; give --merge, such as tome:8")
    return ways


def _ways(instance: Instance, merges: Sequence[str]) -> dict[str, Any]:
    """Scorers by their plans, of which that without one is the first. Raises RecipeError."""
    scorer = instance.scorer
    if scorer.text in instance.inputs:
        raise RecipeError(
            f"scorer {instance.name!r} reads {scorer.text!r}, which another scorer writes; compare"
            " with `text: caption`"
        )
    plans = merges or [plan for plan in [scorer.merge] if plan is not None]
    try:
        merged = {plan: replace(scorer, merge=plan) for plan in plans}
    except ValueError as error:
        raise RecipeError(f"scorer {instance.name!r}: {error}") from error
    return {"": replace(scorer, merge=None), **merged}


def _compared(
    name: str, ways: Mapping[str, Any], made: Pool, wanted: Wanted, max_pixels: int
) -> Iterator[Compared]:
    plain = ways[""]
    try:
        for scorer in ways.values():
            scorer.prepare()
    except (ValueError, RuntimeError, OSError) as error:
        raise CurationError(f"scorer {name!r}: {described(error)}") from error
    texts = drawn_texts(made, plain.text, wanted.rows)
    scores, rates = _measured([*ways.values()], _batches(made, texts, plain, max_pixels))
    rows = scores.shape[1]
    if rows < FEWEST:
        raise CurationError(
            f"{made.root}: {rows} rows have an image, a text and a score (limit {FEWEST}); of so"
            " few agreement says nothing"
        )
    for (merge, scorer), after, rate in zip(ways.items(), scores, rates, strict=True):
        if merge:
            agreement = agreement_of(scores[0], after, wanted.fraction)
            said = parameters(scorer), scorer.device
            yield Compared(name, *said, merge, rows, rate, rates[0], agreement)


def drawn_texts(made: Pool, text: str, rows: int) -> dict[str, str]:
    """Texts by key of the rows with image and text that have the smallest draws."""
    found: list[tuple[int, str, str]] = []
    for shard in made.shards:
        base = read_base(made.root, shard, ["key", text, "failed", "extension"])
        values = zip(*(column.to_pylist() for column in base.columns), strict=True)
        for key, words, failed, extension in values:
            is_whole = failed is None and extension is not None
            if is_whole and isinstance(words, str) and words.strip():
                found.append((draw_bits(key, 0, _SALT), key.hex(), words))
        found = sorted(found)[:rows]
    return {key: words for _, key, words in found}


def _drawn_shards(made: Pool, rows: int) -> tuple[Shard, ...]:
    """The shards to draw from, in order: all, or of many those with the smallest draws."""
    draws = {shard: draw_bits(shard.digest.encode(), 0, _SALT) for shard in made.shards}
    chosen: set[Shard] = set()
    samples = 0
    for shard in sorted(made.shards, key=draws.__getitem__):
        if len(chosen) >= _FEWEST_SHARDS and samples >= _DRAWN_FROM * rows:
            break
        chosen.add(shard)
        samples += shard.samples
    return tuple(shard for shard in made.shards if shard in chosen)


@dataclass(frozen=True)
class Batch:
    """Rows that are scored together; a full one is as long as the scorer's own."""

    keys: list[str]
    given: dict[str, list[Any]]
    is_full: bool


def _batches(made: Pool, texts: Mapping[str, str], scorer: Any, max_pixels: int) -> Iterator[Batch]:
    """The rows in the order of the pool; what can't be read is left out.

    Memory: the pixels of one batch, at most _PIXELS and one image.
    """
    keys: list[str] = []
    images: list[Any] = []

    def batch() -> Batch:
        given = {"image": images, scorer.text: [texts[key] for key in keys]}
        return Batch(keys, given, len(keys) == scorer.batch_size)

    for key, data in read_samples(made, frozenset(texts)):
        try:
            image = decode(data, scorer.image_request, max_pixels=max_pixels)
        except Unreadable:
            continue
        keys.append(key)
        images.append(image)
        pixels = sum(one.size // 3 for one in images)
        if len(keys) == scorer.batch_size or pixels > _PIXELS:
            yield batch()
            keys, images = [], []
    if keys:
        yield batch()


def _measured(scorers: Sequence[Any], batches: Iterable[Batch]) -> tuple[Doubles, list[float]]:
    """Scores [scorers, rows] in the order of keys, and the images per second of each.

    The scorers take turns on every batch, each in turn first; rates are of the median full batch.
    """
    keys: list[str] = []
    parts = [np.zeros((len(scorers), 0))]
    times: list[list[float]] = []
    for number, batch in enumerate(batches):
        if not number:
            for scorer in scorers:  # the first call of anything is slow
                _scores(scorer, batch.given)
        table, seconds = _turns(scorers, batch.given, number)
        keys += batch.keys
        parts.append(table)
        if batch.is_full or not times:
            times.append([one / len(batch.keys) for one in seconds])
    order = sorted(range(len(keys)), key=keys.__getitem__)
    scores = np.concatenate(parts, axis=1)[:, order]
    rates = [1 / statistics.median(column) for column in zip(*times, strict=True)]
    return scores[:, ~np.isnan(scores).any(axis=0)], rates


def _turns(
    scorers: Sequence[Any], given: Mapping[str, list[Any]], first: int
) -> tuple[Doubles, list[float]]:
    """Scores [scorers, rows] and the seconds of each."""
    table = np.full((len(scorers), len(given["image"])), np.nan)
    seconds = [0.0] * len(scorers)
    for turn in range(len(scorers)):
        place = (first + turn) % len(scorers)
        started = time.perf_counter()
        table[place] = _scores(scorers[place], given)
        seconds[place] = time.perf_counter() - started
    return table, seconds


def _scores(scorer: Any, given: Mapping[str, list[Any]]) -> Doubles:
    """The scores of a batch, NaN where there is none; a row that can't be scored costs itself."""
    try:
        values = scorer(given)[scorer.writes.names[0]]
    except ValueError:
        count = len(given["image"])
        if count == 1:
            return np.array([np.nan])
        halves = slice(0, count // 2), slice(count // 2, count)
        parts = [{name: values[half] for name, values in given.items()} for half in halves]
        return np.concatenate([_scores(scorer, part) for part in parts])
    return np.array(values, np.float64)


# What a person reads


def lines_of(found: Sequence[Compared], fraction: float) -> Iterator[str]:
    """A table for each scorer, with a word on few rows."""
    for name in dict.fromkeys(one.scorer for one in found):
        mine = [one for one in found if one.scorer == name]
        said = mine[0].parameters
        model = " ".join(str(said[n]) for n in ("model", "pretrained", "precision") if said[n])
        yield f"{name}: {model} on {mine[0].device}, {mine[0].rows:,} rows drawn by key"
        yield (
            f"{'merge':<16}{'images/s':>10}{'without':>10}{'speed':>8}{'Spearman':>10}"
            f"{f'overlap of top {fraction:g}':>20}{'largest shift':>15}"
        )
        for one in mine:
            agrees = one.agreement
            rank = "constant" if agrees.spearman is None else f"{agrees.spearman:.4f}"
            yield (
                f"{one.merge:<16}{one.images_per_s:>10.1f}{one.unmerged_per_s:>10.1f}"
                f"{one.speed:>8.2f}{rank:>10}{agrees.overlap:>20.3f}{agrees.largest:>15.4f}"
            )
        if mine[0].rows < ENOUGH:
            yield f"fewer than {ENOUGH:,} rows: the figures are rough"


def require(found: Sequence[Compared], at_least: float) -> None:
    """Raise CurationError when a Spearman correlation is below a limit, or there is none."""
    for one in found:
        rank = one.agreement.spearman
        if rank is None or rank < at_least:
            told = "is of constant scores" if rank is None else f"{rank:.4f}"
            raise CurationError(
                f"scorer {one.scorer!r}, merge {one.merge!r}: Spearman {told} (limit {at_least:g})"
            )
