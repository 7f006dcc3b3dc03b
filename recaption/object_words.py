"""What a detector found as words of a caption: how many of what, and which, never where.

Counts are those of boxes; a box that lies on another one is the better of the two.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from filters import nanodet
from recaption import english, entities, nouns

_SAME = 0.7  # of the union of two boxes, for them to show one thing, whatever it is called
_MOST = 8  # of one name; above that it is told as "many"
# Words by which captions call what COCO names otherwise.
_SAME_AS = {
    "person": "people",
    "couch": "sofa settee",
    "tv": "television",
    "cell phone": "phone smartphone telephone mobile",
    "potted plant": "plant",
    "dining table": "table",
    "motorcycle": "motorbike",
    "bicycle": "bike cycle",
    "airplane": "plane aircraft",
    "boat": "ship",
    "car": "automobile",
    "truck": "lorry",
    "cup": "mug",
    "donut": "doughnut",
    "handbag": "bag purse",
    "backpack": "rucksack",
    "refrigerator": "fridge",
    "sports ball": "ball",
    "wine glass": "glass",
    "hair drier": "hairdryer",
    "traffic light": "stoplight",
}
# Words for kinds of a thing: a caption with one of them says the thing, too.
_KINDS = {
    "person": """man woman boy girl child baby lady guy crowd player rider astronaut doctor teacher
        farmer cook soldier clown king queen painter worker model actor actress singer president
        couple family bride groom pedestrian tourist""",
    "tv": "screen monitor display",
    "dining table": "desk",
    "motorcycle": "bike",
    "airplane": "jet airliner",
    "bird": "gull duck goose swan eagle owl parrot hen chicken penguin pigeon",
    "boat": "canoe ferry sailboat yacht",
    "car": "taxi van vehicle",
    "truck": "vehicle",
    "laptop": "computer notebook",
    "sports ball": "football basketball baseball",
    "potted plant": "flower flowerpot",
}


class Phrase(NamedTuple):
    """How many of a thing, in words; the thing, and what it is like."""

    text: str
    name: str
    attributes: tuple[str, ...]


def phrases(things: Iterable[Mapping[str, Any]]) -> list[Phrase]:
    """`two people`, `a red car`: a phrase for each name and its attributes, best scores first."""
    groups: dict[tuple[str, tuple[str, ...]], int] = {}
    for thing in apart([one for one in things if is_whole(one)]):
        key = (str(thing["name"]), tuple(thing.get("attributes") or ()))
        groups[key] = groups.get(key, 0) + 1
    return [
        Phrase(_counted(count, " ".join([*words, name])), name, words)
        for (name, words), count in groups.items()
    ]


def is_whole(thing: Mapping[str, Any] | None) -> bool:
    """Whether a thing has name, score and a box of four numbers; others' columns may lack one."""
    if thing is None or not thing["name"] or thing["score"] is None:
        return False
    box = thing["box"]
    return box is not None and len(box) == 4 and all(side is not None for side in box)


def apart(things: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Things, best first, without those whose box is that of a better one under another name."""
    ordered = sorted(things, key=lambda one: -one["score"])
    boxes = np.array([one["box"] for one in ordered], np.float32).reshape(-1, 4)
    kept: list[int] = []
    for place, box in enumerate(boxes):
        if not bool((nanodet.overlaps(box, boxes[kept]) >= _SAME).any()):
            kept.append(place)
    return [ordered[place] for place in kept]


def lacking(text: str, found: Sequence[Phrase]) -> list[str]:
    """The phrases for things, or with attributes of them, that an English text does not name."""
    words = {word for thing in nouns.find(text) for word in nouns.kinds_of(thing)}
    said = entities.said_words(text)
    whole = f" {' '.join(said)} "
    return [one.text for one in found if not _is_said(one, words.union(said), whole)]


def called(name: str) -> tuple[str, ...]:
    """A detector's name for a thing, and the words by which captions call the same."""
    return (name, *_SAME_AS.get(name, "").split())


def _is_said(one: Phrase, words: set[str], text: str) -> bool:
    names = {*called(one.name), *_KINDS.get(one.name, "").split()}
    names |= {many for name in names for many in (english.plural(name), f"{name}s")}
    is_named = bool(names & words) or any(f" {name} " in text for name in names)
    return is_named and words.issuperset(one.attributes)


def _counted(count: int, name: str) -> str:
    if count == 1:
        return english.with_article(name)
    return english.counted(count, name) if count <= _MOST else f"many {english.plural(name)}"
