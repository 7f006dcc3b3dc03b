"""What each score says of the faulty pool; all that is learnt was learnt on the filters' side."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.embedded import heads
from benchmarks.embedded.report import Bench, with_share
from benchmarks.embedded.splits import canonical
from benchmarks.proof.faults import Captions, plant
from benchmarks.proof.sides import Numbers, Sides
from benchmarks.reward.__main__ import ARMS, fit
from benchmarks.reward.material import Material, comparisons_table
from filters import embedded, logistic
from filters.neg_clip import NegClip
from filters.noise import Noise
from filters.teacher import TeacherMass
from pipeline.keys import digest, draw
from pipeline.reward.bootstrap import Captioned
from pipeline.reward.heads import RewardHead

Array = np.ndarray[Any, Any]
SCORES = ("cosine", "negCLIPLoss", "noise", "teacher mass", "reward", "mix")
CONTROLS = ("random", "shuffled", "text only", "oracle")
NOISE = ("counted", "anchored")  # probabilities, which are not among the scores: these rank
_MIXED = ("cosine", "negCLIPLoss", "anchored", "teacher mass", "reward")
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


@dataclass(frozen=True)
class Filters:
    """The encoder's heads, the reward's, and one that sees the text alone."""

    bench: Bench
    arrays: dict[str, Any]
    reward: RewardHead
    text_only: RewardHead

    def pool(self, sides: Sides, name: Any, share: float, seed: int) -> Pool:
        """A side with faults in this share of its captions."""
        rows = sides.rows[name]
        keyed = tuple(_captioned(self.bench, row) for row in rows)
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


def learn(bench: Bench, data: Path, sides: Sides) -> Filters:
    """Everything that filters, from the sides `encoder` and `judges` alone."""
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
    reward, blind = (fit(material, ARMS[arm], None) for arm in ("linear", "text only"))
    return Filters(bench, arrays, reward, blind)


def scores(filters: Filters, sides: Sides, pool: Pool, seed: int) -> dict[str, Array]:
    """Each score [n] of a pool, high for pairs to keep; the mix learns on the judges' side.

    And, by the names of NOISE, how likely noise is. The mix reads the one of two Gaussians.
    """
    found = _single(filters, pool)
    taught = filters.pool(sides, "judges", 0.5, seed + 1)
    known = _single(filters, taught)
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


def _single(filters: Filters, pool: Pool) -> dict[str, Array]:
    images, texts = pool.images, pool.texts
    one, two = images.astype(np.float32), texts.astype(np.float32)
    noise = _fitted(Noise(), pool)
    return {
        "cosine": np.einsum("nd,nd->n", one, two),
        "negCLIPLoss": _fitted(NegClip(temperature=0.05), pool)["neg_clip_score"],
        "noise": -noise["noise_loss"],
        "counted": noise["noise_probability"],
        "anchored": _fitted(Noise(mixture="anchored"), pool)["noise_probability"],
        "teacher mass": _fitted(TeacherMass(), pool)["teacher_mass"],
        "reward": _rewarded(filters.reward, one, two),
        "text only": _rewarded(filters.text_only, one, two),
    }


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


def _rewarded(head: RewardHead, images: Array, texts: Array) -> Array:
    with torch.no_grad():
        found: Array = head.eval()(torch.from_numpy(images), torch.from_numpy(texts)).numpy()
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


def _captioned(bench: Bench, row: int) -> Captioned:
    pair = bench.pairs[row]
    return Captioned(digest(f"{pair.source}/{pair.path}".encode()), pair.caption)
