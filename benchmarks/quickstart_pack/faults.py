"""Which item gets which fault: a fixed function of the items and the seed.

Every item is in the pack once; a copy names the item it copies. Faults are disjoint.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.quickstart_pack.originals import Item
from benchmarks.quickstart_pack.pictures import TURNS
from benchmarks.quickstart_pack.texts import BOILERPLATE, LONG_SENTENCES, LOST_CAPTIONS
from pipeline.keys import draw

# What the text encoder of the quickstart knows; a caption in any other language is a fault.
KNOWN_LANGUAGES = frozenset(
    ("ar", "de", "en", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "ru", "th", "tr", "zh")
)

# fault -> the steps of configs/quickstart.yaml that may drop it; without one it is to be kept
STEPS = {
    "none": "",
    "rotated": "",
    "broken": "failed: empty|failed: not_an_image|failed: truncated|readable",
    "tiny": "large",
    "extreme_aspect": "large",
    "boilerplate": "described",
    "empty_caption": "described",
    "too_long": "described",
    "other_language": "spoken",
    "duplicate": "unique",
    "exact_duplicate": "unique",
    "wrong_caption": "aligned",
}
_GIVEN = {"tiny": "tiny", "extreme": "extreme_aspect"}
REWRITES = ("smaller jpeg", "smaller webp", "brighter", "edge cut")
_BREAKAGES = ("cut off in the middle", "garbled header")
_LOST = ("a web page", "a web page", "an empty file")


@dataclass(frozen=True)
class Counts:
    """How many photos and drawings get each fault that is drawn."""

    wrong_caption: tuple[int, int] = (22, 18)
    boilerplate: tuple[int, int] = (12, 8)
    rotated: tuple[int, int] = (16, 0)
    broken: tuple[int, int] = (6, 4)
    empty_caption: tuple[int, int] = (3, 2)
    too_long: tuple[int, int] = (3, 2)
    near_copies: int = 30
    exact_copies: int = 10


@dataclass(frozen=True)
class Planned:
    """A file of the pack to be. `item` is None for a file that never was a picture.

    `of` is the item that a copy repeats, or whose caption a wrong caption is; `how` says what is
    done to the picture.
    """

    item: Item | None
    caption: str
    fault: str = "none"
    of: Item | None = None
    how: str = ""

    @property
    def name(self) -> str:
        """A name that no other file of the pack has."""
        subject = self.item.name if self.item else self.caption
        return f"copy of {subject}" if self.item and self.of == self.item else subject


def plan(items: Sequence[Item], seed: int, counts: Counts) -> list[Planned]:
    """The whole pack, shuffled. A caption of an item must not be empty."""
    given = [Planned(item, item.caption, fault) for item in items if (fault := _given_fault(item))]
    free = [item for item in items if not _given_fault(item) and _may_be_spoiled(item)]
    spoiled = list(_spoiled(_shuffled(free, seed), counts))
    used = {planned.item.name for planned in [*given, *spoiled] if planned.item}
    clean = [item for item in items if item.name not in used]
    files = [*given, *spoiled, *_copies(_shuffled(clean, seed), counts), *_lost()]
    files += [Planned(item, item.caption) for item in clean]
    # A draw of its own: the numbers of files must not tell in what order faults were dealt out.
    return sorted(files, key=lambda planned: draw(planned.name.encode(), seed, "order"))


def _shuffled(items: Iterable[Item], seed: int) -> list[Item]:
    return sorted(items, key=lambda item: draw(item.name.encode(), seed, "fault"))


def _given_fault(item: Item) -> str | None:
    if item.use:
        return _GIVEN[item.use]
    return None if item.language in KNOWN_LANGUAGES else "other_language"


def _may_be_spoiled(item: Item) -> bool:
    return item.language == "en" and not item.also


def _spoiled(free: list[Item], counts: Counts) -> Iterator[Planned]:
    photos = [item for item in free if item.is_photo]
    drawings = [item for item in free if not item.is_photo]

    def take(share: tuple[int, int]) -> list[Item]:
        taken = photos[: share[0]] + drawings[: share[1]]
        del photos[: share[0]], drawings[: share[1]]
        if len(taken) < sum(share):
            raise ValueError(f"{len(free)} items are too few for the faults asked for")
        return taken

    yield from _exchanged(take(counts.wrong_caption))
    for text, item in zip(BOILERPLATE, take(counts.boilerplate), strict=True):
        yield Planned(item, text, "boilerplate")
    for number, item in enumerate(take(counts.rotated)):
        tag = sorted(TURNS)[number % len(TURNS)]
        yield Planned(item, item.caption, "rotated", how=f"EXIF orientation {tag}")
    for number, item in enumerate(take(counts.broken)):
        how = _BREAKAGES[number % len(_BREAKAGES)]
        yield Planned(item, item.caption, "broken", how=how)
    for number, item in enumerate(take(counts.empty_caption)):
        yield Planned(item, " \n" if number % 2 else "", "empty_caption")
    for number, item in enumerate(take(counts.too_long)):
        yield Planned(item, _long_text(item, number), "too_long")


def _exchanged(items: list[Item]) -> Iterator[Planned]:
    """Each item with the caption of another kind of thing: half a round along the sorted kinds."""
    items = sorted(items, key=lambda item: item.kind)
    half = len(items) // 2
    for item, other in zip(items, items[half:] + items[:half], strict=True):
        if item.kind == other.kind:
            raise ValueError(f"more than half of the wrong captions are of kind {item.kind!r}")
        yield Planned(item, other.caption, "wrong_caption", of=other)


def _long_text(item: Item, number: int) -> str:
    turned = LONG_SENTENCES[number:] + LONG_SENTENCES[:number]
    return " ".join([f"{item.caption}.", *turned])


def _copies(clean: list[Item], counts: Counts) -> Iterator[Planned]:
    """Copies with the same bytes and another caption, then copies that were made anew."""
    copied = [item for item in clean if item.also]
    for item in copied[: counts.exact_copies]:
        yield Planned(item, item.also, "exact_duplicate", of=item, how="the same bytes")
    near = copied[counts.exact_copies : counts.exact_copies + counts.near_copies]
    for number, item in enumerate(near):
        captions = (item.caption, item.also, item.caption.lower())
        how = REWRITES[number % len(REWRITES)]
        yield Planned(item, captions[number % len(captions)], "duplicate", of=item, how=how)


def _lost() -> Iterator[Planned]:
    for caption, how in zip(LOST_CAPTIONS, _LOST, strict=True):
        yield Planned(None, caption, "broken", how=how)
