"""Files of preferences: rankings, pairs and ratings as JSON lines, and what others publish.

Whatever a line can have wrong is refused with file:line before anything is trained; several wrong
lines are one error.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

from pipeline import storage
from pipeline.errors import RecipeError
from pipeline.recipe_errors import found
from pipeline.reward.comparisons import PREFERENCE, Candidate, Comparison, of_ranking

_MOST_PROBLEMS = 10
_TIES = ("equal", "unordered")
_CRITERION = re.compile(r"[a-z][a-z0-9_]{0,59}")  # a column is called after it
Row = Mapping[str, Any]


class BadRow(Exception):
    """Why a row of a file is none."""


@dataclass(frozen=True)
class Layout:
    """How rows are to be understood.

    `criterion` stands in for that of the rows. Ratings of one image that differ by no more than
    `margin` are a tie.
    """

    criterion: str | None = None
    margin: float = 0.0


def read_rankings(path: str, layout: Layout) -> list[Comparison]:
    """Rows of `image`, `captions` (best to worst), and optionally `ranks`, `kinds`, `criterion`.

    `ranks` (1 is the best) may repeat: a tie. With `ties: unordered` equal ranks mean "not said".
    """
    return list(from_lines(path, lambda row: _of_ranking(row, layout)))


def read_pairs(path: str, layout: Layout) -> list[Comparison]:
    """Rows of `image`, `chosen`, `rejected`, and optionally `tie`, `kind`, `criterion`."""
    return list(from_lines(path, lambda row: _of_pair(row, layout)))


def read_imagereward(path: str, layout: Layout) -> list[Comparison]:
    """Rows of `prompt`, `generations` (image paths) and `ranking`, as ImageReward has them.

    Equal ranks make no comparison there, and so here.
    """
    return list(from_lines(path, lambda row: _of_generations(row, layout)))


def read_ratings(path: str, layout: Layout) -> list[Comparison]:
    """Rows of `image`, `caption`, `rating` (higher is better), and optionally `criterion`, `kind`.

    The captions of one image are compared with each other, wherever in the file they stand.
    """
    rated: dict[tuple[str, str], list[tuple[str, float, str | None]]] = {}
    for image, criterion, *rest in from_lines(path, lambda row: [_rating(row, layout)]):
        rated.setdefault((image, criterion), []).append((rest[0], rest[1], rest[2]))
    return [
        comparison
        for (image, criterion), captions in rated.items()
        for comparison in _of_ratings(image, criterion, captions, layout.margin)
    ]


def _of_ratings(
    image: str, criterion: str, rated: list[tuple[str, float, str | None]], margin: float
) -> Iterator[Comparison]:
    ordered = sorted(rated, key=lambda one: -one[1])
    for (text, rating, _), (other, lower, kind) in combinations(ordered, 2):
        if text != other:
            is_tie = rating - lower <= margin
            yield Comparison(image, text, image, other, is_tie, criterion, kind)


def from_lines(path: str, read: Callable[[Row], Any]) -> Iterator[Any]:
    """What `read` makes of every row; RecipeError with the lines for which it raises BadRow."""
    problems = []
    for where, row in _rows(path):
        try:
            yield from read(_mapping(row))
        except BadRow as error:
            problems.append(f"{where}: {error}")
    if problems:
        raise RecipeError(listed(problems))


def listed(problems: list[str]) -> str:
    """Problems as one message, one line each; of very many the first ones."""
    more = len(problems) - _MOST_PROBLEMS
    rest = [f"and {more} more lines"] if more > 0 else []
    return "\n".join([*problems[:_MOST_PROBLEMS], *rest])


def _rows(path: str) -> Iterator[tuple[str, Any]]:
    """(file:line, value) of every row that is not blank; a file may also be one JSON list."""
    text = storage.read_bytes(path).decode("utf-8-sig", "replace")
    if text.lstrip().startswith("["):
        try:
            rows = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RecipeError(f"no JSON: {error}", path) from None
        yield from ((f"{path}: row {number}", row) for number, row in enumerate(rows, 1))
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield f"{path}:{number}", json.loads(line)
            except (ValueError, RecursionError) as error:
                yield f"{path}:{number}", error


def _mapping(row: object) -> Row:
    if isinstance(row, Exception):
        raise BadRow(f"no JSON: {row}")
    if not isinstance(row, dict):
        raise BadRow(f"expected a mapping, found {found(row)}")
    return row


def _of_ranking(row: Row, layout: Layout) -> list[Comparison]:
    captions = texts(row, "captions")
    ranks = _optional(row, "ranks", numbers, list(range(1, len(captions) + 1)))
    kinds = _optional(row, "kinds", _names, [None] * len(captions))
    for name, values in (("ranks", ranks), ("kinds", kinds)):
        if len(values) != len(captions):
            raise BadRow(f"{len(captions)} captions, but {len(values)} {name}")
    if any(later < earlier for earlier, later in pairwise(ranks)):
        raise BadRow("captions stand from best to worst, but ranks go down")
    ties = row.get("ties", "equal")
    if ties not in _TIES:
        raise BadRow(f"ties: expected {' or '.join(_TIES)}, found {found(ties)}")
    candidates = [Candidate(*one) for one in zip(captions, ranks, kinds, strict=True)]
    return of_ranking(
        text(row, "image"), candidates, criterion_of(row, layout), keep_ties=ties == "equal"
    )


def _of_pair(row: Row, layout: Layout) -> list[Comparison]:
    image, is_tie = text(row, "image"), row.get("tie", False)
    if not isinstance(is_tie, bool):
        raise BadRow(f"tie: expected true or false, found {found(is_tie)}")
    chosen, rejected = text(row, "chosen"), text(row, "rejected")
    if chosen == rejected:
        raise BadRow("chosen and rejected are the same text")
    kind = _optional(row, "kind", text, None)
    return [Comparison(image, chosen, image, rejected, is_tie, criterion_of(row, layout), kind)]


def _of_generations(row: Row, layout: Layout) -> list[Comparison]:
    prompt, images = text(row, "prompt"), texts(row, "generations")
    ranks = numbers(row, "ranking")
    if len(images) != len(ranks):
        raise BadRow(f"{len(images)} generations, but {len(ranks)} ranks")
    ordered = sorted(zip(ranks, images, strict=True))
    criterion = criterion_of(row, layout)
    return [
        Comparison(better, prompt, worse, prompt, criterion=criterion)
        for (rank, better), (lower, worse) in combinations(ordered, 2)
        if rank < lower
    ]


def _rating(row: Row, layout: Layout) -> tuple[str, str, str, float, str | None]:
    value = row.get("rating")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadRow(f"rating: expected a number, found {found(value)}")
    kind = _optional(row, "kind", text, None)
    image, caption = text(row, "image"), text(row, "caption")
    return image, criterion_of(row, layout), caption, float(value), kind


def text(row: Row, name: str) -> str:
    """The text under a name. Raises BadRow when there is none, or it is empty."""
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise BadRow(f"{name}: expected a text that is not empty, found {found(value)}")
    return value


def texts(row: Row, name: str) -> list[str]:
    """Two or more texts under a name. Raises BadRow."""
    value = row.get(name)
    if not isinstance(value, list):
        raise BadRow(f"{name}: expected a list of texts, found {found(value)}")
    for number, one in enumerate(value, 1):
        if not isinstance(one, str) or not one:
            what = f"expected a text that is not empty, found {found(one)}"
            raise BadRow(f"{name}: in place {number} {what}")
    if len(value) < 2:
        raise BadRow(f"{name}: a comparison takes two, found {len(value)}")
    return value


def numbers(row: Row, name: str) -> list[float]:
    """Numbers under a name. Raises BadRow."""
    value = row.get(name)
    if not isinstance(value, list) or not all(is_number(one) for one in value):
        raise BadRow(f"{name}: expected a list of numbers, found {found(value)}")
    return value


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _names(row: Row, name: str) -> list[str | None]:
    value = row.get(name)
    if not isinstance(value, list) or not all(one is None or isinstance(one, str) for one in value):
        raise BadRow(f"{name}: expected a list of names or null, found {found(value)}")
    return value


def _optional(row: Row, name: str, read: Callable[[Row, str], Any], default: Any) -> Any:
    return default if row.get(name) is None else read(row, name)


def criterion_of(row: Row, layout: Layout) -> str:
    """The criterion that the layout, or else the row, or else nobody names."""
    if layout.criterion is not None:
        return layout.criterion
    named: str = _optional(row, "criterion", text, PREFERENCE)
    if not _CRITERION.fullmatch(named):
        raise BadRow(
            f"criterion: expected lower-case letters, digits and `_`, found {found(named)}"
        )
    return named
