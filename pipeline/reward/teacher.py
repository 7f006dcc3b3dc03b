"""What a dear judge says of images and texts, and the hard negatives whose order is learnt of it.

After CPRD, contrastive partial ranking distillation (Chen et al. 2024, CVPR): only the order of
what the student can hardly tell apart is worth learning, and only the order, not the values.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import storage
from pipeline.errors import RecipeError
from pipeline.keys import digest
from pipeline.recipe_errors import found
from pipeline.reward.comparisons import Comparison, groups_of, side_of
from pipeline.reward.config import RewardConfig, SplitOptions, TeacherOptions
from pipeline.reward.formats import BadRow, Row, from_lines, is_number, listed, text
from pipeline.reward.table import Names, Numbers, Table

Bools = npt.NDArray[np.bool_]
IMAGE, TEXT = 0, 1
SIDES = ("image", "text")
"""What an anchor is; its negatives are of the other kind."""


@dataclass(frozen=True)
class Answers:
    """Scores of a judge by (image, text): its name, and that of its prompt or version."""

    judge: str
    prompt: str
    scores: Mapping[tuple[str, str], float]

    @property
    def digest(self) -> str:
        """Names the answers and who gave them."""
        rows = sorted((*pair, repr(score)) for pair, score in self.scores.items())
        return digest(json.dumps([self.judge, self.prompt, rows]).encode()).hex()

    def without(self, images: Iterable[str]) -> "Answers":
        """Those of other images."""
        lost = set(images)
        kept = {pair: score for pair, score in self.scores.items() if pair[0] not in lost}
        return Answers(self.judge, self.prompt, kept)

    def lines(self) -> bytes:
        """As a file that `read_answers` reads."""
        named = {"judge": self.judge, "prompt": self.prompt}
        rows = [
            {"image": image, "text": text_, "score": score, **named}
            for (image, text_), score in sorted(self.scores.items())
        ]
        return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def answers_of(config: RewardConfig) -> Answers | None:
    """Those of the file that a configuration names. Raises RecipeError when it is wrong."""
    teacher = config.teacher
    if teacher is None or teacher.scores is None:
        return None
    try:
        return read_answers(config.resolve(teacher.scores))
    except FileNotFoundError:
        message = f"{teacher.scores}: there is no such file"
        raise config.error(message, "teacher", "scores") from None


def read_answers(path: str) -> Answers:
    """Rows of `image`, `text`, `score`, and optionally `judge` and `prompt`, of one judge.

    Parquet, or JSON lines. Raises RecipeError with the rows that are wrong.
    """
    read = _from_parquet if path.endswith(".parquet") else from_lines
    rows = list(read(path, lambda row: [_answer(row)]))
    judges = sorted({row[3:] for row in rows})
    if len(judges) != 1:
        shown = "; ".join(" ".join(filter(None, one)) or "no name" for one in judges[:5])
        raise RecipeError(f"{path}: holds answers of {len(judges)} judges, wanted one: {shown}")
    scores: dict[tuple[str, str], float] = {}
    problems = []
    for image, caption, score, *_ in rows:
        if scores.setdefault((image, caption), score) != score:
            problems.append(f"{path}: two scores of {image!r} and {caption!r}")
    if problems:
        raise RecipeError(listed(problems))
    return Answers(judges[0][0], judges[0][1], scores)


def _answer(row: Row) -> tuple[str, str, float, str, str]:
    score: Any = row.get("score")
    if not is_number(score):
        raise BadRow(f"score: expected a number, found {found(score)}")
    names = [row.get(name) for name in ("judge", "prompt")]
    if not all(name is None or isinstance(name, str) for name in names):
        raise BadRow("judge and prompt: expected texts")
    judge, prompt = ("" if name is None else str(name) for name in names)
    return text(row, "image"), text(row, "text"), float(score), judge, prompt


def _from_parquet(path: str, read: Any) -> Iterable[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with storage.open_input(path) as stream:
        try:
            table = pq.read_table(stream)
        except pa.ArrowInvalid as error:
            raise RecipeError(f"{path}: is no Parquet file: {error}") from None
    known = [
        name for name in ("image", "text", "score", "judge", "prompt") if name in table.column_names
    ]
    problems = []
    for number, row in enumerate(table.select(known).to_pylist(), 1):
        try:
            yield from read(row)
        except BadRow as error:
            problems.append(f"{path}: row {number}: {error}")
    if problems:
        raise RecipeError(listed(problems))


@dataclass(frozen=True)
class Negatives:
    """What easy negatives are drawn from: images and texts of a part, and which pairs are true."""

    images: Numbers
    texts: Numbers
    true: Numbers  # pair codes, sorted
    width: int  # texts there are in all

    def codes(self, pairs: Numbers) -> Numbers:
        """One number for each pair [..., 2] of image and text."""
        return pairs[..., 0] * self.width + pairs[..., 1]


@dataclass(frozen=True)
class HardSets:
    """Anchors [n], each with hard pairs [n, k, 2] of image and text, and their ranks by the judge.

    `valid` [n, k] says which are there; a higher rank is better. `kind` is IMAGE or TEXT.
    """

    pairs: Numbers
    ranks: Numbers
    valid: Bools
    kind: Numbers
    negatives: Negatives

    def __len__(self) -> int:
        return len(self.pairs)

    def rows(self, chosen: npt.NDArray[Any]) -> "HardSets":
        return HardSets(
            self.pairs[chosen],
            self.ranks[chosen],
            self.valid[chosen],
            self.kind[chosen],
            self.negatives,
        )

    def draw_easy(self, dice: np.random.Generator, count: int) -> tuple[Numbers, Bools]:
        """Pairs [n, count, 2] of each anchor and something of its part, and which count.

        Hard ones of the anchor do not, nor what the preferences call the best of an image.
        """
        shape = (len(self), count)
        images = dice.choice(self.negatives.images, shape)
        texts = dice.choice(self.negatives.texts, shape)
        own = self.pairs[:, :1]
        is_image = (self.kind == IMAGE)[:, None]
        drawn = np.stack(
            [np.where(is_image, own[..., 0], images), np.where(is_image, texts, own[..., 1])], -1
        )
        codes, hard = self.negatives.codes(drawn), self.negatives.codes(self.pairs)
        is_hard = ((codes[:, :, None] == hard[:, None]) & self.valid[:, None]).any(2)
        return drawn, ~is_hard & ~np.isin(codes, self.negatives.true)


def parts_of_images(
    images: Iterable[str], comparisons: Sequence[Comparison], split: SplitOptions
) -> dict[str, int]:
    """The part of every image: that of its comparisons, or of its own name."""
    group = {}
    for one, name in zip(comparisons, groups_of(comparisons), strict=True):
        group[one.image] = group[one.other_image] = name
    drawn = (split.validation, split.test, split.seed)
    return {image: side_of(group.get(image, image), *drawn) for image in images}


def true_pairs(table: Table) -> Numbers:
    """Codes of the pairs that are better than others and worse than none, sorted."""
    width = len(table.texts)
    better, worse = (side[:, 0] * width + side[:, 1] for side in (table.better, table.worse))
    lost = np.concatenate([worse, better[table.is_tie]])
    return np.setdiff1d(better[~table.is_tie], lost)


def hard_sets(
    answers: Answers, table: Table, names: Names, parts: Mapping[str, int], options: TeacherOptions
) -> tuple[HardSets, HardSets, HardSets]:
    """The anchors of the three parts; those with one answer, or with equal ones, are none.

    The hard negatives of an anchor are the pairs with the highest cosines among those the judge
    has answered; no other answer is looked at.
    """
    image_of = {name: number for number, name in enumerate(names.images)}
    text_of = {name: number for number, name in enumerate(names.texts)}
    asked = sorted((image_of[i], text_of[t], score) for (i, t), score in answers.scores.items())
    side = [parts[names.images[image]] for image, _, _ in asked]
    pairs = np.array([one[:2] for one in asked], np.int64).reshape(-1, 2)
    cosines = np.einsum("nd,nd->n", table.images[pairs[:, 0]], table.texts[pairs[:, 1]])
    members: dict[tuple[int, int, int], list[int]] = {}
    for place, (image, caption, _) in enumerate(asked):
        members.setdefault((side[place], IMAGE, image), []).append(place)
        if options.texts:
            members.setdefault((side[place], TEXT, caption), []).append(place)
    scores = np.array([one[2] for one in asked])
    chosen: list[list[tuple[int, npt.NDArray[Any]]]] = [[], [], []]
    for (part, kind, _), places in sorted(members.items()):
        nearest = sorted(places, key=lambda place: (-cosines[place], place))[: options.hard]
        if len(np.unique(scores[nearest])) > 1:
            chosen[part].append((kind, np.array(nearest)))
    true = true_pairs(table)
    made = [
        _padded(chosen[part], (pairs, scores), _negatives(table, names, parts, (part, true)))
        for part in range(3)
    ]
    return made[0], made[1], made[2]


def _negatives(
    table: Table, names: Names, parts: Mapping[str, int], of: tuple[int, Numbers]
) -> Negatives:
    part, true = of
    images = [number for number, name in enumerate(names.images) if parts[name] == part]
    used = np.concatenate([table.better, table.worse])
    texts = np.unique(used[np.isin(used[:, 0], images), 1])
    return Negatives(np.array(images, np.int64), texts, true, len(names.texts))


def _padded(
    chosen: Sequence[tuple[int, npt.NDArray[Any]]],
    asked: tuple[Numbers, npt.NDArray[Any]],
    negatives: Negatives,
) -> HardSets:
    pairs, scores = asked
    shape = (len(chosen), max((len(places) for _, places in chosen), default=0))
    hard, ranks = np.zeros((*shape, 2), np.int64), np.zeros(shape, np.int64)
    valid = np.zeros(shape, bool)
    for row, (_, places) in enumerate(chosen):
        size = len(places)
        hard[row, :size], valid[row, :size] = pairs[places], True
        hard[row, size:] = pairs[places[0]]  # any pair: it is not valid
        ranks[row, :size] = np.unique(scores[places], return_inverse=True)[1]
    kind = np.array([kind for kind, _ in chosen], np.int64)
    return HardSets(hard, ranks, valid, kind, negatives)
