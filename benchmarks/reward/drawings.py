"""Tables of comparisons over drawings: to learn from, to stop by, and to test on.

The reward learns from drawings that are kept from heads of the encoder which are trained for it, so
that cosines are as they are for new pictures; figures are of drawings whose captions and concepts
neither the shipped encoder nor the reward has seen. No photograph, and none of the quickstart.
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.embedded import heads
from benchmarks.embedded.features import load
from benchmarks.embedded.report import LEARNT, Bench
from benchmarks.embedded.splits import Part
from benchmarks.reward.captions import (
    LEARNT_FRAMES,
    TESTED_FRAMES,
    Row,
    captions_of,
    comparisons_of,
)
from benchmarks.reward.material import few, key_of, retrained, stored
from filters import embedded, reward_tokens, tokens
from filters.clip import ClipScore
from filters.tokens import Words
from pipeline.keys import draw
from pipeline.reward.bootstrap import Captioned, nearest_captions
from pipeline.reward.comparisons import PREFERENCE
from pipeline.reward.table import Floats, Table, make_table, names_of
from pipeline.reward.tokenwise import OTHERS, Others, PairNumbers, codes_of, cosines_of

RESERVE, _VALIDATION = 0.4, 0.25
_PER_CAPTION = 5  # one caption, "star", has 1,377 drawings
_NEAR = 3
_AT_ONCE = 4  # pictures in a batch of the backbone
_CLIP = ClipScore()
Heads = dict[str, Floats]


@dataclass(frozen=True)
class Material:
    """Tables to learn from, to stop by (other concepts of the reserve), and to test on.

    Those of `blind` have the same captions beside pictures dealt out by chance.
    """

    train: Table
    validation: Table
    test: Table
    blind: dict[str, Table]


class Maker:
    """Makes tables from the folder of packages and features of `benchmarks.embedded`.

    It keeps the features of cells in memory, which take long: hence a class.
    """

    def __init__(self, data: Path) -> None:
        self.data, self.bench = data, Bench(data)
        self.settings = heads.Settings()

    def material(self) -> Material:
        """All tables; the encoder's heads are trained anew without the reserve."""
        learnt = self.bench.lessons(self.settings.sources, LEARNT)
        rest = [one for one in learnt if _draw(one, "reserve") >= RESERVE]
        kept = few([one for one in learnt if _draw(one, "reserve") < RESERVE])
        own = retrained(self.bench, self.data, rest, self.settings)
        shipped = embedded.read_heads()
        train = self.rows([o for o in kept if _draw(o, "validation") >= _VALIDATION], LEARNT_FRAMES)
        dev = self.rows([o for o in kept if _draw(o, "validation") < _VALIDATION], TESTED_FRAMES)
        held_out: tuple[Part, ...] = ("test",)
        lessons = few(heads.lessons(self.bench.pairs, self.settings.sources, held_out))
        test = self.rows(lessons, TESTED_FRAMES)
        compared = _compared_with(train)
        sides = {"train": (train, own), "validation": (dev, own), "test": (test, shipped)}
        tables, blind = {}, {}
        for name, (rows, arrays) in sides.items():
            both = self.tables(rows, arrays, compared)
            tables[name], blind[name] = both
        return Material(**tables, blind=blind)

    def rows(self, lessons: list[heads.Lesson], frames: tuple[str, ...]) -> list[Row]:
        """The drawings with their captions, by key."""
        found = []
        for one in lessons:
            key = key_of(self.bench.pairs[one.row])
            told = one.caption, one.translations, one.keywords
            found.append(Row(key, one.row, captions_of(key, told, frames)))
        return sorted(found, key=lambda row: row.key)

    def tables(
        self, rows: list[Row], arrays: Heads, compared: tuple[list[str], list[str]]
    ) -> tuple[Table, Table]:
        """The comparisons of these drawings, and the same of pictures dealt out by chance."""
        places = [row.place for row in rows]
        features, logits = self.bench.features[places], self.bench.logits[places]
        images = stored(embedded.embed_features(features, logits, arrays))
        short = [Captioned(row.key, row.texts["short"]) for row in rows]
        near = [nearest_captions(short, images, seed) for seed in range(_NEAR)]
        comparisons = [*comparisons_of(rows, near)]
        names = names_of(comparisons)
        place_of = {row.key.hex(): place for place, row in enumerate(rows)}
        order = np.array([place_of[name] for name in names.images])
        texts = stored(_text_vectors(names.texts, arrays))
        made = make_table(comparisons, names, (images[order], texts), {PREFERENCE: 1.0})
        others = Others(*(stored(_text_vectors(some, arrays)) for some in compared))
        cells = self._cells(rows, order)
        dealt = np.random.default_rng(0).permutation(len(order))
        plain = _with_numbers(made, names.texts, (cells, arrays, others))
        blind = replace(made, images=made.images[dealt])
        shuffled = [cells[place] for place in dealt]
        return plain, _with_numbers(blind, names.texts, (shuffled, arrays, others))

    def _cells(self, rows: list[Row], order: npt.NDArray[np.int64]) -> list[tuple[Floats, Floats]]:
        """What the backbone says of the cells of each drawing that show it."""
        paths = [self.data / self.bench.pairs[rows[place].place].path for place in order]
        found = []
        for start in range(0, len(paths), _AT_ONCE):
            images = [load(path) for path in paths[start : start + _AT_ONCE]]
            ((features, logits),) = embedded._backbone_batches(images, "cpu", by_cell=True)
            for image, *both in zip(images, features, logits, strict=False):
                own = embedded.cells_of(image)
                found.append((both[0][own].astype(np.float16), both[1][own].astype(np.float16)))
        return found


def _compared_with(rows: list[Row]) -> tuple[list[str], list[str]]:
    """Captions, and words of others, that are learnt from; what pictures are compared with."""
    order = sorted(rows, key=lambda row: draw(row.key, 0, "reward-compared"))
    captions = [*dict.fromkeys(row.texts["short"] for row in order)]
    words = []
    for turn, caption in enumerate(captions[-OTHERS:]):
        own = _words(caption)
        words += [own[turn % len(own)]] if own else []
    return captions[:OTHERS], words


def _with_numbers(
    table: Table, texts: tuple[str, ...], seen: tuple[list[tuple[Floats, Floats]], Heads, Others]
) -> Table:
    """The table with the numbers of its pairs, as `pairmill reward train` computes them."""
    cells, arrays, others = seen
    codes = codes_of(table)
    images, read = codes // len(texts), codes % len(texts)
    found = np.zeros((len(codes), reward_tokens.OF_TOKENS), np.float32)
    vectors = _word_vectors(texts, arrays)
    for image in np.unique(images):
        features, logits = (part.astype(np.float32) for part in cells[image])
        patches = embedded.embed_features(features, logits, arrays)
        for place in np.flatnonzero(images == image):
            names = _words(texts[read[place]])
            own = np.stack([vectors[name] for name in names]) if names else vectors[""][:0]
            words = Words(own, names, [*range(len(names))])
            found[place] = reward_tokens.of_tokens(patches, words, others.words)
    parts = reward_tokens.parts_of("embedded", table.images.shape[1])
    both = table.images[images], table.texts[read]
    values = np.concatenate(
        [reward_tokens.of_vectors(*both, others.texts, parts), found.astype(np.float16)], axis=1
    )
    return replace(
        table, numbers=PairNumbers(codes, cosines_of(*both), values, len(texts), others, parts)
    )


def _words(text: str) -> list[str]:
    (found,) = tokens.words(_CLIP, [text])
    return found.names


def _word_vectors(texts: tuple[str, ...], arrays: Heads) -> dict[str, Floats]:
    names = sorted({name for text in texts for name in _words(text)})
    rows = _text_vectors(names, arrays)
    empty = np.zeros((1, rows.shape[1]), np.float32)
    return {"": empty, **dict(zip(names, rows, strict=True))}


def _text_vectors(texts: list[str] | tuple[str, ...], arrays: Heads) -> Floats:
    return embedded.embed_sentences(np.stack([_sentence(text) for text in texts]), arrays)


@cache
def _sentence(text: str) -> Floats:
    found: Floats = embedded.sentence_features([text])[0]
    return found


def _draw(lesson: heads.Lesson, what: str) -> float:
    return draw(str(lesson.concept).encode(), 0, f"reward-benchmark-{what}")
