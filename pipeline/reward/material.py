"""What is learnt from: comparisons read from files, by part, and what is to be said of them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import CurationError
from pipeline.recipe_errors import unknown_word
from pipeline.reward.comparisons import SPLITS, Comparison
from pipeline.reward.config import Preferences, RewardConfig
from pipeline.reward.distilling import Lessons
from pipeline.reward.formats import (
    Layout,
    read_imagereward,
    read_pairs,
    read_rankings,
    read_ratings,
)
from pipeline.reward.pickapic import read_pickapic
from pipeline.reward.table import Table

_READERS: dict[str, Callable[[str, Layout], list[Comparison]]] = {
    "rankings": read_rankings,
    "pairs": read_pairs,
    "ratings": read_ratings,
    "imagereward": read_imagereward,
    "pickapic": read_pickapic,
}


@dataclass(frozen=True)
class Material:
    """What a training is made of: the table, which part each comparison is in, and warnings."""

    table: Table
    side: np.ndarray[Any, Any]
    shares: dict[str, float]
    digest: str
    warnings: tuple[str, ...]
    lessons: Lessons | None = None

    def part(self, number: int, leave_out: Sequence[str] = ()) -> Table:
        """The comparisons of a part, without those of some kinds."""
        out = [n for n, kind in enumerate(self.table.kinds) if kind in leave_out]
        return self.table.rows((self.side == number) & ~np.isin(self.table.kind, out))


def read_preferences(config: RewardConfig) -> list[Comparison]:
    """The comparisons of all files. Raises RecipeError when a file is wrong or has none."""
    found: list[Comparison] = []
    for number, entry in enumerate(config.preferences):
        own = _read(config, number, entry)
        if not own:
            message = f"{entry.path}: holds nothing to compare"
            raise config.error(message, "preferences", number, "path")
        found += own
    return found


def _read(config: RewardConfig, number: int, entry: Preferences) -> list[Comparison]:
    path = config.resolve(entry.path)
    try:
        return _READERS[entry.format](path, Layout(entry.criterion, entry.margin))
    except FileNotFoundError:
        message = f"{entry.path}: there is no such file"
        raise config.error(message, "preferences", number, "path") from None


def shares_of(config: RewardConfig, comparisons: Sequence[Comparison]) -> dict[str, float]:
    """The weight of every criterion. Raises RecipeError for one that is not said or not there."""
    present = sorted({one.criterion for one in comparisons})
    kinds = sorted({one.kind for one in comparisons if one.kind is not None})
    for number, kind in enumerate(config.leave_out):
        if kind not in kinds:
            message = f"leave_out: {unknown_word('kind', kind, kinds)}"
            raise config.error(message, "leave_out", number)
    _check_judged(config, present)
    if not config.criteria:
        return dict.fromkeys(present, 1.0)
    for name in config.criteria:
        if name not in present:
            message = f"criteria: no preference is about {name!r}; there are {', '.join(present)}"
            raise config.error(message, "criteria", name)
    unsaid = [name for name in present if name not in config.criteria]
    if unsaid:
        message = f"criteria: give a weight to {', '.join(unsaid)}, too"
        raise config.error(message, "criteria")
    return dict(config.criteria)


def _check_judged(config: RewardConfig, present: Sequence[str]) -> None:
    judged = None if config.teacher is None else config.teacher.criterion
    if judged is not None and judged not in present:
        message = f"teacher.criterion: {unknown_word('criterion', judged, present)}"
        raise config.error(message, "teacher", "criterion")


def ties_of(table: Table) -> tuple[bool, ...]:
    """Which criteria have ties."""
    return tuple(bool(table.is_tie[table.criterion == n].any()) for n in range(len(table.criteria)))


def learning_parts(config: RewardConfig, material: Material) -> tuple[Table, Table]:
    """What is learnt from, and by what it stops; without the kinds left out.

    Raises CurationError when one has nothing.
    """
    learnt, held_out = (material.part(number, config.leave_out) for number in (0, 1))
    for name, part in zip(SPLITS, (learnt, held_out), strict=False):
        if not len(part):
            raise CurationError(f"the {name} part has no comparisons but of kinds left out")
    return learnt, held_out


def readable_of(
    comparisons: Sequence[Comparison], unreadable: Mapping[str, str], images: int
) -> tuple[list[Comparison], tuple[str, ...]]:
    """Comparisons of images that can be read, and what is to be said of the others.

    Raises CurationError when there are none.
    """
    kept = [c for c in comparisons if not unreadable.keys() & {c.image, c.other_image}]
    if not kept:
        raise CurationError(f"none of {images} images can be read")
    if not unreadable:
        return kept, ()
    shown = "; ".join(f"{name}: {why}" for name, why in [*unreadable.items()][:3])
    lost = f"{len(comparisons) - len(kept)} comparisons are left out"
    return kept, (f"{lost}: {len(unreadable)} images can't be read ({shown})",)


def parts_of(material: Material) -> dict[str, dict[str, int]]:
    """How many comparisons and groups each part has."""
    counted = Counter(material.side.tolist())
    groups = material.table.group
    return {
        name: {
            "comparisons": counted[number],
            "groups": len(np.unique(groups[material.side == number])),
        }
        for number, name in enumerate(SPLITS)
    }
