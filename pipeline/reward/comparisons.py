"""Comparisons: what every format of preferences becomes, and how they are split by image.

A comparison says which of two pairs of image and text is better, or that they are equal. All
comparisons that share an image are on one side of a split.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from pipeline.errors import CurationError
from pipeline.keys import digest, draw

Bools = npt.NDArray[np.bool_]
SPLITS = ("train", "validation", "test")
PREFERENCE = "preference"
"""The criterion of preferences that name none."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The first pair is better than the second, or, with `is_tie`, as good.

    Images are references: a key of a pool, or a path. `kind` says what made the second one worse.
    """

    image: str
    text: str
    other_image: str
    other_text: str
    is_tie: bool = False
    criterion: str = PREFERENCE
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text of a ranking, and its rank: 1 is the best."""

    text: str
    rank: float
    kind: str | None = None


def of_ranking(
    image: str, candidates: Sequence[Candidate], criterion: str, *, keep_ties: bool
) -> list[Comparison]:
    """Every two candidates of one image; equal ranks are a tie, or, without `keep_ties`, nothing.

    The kind is that of the worse one. Equal texts are not compared.
    """
    found = []
    for first, second in combinations(sorted(candidates, key=lambda one: one.rank), 2):
        is_tie = first.rank == second.rank
        if first.text == second.text or (is_tie and not keep_ties):
            continue
        kind = second.kind if not is_tie or first.kind == second.kind else None
        found.append(Comparison(image, first.text, image, second.text, is_tie, criterion, kind))
    return found


def digest_of(comparisons: Iterable[Comparison]) -> str:
    """Names the comparisons in their order."""
    lines = (json.dumps(asdict(one), sort_keys=True).encode() for one in comparisons)
    return digest(*lines).hex()


def groups_of(comparisons: Sequence[Comparison]) -> list[str]:
    """For each comparison the name of its group: what is connected by images is one.

    Comparisons of two images are connected by their prompt, too. The name is the smallest of the
    group, so it does not depend on the order.
    """
    above: dict[str, str] = {}

    def top(name: str) -> str:
        while above.setdefault(name, name) != name:
            above[name] = above[above[name]]
            name = above[name]
        return name

    def join(name: str, other: str) -> None:
        first, second = sorted((top(name), top(other)))
        above[second] = first

    for one in comparisons:
        if one.image != one.other_image:
            join(one.image, one.other_image)
            join(one.image, f"prompt {one.text}")
    return [top(one.image) for one in comparisons]


def side_of(group: str, validation: float, test: float, seed: int) -> int:
    """The part of one group: 0 for training, 1 for validation, 2 for test."""
    share = draw(group.encode("utf-8", "surrogatepass"), seed, "reward-split")
    return 2 if share < test else 1 if share < test + validation else 0


def split_of(
    groups: Sequence[str], validation: float, test: float, seed: int
) -> npt.NDArray[np.int64]:
    """0 for training, 1 for validation, 2 for test, by a draw for each group.

    Raises CurationError when one of them would be empty.
    """
    drawn = {name: side_of(name, validation, test, seed) for name in set(groups)}
    sides = np.array([drawn[name] for name in groups])
    for number, name in enumerate(SPLITS):
        if not (sides == number).any():
            raise CurationError(
                f"the {name} part has no comparisons: they come from {len(drawn)} images or groups"
                " of images; give more, or other shares under `split:`"
            )
    return sides.astype(np.int64)
