"""Tables of comparisons over drawings: to learn from, to stop by, and to test on.

The reward learns from drawings that are kept from heads of the encoder which are trained for it, so
that cosines are as they are for new pictures; figures are of drawings whose captions and concepts
neither the shipped encoder nor the reward has seen. No photograph, and none of the quickstart.
"""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.embedded import heads
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
from benchmarks.reward.numbers import (
    Compared,
    Drawn,
    Heads,
    dealt,
    patches_of,
    text_vectors,
    with_numbers,
    words,
)
from filters import embedded
from pipeline.keys import draw
from pipeline.reward.bootstrap import Captioned, nearest_captions
from pipeline.reward.comparisons import PREFERENCE
from pipeline.reward.table import Table, make_table, names_of
from pipeline.reward.tokenwise import OTHERS

RESERVE, _VALIDATION = 0.4, 0.25
_NEAR = 3


@dataclass(frozen=True)
class Material:
    """Tables to learn from, to stop by (other concepts of the reserve), and to test on.

    Those of `blind` have the same captions beside pictures dealt out by chance.
    """

    train: Table
    validation: Table
    test: Table
    blind: dict[str, Table]


@dataclass(frozen=True)
class Maker:
    """Makes tables from the folder of packages and features of `benchmarks.embedded`."""

    data: Path
    bench: Bench

    def material(self) -> Material:
        """All tables; the encoder's heads are trained anew without the reserve."""
        settings = heads.Settings()
        learnt = self.bench.lessons(settings.sources, LEARNT)
        rest = [one for one in learnt if _draw(one, "reserve") >= RESERVE]
        own = retrained(self.bench, self.data, rest, settings)
        train, dev = self.sides([one for one in learnt if _draw(one, "reserve") < RESERVE])
        held_out: tuple[Part, ...] = ("test",)
        lessons = few(heads.lessons(self.bench.pairs, settings.sources, held_out))
        test = self.rows(lessons, TESTED_FRAMES)
        shipped, compared = embedded.read_heads(), compared_with(train)
        sides = {"train": (train, own), "validation": (dev, own), "test": (test, shipped)}
        tables, blind = {}, {}
        for name, (rows, arrays) in sides.items():
            tables[name], blind[name] = self._both(rows, arrays, compared)
        return Material(**tables, blind=blind)

    def learnt_from(self, lessons: list[heads.Lesson], arrays: Heads) -> tuple[Table, Table]:
        """The tables to learn from and to stop by of `material`, of any lessons.

        The encoder's heads must not have learnt from them.
        """
        train, dev = self.sides(lessons)
        compared = compared_with(train)
        first, second = (
            with_numbers(self.drawn(rows, arrays), arrays, compared) for rows in (train, dev)
        )
        return first, second

    def sides(self, lessons: list[heads.Lesson]) -> tuple[list[Row], list[Row]]:
        """Drawings to learn from, and to stop by, of other concepts; few of each caption."""
        parts: dict[bool, list[heads.Lesson]] = {False: [], True: []}
        for one in few(lessons):
            parts[_draw(one, "validation") < _VALIDATION].append(one)
        return self.rows(parts[False], LEARNT_FRAMES), self.rows(parts[True], TESTED_FRAMES)

    def rows(self, lessons: list[heads.Lesson], frames: tuple[str, ...]) -> list[Row]:
        """The drawings with their captions, by key."""
        found = []
        for one in lessons:
            key = key_of(self.bench.pairs[one.row])
            told = one.caption, one.translations, one.keywords
            found.append(Row(key, one.row, captions_of(key, told, frames)))
        return sorted(found, key=lambda row: row.key)

    def _both(self, rows: list[Row], arrays: Heads, compared: Compared) -> tuple[Table, Table]:
        """The comparisons of these drawings, and the same of pictures dealt out by chance."""
        drawn = self.drawn(rows, arrays)
        return with_numbers(drawn, arrays, compared), with_numbers(dealt(drawn), arrays, compared)

    def drawn(self, rows: list[Row], arrays: Heads) -> Drawn:
        """The comparisons of these drawings, beside their patches."""
        places = [row.place for row in rows]
        features, logits = self.bench.features[places], self.bench.logits[places]
        images = stored(embedded.embed_features(features, logits, arrays))
        short = [Captioned(row.key, row.texts["short"]) for row in rows]
        near = [nearest_captions(short, images, seed) for seed in range(_NEAR)]
        comparisons = [*comparisons_of(rows, near)]
        names = names_of(comparisons)
        place_of = {row.key.hex(): place for place, row in enumerate(rows)}
        order = [place_of[name] for name in names.images]
        texts = stored(text_vectors(names.texts, arrays))
        made = make_table(comparisons, names, (images[order], texts), {PREFERENCE: 1.0})
        paths = [self.data / self.bench.pairs[rows[place].place].path for place in order]
        return Drawn(made, names.texts, [*patches_of(paths, arrays)])


def compared_with(rows: list[Row]) -> Compared:
    """Captions, and words of others, that are learnt from; what pictures are compared with."""
    order = sorted(rows, key=lambda row: draw(row.key, 0, "reward-compared"))
    captions = [*dict.fromkeys(row.texts["short"] for row in order)]
    found = []
    for turn, caption in enumerate(captions[-OTHERS:]):
        own = words(caption)
        found += [own[turn % len(own)]] if own else []
    return captions[:OTHERS], found


def _draw(lesson: heads.Lesson, what: str) -> float:
    return draw(str(lesson.concept).encode(), 0, f"reward-benchmark-{what}")
