"""Images that a batch holds several times, as it does with several captions: each is seen once.

What counts is whether they are the same object: to compare pixels would cost what it saves, and a
batch that is asked about a column of captions holds one array for all captions of an image.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple


class Group(NamedTuple):
    """Some images that differ, `firsts`, and the rows `places` that show one of them: `which`.

    All are places: `firsts` and `places` in the batch, `which` in `firsts`.
    """

    firsts: list[int]
    places: list[int]
    which: list[int]

    def parts(self, size: int) -> Iterator[tuple[list[int], list[int]]]:
        """`places` and `which` of at most `size` rows at a time."""
        for at in range(0, len(self.places), size):
            yield self.places[at : at + size], self.which[at : at + size]


def once(images: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """The images that differ as objects, in order, and the place of each row's among them."""
    firsts, which = rows_once(images)
    return [images[place] for place in firsts], which


def rows_once(*columns: Sequence[Any]) -> tuple[list[int], list[int]]:
    """The places of the first of rows that differ in an object, and which of them each row is.

    The objects must be alive as long as the answer counts, as they are in lists of their own.
    """
    return numbered(tuple(map(id, row)) for row in zip(*columns, strict=True))


def numbered(names: Iterable[Hashable]) -> tuple[list[int], list[int]]:
    """The place of the first of equal ones, and for each one which of these it equals."""
    seen: dict[Hashable, int] = {}
    firsts: list[int] = []
    which: list[int] = []
    for place, name in enumerate(names):
        number = seen.setdefault(name, len(firsts))
        if number == len(firsts):
            firsts.append(place)
        which.append(number)
    return firsts, which


def groups(columns: Sequence[Sequence[Any]], most: int) -> Iterator[Group]:
    """All rows, in groups with at most so many that differ; in a group they are in order.

    For models that see images first, `most` at a time, and read texts beside what they saw.
    """
    firsts, which = rows_once(*columns)
    rows: list[tuple[list[int], list[int]]] = [([], []) for _ in range(0, len(firsts), most)]
    for place, number in enumerate(which):
        places, own = rows[number // most]
        places.append(place)
        own.append(number % most)
    for number, (places, own) in enumerate(rows):
        yield Group(firsts[number * most : (number + 1) * most], places, own)
