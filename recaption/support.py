"""What captions name that nobody sees: things that neither experts nor an encoder find.

A caption's sentences are looked at one by one, and in them the things they name, in English. It
says nothing of properties, numbers, actions and relations, nor of things it has no word for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from filters import vocabulary
from filters.clip import EMBEDDED, ClipScore, Floats, clip_of
from recaption import captions, classes, nouns, sentences
from recaption.captions import Row

UNSUPPORTED, MENDED = "unsupported", "mended"
SEEN = 9.0
"""The support of a thing that an expert names."""
MENDS = ("delete",)
_UNSURE = "unsure"  # a caption with this flag is no witness


class Sentence(NamedTuple):
    """A sentence, and the support of each thing that it names."""

    text: str
    support: dict[str, float]

    def is_supported(self, threshold: float) -> bool:
        """Whether nothing in it is without support; of a sentence without things nothing is."""
        return all(value >= threshold for value in self.support.values())


@dataclass(frozen=True)
class Supported:
    """The captions of `of`, with the flag `unsupported` where one names a thing that nobody sees.

    A thing is seen where a column of `experts` (tags, text read in the picture, captions without
    the flag `unsure`) names it or a kind of it, or where the encoder's cosine of thing and
    picture is at least `threshold` standard deviations above the mean of some 290 usual things in
    the same picture. Captions said to be in another language than English are not looked at. A row
    in which a column of `experts` is NULL is not asked.

    With `mend: delete` a caption with unsupported and other sentences is followed by a copy
    without the former, of kind `mended`, if the cosine of picture and text rises by it. The
    original stays. The model's parameters are those of `clip`.

    The default threshold was chosen on 260 drawings: three in four things of another drawing are
    below it, one in fifty of their own. Photos are harder: of 202 captions of the quickstart, each
    with a sentence of another one planted, it finds 78 % of the planted sentences and takes 27 % of
    the right ones for wrong; 52 % are mended to their own sentence, 3 % to the planted one.
    """

    of: str = "caption"
    experts: tuple[str, ...] = ()
    threshold: float = 0.5
    mend: str | None = None
    model: str = EMBEDDED
    pretrained: str | None = None
    preprocess_tag: str | None = None
    sha256: str | None = None
    precision: str = "auto"
    batch_size: int = 32

    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"of": "text", "experts": "text"}
    writes: ClassVar[pa.Schema] = captions.WRITES

    def __post_init__(self) -> None:
        if self.mend is not None and self.mend not in MENDS:
            raise ValueError(f"mend is {' or '.join(MENDS)}; got {self.mend!r}")
        _check(self)
        object.__setattr__(self, "precision", clip_of(self).precision)  # `auto` is settled there

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image", *dict.fromkeys((self.of, *self.experts)))

    @property
    def image_request(self) -> int:
        return clip_of(self).image_request

    @property
    def device(self) -> str:
        return clip_of(self).device

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values."""
        return {**_identity(self), "of": self.of, "mend": self.mend}

    @property
    def weights_digest(self) -> str:
        return clip_of(self).weights_digest

    def prepare(self) -> None:
        """Load the weights. Raises when they are missing, damaged or not those meant."""
        _usual_vectors(clip_of(self))

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = [captions.texts(value) for value in batch[self.of]]
        clip = clip_of(self)
        pictures = clip.encode_images(batch["image"])
        texts = [[_english(row) for row in captions_] for captions_ in rows]
        judged = judge(clip, pictures, texts, _experts(batch, self.experts))
        found = [
            [new for pair in zip(own, parts, strict=True) for new in self._mended(*pair, picture)]
            for own, parts, picture in zip(rows, judged, pictures, strict=True)
        ]
        return {captions.COLUMN: found}

    def _mended(self, row: Row, parts: list[Sentence], picture: Floats) -> list[Row]:
        kept = [part.text for part in parts if part.is_supported(self.threshold)]
        if len(kept) == len(parts):
            return [row]
        flagged = captions.flagged(row, UNSUPPORTED)
        if self.mend is None or not kept:
            return [flagged]
        mended = " ".join(kept)
        old, new = clip_of(self).encode_texts([row["text"] or "", mended]) @ picture
        if not new > old:
            return [flagged]
        changed: Row = {**row, "text": mended, "kind": MENDED, "tokens": None}
        return [flagged, changed]


@dataclass(frozen=True)
class Support:
    """How well a picture supports what a text says: the numbers behind the flag `unsupported`.

    `support_things` are the things that it names, `support_values` how far each is above usual
    things in the picture, in standard deviations (9 where an expert names it), `support_min` the
    lowest of them, and `unsupported_sentences` the share of the sentences with things in which
    one is below `threshold`. All are NULL for a text without things. Parameters are those of
    `supported`.
    """

    text: str = "caption"
    experts: tuple[str, ...] = ()
    threshold: float = 0.5
    model: str = EMBEDDED
    pretrained: str | None = None
    preprocess_tag: str | None = None
    sha256: str | None = None
    precision: str = "auto"
    batch_size: int = 32

    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"text": "text", "experts": "text"}
    writes: ClassVar[pa.Schema] = pa.schema(
        [
            ("support_min", pa.float32()),
            ("support_things", pa.list_(pa.string())),
            ("support_values", pa.list_(pa.float32())),
            ("unsupported_sentences", pa.float32()),
        ]
    )

    def __post_init__(self) -> None:
        _check(self)
        object.__setattr__(self, "precision", clip_of(self).precision)  # `auto` is settled there

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image", *dict.fromkeys((self.text, *self.experts)))

    @property
    def image_request(self) -> int:
        return clip_of(self).image_request

    @property
    def device(self) -> str:
        return clip_of(self).device

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values."""
        return {**_identity(self), "text": self.text}

    @property
    def weights_digest(self) -> str:
        return clip_of(self).weights_digest

    def prepare(self) -> None:
        """Load the weights. Raises when they are missing, damaged or not those meant."""
        _usual_vectors(clip_of(self))

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        clip = clip_of(self)
        pictures = clip.encode_images(batch["image"])
        texts = [[text] for text in batch[self.text]]
        judged = judge(clip, pictures, texts, _experts(batch, self.experts))
        rows = [self._row(own[0]) for own in judged]
        return {name: [row[name] for row in rows] for name in self.writes.names}

    def _row(self, parts: list[Sentence]) -> dict[str, Any]:
        judged = [part for part in parts if part.support]
        lowest: dict[str, float] = {}
        for part in judged:
            lowest |= part.support
        if not lowest:
            return dict.fromkeys(self.writes.names)
        unsupported = sum(not part.is_supported(self.threshold) for part in judged)
        return {
            "support_min": min(lowest.values()),
            "support_things": list(lowest),
            "support_values": list(lowest.values()),
            "unsupported_sentences": unsupported / len(judged),
        }


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
    known = dict(_usual_vectors(clip))
    named = {thing for own in split for parts in own for _, found in parts for thing in found}
    new = sorted(named - known.keys())
    known |= dict(zip(new, _encoded(clip, new), strict=True))
    usual = np.stack(list(_usual_vectors(clip).values()))
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


def _experts(batch: Mapping[str, list[Any]], experts: Iterable[str]) -> list[frozenset[str]]:
    """For each row the words for things that experts see."""
    seen: list[set[str]] = [set() for _ in batch["image"]]
    for name in experts:
        for place, value in enumerate(batch[name]):
            for row in captions.texts(value):
                if _UNSURE not in (row["flags"] or ()):
                    for thing in nouns.find(row["text"] or ""):
                        seen[place] |= nouns.kinds_of(thing)
    return [frozenset(own) for own in seen]


def _english(row: Row) -> str:
    """The text of a caption that may be English, else nothing to look at."""
    is_english = (row["language"] or "en").lower().partition("-")[0] == "en"
    return (row["text"] or "") if is_english else ""


@lru_cache(maxsize=4)
def _usual_vectors(clip: ClipScore) -> dict[str, Floats]:
    """The encoder's vectors of usual things."""
    listed = list(nouns.usual())
    return dict(zip(listed, _encoded(clip, listed), strict=True))


def _encoded(clip: ClipScore, things: list[str]) -> Floats:
    """Unit vectors of things; CLIP models were trained on sentences, the embedded one on names."""
    if not things:
        return np.zeros((0, 1), np.float32)
    is_embedded = clip.model == EMBEDDED
    return clip.encode_texts(things if is_embedded else [f"a photo of a {t}" for t in things])


def _check(scorer: Any) -> None:
    if isinstance(scorer.experts, str):
        raise ValueError(f"experts is a list of columns, got {scorer.experts!r}")
    if not np.isfinite(scorer.threshold):
        raise ValueError(f"threshold must be a finite number, got {scorer.threshold}")


def _identity(scorer: Any) -> dict[str, Any]:
    own = {"experts": list(scorer.experts), "threshold": scorer.threshold}
    lists = [classes.digest(), vocabulary.digest(), sentences.VERSION]
    return {**clip_of(scorer).identity, **own, "lists": lists, "clip": ClipScore.version}
