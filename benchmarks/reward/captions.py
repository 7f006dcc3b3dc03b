"""Captions of drawings, short and long, and comparisons of them.

A long caption has keywords beside the caption and stands in a frame, a sentence that fits any
picture; frames of tested drawings are others than those that were learnt from. Exchanged captions
serve as better and as worse equally often: of these no head can learn to read texts alone.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.keys import draw_bits
from pipeline.reward.bootstrap import KINDS, NEIGHBOUR, Captioned, rankings
from pipeline.reward.comparisons import Comparison

OTHER = "other"
EXCHANGED = (NEIGHBOUR, OTHER)
DAMAGED = tuple(kind for kind in KINDS if kind not in (NEIGHBOUR, "language"))
"""Kinds of damage; not `language`, because the encoder reads many."""
VARIANTS = ("short", "long", "translated")
LEARNT_FRAMES = (
    "{}",
    "a picture of {}",
    "{} on a white background",
    "here you can see {}",
    "{}, illustration and clip art",
    "this image shows {} for everybody",
    "my favourite {} from the collection",
    "a drawing: {}",
    "{} as it was seen last year",
)
TESTED_FRAMES = (
    "{}",
    "a photograph with {} in the middle",
    "{} by an unknown artist",
    "look at {} in this small picture",
    "this is what {} may look like",
    "the {} of the week",
)
_MOST_KEYWORDS = 3
_DRAWN = 3  # other captions, of near and of any drawings, that each of them is compared with
_TRIES = 40
_WORDS = re.compile(r"\w+")


@dataclass(frozen=True)
class Row:
    """A drawing with its captions by variant; the place is that of its features."""

    key: bytes
    place: int
    texts: dict[str, str]

    @property
    def words(self) -> frozenset[str]:
        return frozenset(_WORDS.findall(self.texts["short"].lower()))


def captions_of(
    key: bytes, told: tuple[str, Sequence[str], Sequence[str]], frames: Sequence[str]
) -> dict[str, str]:
    """Captions by variant from a caption, its translations and keywords."""
    caption, translations, keywords = told
    own = set(_WORDS.findall(caption.lower()))
    fit = sorted({word for word in keywords if not own & set(_WORDS.findall(word.lower()))})
    fit.sort(key=lambda word: draw_bits(key, 0, f"keyword {word}"))
    more = fit[: draw_bits(key, 0, "keywords") % (_MOST_KEYWORDS + 1)]
    joint = (" with ", ", ", " and ")[draw_bits(key, 0, "joint") % 3]
    whole = caption + joint + ", ".join(more) if more else caption
    frame = frames[draw_bits(key, 0, "frame") % len(frames)]
    found = {"short": caption, "long": frame.format(whole)}
    if translations:
        found["translated"] = translations[draw_bits(key, 0, "language") % len(translations)]
    return found


def comparisons_of(
    rows: Sequence[Row], neighbours: Sequence[Sequence[str | None]]
) -> Iterator[Comparison]:
    """Each caption against damaged copies of it, and against those of other drawings.

    `neighbours` are lists of captions of near drawings, one for each row. A kind is named by its
    variant and what was done. Of several comparisons of a kind the later ones are called `more`.
    """
    first = {row.texts["short"]: place for place, row in reversed([*enumerate(rows)])}
    for place, row in enumerate(rows):
        near = [first[own[place]] for own in neighbours if own[place] is not None]  # type: ignore[index]
        others = {NEIGHBOUR: [*dict.fromkeys(near)], OTHER: _others(rows, place)}
        for variant, caption in row.texts.items():
            worse = [*_damaged(row.key, caption)] if variant != "translated" else []
            for kind, places in others.items():
                texts = [rows[one].texts.get(variant) for one in places]
                names = [kind, *(f"more {kind}" for _ in texts)]
                worse += [(n, text) for n, text in zip(names, texts, strict=False) if text]
            image = row.key.hex()
            for kind, text in worse:
                if text != caption:
                    yield Comparison(image, caption, image, text, kind=f"{variant} {kind}")


def _damaged(key: bytes, caption: str) -> Iterator[tuple[str, str]]:
    for ranking in rankings(Captioned(key, caption), None, DAMAGED, 0):
        kinds, texts = ranking["kinds"], ranking["captions"]
        yield from ((k, t) for k, t in zip(kinds, texts, strict=True) if k)  # type: ignore[call-overload]


def _others(rows: Sequence[Row], place: int) -> list[int]:
    """Places of drawings by chance, whose captions share no word with its own."""
    own, found = rows[place], list[int]()
    for turn in range(_TRIES):
        other = draw_bits(own.key, 0, f"other {turn}") % len(rows)
        if not own.words & rows[other].words and other not in found:
            found.append(other)
    return found[:_DRAWN]
