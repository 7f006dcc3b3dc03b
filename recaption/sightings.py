"""What of a caption an expert or an encoder sees in the picture, sentence by sentence."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from filters.clip import EMBEDDED, ClipScore, Floats
from recaption import captions, nouns, object_words, sentences
from recaption.captions import UNSURE, Row
from recaption.rewriting import Wanted

SEEN = 9.0
"""The support of a thing that an expert names."""


class Sentence(NamedTuple):
    """A sentence, and the support of each thing that it names."""

    text: str
    support: dict[str, float]

    def is_supported(self, threshold: float) -> bool:
        """Whether nothing in it is without support; of a sentence without things nothing is."""
        return all(value >= threshold for value in self.support.values())


class Place(NamedTuple):
    """A caption of a row, as its sentences were judged."""

    row: int
    caption: Row
    parts: tuple[Sentence, ...]

    def is_supported(self, threshold: float) -> bool:
        return all(part.is_supported(threshold) for part in self.parts)

    def kept(self, threshold: float) -> str:
        """The sentences in which nothing lacks support."""
        return " ".join(part.text for part in self.parts if part.is_supported(threshold))

    def wanted(self, threshold: float) -> Wanted:
        """What a model is asked for: the things that lack support, and what it should keep."""
        support = {thing: value for part in self.parts for thing, value in part.support.items()}
        things = tuple(thing for thing, value in support.items() if value < threshold)
        return Wanted(self.caption, things, self.kept(threshold))


def judge(
    clip: ClipScore,
    pictures: Floats,
    texts: Sequence[Sequence[str]],
    witnesses: Sequence[frozenset[str]],
) -> list[list[list[Sentence]]]:
    """The sentences of each text of each picture [n, d], with the support of what they name.

    `witnesses` are the words for things that experts see in each picture.
    """
    split = [
        [[(s, nouns.find(s)) for s in sentences.split(text, "en")] for text in own] for own in texts
    ]
    known = dict(usual_vectors(clip))
    named = {thing for own in split for parts in own for _, found in parts for thing in found}
    new = sorted(named - known.keys())
    known |= dict(zip(new, _encoded(clip, new), strict=True))
    usual = np.stack(list(usual_vectors(clip).values()))
    found = []
    for picture, own, seen in zip(pictures, split, witnesses, strict=True):
        cosines = usual.astype(np.float64) @ picture
        mean, deviation = float(cosines.mean()), max(float(cosines.std()), 1e-6)
        support = {
            thing: SEEN if thing in seen else (float(known[thing] @ picture) - mean) / deviation
            for parts in own
            for _, things in parts
            for thing in things
        }
        found.append([[Sentence(s, {t: support[t] for t in n}) for s, n in part] for part in own])
    return found


def witnesses(batch: Mapping[str, list[Any]], experts: Iterable[str]) -> list[frozenset[str]]:
    """For each row the words for things that experts see."""
    seen: list[set[str]] = [set() for _ in batch["image"]]
    for name in experts:
        for place, value in enumerate(batch[name]):
            for thing in _found(value):
                seen[place] |= nouns.kinds_of(thing)
    return [frozenset(own) for own in seen]


def _found(value: Any) -> Iterator[str]:
    """The things that a text names, captions that are not unsure, or a detector."""
    for one in [value] if isinstance(value, str) else value or ():
        if isinstance(one, Mapping) and "name" in one:
            yield from object_words.called(str(one["name"])) if one["name"] else ()
        else:
            for row in captions.texts(one if isinstance(one, str) else [one]):
                if UNSURE not in (row["flags"] or ()):
                    yield from nouns.find(row["text"] or "")


def english_text(row: Row) -> str:
    """The text of a caption that may be English, else nothing to look at."""
    is_english = (row["language"] or "en").lower().partition("-")[0] == "en"
    return (row["text"] or "") if is_english else ""


@lru_cache(maxsize=4)
def usual_vectors(clip: ClipScore) -> dict[str, Floats]:
    """The encoder's vectors of usual things."""
    listed = list(nouns.usual())
    return dict(zip(listed, _encoded(clip, listed), strict=True))


def _encoded(clip: ClipScore, things: list[str]) -> Floats:
    """Unit vectors of things; CLIP models were trained on sentences, the embedded one on names."""
    if not things:
        return np.zeros((0, 1), np.float32)
    is_embedded = clip.model == EMBEDDED
    return clip.encode_texts(things if is_embedded else [f"a photo of a {t}" for t in things])
