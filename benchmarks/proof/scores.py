"""What each score says of the faulty pool; all that is learnt was learnt on the filters' sides.

A new score is a line in one of two tables here, and its name in SCORES; those of JUDGES are told by
name alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.embedded import heads
from benchmarks.embedded.report import Bench, with_share
from benchmarks.embedded.splits import canonical
from benchmarks.proof import judges, tokenwise
from benchmarks.proof.faults import Captions, plant
from benchmarks.proof.judges import Judges
from benchmarks.proof.sides import Numbers, Sides
from benchmarks.proof.tokenwise import Tokenwise
from benchmarks.reward.drawings import Maker
from benchmarks.reward.material import Material, comparisons_table
from benchmarks.reward.vectors import ARMS, fit
from filters import embedded, logistic
from filters.neg_clip import NegClip
from filters.noise import Noise
from filters.teacher import TeacherMass
from pipeline.keys import digest, draw
from pipeline.reward.bootstrap import Captioned
from pipeline.reward.heads import RewardHead

Array = np.ndarray[Any, Any]
SCORES = (
    "cosine",
    "negCLIPLoss",
    "noise",
    "teacher mass",
    "averaged teacher",
    "FILIP",
    "linear reward",
    "reward",
    "mix",
)
JUDGES = judges.NAMES  # no learner is trained on what these keep
TEXT_ONLY = "text only"
_BLIND = ("cosine", "FILIP", "reward")  # of which it is told what the text alone gives
BLIND = tuple(f"blind {name}" for name in _BLIND)
CONTROLS = ("random", "shuffled", TEXT_ONLY, *BLIND, "oracle")
NOISE = ("counted", "anchored")  # probabilities, which are not among the scores: these rank
_MIXED = ("cosine", "negCLIPLoss", "anchored", "teacher mass", "linear reward")
_EPOCHS = 40
_VALIDATION = 0.15


@dataclass(frozen=True)
class Pool:
    """Rows of the bench with the captions that they have in the pool, and their vectors."""

    rows: Numbers
    captioned: tuple[Captioned, ...]
    captions: Captions
    images: Array  # [n, d], as stored
    texts: Array

    @property
    def vectors(self) -> tuple[Array, Array]:
        """Those of images and texts, to compute with."""
        return self.images.astype(np.float32), self.texts.astype(np.float32)


@dataclass(frozen=True)
class Filters:
    """The encoder's heads, those of rewards, and one that sees the text alone."""

    bench: Bench
    arrays: dict[str, Any]
    linear: RewardHead
    text_only: RewardHead
    tokenwise: Tokenwise
    judges: Judges

    def pool(self, sides: Sides, name: Any, share: float, seed: int) -> Pool:
        """A side with faults in this share of its captions."""
        rows = sides.rows[name]
        keyed = tuple(captioned_row(self.bench, row) for row in rows)
        told = plant(keyed, sides.concept[rows], self.bench.features[rows], share, seed)
        images = embedded.embed_features(
            self.bench.features[rows], self.bench.logits[rows], self.arrays
        )
        vectors = dict(zip(*self._texts(sorted(set(told.texts))), strict=True))
        texts = np.stack([vectors[text] for text in told.texts])
        return Pool(rows, keyed, told, images.astype(np.float16), texts.astype(np.float16))

    def _texts(self, texts: list[str]) -> tuple[list[str], Array]:
        known = self.bench.sentences
        new = [text for text in texts if text not in known]
        known.update(zip(new, embedded.sentence_features(new), strict=True))
        found = np.stack([known[text] for text in texts])
        return texts, embedded.embed_sentences(found, self.arrays)


def learn(bench: Bench, data: Path, work: Path, sides: Sides) -> Filters:
    """Everything that filters, from the sides `encoder` and `judges` alone.

    What takes long of it is kept in the work folder.
    """
    settings = heads.Settings(members=1, epochs=_EPOCHS)
    chosen = _lessons(bench, sides, "encoder")
    held = {canonical(bench.pairs[r].caption) for s in ("pool", "test") for r in sides.rows[s]}
    names = [[n for n in own if canonical(n) not in held] for own in bench.names]
    arrays = with_share(bench.taught(chosen, names, settings), settings.share)
    judged = _lessons(bench, sides, "judges")
    parts: dict[bool, list[heads.Lesson]] = {True: [], False: []}
    for lesson in judged:
        place = draw(str(lesson.concept).encode(), 0, "proof-validation")
        parts[place < _VALIDATION].append(lesson)
    tables = [comparisons_table(bench, data, parts[side], arrays) for side in (False, True)]
    material = Material(tables[0], tables[1], tables[1])
    linear, blind = (fit(material, ARMS[arm], None) for arm in ("linear", "text only"))
    maker = Maker(data, bench)
    tokens = tokenwise.learn(maker, judged, arrays, work)
    told = judges.learn(maker, chosen, judged, arrays)
    return Filters(bench, arrays, linear, blind, tokens, told)


def scores(filters: Filters, sides: Sides, pool: Pool, seed: int) -> dict[str, Array]:
    """Each score [n] of a pool, high for pairs to keep; the mix learns on the judges' side.

    And, by the names of NOISE, how likely noise is. The mix reads the one of two Gaussians.
    """
    found = _single(filters, pool, (*_FITTED, *_OF_PAIRS))
    taught = filters.pool(sides, "judges", 0.5, seed + 1)
    known = _single(filters, taught, _MIXED)
    scaled = _standard([known[n] for n in _MIXED]), _standard([found[n] for n in _MIXED])
    labels = taught.captions.is_clean
    penalty, _ = logistic.best_penalty(scaled[0], labels)
    weights = logistic.fit(scaled[0], labels, penalty).coefficients
    found["mix"] = scaled[1] @ weights[1:]
    dice = np.random.default_rng(seed)
    found["random"] = dice.random(len(pool.rows))
    found["shuffled"] = dice.permutation(found["cosine"])
    found["oracle"] = pool.captions.is_clean + dice.random(len(pool.rows))
    return found


def _cosine(_filters: Filters, pool: Pool) -> Array:
    found: Array = np.einsum("nd,nd->n", *pool.vectors)
    return found


def _filip(filters: Filters, pool: Pool) -> Array:
    return filters.tokenwise.filip(pool.rows, pool.captions.texts)


def _reward(filters: Filters, pool: Pool) -> Array:
    return filters.tokenwise.reward(pool.rows, pool.captions.texts, pool.vectors)


_FITTED: dict[str, tuple[Any, str, float]] = {
    "negCLIPLoss": (NegClip(temperature=0.05), "neg_clip_score", 1.0),
    "noise": (Noise(), "noise_loss", -1.0),
    "counted": (Noise(), "noise_probability", 1.0),
    "anchored": (Noise(mixture="anchored"), "noise_probability", 1.0),
    "teacher mass": (TeacherMass(teacher="encoder"), "teacher_mass", 1.0),
    "averaged teacher": (TeacherMass(teacher="averaged"), "teacher_mass", 1.0),
}
"""Scorers that learn from the pool: the scorer, its column, and by what that is multiplied."""
_OF_PAIRS: dict[str, Callable[[Filters, Pool], Array]] = {
    "cosine": _cosine,
    "FILIP": _filip,
    "linear reward": lambda filters, pool: _by_head(filters.linear, pool),
    "reward": _reward,
    TEXT_ONLY: lambda filters, pool: _by_head(filters.text_only, pool),
}
"""Scores that know a pair at a time."""


def _judged(name: str) -> Callable[[Filters, Pool], Array]:
    def told(filters: Filters, pool: Pool) -> Array:
        return filters.judges.of(name, pool.vectors[0], pool.captions.texts)

    return told


_OF_PAIRS |= {name: _judged(name) for name in JUDGES}


def _blind(score: Callable[[Filters, Pool], Array]) -> Callable[[Filters, Pool], Array]:
    """The same of captions beside pictures dealt out by chance."""

    def told(filters: Filters, pool: Pool) -> Array:
        order = np.random.default_rng(0).permutation(len(pool.rows))
        return score(filters, replace(pool, rows=pool.rows[order], images=pool.images[order]))

    return told


_OF_PAIRS |= {f"blind {name}": _blind(_OF_PAIRS[name]) for name in _BLIND}


def _single(filters: Filters, pool: Pool, names: Sequence[str]) -> dict[str, Array]:
    """Those of the tables that are asked for; a scorer learns once for all its columns."""
    scorers = dict.fromkeys(_FITTED[name][0] for name in names if name in _FITTED)
    columns = {scorer: _fitted(scorer, pool) for scorer in scorers}
    found = {}
    for name in names:
        if name in _FITTED:
            scorer, column, factor = _FITTED[name]
            found[name] = factor * columns[scorer][column]
        else:
            found[name] = _OF_PAIRS[name](filters, pool)
    return found


def _fitted(scorer: Any, pool: Pool) -> dict[str, Array]:
    """The columns of a fitted scorer over the pool itself, as a build runs it."""
    keys = [row.key for row in pool.captioned]
    rows = pa.table(
        {
            "key": pa.array(keys, pa.binary(16)),
            "clip_image": _vectors(pool.images),
            "clip_text": _vectors(pool.texts),
        }
    ).sort_by("key")
    learnt = scorer.fit(rows)
    batch = {"clip_image": list(pool.images), "clip_text": list(pool.texts)}
    columns = scorer(batch, learnt)
    return {name: np.array(values, np.float64) for name, values in columns.items()}


def _vectors(rows: Array) -> Any:
    return pa.array(list(rows), pa.large_list(pa.float16()))


def _by_head(head: RewardHead, pool: Pool) -> Array:
    images, texts = map(torch.from_numpy, pool.vectors)
    with torch.no_grad():
        found: Array = head.eval()(images, texts).numpy()
    return found[:, 0].astype(np.float64)


def _standard(columns: list[Array]) -> Array:
    matrix = np.stack(columns, axis=1)
    found: Array = (matrix - matrix.mean(0)) / matrix.std(0)
    return found


def _lessons(bench: Bench, sides: Sides, side: Any) -> list[heads.Lesson]:
    """The pairs of a side, without words that name anything of the pool or the test."""
    held = {
        canonical(text)
        for other in ("pool", "test")
        for row in sides.rows[other]
        for text in (bench.pairs[row].caption, *bench.pairs[row].translations.values())
    }
    chosen = []
    for row in sides.rows[side].tolist():
        pair = bench.pairs[row]
        usable: Callable[[str], bool] = lambda text: canonical(text) not in held  # noqa: E731
        told = tuple(filter(usable, pair.translations.values()))
        words = tuple(filter(usable, pair.keywords))
        chosen.append(heads.Lesson(row, int(sides.concept[row]), pair.caption, told, words))
    return chosen


def captioned_row(bench: Bench, row: int) -> Captioned:
    pair = bench.pairs[row]
    return Captioned(digest(f"{pair.source}/{pair.path}".encode()), pair.caption)
