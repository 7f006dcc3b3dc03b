"""What the shipped classifier says of a picture, as plainly and as exactly as it is sure.

The thousand classes are finer than the classifier is good, so near ones are joined: a terrier, a
dog, an animal. Of the names and groups that are likely enough the narrowest one is taken, as in
"Hedging Your Bets" (Deng et al., CVPR 2012), where it is the one that says most.
"""

import functools
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

CLASSES = 1000
_FILE = Path(__file__).with_name("classes.txt")
_BARE = "="  # before a name without an article


class Tag(NamedTuple):
    """A name or the name of a group, the probability of its classes, and how many they are."""

    name: str
    probability: float
    size: int


def tags(logits: Floats, least: float) -> list[Tag]:
    """All names and groups with a probability of at least `least`, the narrowest first."""
    odds = np.exp(logits.astype(np.float64) - logits.max())
    members = _members()
    found = _matrix() @ (odds / odds.sum())
    likely = [
        Tag(name, float(share), len(members[name]))
        for name, share in zip(members, found, strict=True)
        if share >= least
    ]
    return sorted(likely, key=lambda tag: (tag.size, -tag.probability, tag.name))


def names() -> tuple[str, ...]:
    """All names and groups, sorted."""
    return tuple(sorted(_members()))


def groups_of(name: str) -> frozenset[str]:
    """The groups that hold all classes of a name, its own name among them."""
    members = _members()
    own = members.get(name, frozenset())
    return frozenset(other for other, all_ in members.items() if own and own <= all_)


def has_article(name: str) -> bool:
    """Whether one says "a" or "an" before it: not of jeans, hay and broccoli."""
    return name not in _read()[1]


@functools.cache
def digest() -> str:
    """The digest of the list, on which every answer depends."""
    return hashlib.sha256(_FILE.read_bytes()).hexdigest()


@functools.cache
def _members() -> dict[str, frozenset[int]]:
    return _read()[0]


@functools.cache
def _matrix() -> npt.NDArray[np.float64]:
    """Which classes each name has, [names, classes]."""
    table = np.zeros((len(_members()), CLASSES))
    for row, own in enumerate(_members().values()):
        table[row, sorted(own)] = 1
    return table


@functools.cache
def _read() -> tuple[dict[str, frozenset[int]], frozenset[str]]:
    """The classes of every name and group, and the names without an article."""
    _, _, listed = _FILE.read_text(encoding="utf-8").partition("[classes]\n")
    part, _, groups = listed.partition("\n[groups]\n")
    entries = [entry.strip() for entry in part.replace("\n", ",").split(",") if entry.strip()]
    found: dict[str, set[int]] = {}
    for place, entry in enumerate(entries):
        found.setdefault(entry.removeprefix(_BARE), set()).add(place)
    for line in groups.splitlines():
        name, _, places = line.partition(": ")
        for run in places.split():
            first, _, last = run.partition("-")
            found.setdefault(name.removeprefix(_BARE), set()).update(
                range(int(first), int(last or first) + 1)
            )
            if name.startswith(_BARE):
                entries.append(name)
    bare = frozenset(entry[1:] for entry in entries if entry.startswith(_BARE))
    return {name: frozenset(own) for name, own in found.items()}, bare
