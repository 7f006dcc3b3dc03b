"""What a head learns of a judge, and how far it has come: the order within hard negatives."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline import storage
from pipeline.errors import CurationError
from pipeline.reward.comparisons import Comparison
from pipeline.reward.config import RewardConfig, TeacherOptions
from pipeline.reward.heads import Head
from pipeline.reward.judging import Judge, ask, candidates
from pipeline.reward.losses import hard_ranking
from pipeline.reward.metrics import Scored, kendall_tau
from pipeline.reward.table import Floats, Names, Table
from pipeline.reward.teacher import SIDES, Answers, HardSets, hard_sets, parts_of_images
from pipeline.reward.vectors import places_of

_AT_ONCE = 128  # anchors in a step, or evaluated together


@dataclass(frozen=True)
class Teaching:
    """Anchors of training and validation, and how their loss enters.

    `mix` [criteria] makes one score of those of the criteria.
    """

    train: HardSets
    validation: HardSets
    mix: Floats
    weight: float
    easy: int
    temperature: float

    def lessons(self, seed: int, epoch: int, steps: int) -> list[npt.NDArray[Any]]:
        """The anchors of every step of an epoch: each at most once, in an order of its own."""
        order = np.random.default_rng([seed, epoch, 1]).permutation(len(self.train))
        most = steps * _AT_ONCE  # the others may come in another epoch
        return np.array_split(order[:most], steps)

    def loss(
        self, head: Head, table: Table, sets: HardSets, dice: np.random.Generator
    ) -> torch.Tensor:
        """The weighted mean over anchors, 0 of none; easy negatives are drawn anew."""
        if not len(sets):
            return torch.zeros(())
        drawn, is_easy = sets.draw_easy(dice, self.easy)
        pairs = np.concatenate([sets.pairs, drawn], axis=1)
        scores = head(*table.inputs(pairs.reshape(-1, 2))) @ torch.from_numpy(self.mix)
        scores = scores.reshape(pairs.shape[:2])
        hard, easy = scores.split([sets.pairs.shape[1], self.easy], dim=1)
        easy = easy.masked_fill(~torch.from_numpy(is_easy), float("-inf"))
        losses = hard_ranking(
            hard,
            torch.from_numpy(sets.ranks),
            torch.from_numpy(sets.valid),
            easy,
            self.temperature,
        )
        return self.weight * losses.mean()

    def held_out_loss(self, head: Head, table: Table, sets: HardSets) -> float:
        """The loss over all anchors, of easy negatives that are always the same; 0 of none."""
        dice = np.random.default_rng(0)
        total = 0.0
        for start in range(0, len(sets), _AT_ONCE):
            part = sets.rows(np.arange(start, min(start + _AT_ONCE, len(sets))))
            with torch.no_grad():
                total += float(self.loss(head, table, part, dice)) * len(part)
        return total / max(len(sets), 1)


@dataclass(frozen=True)
class Lessons:
    """The answers of a judge, the anchors of the three parts, and what is to be said of them."""

    answers: Answers
    sets: tuple[HardSets, HardSets, HardSets]
    warnings: tuple[str, ...]


def lessons_of(
    config: RewardConfig,
    source: Answers | Judge,
    made: tuple[Table, Names],
    kept: Sequence[Comparison],
    work: str,
) -> Lessons:
    """What is learnt of a file of answers, or of a judge that is asked here.

    Raises CurationError when that is nothing.
    """
    assert config.teacher is not None
    table, names = made
    parts = parts_of_images(names.images, kept, config.split)
    warnings = []
    if isinstance(source, Judge):
        pairs = candidates(table, names, parts, config.teacher)
        answers, lost = ask(source, pairs, places_of(config), storage.join(work, "judge"))
        if lost:
            reason, _ = lost.most_common(1)[0]
            warnings.append(
                f"{lost.total()} of {len(pairs)} answers of the judge are missing ({reason})"
            )
    else:
        answers = source
    sets = hard_sets(answers, table, names, parts, config.teacher)
    if not len(sets[0]):
        raise CurationError(
            f"the judge's {len(answers.scores)} answers give no image or text of the train part"
            " two scores that differ"
        )
    return Lessons(answers, sets, tuple(warnings))


def teaching_of(options: TeacherOptions, lessons: Lessons, shares: Mapping[str, float]) -> Teaching:
    """How a head learns them."""
    return Teaching(
        train=lessons.sets[0],
        validation=lessons.sets[1],
        mix=mix_of(options, shares),
        weight=options.weight,
        easy=options.easy,
        temperature=options.temperature,
    )


def mix_of(options: TeacherOptions, shares: Mapping[str, float]) -> Floats:
    """The criterion that the judge judges, or the mean of all by their weights."""
    only = options.criterion
    chosen = [share if only in (None, name) else 0.0 for name, share in shares.items()]
    return np.array(chosen, np.float32) / np.float32(sum(chosen))


def agreement(head: Head, table: Table, sets: HardSets, mix: Floats) -> list[dict[str, Any]]:
    """Kendall's tau-b with the judge within hard sets: of the cosine before, of the head after.

    A row for anchors that are images, and one for texts; the mean is over anchors.
    """
    pairs = sets.pairs.reshape(-1, 2)
    cosines = np.einsum("nd,nd->n", table.images[pairs[:, 0]], table.texts[pairs[:, 1]])
    parts = [np.zeros(0, np.float32)]
    for start in range(0, len(pairs), 16 * _AT_ONCE):
        with torch.no_grad():
            some = head(*table.inputs(pairs[start : start + 16 * _AT_ONCE]))
        parts.append((some @ torch.from_numpy(mix)).numpy())
    after = np.concatenate(parts)
    found = []
    for number, anchor in enumerate(SIDES):
        chosen = sets.kind == number
        part = sets.rows(chosen)
        row: dict[str, Any] = {"anchor": anchor, "anchors": len(part)}
        for name, scores in (("before", cosines), ("after", after)):
            figure = kendall_tau(within(part, scores.reshape(sets.valid.shape)[chosen]))
            row[name] = None if figure is None else asdict(figure)
        found.append(row)
    return found


def within(sets: HardSets, scores: npt.NDArray[Any]) -> Scored:
    """Every two hard negatives of an anchor as a comparison by the judge; groups are anchors."""
    first, second = np.triu_indices(sets.valid.shape[1], 1)
    anchor, place = np.nonzero(sets.valid[:, first] & sets.valid[:, second])
    one, other = (anchor, first[place]), (anchor, second[place])
    is_swapped = sets.ranks[one] < sets.ranks[other]
    own, others = scores[one].astype(np.float64), scores[other].astype(np.float64)
    return Scored(
        better=np.where(is_swapped, others, own),
        worse=np.where(is_swapped, own, others),
        is_tie=sets.ranks[one] == sets.ranks[other],
        group=anchor.astype(np.int64),
    )
