"""For heads over vectors: comparisons over drawings the encoder may learn from, and held-out ones.

What is learnt from are the encoder's own training drawings; figures are of drawings whose captions
and concepts neither the encoder nor the head has seen. No photograph, and none of the quickstart.
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.embedded import heads
from benchmarks.embedded.pairs import Pair
from benchmarks.embedded.report import LEARNT, Bench, with_share
from benchmarks.embedded.splits import Part, part
from filters import embedded
from pipeline.keys import draw
from pipeline.reward.bootstrap import KINDS, Captioned, nearest_captions, rankings
from pipeline.reward.comparisons import PREFERENCE, Comparison
from pipeline.reward.formats import Layout, read_rankings
from pipeline.reward.table import Floats, Table, make_table, names_of

MADE = tuple(kind for kind in KINDS if kind != "language")  # the encoder reads many languages
_PER_CAPTION = 5  # one caption, "star", has 1,377 drawings
_VALIDATION = 0.15
_SEED = 0


@dataclass(frozen=True)
class Material:
    """Tables to learn from, to stop by (other concepts of the training drawings), and to test."""

    train: Table
    validation: Table
    test: Table


def make_material(data: Path, reserve: float = 0.0, seed: int = 0) -> Material:
    """The material from the folder of packages and features of `benchmarks.embedded`.

    With `reserve` the encoder's heads are trained anew without that share of the concepts, and the
    reward learns from those alone: cosines are then as they are for pictures that are new.
    """
    bench = Bench(data)
    settings = heads.Settings()
    learnt = bench.lessons(settings.sources, LEARNT)
    arrays = embedded.read_heads()
    if reserve:
        rest = [one for one in learnt if _draw(one, seed, "reserve") >= reserve]
        arrays = retrained(bench, data, rest, settings)
        learnt = [one for one in learnt if _draw(one, seed, "reserve") < reserve]
    sides: dict[bool, list[heads.Lesson]] = {True: [], False: []}
    for one in few(learnt):
        sides[_draw(one, seed, "validation") < _VALIDATION].append(one)
    tables = [
        comparisons_table(bench, data, lessons, arrays)
        for lessons in (sides[False], sides[True], few(_held_out(bench, settings.sources)))
    ]
    return Material(*tables)


def retrained(
    bench: Bench, data: Path, lessons: list[heads.Lesson], settings: heads.Settings
) -> dict[str, Floats]:
    """Heads of the encoder that have seen these lessons alone."""
    told = "\n".join([repr(settings), *(f"{one.row} {one.caption}" for one in lessons)])
    path = data / f"reward-heads-{hashlib.sha256(told.encode()).hexdigest()[:16]}.safetensors"
    if not path.exists():
        names = [[name for name in own if part(name) in LEARNT] for own in bench.names]
        arrays = bench.taught(lessons, names, settings)
        heads.write(path, with_share(arrays, settings.share))
    return embedded.read_heads(path)


def _held_out(bench: Bench, sources: tuple[str, ...]) -> list[heads.Lesson]:
    parts: tuple[Part, ...] = ("test",)
    return heads.lessons(bench.pairs, sources, parts)


def few(lessons: list[heads.Lesson]) -> list[heads.Lesson]:
    """At most so many drawings of a caption."""
    seen: Counter[str] = Counter()
    chosen = []
    for lesson in lessons:
        seen[lesson.caption] += 1
        if seen[lesson.caption] <= _PER_CAPTION:
            chosen.append(lesson)
    return chosen


def _draw(lesson: heads.Lesson, seed: int, what: str) -> float:
    return draw(str(lesson.concept).encode(), seed, f"reward-benchmark-{what}")


def comparisons_table(
    bench: Bench, data: Path, lessons: list[heads.Lesson], arrays: dict[str, Floats]
) -> Table:
    keyed = {key_of(bench.pairs[lesson.row]): lesson for lesson in lessons}
    rows = [Captioned(key, keyed[key].caption) for key in sorted(keyed)]
    places = [keyed[row.key].row for row in rows]
    images = embedded.embed_features(bench.features[places], bench.logits[places], arrays)
    images = stored(images)
    neighbours = nearest_captions(rows, images, _SEED)
    comparisons = _comparisons(data, rows, neighbours)
    names = names_of(comparisons)
    vector_of = {row.key.hex(): image for row, image in zip(rows, images, strict=True)}
    seen = np.stack([vector_of[name] for name in names.images])
    read = _text_vectors(data, names.texts, arrays)
    return make_table(comparisons, names, (seen, read), {PREFERENCE: 1.0})


def _comparisons(
    data: Path, rows: list[Captioned], neighbours: list[str | None]
) -> list[Comparison]:
    """Through the very files that `pairmill reward bootstrap` writes."""
    lines = [
        json.dumps(ranking)
        for row, neighbour in zip(rows, neighbours, strict=True)
        for ranking in rankings(row, neighbour, MADE, _SEED)
    ]
    path = data / "reward-rankings.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    return read_rankings(str(path), Layout(criterion=PREFERENCE))


def _text_vectors(data: Path, texts: tuple[str, ...], arrays: dict[str, Floats]) -> Floats:
    joined = "\n".join(texts).encode()
    cache = data / f"reward-texts-{hashlib.sha256(joined).hexdigest()[:16]}.npy"
    if not cache.exists():
        np.save(cache, embedded.sentence_features(list(texts)))
    return stored(embedded.embed_sentences(np.load(cache), arrays))


def stored(vectors: Floats) -> Floats:
    return vectors.astype(np.float16).astype(np.float32)


def key_of(pair: Pair) -> bytes:
    return hashlib.blake2b(f"{pair.source}/{pair.path}".encode(), digest_size=16).digest()
